//! One suite over all sinks: whatever its receiver does, a sink loses nothing, repeats with the same keys, says that it is in trouble,
//! and keeps nobody else waiting. A new kind of sink joins with a [`Receiver`] and a test that calls [`conforms`].
mod engine;
mod receivers;
mod served;

use engine::{Site, event};
use honeyguide::cli::context::Exit;
use served::{Daemon, Home, until};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a receiver may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "receivers over HTTP have more ways to fail than files")]
enum Fault {
    /// It is not there.
    Absent,
    /// It goes away in the middle of a batch, which it has taken in part.
    DiesMidBatch,
    /// Each answer takes its time.
    Slow,
    /// 429, with Retry-After.
    Busy,
    /// 5xx.
    Failing,
    /// Some items of each batch are to be sent again.
    Partial,
    /// One item is refused for good: [`POISON`].
    Poison,
    /// It sends the sink on to a private address.
    RedirectsInside,
    /// It does not know who we are.
    WrongCredentials,
}

const FAULTS: [Fault; 9] = [
    Fault::Absent,
    Fault::DiesMidBatch,
    Fault::Slow,
    Fault::Busy,
    Fault::Failing,
    Fault::Partial,
    Fault::Poison,
    Fault::RedirectsInside,
    Fault::WrongCredentials,
];

impl Fault {
    /// Something is delivered all the same, sooner or later.
    fn lets_through(self) -> bool {
        matches!(self, Fault::DiesMidBatch | Fault::Slow | Fault::Partial | Fault::Poison)
    }
}

/// The one item that receivers refuse: event number 77 of the log.
const POISON: u64 = 77;
const EVENTS: u64 = 2_000;

/// Where a sink under test delivers to: a real server, or a real directory.
trait Receiver {
    /// `type`, place and credentials: the lines of the sink's table that are this receiver's.
    fn table(&self) -> String;

    /// From now on it behaves like this. False: a receiver of its kind cannot.
    fn suffer(&mut self, fault: Fault) -> bool;

    /// From now on nothing is wrong with it.
    fn recover(&mut self);

    /// Everything that arrived, in the order of arrival: (key of the item, where there is one; line).
    fn received(&self) -> Vec<(Option<String>, String)>;

    /// Nothing arrives twice.
    fn exactly_once(&self) -> bool;
}

/// The sink under test, quick to notice and to try again, beside one that nothing is wrong with.
fn configuration(receiver: &dyn Receiver) -> String {
    format!(
        "[[sink]]\nname = \"tested\"\n{}\nbatch_events = 50\nbatch_age_ms = 5\ntimeout_seconds = 2\nbackoff_initial_ms = 10\nbackoff_ms_max = 200\n\
         degraded_seconds = 1\nbreaker_failures = 3\n\
         [[sink]]\nname = \"beside\"\ntype = \"file\"\npath = \"beside.ndjson\"\nbatch_age_ms = 5\n",
        receiver.table()
    )
}

fn log(events: u64) -> Vec<u8> {
    (0..events).flat_map(|n| (event(n) + "\n").into_bytes()).collect()
}

/// The suite. `make` begins a receiver with an empty directory of its own.
fn conforms(name: &str, make: &mut dyn FnMut(&Path) -> Box<dyn Receiver>) {
    let mut suffered = Vec::new();
    for fault in FAULTS {
        let place = tempfile::tempdir().unwrap();
        let mut receiver = make(place.path());
        if receiver.suffer(fault) {
            survives(&mut *receiver, fault);
            suffered.push(fault);
        }
    }
    let place = tempfile::tempdir().unwrap();
    let mut receiver = make(place.path());
    survives_being_killed(&mut *receiver);
    println!("{name}: {suffered:?}, and SIGKILL of the daemon");
}

fn survives(receiver: &mut dyn Receiver, fault: Fault) {
    let home = Home::with(&configuration(receiver));
    let input = home.write("cowrie.json", &log(EVENTS));
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", input.to_str().unwrap()]);
    let beside = || std::fs::read_to_string(home.path("beside.ndjson")).unwrap_or_default().lines().count() as u64;
    until("the sink beside it has everything", || beside() == EVENTS);
    let show = || home.json(Exit::Done, &["sinks", "show", "tested"]);
    if !fault.lets_through() {
        until("it is degraded", || show()["state"] == "degraded");
        let row = show();
        assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{fault:?}: {row}");
        assert_eq!(row["dead_letters"], 0, "{fault:?}: nothing is wrong with the items");
        until("the metric says so as well", || {
            let metrics = daemon.tcp(&served::get("/metrics", "localhost")).text();
            metrics.contains("honeyguide_sink_degraded{sink=\"tested\"} 1")
        });
        let memory = row["batch_bytes"].as_u64().unwrap();
        assert!(memory < 5 * 50 * 1024, "{fault:?}: {memory} bytes wait in memory");
    }
    // Poison stays poison.
    if fault != Fault::Poison {
        receiver.recover();
    }
    until(&format!("everything has settled behind {fault:?}"), || {
        let row = show();
        row["state"] == "idle" && row["lag_events"] == 0
    });
    let dead = home.json(Exit::Done, &["sinks", "dead", "list", "tested"]);
    let expected: BTreeSet<String> = (0..EVENTS).filter(|&n| fault != Fault::Poison || n != POISON).map(event).collect();
    match fault {
        Fault::Poison => {
            assert_eq!(dead.as_array().map(Vec::len), Some(1), "{dead}");
            assert_eq!(dead[0]["sequence"], POISON + 1);
            assert!(dead[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
            let listed = home.json(Exit::Done, &["quarantine", "list", "--reason", "undeliverable"]);
            assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        }
        _ => assert_eq!(dead.as_array().map(Vec::len), Some(0), "{fault:?}: {dead}"),
    }
    arrived(receiver, &expected, fault != Fault::Poison);
    if fault == Fault::Poison {
        receiver.recover();
        let retried = home.json(Exit::Done, &["sinks", "dead", "retry", "tested"]);
        assert_eq!((&retried["retried"], &retried["delivered"]), (&1.into(), &1.into()));
        assert_eq!(home.json(Exit::Done, &["sinks", "dead", "list", "tested"]).as_array().map(Vec::len), Some(0));
        arrived(receiver, &(0..EVENTS).map(event).collect(), false);
    }
}

/// Everything is there; what is there twice has the same key.
fn arrived(receiver: &dyn Receiver, expected: &BTreeSet<String>, in_order: bool) {
    let received = receiver.received();
    let lines: BTreeSet<String> = received.iter().map(|(_, line)| line.clone()).collect();
    assert!(lines == *expected, "{} of {} events", lines.len(), expected.len());
    if receiver.exactly_once() {
        assert_eq!(received.len(), expected.len(), "nothing twice");
        let sequence: Vec<&String> = received.iter().map(|(_, line)| line).collect();
        // Of the test's log, numbers grow with the time in the line.
        assert!(!in_order || sequence.is_sorted_by_key(|line| line.split("\"timestamp\":").nth(1).map(str::to_owned)), "in order");
    }
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, line) in &received {
        keys.entry(line).or_default().extend(key.as_deref());
    }
    assert!(keys.values().all(|keys| keys.len() <= 1), "repeats carry the same key");
}

fn kills() -> u64 {
    std::env::var("HONEYGUIDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

/// The real process, killed again and again between anything and anything else, now and then with its state gone as well.
fn survives_being_killed(receiver: &mut dyn Receiver) {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path());
    site.settings(&format!("[admin]\nlisten = \"off\"\n[journal]\nsegment_bytes = \"1 MiB\"\n{}", configuration(receiver)));
    let (config, data) = (dir.path().join("honeyguide.toml"), site.data());
    let run = || -> Child {
        let arguments = ["run", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
        Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut seed = 20_261_121u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    for kill in 0..kills() {
        let mut daemon = run();
        let end = Instant::now() + Duration::from_millis(150 + below(600));
        while Instant::now() < end {
            site.write(1 + below(300));
            std::thread::sleep(Duration::from_millis(below(15)));
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        if kill % 4 == 3 {
            // Then the journal's own note of the cursor counts, which is older.
            std::fs::remove_dir_all(data.join("state")).unwrap();
        }
    }
    let mut daemon = run();
    let expected: BTreeSet<String> = (0..site.written()).map(event).collect();
    until("everything arrived", || receiver.received().iter().map(|(_, line)| line).collect::<BTreeSet<_>>().len() == expected.len());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success(), "drained");
    arrived(receiver, &expected, true);
    println!("{} kills, {} events, {} arrivals", kills(), expected.len(), receiver.received().len());
}

/// A directory, which may be missing, or be a file.
struct Directory {
    dir: PathBuf,
    format: &'static str,
}

impl Receiver for Directory {
    fn table(&self) -> String {
        format!("type = \"file\"\npath = \"{}\"\n{}", self.dir.join("out").display(), self.format)
    }

    fn suffer(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Absent => std::fs::remove_dir(&self.dir).unwrap(),
            Fault::Failing => {
                std::fs::remove_dir(&self.dir).unwrap();
                std::fs::write(&self.dir, "a file where a directory should be").unwrap();
            }
            _ => return false,
        }
        true
    }

    fn recover(&mut self) {
        if self.dir.is_file() {
            std::fs::remove_file(&self.dir).unwrap();
        }
        std::fs::create_dir_all(&self.dir).unwrap();
    }

    fn received(&self) -> Vec<(Option<String>, String)> {
        let text = std::fs::read_to_string(self.dir.join("out")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| match self.format {
            "envelope = true" => {
                let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
                // The event itself, byte for byte.
                let event = line.split_once("\"event\":").and_then(|(_, event)| event.strip_suffix('}')).unwrap().to_owned();
                (envelope["id"].as_str().map(str::to_owned), event)
            }
            _ => (None, line.to_owned()),
        };
        whole.lines().map(read).collect()
    }

    fn exactly_once(&self) -> bool {
        true
    }
}

fn directory(place: &Path, format: &'static str) -> Box<dyn Receiver> {
    let dir = place.join("receiver");
    std::fs::create_dir(&dir).unwrap();
    Box::new(Directory { dir, format })
}

#[test]
fn a_file_conforms() {
    conforms("file", &mut |place| directory(place, ""));
}

#[test]
fn a_file_of_envelopes_conforms() {
    conforms("file with envelopes", &mut |place| directory(place, "envelope = true"));
}

/// Takes a server away as soon as something has arrived, and brings it back.
fn dies_once(has_some: impl Fn() -> bool + Send + 'static, absent: impl Fn() + Send + 'static, present: impl Fn() + Send + 'static) {
    std::thread::spawn(move || {
        until("something arrived", has_some);
        absent();
        std::thread::sleep(Duration::from_millis(300));
        present();
    });
}

/// What most faults are over HTTP.
fn http_fault(faults: &receivers::Faults, fault: Fault) {
    use receivers::Fault as Http;
    match fault {
        Fault::Slow => faults.set(Http::Slow(Duration::from_millis(20))),
        Fault::Busy => faults.set(Http::RetryAfter(429, "1".into())),
        Fault::Failing => faults.set(Http::Status(503)),
        // Its time, which no other event has and no escape changes.
        Fault::Poison => faults.poison(event(POISON).split("\"timestamp\":\"").nth(1).map(|rest| &rest[..27])),
        Fault::RedirectsInside => faults.set(Http::Redirect(307, "http://169.254.169.254/latest/meta-data/".into())),
        Fault::WrongCredentials => faults.set(Http::Status(401)),
        Fault::Absent | Fault::DiesMidBatch | Fault::Partial => unreachable!("each receiver's own"),
    }
}

fn well(faults: &receivers::Faults) {
    faults.set(receivers::Fault::None);
    faults.poison(None);
}

/// A receiver of webhooks, and the file with the key that it verifies.
struct Hook {
    server: Arc<receivers::webhook::Receiver>,
    secret: PathBuf,
}

impl Receiver for Hook {
    fn table(&self) -> String {
        format!(
            "type = \"webhook\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\ncompression = \"gzip\"\nsecret_file = \"{}\"",
            self.server.url(),
            self.secret.display()
        )
    }

    fn suffer(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Absent => self.server.server.absent(),
            Fault::DiesMidBatch => {
                self.server.faults().set_times(receivers::Fault::DieMidBody, 3);
                let servers = [self.server.clone(), self.server.clone(), self.server.clone()];
                let [asked, gone, back] = servers;
                dies_once(move || asked.count() > 200, move || gone.server.absent(), move || back.server.present());
            }
            // A webhook takes a batch or does not.
            Fault::Partial => return false,
            other => http_fault(self.server.faults(), other),
        }
        true
    }

    fn recover(&mut self) {
        well(self.server.faults());
        self.server.server.present();
    }

    fn received(&self) -> Vec<(Option<String>, String)> {
        let lines = self.server.lines();
        let times = self.server.events();
        assert_eq!(self.server.problems(), Vec::<String>::new());
        let of =
            |(id, line): (&String, &String)| std::iter::repeat_n((Some(id.clone()), line.clone()), times[id] as usize).collect::<Vec<_>>();
        lines.iter().flat_map(of).collect()
    }

    fn exactly_once(&self) -> bool {
        false
    }
}

#[test]
fn a_webhook_conforms() {
    conforms("webhook", &mut |place| {
        let (server, secret) = (receivers::webhook::start(), place.join("key"));
        server.keep_lines();
        std::fs::write(&secret, receivers::webhook::SECRET).unwrap();
        Box::new(Hook { server, secret })
    });
}

impl Receiver for Arc<receivers::elasticsearch::Double> {
    fn table(&self) -> String {
        format!("type = \"elasticsearch\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]", self.url())
    }

    fn suffer(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Absent => self.server.absent(),
            Fault::DiesMidBatch => {
                self.faults().set_times(receivers::Fault::DieMidBody, 3);
                let [asked, gone, back] = [self.clone(), self.clone(), self.clone()];
                dies_once(move || asked.count() > 200, move || gone.server.absent(), move || back.server.present());
            }
            Fault::Partial => self.faults().set(receivers::Fault::Partial { every: 3, status: 429 }),
            other => http_fault(self.faults(), other),
        }
        true
    }

    fn recover(&mut self) {
        well(self.faults());
        self.server.present();
    }

    fn received(&self) -> Vec<(Option<String>, String)> {
        let original = |document: receivers::elasticsearch::Document| {
            (Some(document.id), document.source["event"]["original"].as_str().expect("the line").to_owned())
        };
        self.documents().into_iter().map(original).collect()
    }

    /// The same id twice in an index is one document.
    fn exactly_once(&self) -> bool {
        false
    }
}

#[test]
fn elasticsearch_conforms() {
    conforms("elasticsearch", &mut |_| Box::new(receivers::elasticsearch::start()));
}
