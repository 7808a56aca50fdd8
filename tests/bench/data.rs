//! Makes the benches' input: real Cowrie lines, multiplied until there are enough, or simulated ones where there is no corpus.
//!
//! Copy k of the corpus is made distinct as an attacker's traffic would be: `session` becomes hash(session, k), the time moves by k days,
//! and the low 16 bits of every IPv4 source address are XORed with hash(k), also where the message repeats it. So sizes, orders and
//! distributions stay real while no event of one copy is a duplicate of another's. Where to patch is found once per line; a copy is then
//! a matter of copying bytes. Deterministic.
//!
//! As a bench (`cargo bench --bench data -- FILE EVENTS [simulated | DAYS]`) it writes a file and prints how fast; with DAYS the events'
//! dates are spread over so many days.
#![allow(dead_code)]
use honeyguide::events::time;
use honeyguide::simulate::{Generator, START, Simulation};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where the corpus is, if this machine has it.
pub fn corpus() -> Option<PathBuf> {
    std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from).filter(|path| path.is_dir())
}

/// A source of bench data: call [`BenchData::fill`] until there is enough.
pub enum BenchData {
    Corpus(Copies),
    Simulated(Box<Generator>),
}

impl BenchData {
    /// From the corpus if there is one, else simulated.
    pub fn open() -> io::Result<BenchData> {
        match corpus() {
            Some(corpus) => Ok(BenchData::Corpus(Copies::of(&corpus)?)),
            None => {
                eprintln!("bench data: HONEYGUIDE_CORPUS is not set, so the events are simulated");
                Ok(BenchData::simulated())
            }
        }
    }

    /// Simulated: as dense as the corpus multiplied would be.
    pub fn simulated() -> BenchData {
        BenchData::Simulated(Box::new(Generator::new(&Simulation { events_per_second: 2.0, attackers: 20_000, ..Simulation::default() })))
    }

    /// Appends up to `events` more lines; returns how many (never 0 for a positive number).
    pub fn fill(&mut self, out: &mut Vec<u8>, events: u64) -> u64 {
        match self {
            BenchData::Corpus(copies) => copies.fill(out, events),
            BenchData::Simulated(generator) => generator.fill(out, events),
        }
    }

    /// Writes a file of exactly `events` lines; returns its size in bytes.
    pub fn write_file(&mut self, path: &Path, events: u64) -> io::Result<u64> {
        let mut file = std::fs::File::create(path)?;
        let mut buffer = Vec::with_capacity(5 << 20);
        let (mut left, mut bytes) = (events, 0);
        while left > 0 {
            buffer.clear();
            left -= self.fill(&mut buffer, left.min(8_192));
            file.write_all(&buffer)?;
            bytes += buffer.len() as u64;
        }
        file.sync_all()?;
        Ok(bytes)
    }
}

/// The corpus in memory, and how far the copying has come.
pub struct Copies {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    patches: Vec<Patch>,
    next: usize,
    copy: u64,
    /// Days from 2026 on, and events: dates go by the place of an event among these, instead of moving with the copies.
    pub spread: Option<(u64, u64)>,
    written: u64,
    /// Lines of the corpus left out: not whole, or without time or session, so that copies could not be told apart.
    pub left_out: u64,
}

struct Line {
    start: usize,
    end: usize,
    /// Its patches, in order of offset.
    first_patch: usize,
    last_patch: usize,
}

#[derive(Clone, Copy)]
struct Patch {
    start: usize,
    len: usize,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// `YYYY-MM-DD` as days since 1970-01-01.
    Day(i32),
    /// Hexadecimal digits (any other text is hashed into as many).
    Session(u64),
    Address(Ipv4Addr),
}

impl Copies {
    /// Reads all Cowrie lines below `corpus/cowrie`, in the order of their files' names.
    pub fn of(corpus: &Path) -> io::Result<Copies> {
        let mut files = Vec::new();
        list(&corpus.join("cowrie"), &mut files)?;
        files.sort();
        let mut copies =
            Copies { bytes: Vec::new(), lines: Vec::new(), patches: Vec::new(), next: 0, copy: 0, spread: None, written: 0, left_out: 0 };
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.contains(".csv") || !name.contains("cowrie.json") {
                continue;
            }
            let mut text = Vec::new();
            let opened = std::fs::File::open(&file)?;
            if name.ends_with(".gz") {
                flate2::read::MultiGzDecoder::new(opened).read_to_end(&mut text)?;
            } else {
                (&opened).read_to_end(&mut text)?;
            }
            copies.add(&text);
        }
        if copies.lines.is_empty() {
            return Err(io::Error::other(format!("no Cowrie lines below {}", corpus.display())));
        }
        Ok(copies)
    }

    /// Adds a log's lines; a one-line array is split into its elements.
    pub fn add(&mut self, text: &[u8]) {
        if text.trim_ascii_start().starts_with(b"[")
            && let Ok(elements) = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(text)
        {
            elements.iter().for_each(|element| self.add_line(element.get().as_bytes()));
            return;
        }
        text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| self.add_line(line));
    }

    /// Distinct lines of one copy.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    fn add_line(&mut self, line: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Shared<'a> {
            #[serde(borrow)]
            timestamp: std::borrow::Cow<'a, str>,
            #[serde(borrow)]
            session: std::borrow::Cow<'a, str>,
            #[serde(borrow)]
            src_ip: Option<std::borrow::Cow<'a, str>>,
        }
        let Ok(shared) = serde_json::from_slice::<Shared<'_>>(line) else {
            self.left_out += 1;
            return;
        };
        let (Some(at), false) = (time::parse(shared.timestamp.as_bytes()), shared.session.is_empty()) else {
            self.left_out += 1;
            return;
        };
        let base = self.bytes.len();
        let mut patches = Vec::new();
        let mut all = |needle: &str, len: usize, what: What| {
            let found = memchr::memmem::find_iter(line, needle.as_bytes()).filter(|&start| stands_alone(line, start, start + needle.len()));
            patches.extend(found.map(|start| Patch { start: base + start, len, what }));
        };
        // The day only where the whole timestamp stands.
        all(&shared.timestamp, 10, What::Day(time::day_of(at)));
        all(&shared.session, shared.session.len(), What::Session(session_number(shared.session.as_bytes())));
        if let Some(address) = shared.src_ip.as_deref().and_then(|address| address.parse().ok()) {
            let text = shared.src_ip.as_deref().unwrap_or_default();
            all(text, text.len(), What::Address(address));
        }
        let has = |wanted: fn(&What) -> bool| patches.iter().any(|patch| wanted(&patch.what));
        if !has(|what| matches!(what, What::Day(_))) || !has(|what| matches!(what, What::Session(_))) {
            self.left_out += 1;
            return;
        }
        patches.sort_by_key(|patch| patch.start);
        // A session id that happens to lie in an address or a time (it does not, in real logs) keeps the first patch.
        let mut end = 0;
        patches.retain(|patch| {
            let apart = patch.start >= end;
            end = end.max(patch.start + patch.len);
            apart
        });
        self.bytes.extend_from_slice(line);
        let first_patch = self.patches.len();
        self.patches.extend(patches);
        self.lines.push(Line { start: base, end: self.bytes.len(), first_patch, last_patch: self.patches.len() });
    }

    /// Appends up to `events` lines, going through the corpus again and again; returns how many.
    pub fn fill(&mut self, out: &mut Vec<u8>, events: u64) -> u64 {
        let mut day_text = (i32::MIN, String::new());
        let mut key = hash(self.copy, 0x5EED);
        for _ in 0..events {
            if self.next == self.lines.len() {
                self.next = 0;
                self.copy += 1;
                key = hash(self.copy, 0x5EED);
            }
            let line = &self.lines[self.next];
            self.next += 1;
            let mut at = line.start;
            for patch in &self.patches[line.first_patch..line.last_patch] {
                // Copy 0 is the corpus as it is.
                if self.copy == 0 && self.spread.is_none() {
                    break;
                }
                out.extend_from_slice(&self.bytes[at..patch.start]);
                at = patch.start + patch.len;
                match patch.what {
                    What::Day(day) => {
                        let moved = match self.spread {
                            Some((days, events)) => time::day_of(START) + (self.written * days / events) as i32,
                            None => day + self.copy as i32,
                        };
                        if day_text.0 != moved {
                            day_text = (moved, time::format_day(moved));
                        }
                        out.extend_from_slice(day_text.1.as_bytes());
                    }
                    What::Session(session) => push_session(out, session, key, patch.len),
                    What::Address(address) => push_address(out, Ipv4Addr::from_bits(address.to_bits() ^ (key >> 48) as u32)),
                }
            }
            out.extend_from_slice(&self.bytes[at..line.end]);
            out.push(b'\n');
            self.written += 1;
        }
        events
    }
}

/// `start..end` is a whole word: not part of a longer number, name or address.
fn stands_alone(line: &[u8], start: usize, end: usize) -> bool {
    let joins = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'.' || *byte == b'_');
    let before = start.checked_sub(1).and_then(|at| line.get(at));
    // A sentence may end behind an address: only a dot with something behind it continues the word.
    let after = match line.get(end) {
        Some(b'.') => line.get(end + 1).is_some_and(u8::is_ascii_alphanumeric),
        after => joins(after),
    };
    !joins(before) && !after
}

fn session_number(session: &[u8]) -> u64 {
    match std::str::from_utf8(session).ok().filter(|text| text.len() <= 15).and_then(|text| u64::from_str_radix(text, 16).ok()) {
        Some(number) => number,
        None => session.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)),
    }
}

/// hash(session, k), in as many digits. Within a copy it permutes the ids of a length, so that sessions never merge.
fn push_session(out: &mut Vec<u8>, session: u64, key: u64, len: usize) {
    let bits = (len.min(15) * 4) as u32;
    let mask = (1u64 << bits) - 1;
    let mut number = (session ^ key) & mask;
    for factor in [0x9E37_79B9_7F4A_7C15u64, 0xD1B5_4A32_D192_ED03] {
        number = number.wrapping_mul(factor) & mask;
        number ^= number >> (bits / 2);
    }
    let start = out.len();
    out.resize(start + len, b'0');
    let digits = len.min(15);
    for place in 0..digits {
        out[start + place] = b"0123456789abcdef"[(number >> ((digits - 1 - place) * 4)) as usize & 15];
    }
}

fn push_address(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

/// SplitMix64's finaliser over two numbers.
fn hash(a: u64, b: u64) -> u64 {
    let mixed = (a ^ b.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Arguments of a bench: what follows `--`, without the flags that `cargo bench` adds.
pub fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect()
}

fn main() -> io::Result<()> {
    let arguments = arguments();
    let [path, events, kind @ ..] = arguments.as_slice() else {
        println!("usage: cargo bench --bench data -- FILE EVENTS [simulated | DAYS]");
        return Ok(());
    };
    let events: u64 = events.parse().map_err(|_| io::Error::other(format!("{events:?} is not a number of events")))?;
    let begin = std::time::Instant::now();
    let mut data = if kind.first().is_some_and(|kind| kind == "simulated") { BenchData::simulated() } else { BenchData::open()? };
    let prepared = begin.elapsed().as_secs_f64();
    let days = kind.first().and_then(|days| days.parse().ok());
    if let BenchData::Corpus(copies) = &mut data {
        copies.spread = days.map(|days| (days, events));

        println!("corpus: {} lines used, {} left out, read and prepared in {prepared:.2} s", copies.lines(), copies.left_out);
    }
    let begin = std::time::Instant::now();
    let mut sink = Vec::with_capacity(8 << 20);
    let mut made = 0;
    if path == "-" {
        // Memory only: how fast the lines are made.
        while made < events {
            sink.clear();
            made += data.fill(&mut sink, 8_192.min(events - made));
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("made {made} events in {seconds:.2} s: {:.0} events/s (memory only)", made as f64 / seconds);
        return Ok(());
    }
    let bytes = data.write_file(Path::new(path), events)?;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "wrote {events} events, {:.2} GB in {seconds:.2} s: {:.0} events/s, {:.0} MB/s",
        bytes as f64 / 1e9,
        events as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    Ok(())
}
