//! What is open, what was told, and what has yet to reach a sink: the state behind alerts, and the decisions.
//!
//! A condition opens an alert of its rule and subject, once; it closes when the condition is over. Behind an alert its subject may not
//! open again for the rule's cooldown, so what flaps is told twice in each cooldown at most, with how often it flapped.
//! New indicators have no end: those that come within a cooldown are told together.
//!
//! Every notice stands in the ledger before it is sent, so the book can be made again of it ([`Book::replay`]); the state keeps a copy.
use super::notice::{Happened, NewValue, Notice, SUBJECT_BYTES_MAX, VALUES_MAX, shorten};
use super::{Rule, SUBJECTS_MAX};
use crate::events::Micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most notices on their way to sinks.
pub const PENDING_MAX: usize = 2_000;
/// Most values that a rule remembers having told.
const KNOWN_MAX: usize = 20_000;

/// What a rule sees at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// The condition holds of these subjects, and of no others.
    Holds(Vec<Reading>),
    /// Values first seen within the rule's window.
    New(Vec<NewValue>),
}

/// A subject of which the condition holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub subject: String,
    pub summary: String,
    pub value: Option<u64>,
    pub threshold: Option<u64>,
}

/// A notice that has not reached a sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub sink: String,
    pub notice: Notice,
}

/// An alert that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub alert: String,
    pub subject: String,
    pub number: u64,
    pub summary: String,
    #[serde(with = "crate::indicators::written_time")]
    pub since: Micros,
}

/// Everything alerts remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Of the notice told last.
    last_number: u64,
    rules: BTreeMap<String, OfRule>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OfRule {
    subjects: BTreeMap<String, Subject>,
    /// Hashes of values that were told, or were there before the rule, with the time each was first seen. `None` until the first look.
    known: Option<BTreeMap<String, Micros>>,
    told_at: Option<Micros>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Subject {
    open: Option<(u64, Micros, String)>,
    /// The last alert.
    fired_at: Micros,
    /// In the cooldown: the condition holds, untold.
    holds: bool,
    suppressed: u64,
}

impl Book {
    /// Decides what is news of what a rule sees. What is told is noted, and on its way to the rule's sinks.
    pub fn look(&mut self, rule: &Rule, sight: Sight, now: Micros) -> Vec<Notice> {
        let before = self.last_number;
        let notices = match sight {
            Sight::Holds(readings) => self.held(rule, readings, now),
            Sight::New(values) => self.new_values(rule, values, now).into_iter().collect(),
        };
        debug_assert_eq!(before + notices.len() as u64, self.last_number);
        self.send(&notices);
        notices
    }

    fn held(&mut self, rule: &Rule, mut readings: Vec<Reading>, now: Micros) -> Vec<Notice> {
        let (cooldown, mut last_number) = (micros(rule.cooldown), self.last_number);
        let subjects = &mut self.rules.entry(rule.name.to_string()).or_default().subjects;
        readings.iter_mut().for_each(|reading| shorten(&mut reading.subject, SUBJECT_BYTES_MAX));
        let holding: BTreeSet<&str> = readings.iter().map(|reading| reading.subject.as_str()).collect();
        let mut notices = Vec::new();
        let mut tell = |notice: Notice| {
            last_number += 1;
            notices.push(Notice { number: last_number, ..notice }.bounded());
            last_number
        };
        for (name, subject) in subjects.iter_mut().filter(|(name, _)| !holding.contains(name.as_str())) {
            subject.holds = false;
            if let Some((_, since, summary)) = subject.open.take() {
                let duration_seconds = Some(Notice::lasted(since, now));
                tell(Notice { duration_seconds, ..notice(rule, Happened::Recovered, name, format!("over: {summary}"), (since, now)) });
            }
        }
        subjects.retain(|_, subject| subject.open.is_some() || subject.holds || cools(subject.fired_at, now, cooldown));
        for reading in readings {
            let is_known = subjects.contains_key(&reading.subject);
            if !is_known && subjects.len() >= SUBJECTS_MAX {
                continue;
            }
            let subject = subjects.entry(reading.subject.clone()).or_insert(Subject { fired_at: Micros::MIN, ..Subject::default() });
            if subject.open.is_some() {
                continue;
            }
            if cools(subject.fired_at, now, cooldown) {
                subject.suppressed += u64::from(!std::mem::replace(&mut subject.holds, true));
                continue;
            }
            let Reading { subject: name, summary, value, threshold } = reading;
            let suppressed = std::mem::take(&mut subject.suppressed);
            let told = notice(rule, Happened::Firing, &name, summary.clone(), (now, now));
            let number = tell(Notice { value, threshold, suppressed, ..told });
            *subject = Subject { open: Some((number, now, summary)), fired_at: now, holds: true, suppressed: 0 };
        }
        self.last_number = last_number;
        notices
    }

    fn new_values(&mut self, rule: &Rule, values: Vec<NewValue>, now: Micros) -> Option<Notice> {
        let of_rule = self.rules.entry(rule.name.to_string()).or_default();
        let Some(known) = &mut of_rule.known else {
            // What was there before the rule is no news.
            of_rule.known = Some(values.iter().map(|value| (hash(&value.value), value.first_seen)).take(KNOWN_MAX).collect());
            return None;
        };
        let mut fresh: Vec<NewValue> = values.into_iter().filter(|value| !known.contains_key(&hash(&value.value))).collect();
        if fresh.is_empty() || of_rule.told_at.is_some_and(|at| cools(at, now, micros(rule.cooldown))) {
            return None;
        }
        known.extend(fresh.iter().map(|value| (hash(&value.value), value.first_seen)));
        while known.len() > KNOWN_MAX {
            // The oldest are first to leave the window.
            let Some(oldest) = known.iter().min_by_key(|(_, first_seen)| **first_seen).map(|(hash, _)| hash.clone()) else { break };
            known.remove(&oldest);
        }
        of_rule.told_at = Some(now);
        self.last_number += 1;
        let super::When::Indicator { kind, .. } = &rule.when else { return None };
        let count = fresh.len() as u64;
        fresh.sort_by_key(|value| (std::cmp::Reverse(value.score), value.first_seen));
        fresh.truncate(VALUES_MAX);
        let summary = format!("{count} new: {}", kind.name());
        let told = notice(rule, Happened::Firing, kind.name(), summary, (now, now));
        Some(Notice { number: self.last_number, value: Some(count), values: fresh, ..told }.bounded())
    }

    /// Forgets rules that are no more; what was open of them is closed, and so told in the ledger only.
    pub fn keep(&mut self, rules: &[Rule], now: Micros) -> Vec<Notice> {
        let mut notices = Vec::new();
        let gone = self.rules.keys().filter(|name| !rules.iter().any(|rule| rule.name.as_str() == *name));
        for name in gone.cloned().collect::<Vec<_>>() {
            let Some(of_rule) = self.rules.remove(&name) else { continue };
            for (subject, Subject { open, .. }) in of_rule.subjects {
                let Some((_, since, _)) = open else { continue };
                self.last_number += 1;
                notices.push(Notice {
                    number: self.last_number,
                    alert: name.clone(),
                    when: String::new(),
                    state: Happened::Closed,
                    subject,
                    summary: "the rule was removed".to_owned(),
                    at: now,
                    since,
                    value: None,
                    threshold: None,
                    duration_seconds: Some(Notice::lasted(since, now)),
                    suppressed: 0,
                    to: Vec::new(),
                    values: Vec::new(),
                });
            }
        }
        notices
    }

    fn send(&mut self, notices: &[Notice]) {
        for notice in notices {
            self.pending.extend(notice.to.iter().map(|sink| Pending { sink: sink.clone(), notice: notice.clone() }));
        }
    }

    /// What has yet to arrive, the oldest first.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// A notice reached a sink, or never will.
    pub fn settled(&mut self, sink: &str, number: u64) {
        self.pending.retain(|pending| pending.sink != sink || pending.notice.number != number);
    }

    /// Takes what is on its way to sinks that are no more, and what is too much.
    pub fn give_up(&mut self, is_there: &dyn Fn(&str) -> bool) -> Vec<Pending> {
        let too_many = self.pending.len().saturating_sub(PENDING_MAX);
        let mut gone: Vec<Pending> = self.pending.drain(..too_many).collect();
        let (stay, lost) = std::mem::take(&mut self.pending).into_iter().partition(|pending| is_there(&pending.sink));
        self.pending = stay;
        gone.extend(lost);
        gone
    }

    /// What is open, by rule and subject.
    pub fn open(&self) -> impl Iterator<Item = Open> {
        self.rules.iter().flat_map(|(alert, of_rule)| {
            of_rule.subjects.iter().filter_map(move |(subject, known)| {
                let (number, since, summary) = known.open.clone()?;
                Some(Open { alert: alert.clone(), subject: subject.clone(), number, summary, since })
            })
        })
    }

    /// How many are open of a rule.
    pub fn open_of(&self, rule: &str) -> u64 {
        let subjects = self.rules.get(rule).map(|of_rule| &of_rule.subjects);
        subjects.map_or(0, |subjects| subjects.values().filter(|subject| subject.open.is_some()).count() as u64)
    }

    /// The newest notice it knows of.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Takes a notice of the ledger over, if it is newer than all the book knows of.
    pub fn replay(&mut self, notice: &Notice) {
        if notice.number <= self.last_number || notice.state == Happened::Test {
            return;
        }
        self.last_number = notice.number;
        self.send(std::slice::from_ref(notice));
        let of_rule = self.rules.entry(notice.alert.clone()).or_default();
        if notice.when == "indicator" {
            of_rule.told_at = Some(notice.at);
            return;
        }
        match notice.state {
            Happened::Firing => {
                let open = Some((notice.number, notice.since, notice.summary.clone()));
                let subject = Subject { open, fired_at: notice.at, holds: true, suppressed: 0 };
                of_rule.subjects.insert(notice.subject.clone(), subject);
            }
            Happened::Recovered => {
                if let Some(subject) = of_rule.subjects.get_mut(&notice.subject) {
                    (subject.open, subject.holds) = (None, false);
                }
            }
            Happened::Closed => drop(of_rule.subjects.remove(&notice.subject)),
            Happened::Test => {}
        }
    }

    /// Drops what a rule need not remember: values so old that no look brings them again.
    pub fn forget(&mut self, rule: &str, first_seen_before: Micros) {
        if let Some(known) = self.rules.get_mut(rule).and_then(|of_rule| of_rule.known.as_mut()) {
            known.retain(|_, first_seen| *first_seen >= first_seen_before);
        }
    }
}

/// Whether what happened then is still within the cooldown. A clock that was set back ends it rather than lengthen it.
fn cools(then: Micros, now: Micros, cooldown: Micros) -> bool {
    then <= now && now.saturating_sub(then) < cooldown
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

pub(super) fn notice(rule: &Rule, state: Happened, subject: &str, summary: String, (since, at): (Micros, Micros)) -> Notice {
    Notice {
        number: 0,
        alert: rule.name.to_string(),
        when: rule.when.name().to_owned(),
        state,
        subject: subject.to_owned(),
        summary,
        at,
        since,
        value: None,
        threshold: None,
        duration_seconds: None,
        suppressed: 0,
        to: rule.to.iter().map(ToString::to_string).collect(),
        values: Vec::new(),
    }
}

/// What a value is remembered by: it need not be kept for that.
fn hash(value: &str) -> String {
    crate::events::id::hex(&blake3::hash(value.as_bytes()).as_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::When;
    use crate::config::SourceName;
    use crate::events::Field;
    use proptest::prelude::*;

    const SECOND: Micros = 1_000_000;

    fn name(name: &str) -> SourceName {
        SourceName::parse(name).expect("a name")
    }

    fn rule(when: When) -> Rule {
        Rule { name: name("r"), when, to: vec![name("pager"), name("file")], cooldown: Duration::from_secs(60) }
    }

    fn disk() -> Rule {
        rule(When::Disk { free_bytes: None })
    }

    fn holds(subjects: &[&str]) -> Sight {
        let reading = |subject: &&str| Reading { subject: (*subject).to_owned(), summary: "full".to_owned(), ..Reading::default() };
        Sight::Holds(subjects.iter().map(reading).collect())
    }

    fn told(notices: &[Notice]) -> Vec<(u64, &str, &'static str)> {
        notices.iter().map(|notice| (notice.number, notice.subject.as_str(), notice.state.name())).collect()
    }

    #[test]
    fn an_alert_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() {
        let (mut book, rule) = (Book::default(), disk());
        assert_eq!(told(&book.look(&rule, holds(&["a"]), 10 * SECOND)), [(1, "a", "firing")]);
        assert!(book.look(&rule, holds(&["a"]), 500 * SECOND).is_empty());
        assert_eq!(told(&book.look(&rule, holds(&["a", "b"]), 501 * SECOND)), [(2, "b", "firing")]);
        assert_eq!((book.open_of("r"), book.pending().len()), (2, 4));
        let over = book.look(&rule, holds(&["b"]), 502 * SECOND);
        assert_eq!((told(&over), over[0].duration_seconds), (vec![(3, "a", "recovered")], Some(492)));
        assert_eq!(over[0].summary, "over: full");
        assert_eq!(book.open().map(|open| open.subject).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_flaps_in_the_cooldown_is_told_behind_it_with_how_often() {
        let (mut book, rule) = (Book::default(), disk());
        assert_eq!(book.look(&rule, holds(&["a"]), 0).len(), 1);
        assert_eq!(told(&book.look(&rule, holds(&[]), SECOND)), [(2, "a", "recovered")]);
        for second in [2, 4, 6] {
            assert!(book.look(&rule, holds(&["a"]), second * SECOND).is_empty());
            assert!(book.look(&rule, holds(&[]), (second + 1) * SECOND).is_empty(), "what was not told is not over either");
        }
        assert!(book.look(&rule, holds(&["a"]), 59 * SECOND).is_empty());
        let again = book.look(&rule, holds(&["a"]), 60 * SECOND);
        assert_eq!((told(&again), again[0].suppressed), (vec![(3, "a", "firing")], 4));
    }

    #[test]
    fn a_clock_set_back_neither_repeats_an_open_alert_nor_silences_a_rule_for_ever() {
        let (mut book, rule) = (Book::default(), disk());
        assert_eq!(book.look(&rule, holds(&["a"]), 1_000 * SECOND).len(), 1);
        assert!(book.look(&rule, holds(&["a"]), 10 * SECOND).is_empty());
        assert_eq!(book.look(&rule, holds(&[]), 11 * SECOND)[0].duration_seconds, Some(0));
        assert_eq!(told(&book.look(&rule, holds(&["a"]), 12 * SECOND)), [(3, "a", "firing")]);
    }

    #[test]
    fn subjects_are_bounded_in_number_and_length() {
        let (mut book, rule) = (Book::default(), disk());
        let names: Vec<String> = (0..SUBJECTS_MAX + 10).map(|number| format!("{number:05}{}", "ü".repeat(500))).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = book.look(&rule, holds(&all), 0);
        assert_eq!(first.len(), SUBJECTS_MAX);
        assert!(first.iter().all(|notice| notice.subject.len() <= SUBJECT_BYTES_MAX));
        assert!(book.look(&rule, holds(&all), SECOND).is_empty());
        assert_eq!(book.give_up(&|_| true).len(), 0, "{}", book.pending().len());
    }

    #[test]
    fn new_values_are_told_once_and_together_and_what_was_there_before_is_not() {
        let rule = rule(When::Indicator { kind: Field::Url, min_score: 0, listed: false, window: Duration::from_secs(3600) });
        let mut book = Book::default();
        let value = |text: &str, score: u8| NewValue { value: text.to_owned(), score, first_seen: SECOND };
        assert!(book.look(&rule, Sight::New(vec![value("old", 1)]), SECOND).is_empty());
        let told = book.look(&rule, Sight::New(vec![value("old", 1), value("a", 10), value("b", 90)]), 2 * SECOND);
        assert_eq!((told.len(), told[0].value, told[0].values[0].value.as_str()), (1, Some(2), "b"));
        assert!(book.look(&rule, Sight::New(vec![value("a", 10), value("c", 1), value("d", 2)]), 3 * SECOND).is_empty(), "cooldown");
        let told = book.look(&rule, Sight::New(vec![value("a", 10), value("c", 1), value("d", 2)]), 63 * SECOND);
        assert_eq!((told[0].value, told[0].values.len()), (Some(2), 2));
        assert!(!told[0].recorded().to_string().contains("\"values\""), "the ledger has no values");
        assert!(String::from_utf8_lossy(&told[0].document(true)).contains("\"values\""));
        assert!(!String::from_utf8_lossy(&told[0].document(false)).contains("\"values\""));
        book.forget("r", 2 * SECOND);
        assert_eq!(book.look(&rule, Sight::New(vec![value("a", 10)]), 200 * SECOND).len(), 1, "it is the look that keeps old ones out");
    }

    #[test]
    fn what_is_open_of_a_rule_that_was_removed_is_closed() {
        let (mut book, rule) = (Book::default(), disk());
        book.look(&rule, holds(&["a"]), 0);
        assert!(book.keep(std::slice::from_ref(&rule), SECOND).is_empty());
        assert_eq!(told(&book.keep(&[], SECOND)), [(2, "a", "closed")]);
        assert_eq!((book.open().count(), book.keep(&[], SECOND).len()), (0, 0));
        assert_eq!(book.pending().len(), 2, "what was told before still arrives");
        assert_eq!(book.give_up(&|sink| sink == "pager").len(), 1);
        book.settled("pager", 1);
        assert!(book.pending().is_empty());
    }

    /// What may happen to a rule: seconds pass, then this is seen of three subjects.
    fn course() -> impl Strategy<Value = Vec<(i64, Vec<bool>)>> {
        proptest::collection::vec((0i64..90, proptest::collection::vec(any::<bool>(), 3)), 1..60)
    }

    proptest! {
        #[test]
        fn each_subject_fires_and_recovers_in_turns_and_fires_at_most_once_in_each_cooldown(course in course()) {
            let (mut book, rule, mut now) = (Book::default(), disk(), 0);
            let mut last: BTreeMap<String, (Happened, Micros)> = BTreeMap::new();
            let mut numbers = 0;
            for (seconds, seen) in course {
                now += seconds * SECOND;
                let subjects: Vec<&str> = ["a", "b", "c"].into_iter().zip(&seen).filter(|(_, seen)| **seen).map(|(name, _)| name).collect();
                for notice in book.look(&rule, holds(&subjects), now) {
                    numbers += 1;
                    prop_assert_eq!(notice.number, numbers);
                    let before = last.get(&notice.subject).copied();
                    match notice.state {
                        Happened::Firing => {
                            prop_assert!(before.is_none_or(|(state, fired)| state == Happened::Recovered && now - fired >= 60 * SECOND));
                            last.insert(notice.subject.clone(), (Happened::Firing, now));
                        }
                        _ => {
                            let Some((Happened::Firing, fired)) = before else { panic!("{notice:?} behind {before:?}") };
                            last.insert(notice.subject.clone(), (Happened::Recovered, fired));
                        }
                    }
                }
            }
        }

        #[test]
        fn a_book_made_again_of_the_ledger_tells_what_the_other_tells(course in course(), lost in 0usize..60) {
            let (mut book, mut again, rule, mut now) = (Book::default(), Book::default(), disk(), 0);
            for (at, (seconds, seen)) in course.into_iter().enumerate() {
                now += seconds * SECOND;
                let subjects: Vec<&str> = ["a", "b", "c"].into_iter().zip(&seen).filter(|(_, seen)| **seen).map(|(name, _)| name).collect();
                let notices = book.look(&rule, holds(&subjects), now);
                let expected = if at < lost {
                    // Through the ledger's text, and more than once.
                    for notice in notices.iter().chain(&notices) {
                        let line = notice.recorded().to_string();
                        again.replay(&serde_json::from_str(&line).expect("read again"));
                    }
                    notices.clone()
                } else {
                    again.look(&rule, holds(&subjects), now)
                };
                let without = |notices: &[Notice]| notices.iter().map(|notice| Notice { suppressed: 0, ..notice.clone() }).collect::<Vec<_>>();
                prop_assert_eq!(without(&expected), without(&notices));
                prop_assert_eq!(book.open().collect::<Vec<_>>(), again.open().collect::<Vec<_>>());
                prop_assert_eq!(book.pending().len(), again.pending().len());
            }
        }
    }
}
