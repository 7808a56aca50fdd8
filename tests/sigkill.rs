//! The real binary, killed again and again at random moments: nothing is missing, nothing is there twice.
//!
//! `HONEYGUIDE_KILLS=200 cargo nextest run --test sigkill` kills that often in each test; a normal run kills less.
mod engine;

use engine::{Site, event};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn kills() -> u64 {
    std::env::var("HONEYGUIDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(15)
}

fn honeyguide(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A small generator, so that a failing run can be had again.
struct Random(u64);

fn below(random: &mut Random, bound: u64) -> u64 {
    random.0 = random.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (random.0 >> 33) % bound
}

#[test]
fn a_tail_with_rotations_survives_being_killed_at_any_moment() {
    let mut dir = tempfile::tempdir().unwrap();
    if std::env::var_os("HONEYGUIDE_KEEP").is_some() {
        dir.disable_cleanup(true);
        println!("{}", dir.path().display());
    }
    let mut site = Site::new(dir.path());
    // Small segments, so that sealing is hit as well; no fixed port.
    site.settings("[admin]\nlisten = \"off\"\n[journal]\nsegment_bytes = \"1 MiB\"");
    let config = dir.path().join("honeyguide.toml");
    let data = site.data();
    let run = || honeyguide(&["run", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    let mut random = Random(20261121);
    let mut rotations = 0;
    for _ in 0..kills() {
        let mut daemon = run();
        let until = Instant::now() + Duration::from_millis(50 + below(&mut random, 450));
        while Instant::now() < until {
            site.write(1 + below(&mut random, 200));
            if below(&mut random, 8) == 0 {
                site.rotate(rotations);
                rotations += 1;
                site.write(1);
            }
            std::thread::sleep(Duration::from_millis(below(&mut random, 15)));
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    // The last one may finish: it has everything when the data directory stops changing and it is drained by SIGTERM.
    let mut daemon = run();
    let settled = Instant::now() + Duration::from_secs(60);
    let asked = || {
        let args = ["status", "--json", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let output = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(args).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["journal"]["events"].as_u64().unwrap_or(0)
    };
    while asked() < site.written() {
        assert!(Instant::now() < settled, "{} of {} events", asked(), site.written());
        std::thread::sleep(Duration::from_millis(50));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success(), "drained");
    println!("{} kills, {} events, {rotations} rotations", kills(), site.written());
    site.check();
}

#[test]
fn a_load_survives_being_killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path());
    site.settings("[journal]\nsegment_bytes = \"1 MiB\"");
    site.write(60_000);
    let config = dir.path().join("honeyguide.toml");
    let data = site.data();
    let log = site.log.clone();
    let arguments =
        ["load", log.to_str().unwrap(), "--format", "cowrie", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let mut random = Random(7);
    let mut finished = 0;
    for kill in 0..kills() {
        let mut load = honeyguide(&arguments);
        std::thread::sleep(Duration::from_millis(20 + below(&mut random, 400)));
        // One that had finished already was not killed in the middle: give the next a file that has grown.
        if load.try_wait().unwrap().is_some() {
            finished += 1;
            site.write(20_000);
        } else {
            load.kill().unwrap();
            load.wait().unwrap();
        }
        assert!(finished <= kill + 1);
    }
    assert!(honeyguide(&arguments).wait().unwrap().success());
    println!("{} runs, {finished} of them finished, {} events", kills(), site.written());
    site.check();
    // And everything is known: once more stores nothing.
    let again = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(arguments).arg("--json").output().unwrap();
    let last = String::from_utf8(again.stdout).unwrap().lines().last().unwrap_or_default().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((summary["events"].as_u64(), summary["duplicates"].as_u64()), (Some(0), Some(site.written())), "{last}");
}

#[test]
fn bulk_and_tail_of_the_same_bytes_give_the_same_events_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path());
    site.write(30_000);
    let log = site.log.to_str().unwrap().to_owned();
    let head = |data: &Path| {
        let args = ["verify", "--json", "--data", data.to_str().unwrap()];
        let output = Command::new(env!("CARGO_BIN_EXE_honeyguide")).args(args).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["events"], 30_000);
        report["head"].as_str().unwrap().to_owned()
    };
    let bulk = dir.path().join("bulk");
    assert!(honeyguide(&["load", &log, "--data", bulk.to_str().unwrap()]).wait().unwrap().success());
    // The digest covers every line and their order, and not where blocks were cut.
    let bulk = head(&bulk);
    let data = site.data();
    site.run("[admin]\nlisten = \"off\"", |site, _| async move { site });
    assert_eq!(head(&data), bulk);
}

#[test]
fn state_that_is_deleted_or_garbled_is_rebuilt_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(dir.path());
    site.settings("[admin]\nlisten = \"off\"\n[journal]\nsegment_bytes = \"1 MiB\"");
    site.write(10_000);
    let config = dir.path().join("honeyguide.toml");
    let data = site.data();
    let config_arguments = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    assert!(
        honeyguide(&[&["load", site.log.to_str().unwrap(), "--format", "cowrie"], &config_arguments[..]].concat())
            .wait()
            .unwrap()
            .success()
    );
    let state = data.join("state");
    let damage: [(&str, &dyn Fn()); 2] =
        [("it was missing", &|| std::fs::remove_dir_all(&state).unwrap()), ("it was damaged", &|| garble(&state))];
    for (cause, damage) in damage {
        damage();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_honeyguide"))
            .args([&["run"], &config_arguments[..]].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::io::BufReader::new(daemon.stdout.take().unwrap());
        let said = std::io::BufRead::lines(log).map_while(Result::ok).take_while(|line| !line.contains("daemon_stopped"));
        let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
        let mut rebuilt = String::new();
        for line in said {
            if line.contains("state_rebuilt") {
                rebuilt = line;
            } else if line.contains("daemon_started") {
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            }
        }
        assert!(daemon.wait().unwrap().success());
        assert!(rebuilt.contains(cause), "{cause}: {rebuilt}");
        site.check();
    }
}

fn garble(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let len = entry.metadata().unwrap().len();
        let mut file = std::fs::File::options().write(true).open(entry.path()).unwrap();
        file.write_all(&vec![0xA5; len as usize]).unwrap();
    }
}

#[test]
fn the_test_log_is_what_the_decoder_takes() {
    let mut batcher = honeyguide::events::batch::Batcher::new();
    let explained = batcher.explain(honeyguide::sources::Format::COWRIE, event(3).as_bytes(), 0);
    assert!(explained[0].event.is_ok());
}
