//! The page in a real browser: every page at three widths in light and dark, by keyboard, with hostile names, and without JavaScript.
mod chromium;
mod served;

use chromium::Browser;
use honeyguide::simulate::{Generator, Simulation, hostile};
use served::{Daemon, Home};
use std::net::{Shutdown, TcpListener, TcpStream};
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

#[test]
fn people_find_their_way_in_a_browser() {
    let browser = match Browser::find() {
        Ok(browser) => browser,
        Err(why) => {
            println!("SKIPPED: people_find_their_way_in_a_browser: {why}");
            return;
        }
    };
    let home = Home::with("[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\n");
    let daemon = Daemon::start(&home);
    let lines = [recent(), hostile::lines().join(&b'\n'), b"\n".to_vec()].concat();
    let path = home.write("cowrie.json", &lines);
    let loaded = daemon.post("/api/v1/load", &serde_json::json!({ "paths": [path] }).to_string());
    assert_eq!(loaded.status, 200, "{loaded:?}");
    let found = daemon.get("/api/v1/events?query=eventid:cowrie.command.input%20exists:url&limit=1").lines();
    let event: serde_json::Value = serde_json::from_str(found.first().expect("somebody fetches something")).expect("JSON");
    let seen =
        serde_json::json!({ "session": event["session"], "indicator": event["src_ip"], "stranger": format!("http://{}", daemon.listen) });
    let screenshots = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    browser.run(include_str!("chromium/look.mjs"), &relay(&daemon.socket), &screenshots, &seen.to_string());
}
