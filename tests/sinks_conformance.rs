//! One suite over all sinks: whatever its receiver does, a sink loses nothing, repeats with the same keys, says that it is in trouble,
//! and keeps nobody else waiting. A new kind of sink joins with a [`Receiver`] and a test that calls [`conforms`].
mod engine;
mod receivers;
mod served;

use actix::Actor;
use engine::{Site, event};
use honeyguide::actors::exporter::{Drain, ExporterActor, ExporterConfig};
use honeyguide::cli::context::Exit;
use honeyguide::config;
use honeyguide::daemon::DataDir;
use honeyguide::sinks::delivery::{SinkSnapshot, SinkState};
use honeyguide::telemetry::Telemetry;
use serde_json::json;
use served::{Daemon, Home, until};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a receiver may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The one item that receivers refuse: the one that line number 77 of the log makes due.
const POISON: u64 = 77;
const EVENTS: u64 = 2_000;

/// The endless log that a sink is tested with.
#[derive(Clone, Copy)]
struct Traffic {
    format: &'static str,
    /// Line `n`.
    line: fn(u64) -> String,
    /// What is to be delivered on account of line `n`, once it is written.
    due: fn(u64) -> Option<String>,
    /// So many lines are written in one go, at most, while the daemon is killed.
    written_at_once_max: u64,
}

/// Each event is to be delivered as it is.
const LOGINS: Traffic = Traffic { format: "cowrie", line: event, due: |n| Some(event(n)), written_at_once_max: 300 };

impl Traffic {
    fn log(&self, lines: u64) -> Vec<u8> {
        (0..lines).flat_map(|n| ((self.line)(n) + "\n").into_bytes()).collect()
    }

    /// Everything that is due once so many lines are written.
    fn due(&self, lines: u64) -> BTreeSet<String> {
        (0..lines).filter_map(self.due).collect()
    }
}

/// Where a sink under test delivers to: a real server, or a real directory.
trait Receiver {
    /// `type`, place and credentials: the lines of the sink's table that are this receiver's.
    fn table(&self) -> String;

    /// What is written for it.
    fn traffic(&self) -> Traffic {
        LOGINS
    }

    /// From now on it behaves like this; or why a receiver of its kind cannot.
    fn suffer(&mut self, fault: Fault) -> Result<(), &'static str>;

    /// From now on nothing is wrong with it.
    fn recover(&mut self);

    /// Everything that arrived, in the order of arrival: (key of the item, where there is one; item, as in [`Traffic::due`]).
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

/// The suite. `make` begins a receiver with an empty directory of its own.
fn conforms(name: &str, make: &mut dyn FnMut(&Path) -> Box<dyn Receiver>) {
    for fault in FAULTS {
        let place = tempfile::tempdir().unwrap();
        let mut receiver = make(place.path());
        match receiver.suffer(fault) {
            Ok(()) => {
                survives(&mut *receiver, fault);
                println!("{name}: {fault:?}");
            }
            Err(why) => println!("{name}: {fault:?} does not apply: {why}"),
        }
    }
    let place = tempfile::tempdir().unwrap();
    let mut receiver = make(place.path());
    survives_being_killed(&mut *receiver);
    println!("{name}: SIGKILL of the daemon");
    let place = tempfile::tempdir().unwrap();
    let mut receiver = make(place.path());
    survives_six_hours(&mut *receiver);
    println!("{name}: six hours of absence");
}

fn survives(receiver: &mut dyn Receiver, fault: Fault) {
    let traffic = receiver.traffic();
    let home = Home::with(&configuration(receiver));
    let input = home.write("log.json", &traffic.log(EVENTS));
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", "--format", traffic.format, input.to_str().unwrap()]);
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
    let all = traffic.due(EVENTS);
    let mut expected = all.clone();
    match fault {
        Fault::Poison => {
            expected.remove(&(traffic.due)(POISON).expect("an item"));
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
        arrived(receiver, &all, false);
    }
}

/// Everything is there; what is there twice has the same key.
fn arrived(receiver: &dyn Receiver, expected: &BTreeSet<String>, in_order: bool) {
    let received = receiver.received();
    let items: BTreeSet<String> = received.iter().map(|(_, item)| item.clone()).collect();
    let wrong: Vec<_> = items.symmetric_difference(expected).take(3).collect();
    assert!(wrong.is_empty(), "{} of {} items, such as {wrong:?}", items.len(), expected.len());
    if receiver.exactly_once() {
        assert_eq!(received.len(), expected.len(), "nothing twice");
        let sequence: Vec<&String> = received.iter().map(|(_, line)| line).collect();
        // Of the test's log, numbers grow with the time in the line.
        assert!(!in_order || sequence.is_sorted_by_key(|line| line.split("\"timestamp\":").nth(1).map(str::to_owned)), "in order");
    }
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, item) in &received {
        keys.entry(item).or_default().extend(key.as_deref());
    }
    assert!(keys.values().all(|keys| keys.len() <= 1), "repeats carry the same key");
}

fn kills() -> u64 {
    std::env::var("HONEYGUIDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

/// The real process, killed again and again between anything and anything else, now and then with its state gone as well.
fn survives_being_killed(receiver: &mut dyn Receiver) {
    let dir = tempfile::tempdir().unwrap();
    let traffic = receiver.traffic();
    let mut site = Site::of(dir.path(), traffic.format, traffic.line);
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
            site.write(1 + below(traffic.written_at_once_max));
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
    let expected = traffic.due(site.written());
    until("everything arrived", || receiver.received().iter().map(|(_, item)| item).collect::<BTreeSet<_>>().len() == expected.len());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success(), "drained");
    arrived(receiver, &expected, true);
    println!("{} kills, {} items, {} arrivals", kills(), expected.len(), receiver.received().len());
}

/// The sink's own actor over a real journal, in virtual time while nobody is there, with the pace that sinks have by themselves.
fn survives_six_hours(receiver: &mut dyn Receiver) {
    const HOURS_6: u64 = 6 * 3600;
    let traffic = receiver.traffic();
    let home = Home::with(&format!("[[sink]]\nname = \"tested\"\n{}\nbatch_events = 50\n", receiver.table()));
    let input = home.write("log.json", &traffic.log(EVENTS));
    home.expect(Exit::Done, &["load", "--format", traffic.format, input.to_str().unwrap()]);
    receiver.suffer(Fault::Absent).expect("anything can be absent");
    let mut settings = config::load(Some(&home.config()), None).unwrap();
    let open = DataDir::open(&settings, &Telemetry::unlogged(), &mut |_| {}).unwrap().into_store();
    let (sender, mut snapshot) = tokio::sync::watch::channel(SinkSnapshot::default());
    let exporter = ExporterActor::new(ExporterConfig {
        settings: settings.sinks.remove(0),
        store: open.store.clone(),
        state: open.state.clone(),
        telemetry: Telemetry::unlogged(),
        snapshot: sender,
        model: None,
    });
    actix::System::new().block_on(async {
        tokio::time::pause();
        let address = exporter.start();
        let (mut batches, mut bytes) = (0, 0);
        for second in 0..HOURS_6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = snapshot.borrow().clone();
            (batches, bytes) = (batches.max(now.batches), bytes.max(now.batch_bytes));
            assert!(second < 60 || now.state == SinkState::Degraded && now.reason.is_some(), "after {second} s: {now:?}");
        }
        let attempts = snapshot.borrow().attempts;
        assert!(batches <= 5 && bytes < 5 * 50 * 1024, "{batches} batches with {bytes} bytes");
        assert!((10..HOURS_6 / 20).contains(&attempts), "{attempts} attempts");
        receiver.recover();
        // Behind the longest wait between two attempts.
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        let settled = snapshot.wait_for(|now| now.state == SinkState::Idle && now.lag_events == 0);
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("in time").expect("it runs");
        address.send(Drain(Duration::from_secs(10))).await.unwrap();
        println!("{attempts} attempts in six hours, at most {batches} batches with {bytes} bytes");
    });
    arrived(receiver, &traffic.due(EVENTS), true);
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

    fn suffer(&mut self, fault: Fault) -> Result<(), &'static str> {
        match fault {
            Fault::Absent => std::fs::remove_dir(&self.dir).unwrap(),
            Fault::Failing => {
                std::fs::remove_dir(&self.dir).unwrap();
                std::fs::write(&self.dir, "a file where a directory should be").unwrap();
            }
            Fault::DiesMidBatch => return Err("it has no other end that could; the daemon dies instead"),
            Fault::Slow | Fault::Busy | Fault::RedirectsInside | Fault::WrongCredentials => return Err("nobody answers"),
            Fault::Partial | Fault::Poison => return Err("it takes whatever is written"),
        }
        Ok(())
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

    fn suffer(&mut self, fault: Fault) -> Result<(), &'static str> {
        match fault {
            Fault::Absent => self.server.server.absent(),
            Fault::DiesMidBatch => {
                self.server.faults().set_times(receivers::Fault::DieMidBody, 3);
                let servers = [self.server.clone(), self.server.clone(), self.server.clone()];
                let [asked, gone, back] = servers;
                dies_once(move || asked.count() > 200, move || gone.server.absent(), move || back.server.present());
            }
            Fault::Partial => return Err("a webhook takes a batch or does not"),
            other => http_fault(self.server.faults(), other),
        }
        Ok(())
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

    fn suffer(&mut self, fault: Fault) -> Result<(), &'static str> {
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
        Ok(())
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

/// Messages of a chat, and chats that go on at the same time.
const MESSAGES: u64 = 5;
const AT_ONCE: u64 = 8;

/// Chat and message of line `n`: every chat of a block says its first message, then its second, and so on.
fn place_of(n: u64) -> (u64, u64) {
    let (block, within) = (n / (MESSAGES * AT_ONCE), n % (MESSAGES * AT_ONCE));
    (block * AT_ONCE + within % AT_ONCE, within / AT_ONCE)
}

fn session_of(chat: u64) -> String {
    format!("chat-{chat:06}")
}

/// Scams that end with a goodbye. One result is due for each, of all its messages.
const CHATS: Traffic = Traffic {
    format: "chat",
    line: |n| {
        let (chat, message) = place_of(n);
        let (sender, text) = match message {
            0 => ("scammer", "URGENT: your SBI account will be blocked today. Share your OTP immediately.".to_owned()),
            1 => ("user", "Who is this?".to_owned()),
            2 => ("scammer", format!("The fraud department. Pay Rs 500 to desk{chat}@ybl now")),
            3 => ("user", "I do not think so.".to_owned()),
            _ => ("user", "No. Goodbye!".to_owned()),
        };
        let said = json!({"sender": sender, "text": text, "timestamp": 1_780_000_000_000 + n});
        json!({"sessionId": session_of(chat), "message": said, "conversationHistory": [], "metadata": {"channel": "SMS"}}).to_string()
    },
    due: |n| {
        let (chat, message) = place_of(n);
        (message == MESSAGES - 1).then(|| told_of(&session_of(chat), MESSAGES, &format!("desk{chat}@ybl")))
    },
    // One request each.
    written_at_once_max: 30,
};

/// A result, as far as it can be told beforehand.
fn told_of(session: &str, messages: u64, upi: &str) -> String {
    format!("{session}: {messages} messages, {upi}")
}

/// A receiver of final results, and the file with the key that it wants.
struct Results {
    server: Arc<receivers::guvi::Receiver>,
    api_key: PathBuf,
}

impl Receiver for Results {
    fn table(&self) -> String {
        format!(
            "type = \"guvi\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\napi_key_file = \"{}\"",
            self.server.url(),
            self.api_key.display()
        )
    }

    fn traffic(&self) -> Traffic {
        CHATS
    }

    fn suffer(&mut self, fault: Fault) -> Result<(), &'static str> {
        match fault {
            Fault::Absent => self.server.server.absent(),
            // A result is taken, and its sender does not learn of it.
            Fault::DiesMidBatch => {
                self.server.faults().set_times(receivers::Fault::DieMidBody, 3);
                let [asked, gone, back] = [self.server.clone(), self.server.clone(), self.server.clone()];
                dies_once(move || asked.told().len() > 20, move || gone.server.absent(), move || back.server.present());
            }
            Fault::Partial => return Err("the convention has no batches: a result is taken or is not"),
            Fault::Poison => self.server.faults().poison(Some(&session_of(place_of(POISON).0))),
            other => http_fault(self.server.faults(), other),
        }
        Ok(())
    }

    fn recover(&mut self) {
        well(self.server.faults());
        self.server.server.present();
    }

    /// Not only the key is the same when a result comes again: all of it is.
    fn received(&self) -> Vec<(Option<String>, String)> {
        assert_eq!(self.server.problems(), Vec::<String>::new());
        let told = |receivers::guvi::Told { key, result }| {
            let (session, messages) = (result["sessionId"].as_str().unwrap(), result["totalMessagesExchanged"].as_u64().unwrap());
            let upi = result["extractedIntelligence"]["upiIds"][0].as_str().unwrap_or("nowhere");
            (Some(format!("{key} {result}")), told_of(session, messages, upi))
        };
        self.server.told().into_iter().map(told).collect()
    }

    fn exactly_once(&self) -> bool {
        false
    }
}

#[test]
fn a_receiver_of_final_results_conforms() {
    conforms("guvi", &mut |place| {
        let (server, api_key) = (receivers::guvi::start(), place.join("key"));
        std::fs::write(&api_key, receivers::guvi::API_KEY).unwrap();
        Box::new(Results { server, api_key })
    });
}
