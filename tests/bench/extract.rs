//! What the hot path costs per event: `HONEYGUIDE_CORPUS=… cargo bench --bench extract`.
//!
//! With `HONEYGUIDE_GEOIP=DIR` (a data directory's `geoip`) also with the places of addresses.
//!
//! Real Cowrie lines in their real order, cut into chunks, in memory; CPU time of one thread, so that a busy machine shows less.
use honeyguide::events::batch::StoredRun;
use honeyguide::events::decoder::Event;
use honeyguide::events::{Batcher, EventId, Known};
use honeyguide::geoip;
use honeyguide::journal::fs::RealFs;
use honeyguide::sources::{CHUNK_BYTES, Chunk, Format, Origin, Source};
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Events per measurement, at least.
const EVENTS: usize = 1_000_000;

const STAGES: usize = 8;

struct Everything;

impl Known for Everything {
    fn mark(&self, _: &[EventId], _: &[i32], known: &mut [bool]) {
        known.fill(true);
    }
}

fn main() {
    let Some(corpus) = std::env::var_os("HONEYGUIDE_CORPUS") else {
        println!("skipped: HONEYGUIDE_CORPUS is not set");
        return;
    };
    let mut paths = Vec::new();
    find_logs(&Path::new(&corpus).join("cowrie"), &mut paths);
    paths.sort();
    let mut data = Vec::new();
    for path in &paths {
        let file = std::fs::File::open(path).expect("a file of the corpus");
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut data).expect("a gzip file");
        if data.last() != Some(&b'\n') {
            data.push(b'\n');
        }
    }
    let chunks = cut(&data);
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{")).collect();
    let rounds = EVENTS.div_ceil(lines.len());
    println!("{} files, {} lines of {} bytes on average, {} rounds", paths.len(), lines.len(), data.len() / lines.len(), rounds);

    let mut batcher = Batcher::new();
    let geoip = std::env::var_os("HONEYGUIDE_GEOIP").map(|dir| geoip::Handle::open(&RealFs, Path::new(&dir)).0).unwrap_or_default();
    let mut with_places = Batcher::with_places(geoip);
    let mut event = Event::default();
    let mut ids = Vec::new();
    let mut stages = [Duration::MAX; STAGES];
    for _ in 0..3 {
        let mut sums = [Duration::ZERO; STAGES];
        for _ in 0..rounds {
            sums[0] += cpu(|| {
                lines.iter().for_each(|line| {
                    black_box(EventId::of_line(line));
                })
            });
            sums[1] += cpu(|| {
                for lines in lines.chunks(1_024) {
                    event.reset(true);
                    for line in lines {
                        event.begin();
                        let _ = black_box(Format::COWRIE.decoder().decode(line, &mut event));
                    }
                }
            });
            sums[2] += cpu(|| chunks.iter().for_each(|chunk| drop(black_box(batcher.compress(chunk)))));
            sums[3] += cpu(|| {
                for chunk in &chunks {
                    let runs = [StoredRun { events: u32::MAX, format: Some(Format::COWRIE), received_at: i64::MAX, ids: &[] }];
                    black_box(batcher.index(chunk, &runs));
                }
            });
            sums[7] += cpu(|| {
                for chunk in &chunks {
                    let runs = [StoredRun { events: u32::MAX, format: Some(Format::COWRIE), received_at: i64::MAX, ids: &[] }];
                    black_box(with_places.index(chunk, &runs));
                }
            });
            sums[6] += cpu(|| {
                for lines in lines.chunks(1_024) {
                    ids.clear();
                    EventId::of_lines(black_box(lines), &mut ids);
                }
            });
            for (stage, known) in [(4, &() as &dyn Known), (5, &Everything)] {
                let ready: Vec<Chunk> = chunks.iter().map(|data| chunk(data.clone())).collect();
                sums[stage] += cpu(|| ready.into_iter().for_each(|chunk| drop(black_box(batcher.extract(chunk, known)))));
            }
        }
        for (best, sum) in stages.iter_mut().zip(sums) {
            *best = (*best).min(sum);
        }
    }
    let names = [
        "id (one by one)",
        "parse and terms",
        "zstd",
        "index()",
        "extract(), nothing known",
        "extract(), all known",
        "id (many at once)",
        "index() with places",
    ];
    for (name, stage) in names.iter().zip(stages) {
        println!("{name:28} {:7.0} ns/event", stage.as_nanos() as f64 / (rounds * lines.len()) as f64);
    }
}

fn find_logs(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            find_logs(&path, found);
        } else if name.ends_with(".gz") && !name.contains(".csv") {
            found.push(path);
        }
    }
}

fn cut(data: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let least = (start + CHUNK_BYTES).min(data.len()) - 1;
        let end = data[least..].iter().position(|&byte| byte == b'\n').map_or(data.len(), |at| least + at + 1);
        chunks.push(data[start..end].to_vec());
        start = end;
    }
    chunks
}

fn chunk(data: Vec<u8>) -> Chunk {
    let source = Arc::new(Source { name: "bench".into(), format: Format::COWRIE });
    let origin = Origin {
        source,
        stream: "".into(),
        run: 0,
        ordinal: 0,
        path: "".into(),
        offset: 0,
        generation: 0,
        first_seen: 0,
        input_bytes: data.len() as u64,
        received_at: i64::MAX,
        reflowed: false,
        checkpoint: Vec::new(),
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data, places: Vec::new(), refused: Vec::new(), stored: None }
}

/// CPU time of this thread.
fn cpu(work: impl FnOnce()) -> Duration {
    let now = || Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a Linux clock"));
    let before = now();
    work();
    now() - before
}
