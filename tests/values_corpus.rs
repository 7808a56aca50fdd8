//! The extractors on real logs: every labelled value of real chats is found, and what else they find is printed to be judged.
//!
//! `cargo nextest run --test values_corpus --no-capture` shows the lists; with `--run-ignored all` also the time per byte on
//! adversarial texts.
use flate2::read::MultiGzDecoder;
use honeyguide::events::Field;
use honeyguide::extract::{Context, EXTRACTORS, Found, Text, indicators};
use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

/// The real logs, if they are at hand.
fn corpus(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        println!("SKIPPED: {test}: HONEYGUIDE_CORPUS names no directory of real logs");
    }
    found
}

/// What the keys of `expected` are found as. The last may be links, domains, files or programs: what extractors find of them is
/// asked only where there is an extractor.
fn fields_of(key: &str) -> &'static [Field] {
    match key {
        "bankAccounts" => &[Field::BankAccount],
        "upiIds" => &[Field::Upi],
        "phoneNumbers" => &[Field::Phone],
        "emailAddresses" => &[Field::Email],
        "phishingLinks" => &[Field::Url, Field::Domain],
        "ifscCodes" => &[Field::Ifsc],
        other => panic!("labels called {other} are new"),
    }
}

/// Labels of the corpus that are no indicators: the name of a program, and of a file that is offered without an address.
const NO_INDICATORS: &[&str] = &["TeamViewer", "amazn-refund.apk"];

#[test]
fn every_labelled_value_of_real_chats_is_found() {
    let Some(corpus) = corpus("every_labelled_value_of_real_chats_is_found") else { return };
    let known: BTreeSet<Field> = EXTRACTORS.iter().flat_map(|extractor| extractor.fields()).copied().collect();
    let (mut labels, mut missed) = (0, Vec::new());
    let mut others: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    for line in std::fs::read_to_string(corpus.join("chat/conversations.ndjson")).unwrap().lines() {
        let conversation: Value = serde_json::from_str(line).unwrap();
        let expected = conversation["expected"].as_object().unwrap();
        let mut labelled: Vec<String> = Vec::new();
        let mut found_here = Vec::new();
        for message in conversation["messages"].as_array().unwrap() {
            let mut found = Found::default();
            indicators(Context::Chat, message["text"].as_str().unwrap(), &mut found);
            found_here.push(found);
        }
        for (key, values) in expected {
            let fields = fields_of(key);
            for value in values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()) {
                labelled.push(value.to_owned());
                if !fields.iter().any(|field| known.contains(field)) || NO_INDICATORS.contains(&value) {
                    continue;
                }
                labels += 1;
                if !found_here.iter().any(|found| fields.iter().any(|&field| found.has(field, value))) {
                    missed.push(format!("{key} {value}"));
                }
            }
        }
        for one in found_here.iter().flat_map(|found| &found.indicators) {
            let is_labelled = |written: &str| labelled.iter().any(|label| label == written);
            if !is_labelled(&one.value) && !one.verbatim.as_deref().is_some_and(is_labelled) {
                let shown = format!("{} {}", one.value, one.verbatim.as_deref().unwrap_or(""));
                *others.entry(one.field.name()).or_default().entry(shown).or_default() += 1;
            }
        }
    }
    println!("{labels} labelled values, {} missed", missed.len());
    for (field, values) in &others {
        println!("also found as {field}: {values:?}");
    }
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

/// The text fields of Cowrie's events, and what their texts are.
const COWRIE_TEXTS: &[(&str, Context)] = &[
    ("input", Context::Command),
    ("username", Context::Other),
    ("password", Context::Other),
    ("url", Context::Address),
    ("version", Context::Other),
    ("filename", Context::Other),
    ("key", Context::Other),
];

#[test]
fn what_is_found_in_real_cowrie_lines_is_printed() {
    let Some(corpus) = corpus("what_is_found_in_real_cowrie_lines_is_printed") else { return };
    let mut files: Vec<PathBuf> = Vec::new();
    for directory in ["assorted", "legacy-2017", "modern-2026"] {
        files.extend(std::fs::read_dir(corpus.join("cowrie").join(directory)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    files.sort();
    let mut texts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut lines = 0u64;
    for file in files {
        for line in BufReader::new(MultiGzDecoder::new(std::fs::File::open(file).unwrap())).split(b'\n') {
            let Ok(line) = line else { break };
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            lines += 1;
            for &(key, _) in COWRIE_TEXTS {
                if let Some(text) = event[key].as_str().filter(|text| !text.is_empty()) {
                    *texts.entry((text.to_owned(), key)).or_default() += 1;
                }
            }
        }
    }
    let mut hits: BTreeMap<&str, BTreeMap<String, (u64, String)>> = BTreeMap::new();
    for ((text, key), count) in &texts {
        let context = COWRIE_TEXTS.iter().find(|known| known.0 == *key).unwrap().1;
        let mut found = Found::default();
        indicators(context, text, &mut found);
        for one in found.indicators {
            let cut: String = text.chars().take(160).collect();
            let hit = hits.entry(one.field.name()).or_default().entry(one.value).or_insert((0, format!("{key}: {cut:?}")));
            hit.0 += count;
        }
    }
    println!("{lines} lines, {} distinct texts", texts.len());
    for (field, values) in &hits {
        println!("{field}: {} distinct, {} in all", values.len(), values.values().map(|hit| hit.0).sum::<u64>());
        // Fifty spread evenly over the values in their order.
        for (value, (count, text)) in values.iter().step_by(values.len().div_ceil(50)) {
            let value: String = value.chars().take(80).collect();
            println!("    {count:6} {value}  {text}");
        }
    }
    assert!(lines > 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_extractor_panics_on_any_text(text in "\\PC{0,200}|[0-9a-fA-FxX:@+ ().-]{0,200}|(account|call|cve|upi|ssh-rsa|bc1|[ a-z0-9@:+é７\\\\-]{1,12}){0,20}") {
        for context in [Context::Command, Context::Chat, Context::Address, Context::Hash, Context::Other] {
            for extractor in EXTRACTORS {
                extractor.extract(&Text::plain(context, &text), &mut Found::default());
            }
        }
    }
}

/// Pieces that, repeated, make an extractor work hardest.
const ADVERSARIAL: &[(&str, &str)] = &[
    ("nothing", "lorem ipsum dolor sit amet "),
    ("digits", "7"),
    ("hex 31", "5d41402abc4b2a76b9719d911017c59 "),
    ("hex 32", "5d41402abc4b2a76b9719d911017c592 "),
    ("hex pattern", "deadbeefdeadbeefdeadbeefdeadbeef-"),
    ("cve", "cvecve-2021-4422 CVE-2021-44228 "),
    ("btc", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb "),
    ("bech32", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5 "),
    ("eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD "),
    ("0x", "0x"),
    ("xmr", "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3B "),
    ("plus", "+1 "),
    ("phones", "+12 34 56 78 90 12 "),
    ("national", "98765 43211 "),
    ("digit groups", "98 "),
    ("call", "call 5555555555 "),
    ("upi", "abcdefgh@abcdefgh "),
    ("at", "@"),
    ("name at", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@ab "),
    ("ifsc", "ABCD0123456 "),
    ("account", "account 000000000 "),
    ("account groups", "12-34-56-78-9 "),
    ("iban", "GB29NWBK60161331926818 "),
    ("AAAA", "A"),
    ("ssh-rsa", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB "),
    ("md5 fingerprint", "aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:8 "),
    ("colons", "aa:"),
    ("SHA256", "SHA256:"),
    ("ja4", "t13d1516h2_8daaf6152771_b186095e22bg "),
    ("underscores", "_"),
];

/// What this thread has used of the processor: other work on the machine does not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

#[test]
#[ignore = "prints times and judges nothing"]
fn time_per_byte_on_adversarial_texts() {
    println!("nanoseconds per byte at 64 KiB, 256 KiB, 1 MiB; the slowest text of each extractor in a chat and in a command");
    for extractor in EXTRACTORS {
        for context in [Context::Chat, Context::Command] {
            let mut slowest = ([0.0; 3], "");
            for (name, piece) in ADVERSARIAL {
                let mut times = [0.0; 3];
                for (time, len) in times.iter_mut().zip([64 << 10, 256 << 10, 1 << 20]) {
                    let text: String = piece.chars().cycle().take(len).collect();
                    *time = (0..3)
                        .map(|_| {
                            let started = processor_time();
                            extractor.extract(&Text::plain(context, &text), &mut Found::default());
                            (processor_time() - started).as_nanos() as f64 / len as f64
                        })
                        .fold(f64::MAX, f64::min);
                }
                if times[2] > slowest.0[2] {
                    slowest = (times, name);
                }
            }
            let [small, medium, large] = slowest.0;
            println!("{:?} {context:?}: {small:.2} {medium:.2} {large:.2} ({})", extractor.fields()[0], slowest.1);
        }
    }
}

#[test]
#[ignore = "prints figures and judges nothing"]
fn memory_and_time_of_validating_phone_numbers() {
    let anonymous = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("RssAnon")).unwrap().to_owned()
    };
    let before = anonymous();
    let is_valid = honeyguide::extract::phone::is_valid;
    assert!(is_valid("919876543210"));
    println!("before the first number {before}, after it {}", anonymous());
    for (name, numbers) in [
        ("of India", (0..20_000u64).map(|at| format!("9198{:08}", at * 7919 % 100_000_000)).collect::<Vec<_>>()),
        ("of all countries", (0..20_000u64).map(|at| format!("{}{:07}", 20 + at % 900, 1_234_567 + at * 7919)).collect()),
    ] {
        let started = processor_time();
        let valid = numbers.iter().filter(|number| is_valid(number)).count();
        let each = (processor_time() - started).as_nanos() as usize / numbers.len();
        println!("{} numbers {name}, {valid} of them valid: {each} ns each, {}", numbers.len(), anonymous());
    }
}
