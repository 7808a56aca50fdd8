//! `honeyguide simulate`: a log that looks like Cowrie's, to standard output or into a growing, rotated file.
use super::context::{Context, Exit};
use super::terminal::escape;
use super::{args, format};
use crate::events::{Micros, time};
use crate::simulate::{Generator, LogWriter, Rotation, Torn};
use anyhow::Context as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Lines made at once.
const BATCH_EVENTS: u64 = 4_096;
/// How often a live log grows.
const TICK: Duration = Duration::from_millis(50);

pub fn run(args: &args::Simulate, _: &Context) -> anyhow::Result<Exit> {
    let mut generator = Generator::new(&args.simulation(time::now()));
    let pace = Pace { live: args.live, until: args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)) };
    let limit = args.events_limit().unwrap_or(u64::MAX);
    match &args.log {
        None => to_stdout(&mut generator, &pace, limit)?,
        Some(dir) => to_log(args, dir, &mut generator, &pace, limit)?,
    }
    Ok(Exit::Done)
}

/// How fast a log is made: as fast as possible, or by the clock.
struct Pace {
    live: bool,
    until: Option<Instant>,
}

impl Pace {
    /// Up to which time events are due.
    fn due(&self) -> Micros {
        if self.live { time::now() } else { Micros::MAX }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// After everything due was written: waits for more. False: that was all.
    fn wait(&self, generator: &Generator) -> bool {
        if !self.live || generator.next_time().is_none() || self.is_over() {
            return false;
        }
        std::thread::sleep(TICK);
        true
    }
}

fn to_stdout(generator: &mut Generator, pace: &Pace, limit: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut lines = Vec::new();
    let mut left = limit;
    while left > 0 && !pace.is_over() {
        lines.clear();
        let made = generator.fill_until(&mut lines, pace.due(), BATCH_EVENTS.min(left));
        left -= made;
        out.write_all(&lines)?;
        if made < BATCH_EVENTS && left > 0 {
            out.flush()?;
            if !pace.wait(generator) {
                break;
            }
        }
    }
    out.flush()
}

fn to_log(args: &args::Simulate, dir: &Path, generator: &mut Generator, pace: &Pace, limit: u64) -> anyhow::Result<()> {
    let cannot = || format!("cannot write a log into {}", dir.display());
    std::fs::create_dir_all(dir).with_context(cannot)?;
    let rotation = args.rotate_bytes.map_or(Rotation::Daily, Rotation::Bytes);
    let torn = if args.torn { Torn::Writes } else { Torn::Never };
    let mut writer = LogWriter::open(dir, rotation).with_context(cannot)?.torn(torn, args.seed);
    let mut left = limit;
    while left > 0 && !pace.is_over() {
        let made = writer.pump_at_most(generator, pace.due(), BATCH_EVENTS.min(left)).with_context(cannot)?;
        left -= made;
        if made < BATCH_EVENTS && left > 0 && !pace.wait(generator) {
            break;
        }
    }
    writer.finish().with_context(cannot)?;
    let path = writer.path();
    eprintln!(
        "{} in {} and {} rotated before it",
        format::plural(generator.events(), "event", "events"),
        escape(&path.to_string_lossy()),
        format::plural(writer.rotated().len() as u64, "file", "files"),
    );
    Ok(())
}
