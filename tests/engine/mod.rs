//! The real engine in this process, following a real log: what the whole-program tests of faults share.
#![allow(dead_code)] // each test program uses its part
use honeyguide::config;
use honeyguide::daemon::{DataDir, Engine};
use honeyguide::events::time;
use honeyguide::os::notify::Notifier;
use honeyguide::service::{self, SearchRequest};
use honeyguide::telemetry::Telemetry;
use std::future::Future;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A directory with a log, and a configuration that follows it.
pub struct Site {
    pub root: PathBuf,
    pub log: PathBuf,
    format: &'static str,
    line: fn(u64) -> String,
    written: u64,
}

impl Site {
    pub fn new(root: &Path) -> Site {
        Site::of(root, "cowrie", event)
    }

    /// With another endless log, whose line `n` is `line(n)`.
    pub fn of(root: &Path, format: &'static str, line: fn(u64) -> String) -> Site {
        std::fs::create_dir_all(root.join("log")).unwrap();
        Site { root: root.to_owned(), log: root.join(format!("log/{format}.json")), format, line, written: 0 }
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Appends this many events to the log.
    pub fn write(&mut self, events: u64) {
        let mut text = Vec::new();
        for n in self.written..self.written + events {
            text.extend_from_slice((self.line)(n).as_bytes());
            text.push(b'\n');
        }
        self.append(&text);
        self.written += events;
    }

    /// How many events have been written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Renames the log, as Cowrie and logrotate do.
    pub fn rotate(&self, number: u64) {
        std::fs::rename(&self.log, self.log.with_file_name(format!("cowrie.json.{number:06}"))).unwrap();
    }

    /// Appends anything to the log.
    pub fn append(&self, bytes: &[u8]) {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.log).unwrap();
        file.write_all(bytes).unwrap();
    }

    pub fn settings(&self, more: &str) -> config::Settings {
        let file = self.root.join("honeyguide.toml");
        let (format, pattern) = (self.format, self.root.join(format!("log/{}.json*", self.format)));
        let source = format!("[[source]]\nname = \"site\"\ntype = \"file\"\nformat = \"{format}\"\npaths = [\"{}\"]\n", pattern.display());
        std::fs::write(&file, format!("{more}\n{source}")).unwrap();
        config::load_from(Some(&file), Some(&self.data()), &config::Surroundings::of_process().unwrap()).unwrap()
    }

    /// Runs `body` with the engine started on this site; drains at the end and checks what is left on disk: every event
    /// that was written is there once, in order, and the journal verifies.
    pub fn run<Body: Future<Output = Site>>(self, more: &str, body: impl FnOnce(Site, Arc<Engine>) -> Body) {
        let settings = self.settings(more);
        let telemetry = Telemetry::unlogged();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).unwrap();
        let runner = actix::System::new();
        let site = runner.block_on(async move {
            let engine = Arc::new(Engine::start(data_dir, settings, telemetry, Arc::new(Notifier::from_env().unwrap())));
            engine.available().await;
            let site = body(self, engine.clone()).await;
            eventually("every event is stored", || stored(&engine) == site.written).await;
            assert!(engine.drain().await, "drained");
            engine.release().await;
            site
        });
        drop(runner);
        site.check();
    }

    /// What is on disk, with nobody at work on it: every event that was written, once, in order; and all of it verifies.
    pub fn check(&self) {
        let settings = self.settings("");
        let open = DataDir::open(&settings, &Telemetry::unlogged(), &mut |_| {}).unwrap().into_store();
        let mut found = Vec::new();
        let request = SearchRequest { query: "eventid:*".into(), limit: u64::MAX, newest: false };
        service::search(&open.store, &request, time::now(), &mut |line| {
            found.push(String::from_utf8(line.to_vec()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        let expected: Vec<String> = (0..self.written).map(self.line).collect();
        assert_eq!(found.len(), expected.len());
        assert_eq!(found, expected);
        let verified = service::verify(&open.store, &mut |_, _| {}).unwrap();
        assert!(verified.journal.damage.is_empty() && verified.bad_sidecars.is_empty(), "{verified:?}");
        assert!(verified.ledger.damage.is_empty() && verified.quarantine.damage.is_empty(), "{verified:?}");
    }
}

/// Event `n` of the endless log.
pub fn event(n: u64) -> String {
    let at = time::format(1_780_000_000_000_000 + n as i64 * 1_000);
    format!(
        r#"{{"eventid":"cowrie.login.failed","username":"u{}","password":"p{n}","sensor":"site","timestamp":"{at}","src_ip":"192.0.2.{}","session":"{:012x}","protocol":"ssh"}}"#,
        n % 100,
        n % 250,
        n / 8,
    )
}

/// Events that readers see.
pub fn stored(engine: &Engine) -> u64 {
    engine.store().view().events()
}

/// Waits for a condition, for at most half a minute.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
