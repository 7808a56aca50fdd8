//! What an operator sees of sinks and can do about them, mostly with files as receivers; and what retention leaves to them.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use served::{Daemon, Home, until};

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
    let too_far = ["sinks", "replay", "archive", "--from", "3502"];
    assert!(format!("{:#}", home.fails(&too_far)).contains("there is no event 3502 yet: the newest is 3500"));
    drop(daemon);
    assert!(format!("{:#}", home.fails(&too_far)).contains("there is no event 3502 yet"));
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
fn the_end_at_which_a_new_sink_starts_stays_where_it_was() {
    let home = Home::with("");
    home.expect(Exit::Done, &["load", home.write("before.json", &served::log(1, 100)).to_str().unwrap()]);
    let sink = "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"missing/out.ndjson\"\nstart = \"end\"\nbatch_age_ms = 5\n";
    std::fs::write(home.config(), format!("{}{sink}", std::fs::read_to_string(home.config()).unwrap())).unwrap();
    let after = home.write("after.json", &served::log(2, 50));
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", after.to_str().unwrap()]);
    drop(daemon);
    // Nothing could be delivered, and what came since it started is still to be.
    let _daemon = Daemon::start(&home);
    std::fs::create_dir(home.path("missing")).unwrap();
    let delivered = || std::fs::read(home.path("missing/out.ndjson")).unwrap_or_default();
    until("what came since is delivered", || delivered() == std::fs::read(&after).unwrap());
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
        let show = || home.json(Exit::Done, &["sinks", "show", "archive"]);
        until("delivered what there is", || show()["state"] == "idle" && show()["lag_events"] == 0);
        let row = show();
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

#[test]
fn a_reload_adds_changes_and_removes_sinks_without_repeating_or_losing() {
    let home = Home::with("[[sink]]\nname = \"a\"\ntype = \"file\"\npath = \"a.ndjson\"\nbatch_age_ms = 5\n");
    let log = home.write("one.json", &served::log(1, 2_000));
    let lines = |name: &str| std::fs::read_to_string(home.path(name)).unwrap_or_default().lines().count();
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", log.to_str().unwrap()]);
    let reload = |sinks: &str| {
        let text = format!("data_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{sinks}");
        std::fs::write(home.config(), text).unwrap();
        let settings = honeyguide::config::load(Some(&home.config()), None).unwrap();
        daemon.engine().settings.send_replace(settings.clone());
        daemon.engine().supervisor.do_send(honeyguide::actors::supervisor::Reload(settings));
    };
    until("a has all", || lines("a.ndjson") == 2_000);
    // Changed, while it delivers; and another beside it, for some.
    home.expect(Exit::Done, &["load", home.write("two.json", &served::log(2, 2_000)).to_str().unwrap()]);
    let some = "[[sink]]\nname = \"b\"\ntype = \"file\"\npath = \"b.ndjson\"\nbatch_age_ms = 5\nfilter = \"eventid:cowrie.login.*\"\n";
    reload(&format!("[[sink]]\nname = \"a\"\ntype = \"file\"\npath = \"a.ndjson\"\nbatch_events = 7\nbatch_age_ms = 5\n{some}"));
    until("a has the rest, too", || lines("a.ndjson") == 4_000);
    let logins = [1, 2].map(|seed| served::log(seed, 2_000)).concat();
    let logins = logins.split(|&byte| byte == b'\n').filter(|line| String::from_utf8_lossy(line).contains("cowrie.login.")).count();
    until("b has those it wants", || lines("b.ndjson") == logins);
    until("and passed the others", || home.json(Exit::Done, &["sinks", "show", "b"])["lag_events"] == 0);
    reload(some);
    until("a is removed", || home.json(Exit::Done, &["sinks", "show", "a"])["state"] == "removed");
    home.expect(Exit::Done, &["load", home.write("three.json", &served::log(3, 500)).to_str().unwrap()]);
    until("b goes on", || home.json(Exit::Done, &["sinks", "show", "b"])["lag_events"] == 0 && lines("b.ndjson") > logins);
    assert_eq!(lines("a.ndjson"), 4_000);
    assert!(format!("{:#}", home.fails(&["sinks", "forget", "b"])).contains("is configured"));
    home.expect(Exit::Done, &["sinks", "forget", "a"]);
    assert!(home.fails(&["sinks", "show", "a"]).to_string().contains("no sink"));
    assert_eq!(lines("a.ndjson"), 4_000, "in order, each once: {}", lines("a.ndjson"));
}

#[test]
fn a_reload_takes_a_credential_that_was_changed_in_its_file() {
    let server = receivers::elasticsearch::start();
    server.require_authorization(Some("Bearer new"));
    let sink = format!(
        "[[sink]]\nname = \"siem\"\ntype = \"elasticsearch\"\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\ntoken_file = \"token\"\n\
         backoff_ms_max = 60000\nbackoff_initial_ms = 60000\n",
        server.url()
    );
    let home = Home::with(&sink);
    let token = home.write("token", b"old\n");
    home.expect(Exit::Done, &["load", home.write("log.json", &served::log(1, 300)).to_str().unwrap()]);
    let daemon = Daemon::start(&home);
    until("it is refused", || home.json(Exit::Done, &["sinks", "show", "siem"])["state"] == "degraded");
    std::fs::write(token, "new\n").unwrap();
    let settings = honeyguide::config::load(Some(&home.config()), None).unwrap();
    daemon.engine().supervisor.do_send(honeyguide::actors::supervisor::Reload(settings));
    until("all is delivered", || server.count() == 300);
}

#[test]
fn a_journal_that_was_begun_anew_is_written_behind_what_the_file_has() {
    let home = home();
    let (first, second) = (home.write("first.json", &served::log(1, 30)), home.write("second.json", &served::log(2, 20)));
    let lines = || std::fs::read_to_string(home.path("out.ndjson")).unwrap_or_default().lines().count();
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", first.to_str().unwrap()]);
    until("it is in the file", || lines() == 30);
    drop(daemon);
    std::fs::remove_dir_all(home.data()).unwrap();
    let _daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", second.to_str().unwrap()]);
    until("the other journal's events as well", || lines() == 50);
    let both = [std::fs::read(first).unwrap(), std::fs::read(second).unwrap()].concat();
    assert_eq!(std::fs::read(home.path("out.ndjson")).unwrap(), both);
}

#[test]
fn dead_letters_that_arrived_are_gone_although_the_redelivery_broke_off() {
    use honeyguide::sources::{Reason, Refused};
    use honeyguide::store::{QuarantineRecord, Undelivered};
    const LETTERS: usize = 300;
    let home = Home::with(
        "[[sink]]\nname = \"slow\"\ntype = \"file\"\npath = \"out.ndjson\"\nbatch_age_ms = 5\nbatch_events = 5\nrate_per_second = 5\n",
    );
    let log = home.write("cowrie.json", &served::log(1, 5));
    let lines = || std::fs::read_to_string(home.path("out.ndjson")).unwrap_or_default().lines().count();
    let daemon = Daemon::start(&home);
    home.expect(Exit::Done, &["load", log.to_str().unwrap()]);
    until("it is in the file", || lines() == 5);
    let letter = |number: usize| {
        let bytes = format!("{{\"letter\":{number}}}").into_bytes();
        let (len, hash) = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
        let refused = Refused { reason: Reason::Undeliverable, offset: 1, len, hash, bytes, detail: "was refused".into() };
        let undelivered = Undelivered { sink: "slow".into(), sequence: 1, id: format!("{number:032x}"), time: 0 };
        let record = QuarantineRecord::new(&refused, "cowrie", "cowrie", "sink:slow", 1_774_138_242_000_000);
        QuarantineRecord { undelivered: Some(undelivered), ..record }
    };
    daemon.engine().store().bury(&(0..LETTERS).map(letter).collect::<Vec<_>>(), 1).unwrap();
    let retry = ["sinks", "dead", "retry", "slow"];
    std::thread::scope(|scope| {
        let broken_off = scope.spawn(|| home.fails(&retry));
        until("some arrived", || lines() > 5);
        assert!(format!("{:#}", home.fails(&retry)).contains("try again"), "one at a time");
        home.expect(Exit::Done, &["sinks", "pause", "slow"]);
        let error = format!("{:#}", broken_off.join().unwrap());
        assert!(error.contains("arrived before"), "{error}");
    });
    assert!(format!("{:#}", home.fails(&retry)).contains("paused"));
    let dead = home.json(Exit::Done, &["sinks", "dead", "list", "slow", "--limit", "1000"]);
    assert_eq!(dead.as_array().unwrap().len() + lines() - 5, LETTERS, "in the file or in quarantine");
}
