//! Questions to a large data directory, cold (page cache dropped with posix_fadvise first) and warm.
//!
//! `cargo bench --bench query -- DATA_DIR`: DATA_DIR is what `--bench load` or `honeyguide load` left. Prints figures only.
mod directory;

use directory::{anonymous_mib, drop_page_cache};
use honeyguide::config;
use honeyguide::daemon::DataDir;
use honeyguide::events::{Field, time};
use honeyguide::index::aggregate::Interval;
use honeyguide::os::memory;
use honeyguide::service::{self, SearchRequest, aggregate};
use honeyguide::store::Store;
use honeyguide::telemetry::Telemetry;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// A name, and what answers the number of rows.
type Question = (&'static str, Box<dyn Fn(&Store) -> usize>);

const COLD_RUNS: usize = 5;
const WARM_RUNS: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [data] = &arguments[..] else {
        eprintln!("usage: cargo bench --bench query -- DATA_DIR");
        return;
    };
    memory::bound_arenas();
    let settings = config::load_from(None, Some(Path::new(data)), &config::Surroundings::of_process().expect("a current directory"))
        .expect("defaults");
    let open_store = || DataDir::open(&settings, &Telemetry::unlogged(), &mut |_| {}).expect("opens").into_store();
    drop_page_cache(Path::new(data));
    let cold_open = Instant::now();
    drop(open_store());
    println!("opened cold in {:.3} s", cold_open.elapsed().as_secs_f64());
    let warm_open = Instant::now();
    let mut open = Some(open_store());
    println!("opened warm in {:.3} s", warm_open.elapsed().as_secs_f64());
    let store = &open.as_ref().expect("opened in the line above").store;
    let holdings = service::holdings(store).expect("holdings");
    println!(
        "{} events in {} segments, {:.2} GB raw, journal {:.2} %, sidecars {:.2} %",
        holdings.events,
        holdings.segments,
        holdings.raw_bytes as f64 / 1e9,
        100.0 * holdings.journal_bytes as f64 / holdings.raw_bytes as f64,
        100.0 * holdings.sidecar_bytes as f64 / holdings.raw_bytes as f64,
    );
    memory::give_back();
    println!("idle RssAnon {:.1} MiB", anonymous_mib());
    let addresses = service::top(store, Field::SrcIp, u64::MAX).expect("top");
    let busiest = String::from_utf8_lossy(&addresses[0].value).into_owned();
    let median = String::from_utf8_lossy(&addresses[addresses.len() / 2].value).into_owned();
    let sessions = service::top(store, Field::Session, u64::MAX).expect("sessions");
    let session = String::from_utf8_lossy(&sessions[sessions.len() / 2].value).into_owned();
    println!(
        "{} addresses (busiest {} events, median {}), {} sessions",
        addresses.len(),
        addresses[0].count,
        addresses[addresses.len() / 2].count,
        sessions.len()
    );
    drop((addresses, sessions));
    let first_50 = |query: String, newest| SearchRequest { query, limit: 50, newest };
    let questions: Vec<Question> = vec![
        (
            "one session",
            Box::new(move |store| {
                let mut lines = 0;
                service::session(store, &session, time::now(), &mut |_| {
                    lines += 1;
                    ControlFlow::Continue(())
                })
                .map_or(0, |()| lines)
            }),
        ),
        ("first 50 of a median address", Box::new(move |store| search(store, &first_50(format!("src_ip:{median}"), false)))),
        (
            "first 50 of the busiest address",
            Box::new({
                let busiest = busiest.clone();
                move |store| search(store, &first_50(format!("src_ip:{busiest}"), false))
            }),
        ),
        ("newest 50 of the busiest address", Box::new(move |store| search(store, &first_50(format!("src_ip:{busiest}"), true)))),
        ("top src_ip", Box::new(|store| service::top(store, Field::SrcIp, 20).map_or(0, |rows| rows.len()))),
        ("top password", Box::new(|store| service::top(store, Field::Password, 20).map_or(0, |rows| rows.len()))),
        ("count by day", Box::new(|store| counted(store, "", Some(Interval::Day)))),
        ("count by hour since:7d", Box::new(|store| counted(store, "since:7d", Some(Interval::Hour)))),
        ("count by day, username:root", Box::new(|store| counted(store, "username:root", Some(Interval::Day)))),
        (
            "distinct src_ip",
            Box::new(|store| aggregate::distinct(store, Field::SrcIp, "", time::now()).map_or(0, |count| count.values as usize)),
        ),
        (
            "new src_ip since 3650d",
            Box::new(|store| aggregate::new_values(store, Field::SrcIp, "since:3650d", 20, time::now()).map_or(0, |rows| rows.len())),
        ),
        ("command:*wget*, newest 50", Box::new(move |store| search(store, &first_50("command:*wget*".into(), true)))),
    ];
    for (name, ask) in questions {
        let mut cold = Vec::new();
        for _ in 0..COLD_RUNS {
            // Mapped pages stay whatever one advises: the store has to be closed first.
            drop(open.take());
            drop_page_cache(Path::new(data));
            let opened = open.insert(open_store());
            let started = Instant::now();
            ask(&opened.store);
            cold.push(started.elapsed());
        }
        let store = &open.as_ref().expect("opened in the loop above").store;
        let mut warm = Vec::new();
        let mut rows = 0;
        for _ in 0..WARM_RUNS {
            let started = Instant::now();
            rows = ask(store);
            warm.push(started.elapsed());
        }
        println!("{name}: {rows} rows, cold {}, warm {}", spread(cold), spread(warm));
    }
    println!("RssAnon after all: {:.1} MiB", anonymous_mib());
    memory::give_back();
    println!("RssAnon given back: {:.1} MiB", anonymous_mib());
}

fn counted(store: &Store, query: &str, by: Option<Interval>) -> usize {
    aggregate::count(store, query, by, time::now()).map_or(0, |counts| counts.stretches.len())
}

fn search(store: &Store, request: &SearchRequest) -> usize {
    service::search(store, request, time::now(), &mut |_| ControlFlow::Continue(())).map_or(0, |(hits, _)| hits as usize)
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!("median {:.2} ms, max {:.2} ms", ms(times[times.len() / 2]), ms(times[times.len() - 1]))
}
