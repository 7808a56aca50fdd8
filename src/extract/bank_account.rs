//! Bank account numbers: digits that the words around them call an account; and IBANs, which carry a checksum.
//!
//! Indian account numbers have no checksum and no shape: 9 to 18 digits. So the nearest word that means anything must speak of an
//! account or a bank, and what has the shape of something else (a phone number, a time, a card) must be called an account outright.
use super::label::{self, Label};
use super::runs::{ALNUM, DIGIT, glued_after, glued_before, runs};
use super::{Context, Extractor, Found, Needs, Text, phone};
use crate::events::Field;
use std::ops::Range;

/// Bank accounts; one entry of the registry.
pub struct BankAccount;

const DIGITS_MIN: usize = 9;
const DIGITS_MAX: usize = 18;
/// Most digits in one group of an account number that is written in groups.
const GROUP_MAX: usize = 8;
/// How near a word must be that calls the number an account, and one that merely speaks of banks, words.
const ACCOUNT_WORDS: usize = 8;
const BANK_WORDS: usize = 5;
/// How near it must be to outweigh what the number looks like, words.
const OUTRIGHT_WORDS: usize = 3;
/// How near a word after the number counts, words.
const AFTER_WORDS: usize = 2;
/// Longest IBAN, without spaces.
const IBAN_MAX: usize = 34;

impl Extractor for BankAccount {
    fn fields(&self) -> &'static [Field] {
        &[Field::BankAccount]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.digits(4);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        if matches!(text.context, Context::Address | Context::Hash) || text.plain.len() < DIGITS_MIN {
            return;
        }
        accounts(text, found);
        ibans(text, found);
    }
}

fn accounts(text: &Text<'_>, found: &mut Found) {
    if text.context == Context::Command {
        return;
    }
    let bytes = text.plain.as_bytes();
    let mut end = 0;
    for run in runs(bytes, &DIGIT, 2) {
        if run.start < end {
            continue;
        }
        let (range, count) = whole(bytes, &run);
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&count) {
            end = range.end;
            continue;
        }
        let mut digits = [0; DIGITS_MAX];
        let mut len = 0;
        for &byte in bytes[range.clone()].iter().filter(|byte| byte.is_ascii_digit()) {
            digits[len] = byte;
            len += 1;
        }
        let digits = std::str::from_utf8(&digits[..len]).unwrap_or("");
        if stands_alone(text.plain, &range) && is_account(text.plain, digits, &range) {
            end = range.end;
            found.add(Field::BankAccount, digits, text, range);
        }
    }
}

/// The digits that belong together with `run`, and how many they are: that run, or a row of equally separated groups of which it
/// is the first. A row that is too long is no account as a whole, and no part of it is one.
fn whole(bytes: &[u8], run: &Range<usize>) -> (Range<usize>, usize) {
    let (mut end, mut count) = (run.end, run.len());
    let Some(&separator) = bytes.get(end).filter(|byte| matches!(byte, b' ' | b'-')) else { return (run.clone(), count) };
    while count < DIGITS_MIN || end > run.end {
        let len = bytes[end..].iter().skip(1).take(GROUP_MAX + 1).take_while(|&&byte| DIGIT.has(byte)).count();
        if bytes.get(end) != Some(&separator) || !(2..=GROUP_MAX).contains(&len) {
            break;
        }
        (end, count) = (end + 1 + len, count + len);
    }
    (run.start..end, count)
}

/// Whether nothing beside the digits makes them a piece of something else, or money.
fn stands_alone(plain: &str, range: &Range<usize>) -> bool {
    if glued_before(plain, range.start) || glued_after(plain, range.end) {
        return false;
    }
    let before = &plain.as_bytes()[..range.start];
    let after = &plain.as_bytes()[range.end..];
    let joined_before = matches!(before, [.., digit, b'-' | b'.' | b',' | b'/' | b':'] if digit.is_ascii_alphanumeric())
        && !label::before(plain, range.start)
            .next()
            .is_some_and(|word| matches!(Label::of(word), Some(Label::Account)) || word.eq_ignore_ascii_case("no"));
    let joined_after = matches!(after, [b'-' | b'.' | b',' | b'/' | b':', digit, ..] if digit.is_ascii_digit());
    !joined_before
        && !joined_after
        && !matches!(before, [.., b'+' | b'$' | b'@' | b'_' | b'='])
        && !matches!(after, [b'@' | b'_' | b'%', ..] | [b'/', b'-', ..])
        && !plain[..range.start].trim_end().ends_with(['₹', '€', '£', '$'])
}

/// Whether the words around the digits call them an account.
fn is_account(plain: &str, digits: &str, range: &Range<usize>) -> bool {
    if digits.bytes().all(|byte| byte == digits.as_bytes()[0]) {
        return false;
    }
    let before = label::nearest(label::before(plain, range.start));
    let is_outright = match before {
        Some((Label::Account, distance)) if distance < OUTRIGHT_WORDS => true,
        Some((Label::Account, distance)) if distance < ACCOUNT_WORDS => false,
        Some((Label::Bank, distance)) if distance < BANK_WORDS => false,
        Some((Label::Amount, 0) | (Label::Other | Label::Phone, 0..OUTRIGHT_WORDS)) => return false,
        _ => match label::nearest(label::after(plain, range.end).take(AFTER_WORDS)) {
            Some((Label::Account, _)) => false,
            _ => return false,
        },
    };
    // `account opened on 20260121103000`
    let last = label::before(plain, range.start).next();
    let is_dated = last.is_some_and(|word| ["on", "at", "since", "until", "dated"].iter().any(|known| word.eq_ignore_ascii_case(known)));
    (is_outright && !is_dated) || !looks_like_something_else(digits)
}

/// Whether the digits are a phone number, a time or a card by their look.
fn looks_like_something_else(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let is_mobile = |national: &str| national.as_bytes()[0] >= b'6' && phone::is_valid(&format!("91{national}"));
    match digits.len() {
        10 if is_mobile(digits) => true,
        11 if bytes[0] == b'0' && is_mobile(&digits[1..]) => true,
        12 if digits.starts_with("91") && is_mobile(&digits[2..]) => true,
        // Seconds or milliseconds since 1970, of the years 2001 to 2033.
        10 | 13 if bytes[0] == b'1' => true,
        12 | 14 | 17 => is_time(digits),
        16 => matches!(bytes[0], b'4'..=b'6') && is_luhn(bytes),
        _ => false,
    }
}

/// Whether the digits begin like a date and time of our days: `20260121103000`.
fn is_time(digits: &str) -> bool {
    let part = |range: Range<usize>| digits.get(range).and_then(|part| part.parse().ok()).unwrap_or(99u32);
    matches!(digits.get(..2), Some("19" | "20"))
        && (1..=12).contains(&part(4..6))
        && (1..=31).contains(&part(6..8))
        && part(8..10) < 24
        && part(10..12) < 60
}

/// Whether a card's check digit is right.
fn is_luhn(digits: &[u8]) -> bool {
    let sum: u32 = (digits.iter().rev().enumerate())
        .map(|(place, digit)| u32::from(digit - b'0') << (place % 2))
        .map(|twice| twice / 10 + twice % 10)
        .sum();
    sum.is_multiple_of(10)
}

/// Lengths of IBANs by country, as SWIFT's registry lists them. Sorted.
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SC", 31),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
];

fn ibans(text: &Text<'_>, found: &mut Found) {
    let bytes = text.plain.as_bytes();
    for run in runs(bytes, &ALNUM, 4) {
        let head = &bytes[run.start..run.start + 4];
        if !(head[0].is_ascii_uppercase() && head[1].is_ascii_uppercase() && head[2].is_ascii_digit() && head[3].is_ascii_digit()) {
            continue;
        }
        let Ok(country) = IBAN_LENGTHS.binary_search_by_key(&&text.plain[run.start..run.start + 2], |known| known.0) else { continue };
        let Some((iban, end)) = iban(&bytes[run.start..], IBAN_LENGTHS[country].1) else { continue };
        let (iban, end) = (&iban[..IBAN_LENGTHS[country].1], run.start + end);
        let digits = iban.iter().filter(|byte| byte.is_ascii_digit()).count();
        if digits >= 8 && is_iban(iban) && !glued_before(text.plain, run.start) && !glued_after(text.plain, end) {
            found.add(Field::BankAccount, std::str::from_utf8(iban).unwrap_or(""), text, run.start..end);
        }
    }
}

/// The first `len` capitals and digits, which may stand in groups of four, and where they end.
fn iban(bytes: &[u8], len: usize) -> Option<([u8; IBAN_MAX], usize)> {
    let mut iban = [0; IBAN_MAX];
    let (mut count, mut at) = (0, 0);
    while count < len {
        let byte = *bytes.get(at)?;
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            iban[count] = byte;
            count += 1;
        } else if !(matches!(byte, b' ' | b'-') && count.is_multiple_of(4) && at > 0 && bytes[at - 1].is_ascii_alphanumeric()) {
            return None;
        }
        at += 1;
    }
    Some((iban, at))
}

/// Whether the check digits are right (ISO 7064, modulus 97).
fn is_iban(iban: &[u8]) -> bool {
    let rest = iban[4..].iter().chain(&iban[..4]).fold(0u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Address, Chat, Command, Hash, Other};
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let rows: &[Row] = &[
            (Chat, "your account number 1234567890123456. If you", &["bank_account=1234567890123456"]),
            (Chat, "Your SBI account 1234567890123456 will be BLOCKED", &["bank_account=1234567890123456"]),
            (Chat, "transfer to our official account 5566778899001122 at HDFC Bank", &["bank_account=5566778899001122"]),
            (Chat, "Pay immediately to account 123456789012", &["bank_account=123456789012"]),
            (Chat, "bank account 9876543210987654.", &["bank_account=9876543210987654"]),
            (Chat, "A/C 123456789012", &["bank_account=123456789012"]),
            (Chat, "a/c no. 123456789012", &["bank_account=123456789012"]),
            (Chat, "A/C:123456789012", &["bank_account=123456789012"]),
            (Chat, "acct: 123456789012", &["bank_account=123456789012"]),
            (Chat, "Acc No-123456789012", &["bank_account=123456789012"]),
            (Chat, "ac no 123456789", &["bank_account=123456789"]),
            (Chat, "Account Number : 123456789012345678", &["bank_account=123456789012345678"]),
            (Chat, "account no is 001234567890", &["bank_account=001234567890"]),
            (Chat, "account 1234 5678 9012 3456", &["bank_account=1234567890123456 «1234 5678 9012 3456»"]),
            (Chat, "account 1234-5678-9012", &["bank_account=123456789012"]),
            (Chat, "account 50100 1234 56789", &["bank_account=50100123456789"]),
            (Chat, "खाता संख्या 123456789012", &["bank_account=123456789012"]),
            (Chat, "khata number 123456789012", &["bank_account=123456789012"]),
            (Chat, "123456789012 account mein bhejo", &["bank_account=123456789012"]),
            (Chat, "123456789012 (A/C)", &["bank_account=123456789012"]),
            (Chat, "transfer the fee to 123456789012", &["bank_account=123456789012"]),
            (Chat, "deposit in SBI 20123456789", &["bank_account=20123456789"]),
            (Chat, "NEFT 123456789012", &["bank_account=123456789012"]),
            (Chat, "account 9876543210", &["bank_account=9876543210"]),
            (Chat, "account number: 9876543210", &["bank_account=9876543210"]),
            (Chat, "account 4111111111111111", &["bank_account=4111111111111111"]),
            (Chat, "{\"account\":\"123456789012\"}", &["bank_account=123456789012"]),
            (Chat, "<b>Account:</b> 123456789012<br>", &["bank_account=123456789012"]),
            (Chat, "*A/C* 123456789012!", &["bank_account=123456789012"]),
            (Chat, "(account 123456789012)", &["bank_account=123456789012"]),
            (Chat, "account 123456789012, IFSC SBIN0001234", &["bank_account=123456789012"]),
            (Chat, "account 123456789012 account 123456789013", &["bank_account=123456789012", "bank_account=123456789013"]),
            (Chat, "accounts 123456789012, 123456789013", &["bank_account=123456789012", "bank_account=123456789013"]),
            (Chat, "account 123456789012 or 123456789012", &["bank_account=123456789012"]),
            (Chat, "Pay Rs.500 to account 123456789012 now", &["bank_account=123456789012"]),
            (Other, "account 123456789012", &["bank_account=123456789012"]),
            (Chat, "GB29NWBK60161331926819", &["bank_account=GB29NWBK60161331926819"]),
            (Chat, "GB29 NWBK 6016 1331 9268 19", &["bank_account=GB29NWBK60161331926819 «GB29 NWBK 6016 1331 9268 19»"]),
            (Chat, "IBAN DE89370400440532013000.", &["bank_account=DE89370400440532013000"]),
            (Chat, "DE89 3704 0044 0532 0130 00", &["bank_account=DE89370400440532013000"]),
            (Other, "FR1420041010050500013M02606", &["bank_account=FR1420041010050500013M02606"]),
            (Command, "echo NL91ABNA0417164300", &["bank_account=NL91ABNA0417164300"]),
            (Chat, "IBAN:GB29-NWBK-6016-1331-9268-19", &["bank_account=GB29NWBK60161331926819"]),
            (Chat, "NO9386011117947", &["bank_account=NO9386011117947"]),
            (Chat, "123456789012", &[]),
            (Chat, "GB29NWBK60161331926818", &[]),
            (Chat, "GB28NWBK60161331926819", &[]),
            (Chat, "GB29NWBK6016133192681", &[]),
            (Chat, "GB29NWBK601613319268199", &[]),
            (Chat, "gb29nwbk60161331926819", &[]),
            (Chat, "ZZ29NWBK60161331926819", &[]),
            (Chat, "xGB29NWBK60161331926819", &[]),
            (Chat, "GB29 NWBK 6016\n1331 9268 19", &[]),
            (Chat, "account 12345678", &[]),
            (Chat, "account 1234567890123456789", &[]),
            (Chat, "account 000000000000", &[]),
            (Chat, "account Rs.123456789012", &[]),
            (Chat, "account ₹123456789012", &[]),
            (Chat, "account 123456789.50", &[]),
            (Chat, "account +919876543210", &[]),
            (Chat, "your account, call 9876543210", &[]),
            (Chat, "transfer to 9876543210", &[]),
            (Chat, "bank 919876543210", &[]),
            (Chat, "transfer 4111111111111111", &[]),
            (Chat, "bank at 1769000000", &[]),
            (Chat, "bank at 1769000000000", &[]),
            (Chat, "bank at 20260121103000", &[]),
            (Chat, "account opened on 20260121103000", &[]),
            (Chat, "account 20260121103000", &["bank_account=20260121103000"]),
            (Chat, "Aadhaar 123456789012", &[]),
            (Chat, "account blocked, Aadhaar 123456789012", &[]),
            (Chat, "bank order id 123456789012", &[]),
            (Chat, "transaction ref 123456789012", &[]),
            (Chat, "UTR 123456789012", &[]),
            (Chat, "card 4111111111111111", &[]),
            (Chat, "account 123456789012@ybl", &[]),
            (Chat, "account x123456789012", &[]),
            (Chat, "account 123456789012x", &[]),
            (Chat, "account XXXXXX1234", &[]),
            (Chat, "account 12-01-2026 10:30:00", &[]),
            (Chat, "account 2026", &[]),
            (Chat, "account 25,00,00,000", &[]),
            (Chat, "account 123456789012_1", &[]),
            (Chat, "account 192.168.100.100", &[]),
            (Chat, "account 123456789012/-", &[]),
            (Chat, "the account is one thing and quite another thing is this long long number here: 123456789012", &[]),
            (Command, "echo account 123456789012", &[]),
            (Address, "/account/123456789012", &[]),
            (Hash, "account 123456789012", &[]),
            (Chat, "account 123456\u{200b}789012", &[]),
            (Chat, "account", &[]),
            (Chat, "", &[]),
        ];
        check(&BankAccount, 60, rows);
    }

    #[test]
    fn countries_are_sorted_and_their_ibans_fit() {
        assert!(IBAN_LENGTHS.is_sorted() && IBAN_LENGTHS.iter().all(|country| country.1 <= IBAN_MAX));
    }
}
