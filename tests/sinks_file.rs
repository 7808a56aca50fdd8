//! Events on their way into a file: the real daemon, killed again and again; and what an operator can do about a sink.
mod engine;
mod served;

use engine::{Site, event};
use honeyguide::cli::context::Exit;
use served::{Daemon, Home, until};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn kills() -> u64 {
    std::env::var("HONEYGUIDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

fn honeyguide(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_file_gets_every_event_once_and_in_order_however_often_the_daemon_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path());
    let out = dir.path().join("out.ndjson");
    let sink = format!("[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"{}\"\nbatch_events = 37\nbatch_age_ms = 5", out.display());
    site.settings(&format!("[admin]\nlisten = \"off\"\n[journal]\nsegment_bytes = \"1 MiB\"\n{sink}"));
    let (config, data) = (dir.path().join("honeyguide.toml"), site.data());
    let arguments = ["run", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let mut seed = 20_261_121u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    for kill in 0..kills() {
        let mut daemon = honeyguide(&arguments);
        let end = Instant::now() + Duration::from_millis(150 + below(600));
        while Instant::now() < end {
            site.write(1 + below(300));
            std::thread::sleep(Duration::from_millis(below(15)));
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        if kill % 4 == 3 {
            // The state is lost as well: the journal's own note of the cursor is older, the file knows better.
            std::fs::remove_dir_all(data.join("state")).unwrap();
        }
    }
    let mut daemon = honeyguide(&arguments);
    let deadline = Instant::now() + Duration::from_secs(60);
    let written = || std::fs::read_to_string(&out).unwrap_or_default().lines().count() as u64;
    while written() < site.written() {
        assert!(Instant::now() < deadline, "{} of {}", written(), site.written());
        std::thread::sleep(Duration::from_millis(50));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success(), "drained");
    let text = std::fs::read_to_string(&out).unwrap();
    let expected: Vec<String> = (0..site.written()).map(event).collect();
    assert!(text.lines().eq(expected.iter().map(String::as_str)), "{} lines of {}", text.lines().count(), expected.len());
    println!("{} kills, {} events", kills(), site.written());
}

fn home() -> Home {
    let sink = "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\n\
                [[sink]]\nname = \"nowhere\"\ntype = \"file\"\npath = \"missing/out.ndjson\"\n";
    Home::with(sink)
}

#[test]
fn an_operator_sees_pauses_repeats_and_tests_sinks() {
    let home = home();
    let log = home.write("cowrie.json", &served::log(1, 3_000));
    let out = home.path("out.ndjson");
    let lines = || std::fs::read_to_string(&out).unwrap_or_default().lines().count();
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", log.to_str().unwrap()]);
    until("everything is in the file", || lines() == 3_000);
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&log).unwrap(), "verbatim, in order");

    let rows = home.json(Exit::Done, &["sinks", "list"]);
    assert_eq!((&rows[0]["name"], &rows[0]["type"]), (&"archive".into(), &"file".into()));
    until("it is idle", || home.json(Exit::Done, &["sinks", "show", "archive"])["state"] == "idle");
    until("the other is degraded", || home.json(Exit::Done, &["sinks", "show", "nowhere"])["state"] == "degraded");
    let nowhere = home.json(Exit::Done, &["sinks", "show", "nowhere"]);
    assert!(nowhere["reason"].as_str().unwrap().contains("make its directory"), "{nowhere}");
    assert!(home.expect(Exit::Done, &["status"]).contains("degraded"));
    assert_eq!(home.json(Exit::Done, &["sinks", "test", "archive"])["usable"], true);
    assert_eq!(home.json(Exit::Failed, &["sinks", "test", "nowhere"])["usable"], false);
    assert!(format!("{:#}", home.fails(&["sinks", "show", "nosuch"])).contains("sinks list"));
    let metrics = daemon.tcp(&served::get("/metrics", "localhost")).text();
    assert!(metrics.contains("honeyguide_outgoing_attempts_total{outcome=\"delivered\",sink=\"archive\"}"), "{metrics}");

    assert_eq!(home.json(Exit::Done, &["sinks", "pause", "archive"])["paused"], true);
    let more = home.write("more.json", &served::log(2, 500));
    home.expect(Exit::Done, &["load", more.to_str().unwrap()]);
    assert_eq!(lines(), 3_000);
    drop(daemon);
    // Paused it stays; and orders work on a stopped daemon as well.
    assert_eq!(home.json(Exit::Done, &["sinks", "show", "archive"])["state"], "paused");
    let daemon = Daemon::start(&home);
    assert_eq!(home.json(Exit::Done, &["sinks", "show", "archive"])["state"], "paused");
    assert_eq!(lines(), 3_000);
    home.expect(Exit::Done, &["sinks", "resume", "archive"]);
    until("the rest is in the file", || lines() == 3_500);
    home.expect(Exit::Done, &["sinks", "replay", "archive", "--from", "3001"]);
    until("a part is there again", || lines() == 4_000);
    drop(daemon);
    home.expect(Exit::Done, &["sinks", "replay", "archive", "--from", "3401"]);
    let daemon = Daemon::start(&home);
    until("another part is there again", || lines() == 4_100);
    let ledger = served::files(&home.data().join("ledger"));
    assert!(!ledger.is_empty());
    let mut orders = 0;
    daemon
        .engine()
        .store()
        .ledger()
        .for_each(0, |_, line| {
            orders += usize::from(String::from_utf8_lossy(line).contains("sink_ordered"));
            true
        })
        .unwrap();
    assert_eq!(orders, 4, "each order stands in the ledger");
}

#[test]
fn retention_waits_for_sinks_that_must_not_lose_and_tells_what_others_lost() {
    let may_lose = |may_lose: bool| {
        let sink = format!(
            "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"missing/out.ndjson\"\nmay_lose = {may_lose}\nbackoff_ms_max = 500\n"
        );
        let home =
            Home::with(&format!("[journal]\nsegment_bytes = \"1 MiB\"\ndisk_budget_bytes = \"4 MiB\"\nmin_free_bytes = \"1 MiB\"\n{sink}"));
        for seed in 0..6 {
            let log = home.write("cowrie.json", &served::log(100 + seed, 60_000));
            home.expect(Exit::Done, &["load", log.to_str().unwrap()]);
        }
        home
    };
    let kept = |home: &Home| {
        served::files(&home.data().join("journal")).iter().filter(|path| path.extension().is_some_and(|ext| ext == "zst")).count()
    };
    let (waits, loses) = (may_lose(false), may_lose(true));
    let before = kept(&waits);
    for home in [&waits, &loses] {
        let daemon = Daemon::start(home);
        let store = daemon.engine().store().clone();
        let plan = honeyguide::store::RetentionPlan { disk_budget_bytes: Some(4 << 20), ..Default::default() };
        store.retain(plan, honeyguide::events::time::now()).unwrap();
        std::fs::create_dir(home.path("missing")).unwrap();
        until("delivered what there is", || home.json(Exit::Done, &["sinks", "show", "archive"])["state"] == "idle");
        let row = home.json(Exit::Done, &["sinks", "show", "archive"]);
        let lost = row["lost"].as_u64().unwrap();
        let delivered = std::fs::read_to_string(home.path("missing/out.ndjson")).unwrap().lines().count() as u64;
        if std::ptr::eq(home, &waits) {
            assert!(lost == 0 && kept(home) == before, "{row}");
        } else {
            assert!(lost > 0, "{row}");
        }
        assert_eq!(delivered + lost, row["head"].as_u64().unwrap() - 1);
    }
}
