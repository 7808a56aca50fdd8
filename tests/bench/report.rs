//! Reports, counts and look-ups over a large data directory, and the same report by DuckDB over the same lines.
//!
//! `cargo bench --bench report -- DATA_DIR [FILE]`: DATA_DIR is what `honeyguide load FILE` left, FILE best made by
//! `cargo bench --bench data -- FILE 10400000 180`. With FILE it is loaded into DuckDB's own file beside it (once), by the Python module
//! `duckdb`, which is installed into a virtual environment. Prints figures only.
mod directory;

use directory::{anonymous_mib, drop_page_cache};
use honeyguide::config;
use honeyguide::daemon::DataDir;
use honeyguide::events::{Field, time};
use honeyguide::index::aggregate::Interval;
use honeyguide::os::memory;
use honeyguide::report::{self, Kind, Period};
use honeyguide::service::report::Sensors;
use honeyguide::service::{self, SearchRequest, aggregate};
use honeyguide::store::Store;
use honeyguide::telemetry::Telemetry;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 20;
const LOOK_UPS_WARM: usize = 1_000;
const LOOK_UPS_COLD: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (data, file) = match &arguments[..] {
        [data] => (Path::new(data), None),
        [data, file] => (Path::new(data), Some(Path::new(file))),
        _ => {
            eprintln!("usage: cargo bench --bench report -- DATA_DIR [FILE]");
            return;
        }
    };
    memory::bound_arenas();
    let settings =
        config::load_from(None, Some(data), &config::Surroundings::of_process().expect("a current directory")).expect("defaults");
    let open_store = || DataDir::open(&settings, &Telemetry::unlogged(), &mut |_| {}).expect("opens").into_store();
    let open = open_store();
    let store = &open.store;
    let now = time::now();
    let (from, to) = span(store, now);
    let (first, last) = (time::day_of(from), time::day_of(to));
    let middle = time::format_day(first + (last - first) / 2);
    println!(
        "{} events from {} to {}",
        service::holdings(store).expect("holdings").events,
        time::format_day(first),
        time::format_day(last)
    );
    let mut monthly = Duration::ZERO;
    for (kind, text) in [
        (Kind::Daily, middle.clone()),
        (Kind::Weekly, middle.clone()),
        (Kind::Monthly, middle.clone()),
        (Kind::Range, format!("{}..{}", time::format_day(first), time::format_day(last))),
    ] {
        let period = Period::parse(kind, &text, now).expect("a period");
        let times = runs(|| {
            service::report::reports(store, &period, &Sensors::Aggregate, report::ROWS_DEFAULT, report::Rules::default(), now)
                .expect("a report");
        });
        if kind == Kind::Monthly {
            monthly = times[times.len() / 2];
        }
        println!("report {} {}: {}, RssAnon {:.1} MiB", kind.name(), period.label(), told(&times), anonymous_mib());
    }
    let counted = runs(|| drop(aggregate::count(store, "", Some(Interval::Day), now).expect("counts")));
    println!("count by day: {}", told(&counted));
    let search = |query: &str| {
        let request = SearchRequest { query: query.to_owned(), limit: 50, newest: true };
        runs(|| {
            service::search(store, &request, now, &mut |_| ControlFlow::Continue(())).expect("hits");
        })
    };
    println!("command:/wget.+sh/, newest 50: {}", told(&search("command:/wget.+sh/")));
    println!("command:/curl.*\\|.*(ba)?sh/, newest 50: {}", told(&search("command:/curl.*\\|.*(ba)?sh/")));
    println!("RssAnon after all: {:.1} MiB", anonymous_mib());

    let values: Vec<String> = [Field::SrcIp, Field::Password, Field::Command]
        .into_iter()
        .flat_map(|field| {
            let rows = service::top(store, field, 20_000).expect("a top list");
            let every = (rows.len() / (LOOK_UPS_WARM / 3)).max(1);
            let query =
                move |value: &[u8]| format!("{}:{}", field.name(), honeyguide::index::query::quote(&String::from_utf8_lossy(value)));
            rows.into_iter().step_by(every).map(|row| query(&row.value)).collect::<Vec<_>>()
        })
        .collect();
    let look_up = |store: &Store, query: &str| {
        let started = Instant::now();
        aggregate::count(store, query, None, now).expect("a count");
        started.elapsed()
    };
    let mut warm: Vec<Duration> = values.iter().map(|query| look_up(store, query)).collect();
    warm.sort();
    drop(open);
    let mut cold = Vec::new();
    for query in values.iter().step_by((values.len() / LOOK_UPS_COLD).max(1)) {
        drop_page_cache(data);
        let open = open_store();
        cold.push(look_up(&open.store, query));
    }
    cold.sort();
    println!("one term, {} look-ups warm: {}; {} cold: {}", warm.len(), told(&warm), cold.len(), told(&cold));

    if let Some(file) = file {
        duckdb(file, &middle[..7], monthly);
    }
}

/// The same month's report by DuckDB.
fn duckdb(file: &Path, month: &str, ours: Duration) {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb-venv");
    let python = venv.join("bin/python");
    let ran = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let is_installed = python.exists()
        || ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
            && ran(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb"]));
    if !is_installed {
        println!("DuckDB: no virtual environment with the module duckdb could be made; is python3-venv installed?");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/report_duckdb.py");
    let output = Command::new(&python).arg(script).arg(file.with_extension("duckdb")).arg(file).arg(month).output().expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let theirs = text.lines().rev().find_map(|line| line.strip_prefix("median_ms ")?.parse::<f64>().ok());
    if let Some(theirs) = theirs {
        let ours = ours.as_secs_f64() * 1e3;
        println!("month's report: honeyguide {ours:.1} ms, DuckDB {theirs:.1} ms, ratio {:.2}", ours / theirs);
    }
}

/// The times between which nearly all events lie.
fn span(store: &Store, now: i64) -> (i64, i64) {
    let counts = aggregate::count(store, "", Some(Interval::Day), now).expect("counts");
    let most = counts.stretches.iter().map(|stretch| stretch.1).max().unwrap_or(0);
    let busy: Vec<i64> = counts.stretches.iter().filter(|stretch| stretch.1 > most / 20).map(|stretch| stretch.0).collect();
    (busy.first().copied().unwrap_or(now), busy.last().copied().unwrap_or(now))
}

fn runs(mut ask: impl FnMut()) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            ask();
            started.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// `times` ascend.
fn told(times: &[Duration]) -> String {
    let ms = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("median {:.2} ms, p99 {:.2} ms, max {:.2} ms", ms(50), ms(99), ms(100))
}
