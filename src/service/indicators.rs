//! Which indicators there are: the terms of the dictionaries, judged. No event is read.
use super::ServiceError;
use crate::events::{Field, Micros};
use crate::index::part::{CellTable, TermEntry, TermSummary, ValueRange};
use crate::index::query::{self, Query};
use crate::index::search::View;
use crate::index::top::{self, Scope};
use crate::indicators::known::Known;
use crate::indicators::lists::{Judged, Lists, may_be_target};
use crate::indicators::{self, Indicator, score};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher;

/// Most indicators of one answer: it is made in memory.
pub const INDICATORS_MAX: usize = 200_000;
/// Hashes of files added up at once, about a hundred bytes each.
const HASHES_MAX: u64 = 250_000;

/// Targets of attacks remembered at once, about thirty bytes each.
const TARGETS_MAX: u64 = 500_000;

/// Which are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Empty: all.
    pub kinds: Vec<Field>,
    /// Seen last from then on, and before then, as in a query: `7d`, `2026-03-22`.
    pub since: Option<String>,
    pub until: Option<String>,
    pub min_count: u64,
    pub min_score: u8,
    /// Only what was seen at this one.
    pub sensor: Option<String>,
    /// Without those that a list calls harmless, and those whose time is over.
    pub hostile: bool,
    pub limit: usize,
}

/// The highest scores, and of the same the most frequent, come first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Listed {
    pub indicators: Vec<Indicator>,
    /// How many more there are.
    pub more: u64,
}

/// Lists the indicators that are asked for. Of a sensor, counts are that sensor's, and first and last seen are told to the day
/// when the value was seen elsewhere too.
pub fn list(view: &View, asked: &Asked, (lists, known): (&Lists, &Known), now: Micros) -> Result<Listed, ServiceError> {
    let (since, until) = span(asked, now)?;
    let sensor = asked.sensor.as_deref().map(|sensor| of_sensor(sensor, now)).transpose()?;
    let scope = match &sensor {
        Some(query) => Some(Scope::of(query, None).ok_or_else(|| ServiceError::Indicators("a sensor has a name".to_owned()))?),
        None => None,
    };
    let mut best = Best { limit: asked.limit.min(INDICATORS_MAX), rows: BinaryHeap::new(), found: 0 };
    let mut each = |kind: Field, value: &[u8], sum: TermSummary, is_target: bool| {
        if sum.count < asked.min_count || since.is_some_and(|since| sum.last < since) || until.is_some_and(|until| sum.last >= until) {
            return;
        }
        let value = String::from_utf8_lossy(value);
        let judged = lists.judge(kind, &value).of_target(is_target);
        let is_over = || score::valid_until(kind, sum.last).is_some_and(|until| until <= now);
        if asked.hostile && (matches!(judged, Judged::Harmless(_)) || is_over()) {
            return;
        }
        let (known_in, flagged_by) = (known.lists_of(kind, &value), known.flagged_by(kind, &value));
        let evidence = score::Evidence { kind, sum, judged: &judged, known_in: &known_in, flagged_by: &flagged_by, now };
        let score = score::score(&evidence, &mut |_| {});
        if score >= asked.min_score {
            best.add(score, kind, &value, sum, is_target);
        }
    };
    let wanted = indicators::kinds().filter(|kind| asked.kinds.is_empty() || asked.kinds.contains(kind));
    let (targets, others): (Vec<Field>, Vec<Field>) = wanted.partition(|kind| may_be_target(*kind));
    for kind in others {
        match kind {
            Field::Shasum => each_file(view, scope.as_ref(), &mut |value, sum| each(kind, value, sum, false))?,
            kind => top::each_value(view, kind, scope.as_ref(), None, &mut |value, sum| each(kind, value, sum, false))?,
        }
    }
    each_with_targets(view, &targets, scope.as_ref(), TARGETS_MAX, &mut each)?;
    let more = best.found - best.rows.len() as u64;
    let rows = best.rows.into_sorted_vec().into_iter();
    let indicators = rows.map(|(_, Reverse(count), kind, value, first, last, is_target)| {
        Indicator::of(kind, value, TermSummary { count, first, last }, is_target, (lists, known), now)
    });
    Ok(Listed { indicators: indicators.collect(), more })
}

/// What takes a value of a kind, its events, and whether it is but a target.
type EachOfKind<'a> = dyn FnMut(Field, &[u8], TermSummary, bool) + 'a;

/// Calls `each` with every value of these kinds. To ask the dictionaries for each value whether it is a target would take minutes where
/// there are a million: instead the targets' counts are kept by the values' hashes, so many at once, and the values gone through as often.
fn each_with_targets(
    view: &View,
    kinds: &[Field],
    scope: Option<&Scope<'_>>,
    targets_max: u64,
    each: &mut EachOfKind<'_>,
) -> Result<(), ServiceError> {
    if kinds.is_empty() {
        return Ok(());
    }
    let mut terms = 0u64;
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            terms += index.terms_len(Field::DstIp);
            Ok(())
        })?;
    }
    let pieces = terms.div_ceil(targets_max).max(1);
    // Seeded anew each time: nobody makes two values of one hash.
    let hasher = foldhash::quality::RandomState::default();
    let mut attacked: HashMap<u64, u64> = HashMap::new();
    for piece in 0..pieces {
        attacked.clear();
        top::each_value(view, Field::DstIp, None, None, &mut |value, sum| {
            let hash = hasher.hash_one(value);
            if hash % pieces == piece {
                *attacked.entry(hash).or_default() += sum.count;
            }
        })?;
        for &kind in kinds {
            top::each_value(view, kind, scope, None, &mut |value, sum| {
                let hash = hasher.hash_one(value);
                if hash % pieces == piece {
                    each(kind, value, sum, attacked.get(&hash).is_some_and(|attacked| *attacked >= sum.count));
                }
            })?;
        }
    }
    Ok(())
}

/// Whether a value that `count` events have occurs in no event but as what was attacked, or asked for through a tunnel. Of events at one
/// sensor only, it may also be that it occurs otherwise elsewhere. Nobody makes a value harmless by asking for it more often.
pub(crate) fn is_target(view: &View, kind: Field, value: &str, count: u64) -> Result<bool, ServiceError> {
    if !may_be_target(kind) {
        return Ok(false);
    }
    let mut attacked = 0;
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            attacked += index.term(Field::DstIp, value.as_bytes())?.map_or(0, |entry| entry.summary.count);
            Ok(())
        })?;
        if attacked >= count {
            return Ok(true);
        }
    }
    Ok(false)
}

fn span(asked: &Asked, now: Micros) -> Result<(Option<Micros>, Option<Micros>), ServiceError> {
    let named = [("since", &asked.since), ("until", &asked.until)];
    let written = named.into_iter().filter_map(|(name, time)| Some(format!("{name}:{}", time.as_ref()?))).collect::<Vec<_>>().join(" ");
    let query = Query::parse(&written, now).map_err(|error| ServiceError::Query { query: written, error })?;
    if !query.clauses.is_empty() {
        return Err(ServiceError::Indicators("since and until are times: a date, a time, or an age such as 7d".to_owned()));
    }
    Ok((query.since, query.until))
}

fn of_sensor(name: &str, now: Micros) -> Result<Query, ServiceError> {
    let written = format!("sensor:{}", query::quote(name));
    Query::parse(&written, now).map_err(|error| ServiceError::Query { query: written, error })
}

/// Calls `each` once with every file that was fetched or left: the SHA-256 behind the last blank of [`Field::Download`] and
/// [`Field::Upload`], which one file may have with many URLs and names. The field of hashes alone also has those of recordings.
fn each_file(view: &View, scope: Option<&Scope<'_>>, each: &mut dyn FnMut(&[u8], TermSummary)) -> Result<(), ServiceError> {
    let mut terms = 0u64;
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            terms += index.terms_len(Field::Download) + index.terms_len(Field::Upload);
            Ok(())
        })?;
    }
    each_file_within(view, scope, terms.div_ceil(HASHES_MAX).max(1), each)
}

fn each_file_within(
    view: &View,
    scope: Option<&Scope<'_>>,
    pieces: u64,
    each: &mut dyn FnMut(&[u8], TermSummary),
) -> Result<(), ServiceError> {
    let mut files: HashMap<[u8; 64], TermSummary> = HashMap::new();
    for piece in 0..pieces {
        files.clear();
        for field in [Field::Download, Field::Upload] {
            top::each_value(view, field, scope, None, &mut |value, sum| {
                let Some(hash) = hash_of(value) else { return };
                // The digits of a hash are as good as random; an attacker who makes them not so makes one piece larger.
                let digits = hash.iter().take(8).fold(0u64, |number, digit| number << 8 | u64::from(*digit));
                if digits % pieces == piece {
                    let known = files.entry(hash).or_insert(TermSummary { count: 0, ..sum });
                    known.count += sum.count;
                    (known.first, known.last) = (known.first.min(sum.first), known.last.max(sum.last));
                }
            })?;
        }
        files.iter().for_each(|(hash, sum)| each(hash, *sum));
    }
    Ok(())
}

/// Calls `each` with the entries of a file's hash, in lower case, segment by segment.
pub(super) fn each_of_file(view: &View, hash: &[u8; 64], each: &mut dyn FnMut(&CellTable, &TermEntry)) -> Result<(), ServiceError> {
    for segment in &view.segments {
        segment.with_index(&mut |index| {
            let table = index.cells()?;
            for field in [Field::Download, Field::Upload] {
                let mut keep = |value: &[u8]| hash_of(value).is_some_and(|found| found == *hash);
                index.each_entry(field, ValueRange::ALL, &mut keep, &mut |_, entry| each(&table, entry))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The hash behind the last blank, in lower case.
pub(super) fn hash_of(value: &[u8]) -> Option<[u8; 64]> {
    let start = memchr::memrchr(b' ', value).map_or(0, |blank| blank + 1);
    let mut hash: [u8; 64] = value[start..].try_into().ok()?;
    hash.make_ascii_lowercase();
    hash.iter().all(u8::is_ascii_hexdigit).then_some(hash)
}

/// The rows of the highest ranks so far, the lowest of them on top.
struct Best {
    limit: usize,
    rows: BinaryHeap<Ranked>,
    found: u64,
}

/// Score, count, kind, value, first, last, and whether it is but a target: the less the better.
type Ranked = (Reverse<u8>, Reverse<u64>, Field, String, Micros, Micros, bool);

impl Best {
    fn add(&mut self, score: u8, kind: Field, value: &str, sum: TermSummary, is_target: bool) {
        self.found += 1;
        if self.rows.len() >= self.limit {
            let rank = (Reverse(score), Reverse(sum.count), kind, value);
            match self.rows.peek() {
                Some(worst) if rank < (worst.0, worst.1, worst.2, &worst.3[..]) => self.rows.pop(),
                _ => return,
            };
        }
        self.rows.push((Reverse(score), Reverse(sum.count), kind, value.to_owned(), sum.first, sum.last, is_target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time::{self, MICROS_PER_DAY};
    use crate::index::sample::{Blocks, RECEIVED_AT, blocks, view};
    use crate::indicators::lists::{Entry, RESERVED, TARGETS};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const EVERYTHING: usize = usize::MAX;

    fn naive(segments: &[Blocks], field: Field, sensor: Option<&[u8]>) -> BTreeMap<String, (u64, Micros, Micros)> {
        let mut sums = BTreeMap::new();
        for (_, _, _, event) in segments.iter().flat_map(Blocks::events) {
            if sensor.is_none_or(|sensor| sensor == event.sensor) {
                for (_, value) in event.terms.iter().filter(|term| term.0 == field) {
                    let sum = sums.entry(String::from_utf8(value.clone()).unwrap()).or_insert((0, event.time, event.time));
                    *sum = (sum.0 + 1, sum.1.min(event.time), sum.2.max(event.time));
                }
            }
        }
        sums
    }

    fn listed(segments: &[Blocks], asked: &Asked) -> Vec<Indicator> {
        list(&view(segments), asked, (&Lists::default(), &Known::default()), RECEIVED_AT).unwrap().indicators
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_list_says_what_a_scan_of_all_events_says(
            segments in proptest::collection::vec(blocks(0..200, 1), 1..4),
            min_count in 0..6u64,
            days_back in 0..4i64,
            at_sensor in any::<bool>(),
        ) {
            let since = (RECEIVED_AT / MICROS_PER_DAY - days_back) * MICROS_PER_DAY;
            let sensor = at_sensor.then(|| "node1".to_owned());
            let asked = Asked {
                kinds: vec![Field::SrcIp],
                since: Some(time::format_day(time::day_of(since))),
                min_count,
                sensor: sensor.clone(),
                limit: EVERYTHING,
                ..Asked::default()
            };
            let rows = listed(&segments, &asked);
            let found: BTreeMap<_, _> = rows.iter().map(|row| (row.value.clone(), (row.count, row.first_seen, row.last_seen))).collect();
            let mut expected = naive(&segments, Field::SrcIp, sensor.as_deref().map(str::as_bytes));
            expected.retain(|_, sum| sum.0 >= min_count && sum.2 >= since);
            if at_sensor {
                // Counts are exact, times told to the day.
                let days = |sums: &BTreeMap<String, (u64, Micros, Micros)>| -> Vec<_> {
                    sums.iter().map(|(value, sum)| (value.clone(), sum.0, time::day_of(sum.1), time::day_of(sum.2))).collect()
                };
                prop_assert_eq!(days(&found), days(&expected));
            } else {
                prop_assert_eq!(&found, &expected);
            }
            prop_assert_eq!(rows.len(), found.len(), "each value once");
            prop_assert!(rows.windows(2).all(|pair| (Reverse(pair[0].score), Reverse(pair[0].count)) <= (Reverse(pair[1].score), Reverse(pair[1].count))));
        }
    }

    fn one(lines: &[serde_json::Value]) -> Vec<Blocks> {
        vec![Blocks::new(lines.chunks(3).map(|lines| lines.iter().map(|line| line.to_string().into_bytes()).collect()).collect(), 1)]
    }

    #[test]
    fn a_file_counts_once_whatever_it_was_called_and_wherever_it_came_from() {
        let hash = |digit: &str| digit.repeat(64);
        let at = |day: u32| format!("2026-03-{day:02}T00:00:00Z");
        let segments = one(&[
            serde_json::json!({ "download": format!("http://a.top/x {}", hash("a")), "timestamp": at(1) }),
            serde_json::json!({ "download": format!("http://b.top/y z {}", hash("A")), "timestamp": at(3) }),
            serde_json::json!({ "upload": format!("x.sh {}", hash("a")), "timestamp": at(2) }),
            serde_json::json!({ "upload": hash("b"), "timestamp": at(2) }),
            serde_json::json!({ "upload": "no hash", "timestamp": at(2) }),
            serde_json::json!({ "shasum": hash("c"), "timestamp": at(2) }),
        ]);
        for pieces in [1, 2, 7] {
            let mut files = Vec::new();
            each_file_within(&view(&segments), None, pieces, &mut |hash, sum| {
                files.push((String::from_utf8(hash.to_vec()).unwrap(), sum.count, time::format(sum.first), time::format(sum.last)));
            })
            .unwrap();
            files.sort();
            let time = |day: u32| format!("2026-03-{day:02}T00:00:00.000000Z");
            assert_eq!(files, [(hash("a"), 3, time(1), time(3)), (hash("b"), 1, time(2), time(2))], "{pieces} pieces");
        }
    }

    #[test]
    fn what_lists_call_harmless_is_shown_with_the_list_and_is_not_hostile() {
        let attack = |address: &str| serde_json::json!({ "src_ip": address, "timestamp": "2026-03-22T00:00:00Z" });
        let segments = one(&[attack("10.0.0.1"), attack("185.1.2.3"), attack("185.1.2.4"), attack("185.9.9.9")]);
        let lists =
            Lists { own: vec![Entry::parse("185.1.2.3").unwrap()], deny: vec![Entry::parse("185.9.9.0/24").unwrap()], ..Lists::default() };
        let rows = |hostile: bool, limit: usize| {
            let asked = Asked { hostile, limit, ..Asked::default() };
            let listed = list(&view(&segments), &asked, (&lists, &Known::default()), RECEIVED_AT).unwrap();
            let rows: Vec<_> = listed.indicators.into_iter().map(|row| (row.value, row.score, row.warning)).collect();
            (rows, listed.more)
        };
        let (denied, plain) = (("185.9.9.9".to_owned(), 100, None), ("185.1.2.4".to_owned(), 50, None));
        assert_eq!(rows(true, 10), (vec![denied.clone(), plain.clone()], 0));
        let (private, own) = (("10.0.0.1".to_owned(), 0, Some(RESERVED.to_owned())), ("185.1.2.3".to_owned(), 0, Some("own".to_owned())));
        assert_eq!(rows(false, 10), (vec![denied.clone(), plain, private, own], 0));
        assert_eq!(rows(false, 1), (vec![denied], 3));
    }

    #[test]
    fn what_is_only_attacked_is_another_victim_and_what_is_also_named_otherwise_is_not() {
        let day = "2026-03-22T00:00:00Z";
        let tunnel = |host: &str, salt: u32| serde_json::json!({ "domain": host, "dst_ip": host, "timestamp": day, "salt": salt });
        let mut events: Vec<_> = (0..20).flat_map(|salt| [tunnel("shop.top", salt), tunnel("evil.top", salt)]).collect();
        events.push(serde_json::json!({ "domain": "evil.top", "timestamp": day }));
        let segments = one(&events);
        let rows = listed(&segments, &Asked { kinds: vec![Field::Domain], limit: EVERYTHING, ..Asked::default() });
        let rows: Vec<_> = rows.into_iter().map(|row| (row.value, row.count, row.warning)).collect();
        assert_eq!(rows, [("evil.top".to_owned(), 21, None), ("shop.top".to_owned(), 20, Some(TARGETS.to_owned()))]);
        let view = view(&segments);
        for targets_max in [1, 2, 100] {
            let mut found = Vec::new();
            each_with_targets(&view, &[Field::Domain], None, targets_max, &mut |_, value, sum, is_target| {
                assert_eq!(super::is_target(&view, Field::Domain, std::str::from_utf8(value).unwrap(), sum.count).unwrap(), is_target);
                found.push(value.to_vec());
            })
            .unwrap();
            found.sort();
            assert_eq!(found, [&b"evil.top"[..], b"shop.top"], "each once, {targets_max} at once");
        }
    }

    #[test]
    fn a_span_is_made_of_times_only() {
        let asked = |since: &str| Asked { since: Some(since.to_owned()), ..Asked::default() };
        for since in ["7d src_ip:1.2.3.4", "nonsense", ""] {
            assert!(list(&view(&[]), &asked(since), (&Lists::default(), &Known::default()), RECEIVED_AT).is_err(), "{since:?}");
        }
        let nameless = Asked { sensor: Some(String::new()), ..Asked::default() };
        assert!(list(&view(&[]), &nameless, (&Lists::default(), &Known::default()), RECEIVED_AT).is_err());
    }
}
