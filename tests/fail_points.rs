//! Faults put into the real engine at named points: a clear state, no crash loop, nothing lost, nothing twice, and it goes
//! on by itself. Each test has a process of its own (nextest), for fail points are global.
#![cfg(feature = "failpoints")]
mod engine;

use engine::{Site, eventually, stored};
use honeyguide::service;
use honeyguide::sources::Reason;

fn restarts(engine: &honeyguide::daemon::Engine, actor: &str) -> u64 {
    engine.observed.telemetry.metrics.snapshot().actor_restarts.get(actor).copied().unwrap_or_default()
}

/// One panic at `point` while events flow: the actor is restarted in place and nothing is lost.
fn survives_a_panic(point: &'static str, actor: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    Site::new(dir.path()).run("", |mut site, engine| async move {
        site.write(500);
        eventually("the first events", || stored(&engine) == 500).await;
        fail::cfg(point, "1*panic(injected)").unwrap();
        for _ in 0..5 {
            site.write(300);
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
        eventually("the restart", || restarts(&engine, actor) == 1).await;
        site.write(300);
        site
    });
}

#[test]
fn a_panic_in_ingest_is_survived() {
    survives_a_panic("ingest::send", "ingest");
}

#[test]
fn a_panic_in_a_delivery_is_survived_and_delivers_nothing_twice_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.ndjson");
    let sink = format!(
        "[[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"{}\"\nbatch_events = 50\nbatch_age_ms = 5\nbackoff_ms_max = 500\n",
        out.display()
    );
    let lines = || std::fs::read_to_string(&out).unwrap_or_default().lines().count() as u64;
    Site::new(dir.path()).run(&sink, |mut site, engine| async move {
        site.write(500);
        eventually("the first events are delivered", || lines() == 500).await;
        fail::cfg("delivery::attempted", "1*panic(injected)").unwrap();
        site.write(700);
        eventually("the restart", || restarts(&engine, "exporter") == 1).await;
        site.write(300);
        eventually("all events are delivered", || lines() >= site.written()).await;
        site
    });
    let expected: Vec<String> = (0..1500).map(engine::event).collect();
    assert!(std::fs::read_to_string(&out).unwrap().lines().eq(expected.iter().map(String::as_str)));
}

#[test]
fn a_panic_in_extraction_is_survived() {
    survives_a_panic("extraction::handle", "extraction");
}

#[test]
fn a_panic_in_the_journal_is_survived() {
    survives_a_panic("journal::commit", "journal");
}

#[test]
fn a_panic_in_metrics_is_survived() {
    survives_a_panic("metrics::measure", "metrics");
}

#[test]
fn a_panic_in_the_supervisor_is_survived() {
    survives_a_panic("supervisor::beat", "supervisor");
}

#[test]
fn a_line_that_panics_the_decoder_goes_to_quarantine_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    fail::cfg("decoder::line", "return(POISON)").unwrap();
    Site::new(dir.path()).run("", |mut site, engine| async move {
        site.write(100);
        site.append(b"{\"eventid\":\"cowrie.command.input\",\"input\":\"POISON\"}\n");
        site.write(100);
        eventually("all but the poison", || stored(&engine) == 200).await;
        let refused = service::quarantine_list(engine.store(), None, 10).unwrap();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].1.reason, Reason::DecoderPanic);
        assert_eq!(restarts(&engine, "extraction"), 0, "no actor was harmed");
        site
    });
}

/// A failing write or sync: nothing in doubt is acknowledged, the journal says what is wrong, and goes on.
fn survives_io_errors(point: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    Site::new(dir.path()).run("", |mut site, engine| async move {
        site.write(500);
        eventually("the first events", || stored(&engine) == 500).await;
        fail::cfg(point, "3*return").unwrap();
        site.write(500);
        let journal = engine.observed.journal.clone();
        eventually("the fault is seen", || journal.borrow().faults > 0).await;
        eventually("the journal is back", || journal.borrow().available).await;
        site.write(500);
        eventually("everything is stored", || stored(&engine) == 1500).await;
        assert_eq!(restarts(&engine, "journal"), 0, "a disk error is no bug");
        site
    });
}

#[test]
fn write_errors_are_survived() {
    survives_io_errors("fs::write");
}

#[test]
fn fsync_errors_are_survived() {
    survives_io_errors("fs::sync");
}

#[test]
fn a_full_disk_pauses_reading_and_resumes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mounted = nix::mount::mount(Some("tmpfs"), &data, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=24m"));
    if let Err(error) = mounted {
        println!("SKIPPED: a_full_disk_pauses_reading_and_resumes_by_itself: no tmpfs can be mounted here ({error})");
        return;
    }
    let in_tmpfs = data.clone();
    let ran = std::panic::catch_unwind(|| {
        Site::new(dir.path()).run("[journal]\nmin_free_bytes = \"4 MiB\"", |mut site, engine| async move {
            site.write(1000);
            eventually("the first events", || stored(&engine) == 1000).await;
            let filler = in_tmpfs.join("filler");
            let free = engine.store().free_bytes().unwrap();
            std::fs::write(&filler, vec![7; (free - (2 << 20)) as usize]).unwrap();
            let journal = engine.observed.journal.clone();
            eventually("reading pauses", || journal.borrow().paused).await;
            site.write(1000);
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            assert!(stored(&engine) < 2000, "what was written later waits");
            assert!(journal.borrow().available, "answers and what was on its way go on");
            std::fs::remove_file(&filler).unwrap();
            eventually("reading goes on", || !journal.borrow().paused).await;
            // Full within a write, not only near to it: the writer gets ENOSPC.
            fail::cfg("journal::free_bytes", "return(1099511627776)").unwrap();
            let free = engine.store().free_bytes().unwrap();
            let _ = std::fs::write(&filler, vec![7; 30 << 20]);
            assert!(free > 0);
            site.write(3000);
            eventually("the fault is seen", || journal.borrow().faults > 0).await;
            std::fs::remove_file(&filler).unwrap();
            eventually("everything is stored", || stored(&engine) == 5000).await;
            site
        });
    });
    nix::mount::umount2(&data, nix::mount::MntFlags::MNT_DETACH).unwrap();
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}
