//! The page in a real browser: every page at three widths in light and dark, by keyboard, with hostile names, and without JavaScript; and as
//! somebody with a key uses it over TCP, while a log that is followed grows.
mod chromium;
mod receivers;
mod served;

use chromium::Browser;
use honeyguide::simulate::{Generator, Simulation, hostile};
use served::{Daemon, Home, until};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Lets a browser talk to the daemon's socket, as whoever runs the test.
fn relay(socket: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (address, socket) = (listener.local_addr().expect("an address"), socket.to_owned());
    std::thread::spawn(move || {
        for browser in listener.incoming() {
            // The daemon is gone at the end of the test.
            let (Ok(browser), Ok(daemon)) = (browser, UnixStream::connect(&socket)) else { continue };
            pass(browser, daemon);
        }
    });
    format!("http://{address}")
}

fn pass(browser: TcpStream, daemon: UnixStream) {
    let (mut from_browser, mut to_daemon) = (browser.try_clone().expect("cloned"), daemon.try_clone().expect("cloned"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_browser, &mut to_daemon);
        let _ = to_daemon.shutdown(Shutdown::Write);
    });
    let (mut from_daemon, mut to_browser) = (daemon, browser);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_daemon, &mut to_browser);
        let _ = to_browser.shutdown(Shutdown::Both);
    });
}

/// Simulated sessions of the last 20 hours.
fn recent() -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = honeyguide::events::time::now() - 20 * 3_600 * 1_000_000;
    Generator::new(&Simulation { seed: 3, start, events_per_second: 0.045, hostile: true, ..Simulation::default() })
        .fill(&mut bytes, 3_000);
    bytes
}

/// An event that the receiver refuses for good.
fn refused() -> Vec<u8> {
    let event = serde_json::json!({ "eventid": "cowrie.command.input", "session": "fe11d00d", "src_ip": "198.51.100.9", "sensor": "hive",
        "input": "echo poisonous <b>", "timestamp": honeyguide::events::time::format(honeyguide::events::time::now()) });
    format!("{event}\n").into_bytes()
}

#[test]
fn people_find_their_way_in_a_browser() {
    let browser = match Browser::find() {
        Ok(browser) => browser,
        Err(why) => {
            println!("SKIPPED: people_find_their_way_in_a_browser: {why}");
            return;
        }
    };
    let receiver = receivers::webhook::start();
    receiver.faults().poison(Some("poisonous"));
    let home = Home::with(&format!(
        "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\n\
         [[sink]]\nname = \"siem\"\ntype = \"webhook\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\nsecret_file = \"secret\"\n\
         batch_age_ms = 5\nfilter = 'session:fe11d00d'\n[[source]]\nname = \"pot\"\npaths = [\"pot.json\"]\n",
        receiver.url()
    ));
    let secret = home.write("secret", receivers::webhook::SECRET.as_bytes());
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let followed = home.write("pot.json", b"");
    let daemon = Daemon::start(&home);
    let lines = [recent(), hostile::lines().join(&b'\n'), b"\n".to_vec(), refused()].concat();
    let path = home.write("cowrie.json", &lines);
    let loaded = daemon.post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string());
    assert_eq!(loaded.status, 200, "{loaded:?}");
    let found = daemon.get("/api/v1/events?query=eventid:cowrie.command.input%20exists:url&limit=1").lines();
    let event: serde_json::Value = serde_json::from_str(found.first().expect("somebody fetches something")).expect("JSON");
    until("a dead letter", || daemon.get("/api/v1/sinks/siem").json()["dead_letters"] == 1);
    receiver.faults().poison(None);
    let key = daemon.post("/api/v1/keys", &serde_json::json!({ "name": "laptop", "roles": ["admin"] }).to_string()).json()["key"].clone();
    let seen = serde_json::json!({
        "session": event["session"],
        "indicator": event["src_ip"],
        "stranger": format!("http://{}", daemon.listen),
        "key": key,
        "followed": followed,
    });
    let screenshots = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    browser.run(include_str!("chromium/look.mjs"), &relay(&daemon.socket), &screenshots, &seen.to_string());
}
