//! The plain pipeline that `load` is measured against: what a careful programmer writes in an afternoon.
//!
//! Two threads; each takes 1,024 lines, parses every line with serde_json into a small struct, hashes it with BLAKE3, compresses the
//! block with zstd level 3, then appends it and waits for fdatasync. No index, no dedup, no order between blocks, no checkpoint.
//! Run: `cargo bench --bench plain -- FILE [OUTPUT]`. Prints figures only.
use std::io::{self, BufRead, Write};
use std::sync::Mutex;
use std::time::Instant;

#[path = "data.rs"]
mod data;

const LINES_PER_BLOCK: usize = 1_024;
const THREADS: usize = 2;

/// The fields anyone would want; the rest is parsed and dropped.
#[derive(serde::Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    eventid: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    src_ip: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Default)]
struct Totals {
    events: u64,
    rejected: u64,
    bytes: u64,
    checksum: u64,
}

struct Output {
    file: std::fs::File,
    bytes: u64,
}

/// What one run came to.
pub struct Figures {
    pub events: u64,
    pub rejected: u64,
    pub bytes: u64,
    pub output_bytes: u64,
    pub seconds: f64,
}

/// Runs the pipeline from `input` to `output` (created or overwritten).
pub fn run(input: &std::path::Path, output: &std::path::Path) -> io::Result<Figures> {
    let begin = Instant::now();
    let reader = Mutex::new(io::BufReader::with_capacity(1 << 20, std::fs::File::open(input)?));
    let writer = Mutex::new(Output { file: std::fs::File::create(output)?, bytes: 0 });
    let totals = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work(&reader, &writer))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<io::Result<Vec<Totals>>>()
    })?;
    let sum = |of: fn(&Totals) -> u64| totals.iter().map(of).sum::<u64>();
    // Keeps the compiler from leaving the hashes out.
    std::hint::black_box(sum(|totals| totals.checksum & 1));
    let output_bytes = writer.lock().expect("no worker panicked").bytes;
    Ok(Figures {
        events: sum(|totals| totals.events),
        rejected: sum(|totals| totals.rejected),
        bytes: sum(|totals| totals.bytes),
        output_bytes,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

fn work(reader: &Mutex<io::BufReader<std::fs::File>>, writer: &Mutex<Output>) -> io::Result<Totals> {
    let mut totals = Totals::default();
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    let mut block = Vec::new();
    loop {
        block.clear();
        {
            let mut reader = reader.lock().expect("no worker panics");
            for _ in 0..LINES_PER_BLOCK {
                if reader.read_until(b'\n', &mut block)? == 0 {
                    break;
                }
            }
        }
        if block.is_empty() {
            return Ok(totals);
        }
        for line in block.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Event<'_>>(line) {
                Ok(event) => {
                    let lengths = [&event.eventid, &event.timestamp, &event.session, &event.src_ip];
                    totals.checksum ^= lengths.iter().map(|text| text.as_ref().map_or(0, |text| text.len() as u64)).sum::<u64>();
                    let id = blake3::hash(line);
                    totals.checksum ^= u64::from_le_bytes(id.as_bytes()[..8].try_into().expect("eight of 32 bytes"));
                    totals.events += 1;
                }
                Err(_) => totals.rejected += 1,
            }
        }
        totals.bytes += block.len() as u64;
        let compressed = compressor.compress(&block)?;
        let mut output = writer.lock().expect("no worker panics");
        output.file.write_all(&compressed)?;
        output.file.sync_data()?;
        output.bytes += compressed.len() as u64;
    }
}

fn main() -> io::Result<()> {
    let arguments = data::arguments();
    let Some(input) = arguments.first().map(std::path::PathBuf::from) else {
        println!("usage: cargo bench --bench plain -- FILE [OUTPUT]");
        return Ok(());
    };
    let output = arguments.get(1).map_or_else(|| input.with_extension("plain.zst"), std::path::PathBuf::from);
    let figures = run(&input, &output)?;
    std::fs::remove_file(&output)?;
    println!(
        "plain pipeline: {} events ({} rejected), {:.2} GB in {:.2} s: {:.0} events/s; output {:.1} % of the input",
        figures.events,
        figures.rejected,
        figures.bytes as f64 / 1e9,
        figures.seconds,
        figures.events as f64 / figures.seconds,
        100.0 * figures.output_bytes as f64 / figures.bytes as f64
    );
    Ok(())
}
