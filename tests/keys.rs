//! `honeyguide keys` as processes, with a daemon and without; and that no secret is left anywhere.
mod served;

use served::{Answer, Home, exchange, files, until};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A `honeyguide run`, and what it logs.
struct Daemon<'h> {
    home: &'h Home,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon<'_> {
    fn start(home: &Home) -> Daemon<'_> {
        let mut child = honeyguide(home, &["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
        let log = Arc::new(Mutex::new(String::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for output in outputs {
            let log = log.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| {
                    let mut log = log.lock().expect("no panic");
                    log.push_str(&line);
                    log.push('\n');
                });
            });
        }
        let daemon = Daemon { home, child, log };
        until("the daemon serves", || daemon.log.lock().expect("no panic").contains("daemon_started"));
        daemon
    }

    /// What `POST /api/v1/token` says to this key.
    fn token(&self, key: &str, body: &str) -> Answer {
        let request = served::post("/api/v1/token", body).replacen("\r\n", &format!("\r\nx-api-key: {key}\r\n"), 1);
        exchange(UnixStream::connect(self.home.data().join("admin.sock")).expect("connected"), &request)
    }

    fn stop(mut self) -> String {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), nix::sys::signal::SIGTERM).expect("it runs");
        assert!(self.child.wait().expect("ended").success());
        self.log.lock().expect("no panic").clone()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Of a test that failed; one that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn honeyguide(home: &Home, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
    command.args(words).arg("--config").arg(home.config()).env_remove("RUNTIME_DIRECTORY").env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::null());
    command
}

fn ended(home: &Home, words: &[&str]) -> Output {
    honeyguide(home, words).output().expect("the binary runs")
}

/// The answer of a command that succeeds.
fn json(home: &Home, words: &[&str]) -> serde_json::Value {
    let output = ended(home, &[&["keys"], words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Why a command does not succeed, and its exit code.
fn fails(home: &Home, words: &[&str]) -> (Option<i32>, String) {
    let output = ended(home, &[&["keys"], words].concat());
    assert!(!output.status.success(), "{words:?}: {output:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, text(&answer.json()["code"]))
}

/// All that the data directory holds, with what is compressed expanded.
fn contents(home: &Home) -> Vec<u8> {
    let mut all = Vec::new();
    for path in files(&home.data()).iter().filter(|path| path.extension().is_none_or(|extension| extension != "sock")) {
        let bytes = std::fs::read(path).expect("read");
        if path.extension().is_some_and(|extension| extension == "zst") {
            // What was begun and not ended reads as far as it goes.
            let _ = zstd::stream::read::Decoder::new(&bytes[..]).expect("zstd").read_to_end(&mut all);
        }
        all.extend(bytes);
    }
    all
}

#[test]
fn keys_are_made_rotated_and_revoked_and_leave_no_secret_behind() {
    let home = Home::new();
    let mut secrets = Vec::new();
    let daemon = Daemon::start(&home);
    let made = json(&home, &["create", "laptop", "--role", "analyst", "--role", "developer", "--sensor", "dmz-1", "--expires", "2h"]);
    let (id, first) = (text(&made["id"]), text(&made["key"]));
    assert_eq!((&made["roles"], &made["sensors"], &made["state"]), (&["analyst", "developer"].into(), &["dmz-1"].into(), &"active".into()));
    let answer = daemon.token(&first, "{\"lifetime\":\"5m\",\"roles\":[\"analyst\"]}");
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &300.into()));
    secrets.push(text(&answer.json()["access_token"]));
    assert_eq!(code(&daemon.token(&first, "{\"roles\":[\"admin\"]}")), (403, "forbidden".into()));
    assert_eq!(code(&daemon.token(&first, "{\"role\":[\"admin\"]}")), (400, "bad_request".into()));
    assert_eq!(code(&daemon.token(&first[..first.len() - 1], "{}")), (401, "key_mistyped".into()));
    assert_eq!(code(&daemon.token(&secrets[0], "{}")), (401, "not_a_key".into()));

    let second = text(&json(&home, &["rotate", &id])["key"]);
    assert_eq!((daemon.token(&first, "{}").status, daemon.token(&second, "{}").status), (200, 200), "both, for the overlap");
    let third = text(&json(&home, &["rotate", &id, "--overlap", "0s"])["key"]);
    assert_eq!(code(&daemon.token(&second, "{}")), (401, "key_replaced".into()));
    assert_eq!(code(&daemon.token(&first, "{}")), (401, "key_unknown".into()));
    assert_eq!(daemon.token(&third, "{}").status, 200);

    let shown = ended(&home, &["keys", "create", "shown", "--role", "sensor", "--expires", "never"]);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.contains("hg_") && shown.contains("shown once") && shown.contains("for ever"), "{shown}");
    secrets.push(shown.split_whitespace().find(|word| word.starts_with("hg_")).expect("the key").to_owned());

    let rows = json(&home, &["list"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    assert!(rows[1]["last_used_at"].is_string() && rows[0].get("expires_at").is_none() && rows[1].get("key").is_none(), "{rows}");
    assert_eq!(json(&home, &["revoke", &id])["state"], "revoked");
    assert_eq!(code(&daemon.token(&third, "{}")), (401, "key_revoked".into()));
    let (status, why) = fails(&home, &["rotate", &id]);
    assert!(status == Some(1) && why.contains("revoked, which is for good"), "{why}");
    assert!(fails(&home, &["revoke", "nobody"]).1.contains("keys list"));
    assert!(fails(&home, &["create", "shown", "--role", "sensor"]).1.contains("in use"));
    for wrong in [
        &["create", "x"][..],
        &["create", "x", "--role", "root"],
        &["create", "x", "--role", "admin", "--expires", "5"],
        &["create", "x", "--role", "admin", "--expires", "9999d"],
    ] {
        assert_eq!(fails(&home, wrong).0, Some(2), "{wrong:?}");
    }
    let log = daemon.stop();

    // Without a daemon, on the data directory itself; the next daemon knows what was changed.
    assert_eq!(json(&home, &["list"]).as_array().map(Vec::len), Some(2));
    let local = json(&home, &["create", "local", "--role", "admin"]);
    let (_, local_second) = (secrets.push(text(&local["key"])), text(&json(&home, &["rotate", &text(&local["id"])])["key"]));
    assert_eq!(fails(&home, &["create", "a b", "--role", "admin"]).0, Some(2));
    let daemon = Daemon::start(&home);
    assert_eq!(daemon.token(&local_second, "{}").status, 200);
    assert_eq!(code(&daemon.token(&third, "{}")), (401, "key_revoked".into()));
    let log = log + &daemon.stop();

    // The state is lost: the ledger has all of it.
    std::fs::remove_dir_all(home.data().join("state")).expect("removed");
    let rows = json(&home, &["list"]);
    let states: Vec<&str> = rows.as_array().expect("rows").iter().map(|row| row["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["active", "active", "revoked"]);

    let by = format!("\"by\":\"uid {}\"", nix::unistd::Uid::current());
    let all = contents(&home);
    let lines: Vec<&[u8]> = all.split(|&byte| byte == b'\n').collect();
    let says = |event: &str| {
        let of_event = |line: &&&[u8]| memchr::memmem::find(line, event.as_bytes()).is_some();
        lines.iter().filter(of_event).filter(|line| memchr::memmem::find(line, by.as_bytes()).is_some()).count()
    };
    assert_eq!((says("\"key_created\""), says("\"key_rotated\""), says("\"key_revoked\"")), (3, 3, 1));
    secrets.extend([first, second, third, local_second]);
    for secret in &secrets {
        // Of a key what stands behind its id, of a token its signature.
        let part = if secret.starts_with("hg_") { &secret[14..57] } else { secret.rsplit('.').next().expect("a part") };
        assert!(part.len() >= 43);
        assert!(memchr::memmem::find(&all, part.as_bytes()).is_none(), "a secret is in the data directory");
        assert!(!log.contains(part), "a secret is in the log");
    }
}
