//! The table of valid phone numbers is libphonenumber's: made from the crate `phonenumber`, and compared with it.
//!
//! `HONEYGUIDE_BLESS=1 cargo test --test phone_metadata` writes the table anew after that crate was updated.
use honeyguide::extract::phone::is_valid;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/extract/phone_metadata.txt");

/// What is known of every region; codes that belong to none (satellites, international toll-free) are reached by the code only.
fn regions() -> impl Iterator<Item = &'static phonenumber::Metadata> {
    (1..1000u16).flat_map(|code| phonenumber::metadata::DATABASE.by_code(&code).unwrap_or_default())
}

/// One line per calling code and region: the code, a tab, every pattern a valid national number may match.
fn table() -> String {
    let mut lines = BTreeSet::new();
    for region in regions() {
        let known = region.descriptors();
        let kinds = [
            known.fixed_line(),
            known.mobile(),
            known.toll_free(),
            known.premium_rate(),
            known.shared_cost(),
            known.personal_number(),
            known.voip(),
            known.pager(),
            known.uan(),
            known.voicemail(),
        ];
        let mut patterns: Vec<String> = Vec::new();
        for kind in kinds.into_iter().flatten() {
            let pattern: String = kind.national_number().as_str().split_whitespace().collect();
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        lines.insert((region.country_code(), patterns.join("|")));
    }
    let mut table = String::new();
    for (code, patterns) in lines {
        writeln!(table, "{code}\t{patterns}").unwrap();
    }
    table
}

#[test]
fn the_table_is_the_one_made_from_the_library() {
    let table = table();
    if std::env::var_os("HONEYGUIDE_BLESS").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    assert!(std::fs::read_to_string(TABLE).unwrap() == table, "{TABLE} is out of date: run this test with HONEYGUIDE_BLESS=1");
}

/// The library's word on digits with their calling code in front; `None` when it reads them as another number.
fn library(digits: &str) -> Option<bool> {
    let Ok(number) = phonenumber::parse(None, format!("+{digits}")) else { return Some(false) };
    (number.format().mode(phonenumber::Mode::E164).to_string() == format!("+{digits}")).then(|| number.is_valid())
}

#[test]
fn valid_is_what_the_library_calls_valid() {
    // Every example of every region, and numbers near it.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut compared, mut valid, mut longer, mut wrong) = (0, 0, 0, Vec::new());
    for region in regions() {
        let known = region.descriptors();
        let kinds = [known.fixed_line(), known.mobile(), known.toll_free(), known.premium_rate(), known.voip(), known.uan()];
        for example in kinds.into_iter().flatten().filter_map(|kind| kind.example()) {
            let digits = format!("{}{example}", region.country_code());
            for changes in 0..6 {
                let mut digits = digits.clone().into_bytes();
                for _ in 0..changes {
                    match random(8) {
                        0 if digits.len() > 4 => drop(digits.pop()),
                        1 => digits.push(b'0' + random(10) as u8),
                        _ => {
                            let at = random(digits.len());
                            digits[at] = b'0' + random(10) as u8;
                        }
                    }
                }
                let digits = String::from_utf8(digits).unwrap();
                let Some(expected) = library(&digits).filter(|_| digits.len() <= 15) else { continue };
                compared += 1;
                valid += usize::from(expected);
                // The crate is content when the beginning of a number matches; libphonenumber itself, and this, want all of it to.
                let is_beginning_valid = || (6..digits.len()).any(|len| is_valid(&digits[..len]));
                if is_valid(&digits) != expected {
                    if expected && is_beginning_valid() {
                        longer += 1;
                    } else {
                        wrong.push((digits, expected));
                    }
                }
            }
        }
    }
    println!("{compared} numbers compared, {valid} of them valid, {longer} longer than a valid one; judged differently: {wrong:?}");
    assert!(compared > 4000 && valid > 1500);
    assert!(wrong.is_empty());
}
