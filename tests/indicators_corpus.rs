//! Indicators of real texts: the lists of what must and must not be found, texts made at random, and a table to judge precision by.
//!
//! Needs `HONEYGUIDE_CORPUS` for the lists and the table; the table is printed on demand:
//! `cargo test --test indicators_corpus -- --ignored --nocapture`.
use honeyguide::events::Field;
use honeyguide::extract::{Context, EXTRACTORS, Found, Text, indicators};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Real lines that the table of false positives is made from.
const LINES: usize = 100_000;
/// Random hits of each kind that are printed.
const HITS: usize = 50;

fn found_in(context: Context, text: &str) -> Found {
    let mut found = Found::default();
    indicators(context, text, &mut found);
    found
}

fn corpus(test: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("HONEYGUIDE_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        println!("SKIPPED: {test}: HONEYGUIDE_CORPUS is not set");
    }
    corpus
}

fn lines_of(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

/// The kind a line of the list belongs to, and the value that must be found in it.
fn expected(line: &str) -> (Field, String) {
    const EXCEPTIONS: &[(&str, Field, &str)] = &[
        ("http://[example.com", Field::Url, "http://example.com"),
        ("http://example,com/", Field::Url, "http://example.com/"),
        ("http://example[.com/", Field::Url, "http://example.com/"),
        // Dots in brackets that do not join two pieces of a name stay as they are.
        ("http://example[.]com/[.]", Field::Url, "http://example.com/[.]"),
        ("http://example[.]com/[.].com", Field::Url, "http://example.com/[.].com"),
        ("192[.]168[.]0[.]1", Field::Ipv4, "192.168.0.1"),
        ("192[.]168[dot]0[.]1", Field::Ipv4, "192.168.0.1"),
        ("192.168.0.1", Field::Ipv4, "192.168.0.1"),
        ("example[.]com", Field::Domain, "example.com"),
        ("short[.]is", Field::Domain, "short.is"),
        ("456-7890", Field::Phone, "456-7890"),
    ];
    if let Some(&(_, field, value)) = EXCEPTIONS.iter().find(|(exception, _, _)| *exception == line) {
        return (field, value.to_owned());
    }
    if line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let field = match line.len() {
            32 => Field::Md5,
            40 => Field::Sha1,
            64 => Field::Sha256,
            128 => Field::Sha512,
            length => panic!("a hash of {length} digits: {line}"),
        };
        return (field, line.to_owned());
    }
    let mut whole = line.replace("hxxp", "http");
    for (defanged, plain) in [("[.]", "."), ("(.)", "."), ("[dot]", "."), ("[/]", "/")] {
        whole = whole.replace(defanged, plain);
    }
    (Field::Url, whole)
}

fn must_find(test: &str, is_asked: impl Fn(Field) -> bool) {
    let Some(corpus) = corpus(test) else {
        return;
    };
    let lines = lines_of(&corpus.join("indicators/urls_must_find.txt"));
    assert!(lines.len() > 40);
    for line in lines {
        let (field, value) = expected(&line);
        if !is_asked(field) {
            continue;
        }
        for text in [line.clone(), format!("see {line} there"), format!("\"{line}\""), format!("a\n{line}\n")] {
            let found = found_in(Context::Other, &text);
            assert!(found.has(field, &value), "{text:?}: {} {value} is not in {found:?}", field.name());
        }
    }
}

fn is_network(field: Field) -> bool {
    matches!(field, Field::Url | Field::Domain | Field::Ipv4 | Field::Ipv6 | Field::Email)
}

#[test]
fn every_url_address_and_name_of_the_list_is_found() {
    must_find("every_url_address_and_name_of_the_list_is_found", is_network);
}

#[test]
fn every_hash_and_number_of_the_list_is_found() {
    must_find("every_hash_and_number_of_the_list_is_found", |field| !is_network(field));
}

#[test]
fn nothing_is_found_in_what_only_looks_like_an_indicator() {
    let Some(corpus) = corpus("nothing_is_found_in_what_only_looks_like_an_indicator") else {
        return;
    };
    for line in lines_of(&corpus.join("indicators/urls_must_not_find.txt")) {
        for context in [Context::Other, Context::Command, Context::Chat] {
            assert_eq!(found_in(context, &line), Found::default(), "{line}");
        }
    }
}

/// Texts made of what extractors look for, so that they are rarely bored.
fn tricky_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9.:/@\\[\\]()%\\\\-]{1,12}",
        2 => any::<char>().prop_map(String::from),
        3 => proptest::sample::select(vec![
            "http://", "hxxps[:]//", "[.]", "(dot)", " dot ", " at ", "[@]", "example.com", "evil[.com", "192.0.2.1", "1.1.1", "fe80::1", "%eth0",
            "::", "[", "]", "\u{200b}", "\u{ff0e}", "\u{3002}", "例え", "бук", "\\x41", "\\x2e", "\\056", "\\n", "$'", "${IFS}", "''", "\"",
            "aHR0cDovL2V4YW1wbGUuY29tL2E=", "wget ", "-O ", "tftp -g -r ", "%3A%2F%2F", "%2F", "/24", ":80", "?a=b&", "user@", "xn--", "\u{fffd}", " ", "\n", ",",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn any_context() -> impl Strategy<Value = Context> {
    proptest::sample::select(vec![Context::Command, Context::Chat, Context::Address, Context::Hash, Context::Other])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic_and_what_is_verbatim_stood_in_the_text(context in any_context(), text in tricky_text()) {
        for indicator in found_in(context, &text).indicators {
            prop_assert!(!indicator.value.is_empty());
            if let Some(verbatim) = &indicator.verbatim {
                prop_assert!(!verbatim.is_empty());
                let packed = context == Context::Command || context == Context::Other || text.contains('%');
                prop_assert!(packed || text.contains(verbatim.as_str()), "{verbatim:?} of {indicator:?} is not in {text:?}");
            }
            // What was found is found again in its own canonical form.
            if !is_network(indicator.field) {
                continue;
            }
            let again = found_in(Context::Address, &indicator.value);
            prop_assert!(again.has(indicator.field, &indicator.value), "{indicator:?}: {again:?}");
        }
    }

    #[test]
    fn any_characters_whatever_are_survived(context in any_context(), text in any::<String>()) {
        found_in(context, &text);
    }

    #[test]
    fn every_extractor_survives_every_text(text in tricky_text()) {
        for extractor in EXTRACTORS {
            extractor.extract(&Text::plain(Context::Other, &text), &mut Found::default());
        }
    }
}

/// One hit: where it was found and what stood around it.
type Hits = BTreeMap<&'static str, BTreeMap<String, (Context, String)>>;

#[test]
#[ignore = "prints a table for people to judge"]
fn prints_random_hits_of_each_kind_in_real_lines() {
    let Some(corpus) = corpus("prints_random_hits_of_each_kind_in_real_lines") else {
        return;
    };
    let mut paths = Vec::new();
    for directory in ["modern-2026", "assorted", "legacy-2017"] {
        let mut in_directory: Vec<PathBuf> =
            std::fs::read_dir(corpus.join("cowrie").join(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
        in_directory.retain(|path| path.to_string_lossy().ends_with(".gz") && !path.to_string_lossy().contains("csv"));
        in_directory.sort();
        paths.extend(in_directory);
    }
    let mut texts: BTreeSet<(u8, String)> = BTreeSet::new();
    let mut lines = 0;
    for path in paths {
        let mut data = String::new();
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        data.push_str(&String::from_utf8_lossy(&bytes));
        for line in data.lines() {
            if lines == LINES {
                break;
            }
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            lines += 1;
            for (name, context) in
                [("input", 0), ("url", 1), ("dst_ip", 1), ("username", 2), ("password", 2), ("version", 2), ("filename", 2), ("data", 2)]
            {
                if let Some(text) = event.get(name).and_then(|value| value.as_str()) {
                    texts.insert((context, text.to_owned()));
                }
            }
        }
    }
    let mut hits = Hits::new();
    // Words with dots in which nothing was found: what may have been missed.
    let mut passed_over: BTreeMap<String, String> = BTreeMap::new();
    for (context, text) in &texts {
        let context = [Context::Command, Context::Address, Context::Other][*context as usize];
        let found = found_in(context, text);
        let told: Vec<&str> =
            found.indicators.iter().flat_map(|there| [there.value.as_str()].into_iter().chain(there.verbatim.as_deref())).collect();
        for word in text.split(|char: char| !(char.is_alphanumeric() || "._-@".contains(char))) {
            let is_name = word.split('.').count() > 1 && word.split('.').all(|label| !label.is_empty());
            if is_name && !told.iter().any(|told| told.contains(word) || word.contains(told)) {
                passed_over.entry(word.to_owned()).or_insert_with(|| text.clone());
            }
        }
        for indicator in found.indicators {
            hits.entry(indicator.field.name()).or_default().entry(indicator.value).or_insert_with(|| (context, text.clone()));
        }
    }
    println!("{lines} lines, {} distinct texts", texts.len());
    let mut state = 42_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for (kind, values) in hits {
        let in_texts = |context| values.values().filter(|(there, _)| *there == context).count();
        let (commands, addresses, others) = (in_texts(Context::Command), in_texts(Context::Address), in_texts(Context::Other));
        println!("\n{kind}: {} distinct values ({commands} in commands, {addresses} in addresses, {others} elsewhere)", values.len());
        // Addresses by field are right by definition; what was found in texts is judged.
        let judged: Vec<_> = values.iter().filter(|(_, (context, _))| *context != Context::Address).collect();
        let mut taken = HashSet::new();
        while taken.len() < HITS.min(judged.len()) {
            taken.insert(next() % judged.len());
        }
        let mut taken: Vec<usize> = taken.into_iter().collect();
        taken.sort_unstable();
        for at in taken {
            let (value, (context, text)) = judged[at];
            let verbatim =
                found_in(*context, text).indicators.into_iter().find(|there| there.value == *value).and_then(|there| there.verbatim);
            let middle = text.find(verbatim.as_deref().unwrap_or(value)).unwrap_or(0);
            let start = text.char_indices().rev().map(|(at, _)| at).find(|&at| at + 60 <= middle).unwrap_or(0);
            let around: String = text[start..].chars().take(120 + value.len()).collect();
            println!("  {value}\n      {context:?} {around:?}");
        }
    }
    println!("\nwords with dots in which nothing was found: {}", passed_over.len());
    let words: Vec<_> = passed_over.iter().collect();
    for _ in 0..2 * HITS.min(words.len()) {
        let (word, text) = words[next() % words.len()];
        println!("  {word}\n      {:?}", text.chars().take(120).collect::<String>());
    }
}
