//! `run` and `demo` as processes: what they store, how they end, what they answer to signals.
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// A `honeyguide run` and its log.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(config: &Path) -> Daemon {
        let mut child = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
            .args(["run", "--config"])
            .arg(config)
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawned");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Daemon { child, lines }
    }

    /// The next log record of this kind.
    fn record(&self, action: &str) -> serde_json::Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {action} in the log"));
            let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
            if record["event.action"] == action {
                return record;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// Asks it to end and waits; its exit code and whether all was drained.
    fn stop(mut self) -> (Option<i32>, bool) {
        self.signal(Signal::SIGTERM);
        let drained = self.record("daemon_stopped")["drained"] == true;
        (self.child.wait().expect("ended").code(), drained)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of a test that failed; one that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The events in a journal, read as anybody could: `zstdcat journal/*.zst`.
fn stored(data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data.join("journal")).expect("listed");
    let mut segments: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "zst"));
    segments.sort();
    let mut lines = Vec::new();
    for segment in segments {
        let file = std::fs::File::open(segment).expect("opened");
        let reader = BufReader::new(zstd::stream::read::Decoder::new(file).expect("zstd"));
        // A block that is just being appended ends the reading; the next look finds it.
        lines.extend(reader.lines().map_while(Result::ok));
    }
    lines
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn simulate(dir: &Path, seed: &str, events: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
        .args(["simulate", "--seed", seed, "--events", events, "--log"])
        .arg(dir)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
}

fn configure(dir: &Path) -> PathBuf {
    let file = dir.join("honeyguide.toml");
    let text = "data_dir = \"data\"\n[admin]\nlisten = \"off\"\n[[source]]\nname = \"pot\"\npaths = [\"logs/cowrie.json*\"]\n";
    std::fs::write(&file, text).expect("written");
    file
}

#[test]
fn every_line_is_stored_once_across_sigterm_kill_and_restart() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (config, data, logs) = (configure(dir.path()), dir.path().join("data"), dir.path().join("logs"));
    simulate(&logs, "1", "20000");
    // Asked to stop at once: what was read is durable, the rest is read later.
    let daemon = Daemon::start(&config);
    daemon.record("daemon_started");
    assert_eq!(daemon.stop(), (Some(0), true));
    // Killed in the middle.
    let mut daemon = Daemon::start(&config);
    daemon.record("daemon_started");
    simulate(&logs, "2", "20000");
    daemon.child.kill().expect("killed");
    daemon.child.wait().expect("ended");
    let daemon = Daemon::start(&config);
    daemon.record("daemon_started");
    wait_until("all lines are stored", || stored(&data).len() >= 40_000);
    assert_eq!(daemon.stop(), (Some(0), true));
    let mut lines = stored(&data);
    let mut written: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&logs).expect("listed") {
        written.extend(std::fs::read_to_string(entry.expect("listed").path()).expect("read").lines().map(str::to_owned));
    }
    lines.sort();
    written.sort();
    assert!(lines == written, "{} stored, {} written", lines.len(), written.len());
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = configure(dir.path());
    let first = Daemon::start(&config);
    first.record("daemon_started");
    let second = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(["run", "--config"]).arg(&config).output().expect("the binary runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let data = dir.path().join("data");
    assert_eq!(said, format!("honeyguide: data directory {} is in use: is another honeyguide running?\n", data.display()));
    // Checking beside it is fine, and tells who runs.
    let check = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(["check", "--json", "--config"]).arg(&config).output();
    let check = check.expect("the binary runs");
    let answer: serde_json::Value = serde_json::from_slice(&check.stdout).expect("JSON");
    assert_eq!((check.status.code(), &answer["daemon"]), (Some(0), &first.child.id().into()));
    assert_eq!(first.stop(), (Some(0), true));
}

#[test]
fn sighup_reads_the_configuration_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (config, data, logs) = (configure(dir.path()), dir.path().join("data"), dir.path().join("logs"));
    std::fs::create_dir(&logs).expect("created");
    let daemon = Daemon::start(&config);
    daemon.record("daemon_started");
    let good = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, "[journal]\nsegmnt_bytes = 1\n").expect("written");
    daemon.signal(Signal::SIGHUP);
    let refused = daemon.record("reload_refused");
    assert!(refused["problems"].as_str().is_some_and(|problems| problems.contains("did you mean `segment_bytes`?")), "{refused}");
    // It still follows what it followed.
    simulate(&logs, "5", "100");
    wait_until("the source is still followed", || stored(&data).len() == 100);
    let other = dir.path().join("other");
    std::fs::write(&config, good + "[[source]]\nname = \"other-pot\"\npaths = [\"other/cowrie.json*\"]\n").expect("written");
    daemon.signal(Signal::SIGHUP);
    assert_eq!(daemon.record("settings_reloaded")["sources"], 2);
    simulate(&other, "6", "100");
    wait_until("the new source is followed", || stored(&data).len() == 200);
    assert_eq!(daemon.stop(), (Some(0), true));
}

#[test]
fn a_demo_without_a_terminal_ends_by_itself_and_has_stored_what_was_written() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let demo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
        let output = command.current_dir(dir.path()).arg("demo").args(arguments).output().expect("the binary runs");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let said = demo(&["--seconds", "3", "--json", "--rate", "500"]);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().expect("lines")).expect("JSON");
    let written = last["written"].as_u64().expect("a number");
    assert!(written > 1000, "{last}");
    assert_eq!((&last["stored"], &last["refused"], &last["complete"]), (&written.into(), &0.into(), &true.into()));
    let data = dir.path().join("honeyguide-demo");
    assert_eq!(stored(&data).len() as u64, written);
    assert!(data.join("honeyguide.log").exists());
    // Again: it goes on with the same data, and its log was not lost.
    let said = demo(&["--seconds", "1"]);
    assert!(said.lines().next().is_some_and(|line| line.starts_with("Honeyguide follows the simulated log")), "{said}");
    assert!(said.contains("To look at them:") && said.contains("--data ./honeyguide-demo"), "{said}");
    assert!(stored(&data).len() as u64 > written);
    assert!(!said.contains('\x1b'), "no escape sequences in a pipe");
}

#[test]
fn a_demo_on_own_logs_only_reads_them() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let logs = dir.path().join("my logs");
    simulate(&logs, "9", "3000");
    let before = std::fs::read(logs.join("cowrie.json")).expect("read");
    let output = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
        .current_dir(dir.path())
        .args(["demo", "--seconds", "3", "--json", "--data", "own", "--log", "my logs"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let last: serde_json::Value = serde_json::from_str(said.lines().last().expect("lines")).expect("JSON");
    assert_eq!(last["stored"], 3000);
    assert!(last.get("written").is_none());
    assert!(std::fs::read(logs.join("cowrie.json")).expect("read") == before);
    assert_eq!(std::fs::read_dir(&logs).expect("listed").count(), 1, "nothing is written beside the logs");
}
