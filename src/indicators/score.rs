//! How much an indicator is worth, 0 to 100, with what it is made of; and how long it holds.
//!
//! All constants of it stand here, and as a table in `ops/INDICATORS.md`.
use super::days;
use super::lists::Judged;
use crate::events::time::MICROS_PER_DAY;
use crate::events::{Field, Micros};
use crate::index::part::TermSummary;
use std::fmt;

/// Days after its last event that a kind's value holds: an address is somebody else's soon, what a file is stays.
const ADDRESS_DAYS: i64 = 30;
const NAME_DAYS: i64 = 90;
const ACCOUNT_DAYS: i64 = 180;

/// So many events or more, and what they add; the highest that fits counts.
const COUNT_POINTS: &[(u64, i32)] = &[(10_000, 20), (1_000, 15), (100, 10), (10, 5)];
/// So many days from the first to the last event, both counted.
const DAYS_POINTS: &[(u64, i32)] = &[(30, 15), (7, 10), (2, 5)];
/// Seen within the last day.
const FRESH_POINTS: i32 = 10;
/// More than half of its time is over.
const STALE_POINTS: i32 = -10;
const EXPIRED_POINTS: i32 = -30;
/// For every outside list that knows it, and for so many at most.
const KNOWN_POINTS: i32 = 10;
const KNOWN_LISTS_MAX: usize = 2;
/// For every enricher whose kept answer calls it malicious, and for so many at most.
const FLAGGED_POINTS: i32 = 15;
const FLAGGED_BY_MAX: usize = 2;
/// What the operator denies.
const DENIED_SCORE: u8 = 100;

/// No time that is shown or exported lies outside of these: 1970, and the end of the year 9999.
pub(super) const TIME_MAX: Micros = 253_402_300_799 * 1_000_000;

/// What a kind begins with: how sure it is that such a value, seen at a honeypot, is an attacker's.
fn kind_points(kind: Field) -> i32 {
    match kind {
        Field::Shasum => 60,
        Field::SshKey | Field::Fingerprint => 55,
        Field::Url | Field::Btc | Field::Xmr | Field::Eth | Field::Upi => 50,
        Field::Md5 | Field::Sha1 | Field::Sha256 | Field::Sha512 => 45,
        // Addresses are forged rarely and shared often; what a text names may be anybody's.
        Field::SrcIp | Field::BankAccount => 40,
        Field::Domain | Field::Ipv4 | Field::Ipv6 | Field::Phone => 35,
        Field::Email => 30,
        // A client, or a hole, is many attackers'.
        Field::Hassh | Field::Cve => 20,
        Field::Ja4 | Field::Ja4h => 15,
        Field::Ifsc => 10,
        _ => 0,
    }
}

/// Days that a kind's value holds; `None`: for ever.
pub fn lifetime_days(kind: Field) -> Option<i64> {
    match kind {
        Field::SrcIp | Field::Ipv4 | Field::Ipv6 => Some(ADDRESS_DAYS),
        Field::Url | Field::Domain | Field::Hassh | Field::Ja4 | Field::Ja4h => Some(NAME_DAYS),
        Field::Email | Field::Phone | Field::Upi | Field::Ifsc | Field::BankAccount => Some(ACCOUNT_DAYS),
        _ => None,
    }
}

/// Until when a value holds that was seen last then.
pub fn valid_until(kind: Field, last: Micros) -> Option<Micros> {
    lifetime_days(kind).map(|days| last.saturating_add(days * MICROS_PER_DAY).min(TIME_MAX))
}

/// What a score is made of.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'e> {
    pub kind: Field,
    pub sum: TermSummary,
    pub judged: &'e Judged,
    pub known_in: &'e [String],
    /// Enrichers that call it malicious.
    pub flagged_by: &'e [String],
    pub now: Micros,
}

/// The score; `reason` is told what it is made of, the most general first.
pub fn score(evidence: &Evidence<'_>, reason: &mut dyn FnMut(fmt::Arguments<'_>)) -> u8 {
    let Evidence { kind, sum, judged, known_in, flagged_by, now } = *evidence;
    match judged {
        Judged::Harmless(list) => {
            reason(format_args!("on the list \"{list}\""));
            return 0;
        }
        Judged::Denied => {
            reason(format_args!("on the deny list"));
            return DENIED_SCORE;
        }
        Judged::Unlisted => {}
    }
    let what = match kind {
        Field::SrcIp => "attacked",
        Field::Shasum => "a file that was fetched or left",
        kind => kind.name(),
    };
    let mut points = kind_points(kind);
    reason(format_args!("{points} {what}"));
    let mut add = |more: i32, why: fmt::Arguments<'_>| {
        points += more;
        reason(format_args!("{more:+} {why}"));
    };
    let highest = |table: &[(u64, i32)], number: u64| table.iter().find(|(from, _)| number >= *from).map(|(_, points)| *points);
    if let Some(more) = highest(COUNT_POINTS, sum.count) {
        add(more, format_args!("{} events", sum.count));
    }
    let days = days(sum.first, sum.last);
    if let Some(more) = highest(DAYS_POINTS, days) {
        add(more, format_args!("over {days} days"));
    }
    let age = now.saturating_sub(sum.last);
    match lifetime_days(kind).map(|days| days * MICROS_PER_DAY) {
        _ if age <= MICROS_PER_DAY => add(FRESH_POINTS, format_args!("seen within a day")),
        Some(lifetime) if age >= lifetime => add(EXPIRED_POINTS, format_args!("expired")),
        Some(lifetime) if age > lifetime / 2 => add(STALE_POINTS, format_args!("not seen for half its time")),
        _ => {}
    }
    for list in known_in.iter().take(KNOWN_LISTS_MAX) {
        add(KNOWN_POINTS, format_args!("known in {list}"));
    }
    for enricher in flagged_by.iter().take(FLAGGED_BY_MAX) {
        add(FLAGGED_POINTS, format_args!("malicious by {enricher}"));
    }
    // In range by the clamp.
    points.clamp(0, 100) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_774_200_000_000_000;

    fn scored(kind: Field, count: u64, first_days_ago: i64, last_days_ago: i64, judged: Judged, known_in: &[String]) -> (u8, Vec<String>) {
        let ago = |days: i64| NOW - days * MICROS_PER_DAY;
        let sum = TermSummary { count, first: ago(first_days_ago), last: ago(last_days_ago) };
        let mut reasons = Vec::new();
        let score = score(&Evidence { kind, sum, judged: &judged, known_in, flagged_by: &[], now: NOW }, &mut |reason| {
            reasons.push(reason.to_string())
        });
        (score, reasons)
    }

    #[test]
    fn reasons_add_up_to_the_score() {
        let cases = [
            (Field::SrcIp, 1, 3, 3, 40),
            (Field::SrcIp, 10_000, 40, 0, 85),
            (Field::SrcIp, 10, 16, 16, 35),
            (Field::SrcIp, 10, 30, 30, 15),
            (Field::Shasum, 10_000, 800, 0, 100),
            (Field::Shasum, 1, 800, 800, 60),
            (Field::Domain, 1, 90, 90, 5),
            (Field::ScamType, 1, 9, 9, 0),
        ];
        for (kind, count, first, last, expected) in cases {
            let (score, reasons) = scored(kind, count, first, last, Judged::Unlisted, &[]);
            assert_eq!(score, expected, "{reasons:?}");
            let sum: i32 = reasons.iter().filter_map(|reason| reason.split(' ').next()?.parse::<i32>().ok()).sum();
            assert_eq!(sum.clamp(0, 100), i32::from(score), "{reasons:?}");
        }
        let lists = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(scored(Field::SrcIp, 1, 3, 3, Judged::Unlisted, &lists).0, 60);
    }

    #[test]
    fn lists_decide_alone() {
        assert_eq!(scored(Field::Url, 50_000, 40, 0, Judged::Harmless("own"), &[]).0, 0);
        assert_eq!(scored(Field::Keyword, 1, 400, 400, Judged::Denied, &[]), (100, vec!["on the deny list".to_owned()]));
    }

    #[test]
    fn what_others_call_malicious_is_worth_more_but_for_what_a_list_decides() {
        let scored = |judged: &Judged, flagged_by: &[String]| {
            let sum = TermSummary { count: 1, first: NOW - 3 * MICROS_PER_DAY, last: NOW - 3 * MICROS_PER_DAY };
            let mut reasons = Vec::new();
            let evidence = Evidence { kind: Field::SrcIp, sum, judged, known_in: &[], flagged_by, now: NOW };
            (score(&evidence, &mut |reason| reasons.push(reason.to_string())), reasons.pop().unwrap_or_default())
        };
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(scored(&Judged::Unlisted, &names[..1]), (55, "+15 malicious by a".to_owned()));
        assert_eq!(scored(&Judged::Unlisted, &names), (70, "+15 malicious by b".to_owned()));
        assert_eq!(scored(&Judged::Harmless("own"), &names).0, 0);
    }

    #[test]
    fn addresses_hold_for_30_days_names_for_90_and_hashes_for_ever() {
        assert_eq!(valid_until(Field::SrcIp, NOW), Some(NOW + 30 * MICROS_PER_DAY));
        assert_eq!(valid_until(Field::Url, NOW), Some(NOW + 90 * MICROS_PER_DAY));
        assert_eq!(valid_until(Field::Sha256, NOW), None);
        assert_eq!(valid_until(Field::Url, Micros::MAX), Some(TIME_MAX));
    }
}
