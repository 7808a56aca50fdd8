//! Erasure of a session, or of a person: whatever a query finds.
//!
//! Events become tombstones, segment by segment; what was refused, and what a sink's receiver refused, goes or loses its text. Killed
//! halfway, the same request finds the rest: of sessions that lie in several segments, the events by which they are found go last.
use super::ServiceError;
use super::marks::{mark, with_marks};
use super::sinks::SinkRow;
use crate::archive;
use crate::events::{EventId, Field, Micros};
use crate::index::pattern::Pattern;
use crate::index::query::{Condition, Query};
use crate::index::{self};
use crate::state::{SegmentRecord, State};
use crate::store::{DEAD_LETTERS_FROM, EraseError, FoundEvent, Sessions, Store, Undelivered, Whose};
use crate::telemetry::printable::printable;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Most sessions of one request.
pub const SESSIONS_MAX: usize = 100_000;
/// Longest reason, bytes.
pub const REASON_BYTES_MAX: usize = 1_000;
/// A shorter value is looked for in no refused text: it stands in too many that have nothing to do with it.
pub const LITERAL_BYTES_MIN: usize = 4;
/// Beyond so many, only session ids that stand as words are found in refused texts.
const LITERALS_MAX: usize = 64;

/// Whose events go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    #[serde(default)]
    pub session: Option<String>,
    /// Of a session: at this sensor only.
    #[serde(default)]
    pub sensor: Option<String>,
    #[serde(default)]
    pub query: Option<String>,
    /// Every session in which the query finds something.
    #[serde(default)]
    pub whole_sessions: bool,
    /// Only tell what would be erased.
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub reason: Option<String>,
}

/// What was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EraseReport {
    pub dry_run: bool,
    pub events: u64,
    /// Segments that hold them.
    pub segments: u64,
    /// Sessions they belong to.
    pub sessions: u64,
    /// Records of refused input that lose their text.
    pub quarantined: u64,
    /// Dead letters that go.
    pub undelivered: u64,
    /// Sinks whose receivers have been sent such events: they must be asked to erase them as well.
    pub sent_to: Vec<String>,
    /// Archived files that hold such events, or may: nothing is erased in them.
    pub archived: Vec<String>,
    /// Archived files of segments that are not here any more, so that nobody can tell from here what is in them.
    pub archived_unknown: u64,
    /// Segments of which only answers are left and in whose values such events may still show.
    pub answers_only: u64,
    /// Files of torn writes in quarantine, which cannot be looked through.
    pub torn_files: u64,
    /// Segments that were left as they are, and why.
    pub left: Vec<String>,
    /// Why events of those who are meant may not have been found.
    #[serde(default)]
    pub notes: Vec<String>,
    pub seconds: f64,
}

/// Whom a request means.
enum Meant {
    Sessions(Sessions),
    Query(Query),
    /// The query, and the sessions that it found.
    WholeSessions(Query, Sessions),
}

impl Meant {
    fn whose(&self) -> impl Iterator<Item = Whose<'_>> {
        let (query, sessions) = match self {
            Meant::Sessions(sessions) => (None, Some(sessions)),
            Meant::Query(query) => (Some(query), None),
            Meant::WholeSessions(query, sessions) => (Some(query), Some(sessions)),
        };
        query.map(Whose::Matching).into_iter().chain(sessions.map(Whose::OfSessions))
    }

    fn sessions(&self) -> Option<&Sessions> {
        match self {
            Meant::Sessions(sessions) | Meant::WholeSessions(_, sessions) => Some(sessions),
            Meant::Query(_) => None,
        }
    }
}

/// Erases, or tells what would be. Segments that are still written must have been ended. `progress` is told (segments done, segments).
pub fn erase(
    store: &Store,
    state: &State,
    request: &EraseRequest,
    sinks: &[SinkRow],
    (by, now): (&str, Micros),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<EraseReport, ServiceError> {
    let started = std::time::Instant::now();
    let mut work = Work::new(store, request, sinks, now)?;
    let (segments, answers) = store.segments_of_evidence();
    let meant = work.meant(&segments)?;
    let total = segments.len() as u64;
    let cause = Cause { by, now, reason: request.reason.as_deref().unwrap_or("erasure") };
    let spanning = work.spanning(&segments, &meant)?;
    let (mut again, mut held) = (Vec::new(), BTreeSet::new());
    for (done, &segment) in segments.iter().enumerate() {
        let found = match work.find(segment, &meant, &spanning) {
            Err(error) if error.is_about_one_segment() => {
                work.report.left.push(error.to_string());
                continue;
            }
            found => found?,
        };
        if !found.seqs.is_empty() || found.withheld {
            held.insert(segment);
            work.report.segments += 1;
        }
        if found.withheld {
            again.push(segment);
        }
        if request.dry_run {
            work.report.events += found.seqs.len() as u64 + found.withheld_events;
        } else {
            work.erase(segment, &found.seqs, state, cause)?;
        }
        progress(done as u64 + 1, total);
    }
    if !request.dry_run {
        for segment in again {
            // It was read a moment ago; should that fail now, the same request finds the rest.
            let found = work.find(segment, &meant, &HashSet::new())?;
            work.erase(segment, &found.seqs, state, cause)?;
        }
    }
    for &segment in &answers {
        let may_hold = meant.whose().map(|whose| store.may_hold(segment, whose)).collect::<Result<Vec<bool>, _>>()?;
        if may_hold.contains(&true) {
            held.insert(segment);
            work.report.answers_only += 1;
        }
    }
    for (segment, files) in archive::files(store).map_err(other)? {
        if held.contains(&segment) {
            work.report.archived.extend(files);
        } else if !segments.contains(&segment) && !answers.contains(&segment) {
            work.report.archived_unknown += files.len() as u64;
        }
    }
    work.quarantine(&meant, request.dry_run, cause)?;
    if let (Some(sessions), false) = (meant.sessions(), request.dry_run) {
        for session in sessions.ids().filter_map(|id| std::str::from_utf8(id).ok()) {
            state.forget_result(session).map_err(other)?;
        }
    }
    let mut report = work.report;
    report.sessions = work.sessions.len() as u64;
    report.sent_to = work.sent_to.into_iter().collect();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> ServiceError {
    ServiceError::Io(std::io::Error::other(error))
}

/// Who erases, when, and why.
#[derive(Clone, Copy)]
struct Cause<'a> {
    by: &'a str,
    now: Micros,
    reason: &'a str,
}

/// What is to go from one segment.
#[derive(Default)]
struct FoundIn {
    seqs: Vec<u64>,
    /// There are events that must stay until the other segments are done.
    withheld: bool,
    withheld_events: u64,
}

struct Work<'a> {
    store: &'a Store,
    request: &'a EraseRequest,
    /// Those that are not known to have been sent any yet, with their filters.
    sinks: Vec<(&'a SinkRow, Option<Query>)>,
    sent_to: BTreeSet<String>,
    query: Option<Query>,
    /// By a hash: how many they are is all that is told.
    sessions: HashSet<EventId>,
    /// Sequence numbers of dead letters, and those of them whose events were found.
    letters: BTreeSet<u64>,
    letters_found: HashSet<u64>,
    report: EraseReport,
}

impl<'a> Work<'a> {
    fn new(store: &'a Store, request: &'a EraseRequest, sinks: &'a [SinkRow], now: Micros) -> Result<Work<'a>, ServiceError> {
        let wrong = |what: &str| Err(ServiceError::Erase(what.to_owned()));
        let mut notes = Vec::new();
        let query = match (&request.session, &request.query) {
            (Some(session), None) if session.is_empty() => return wrong("the session id is empty"),
            (Some(_), None) if request.whole_sessions => {
                return wrong("a session is always erased as a whole: leave --whole-sessions away");
            }
            (Some(_), None) => None,
            (None, Some(_)) if request.sensor.is_some() => return wrong("write sensor:NAME into the query instead of --sensor"),
            (None, Some(text)) => {
                let query = Query::parse(text, now).map_err(|error| ServiceError::Query { query: text.clone(), error })?;
                if query.clauses.is_empty() {
                    return wrong("the query names nobody: retention removes events by their age, erasure by what they say");
                }
                let (query, found) = with_marks(store.privacy().policy().as_deref(), query)?;
                notes = found;
                Some(query)
            }
            _ => return wrong("say whose events: --session ID, or a query such as src_ip:203.0.113.9"),
        };
        if request.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            return wrong("the reason is too long: it stands in the ledger for good");
        }
        let filter = |row: &SinkRow| row.filter.as_deref().and_then(|text| Query::parse(text, now).ok());
        let sinks = sinks.iter().map(|row| (row, filter(row))).collect();
        let report = EraseReport { dry_run: request.dry_run, notes, ..EraseReport::default() };
        let (mut letters, letters_found, sessions, sent_to) = (BTreeSet::new(), HashSet::new(), HashSet::new(), BTreeSet::new());
        store.quarantine().for_each(DEAD_LETTERS_FROM, |_, record| {
            letters.extend(record.undelivered.map(|letter| letter.sequence));
            true
        })?;
        Ok(Work { store, request, sinks, sent_to, query, sessions, letters, letters_found, report })
    }

    fn meant(&mut self, segments: &[u64]) -> Result<Meant, ServiceError> {
        let Some(query) = self.query.take() else {
            let mut sessions = Sessions::default();
            let sensor = self.request.sensor.as_deref().map(str::as_bytes);
            let id = self.request.session.as_deref().unwrap_or_default().as_bytes();
            sessions.add(id, sensor);
            if let Some(policy) = self.store.privacy().policy()
                && let Some(mark) = mark(&policy, Field::Session, id, &mut self.report.notes)
            {
                sessions.add(mark.as_bytes(), sensor);
            }
            return Ok(Meant::Sessions(sessions));
        };
        if !self.request.whole_sessions {
            return Ok(Meant::Query(query));
        }
        let mut sessions = Sessions::default();
        let mut batcher = self.store.batcher();
        for &segment in segments {
            let mut note = |event: FoundEvent<'_>| {
                if let Some(session) = event.session.filter(|_| sessions.len() < SESSIONS_MAX) {
                    sessions.add(session, Some(event.sensor));
                }
            };
            match self.store.events_of(segment, Whose::Matching(&query), &mut batcher, &mut note) {
                Err(error) if error.is_about_one_segment() => {}
                found => found?,
            }
        }
        if sessions.len() >= SESSIONS_MAX {
            return Err(ServiceError::Erase(format!(
                "the query finds {SESSIONS_MAX} sessions and more: erase fewer at once, with since: and until:"
            )));
        }
        Ok(Meant::WholeSessions(query, sessions))
    }

    /// Keys of the sessions that lie in several segments: the events by which they are found must not go before the others.
    fn spanning(&self, segments: &[u64], meant: &Meant) -> Result<HashSet<u64>, ServiceError> {
        let Meant::WholeSessions(_, sessions) = meant else { return Ok(HashSet::new()) };
        let mut keys: Vec<u64> = sessions.keys().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for &segment in segments {
            let mut here = BTreeSet::new();
            self.store.session_keys_in(segment, &keys, &mut |key| here.extend([key]))?;
            here.into_iter().for_each(|key| *seen.entry(key).or_default() += 1);
        }
        Ok(seen.into_iter().filter(|(_, segments)| *segments > 1).map(|(key, _)| key).collect())
    }

    fn find(&mut self, segment: u64, meant: &Meant, spanning: &HashSet<u64>) -> Result<FoundIn, EraseError> {
        let (mut seqs, mut withheld) = (BTreeSet::new(), BTreeSet::new());
        let (mut batcher, mut judge) = (self.store.batcher(), self.store.batcher());
        for whose in meant.whose() {
            let (sessions, sinks, sent_to) = (&mut self.sessions, &mut self.sinks, &mut self.sent_to);
            let (letters, letters_found) = (&self.letters, &mut self.letters_found);
            self.store.events_of(segment, whose, &mut batcher, &mut |event| {
                let late =
                    matches!(whose, Whose::Matching(_)) && event.session.is_some_and(|id| spanning.contains(&index::session_key(id)));
                if late {
                    withheld.insert(event.seq)
                } else {
                    seqs.insert(event.seq)
                };
                if letters.contains(&event.seq) {
                    letters_found.insert(event.seq);
                }
                if let Some(session) = event.session {
                    sessions.insert(EventId::of_line(session));
                }
                sinks.retain(|(row, filter)| {
                    let sent = event.seq < sent_until(row) && takes(row, filter.as_ref(), &event, &mut judge);
                    if sent {
                        sent_to.insert(row.name.clone());
                    }
                    !sent
                });
            })?;
        }
        let found = FoundIn {
            withheld: !withheld.is_empty(),
            withheld_events: withheld.len() as u64,
            seqs: seqs.difference(&withheld).copied().collect(),
        };
        Ok(found)
    }

    fn erase(&mut self, segment: u64, seqs: &[u64], state: &State, cause: Cause<'_>) -> Result<(), ServiceError> {
        // They came behind the end of what was written when this was asked for.
        if !seqs.is_empty() && self.store.view().live.iter().any(|live| live.number == segment) {
            let events = seqs.len();
            self.report.left.push(format!("segment {segment} is still written, and {events} such events are in it: ask again"));
            return Ok(());
        }
        match erase_recorded(self.store, state, segment, seqs, cause.reason, Some(cause.by), cause.now) {
            Ok(None) => {}
            Ok(Some(erased)) => {
                self.report.events += erased.events;
            }
            Err(ServiceError::Erasing(error)) if error.is_about_one_segment() => self.report.left.push(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn quarantine(&mut self, meant: &Meant, dry_run: bool, cause: Cause<'_>) -> Result<(), ServiceError> {
        let literals = Literals::of(meant);
        let ids: Vec<&[u8]> = meant.sessions().map(|sessions| sessions.ids().collect()).unwrap_or_default();
        let sessions = Literals::new(&ids);
        let names = |text: &[u8]| literals.stand_in(text) || sessions.stand_in(text);
        // Also those of events that an attempt before this one erased. The journal is not read with the quarantine locked.
        let others: BTreeSet<u64> = self.letters.iter().copied().filter(|seq| !self.letters_found.contains(seq)).collect();
        let erased = self.store.erased_among(&others);
        let gone = |letter: &Undelivered, text: &[u8]| {
            let seq = &letter.sequence;
            self.letters_found.contains(seq) || erased.contains(seq) || sessions.stand_in(text)
        };
        let mut quarantine = self.store.quarantine();
        let (texts, letters) = match dry_run {
            true => quarantine.count_erasable(&names, &gone)?,
            false => quarantine.erase(&names, &gone, cause.now)?,
        };
        drop(quarantine);
        if texts + letters > 0 && !dry_run {
            let details = serde_json::json!({ "records": texts, "undelivered": letters, "by": cause.by, "reason": cause.reason });
            self.store.record("quarantine_erased", details, cause.now)?;
        }
        (self.report.quarantined, self.report.undelivered) = (texts, letters);
        let torn = std::fs::read_dir(&self.store.layout().quarantine).into_iter().flatten().flatten();
        self.report.torn_files = torn.filter(|entry| entry.file_name().to_string_lossy().starts_with("torn-")).count() as u64;
        Ok(())
    }
}

/// Erases events of one segment, with a record in the ledger before and behind: what a crash leaves between is told as begun.
pub(crate) fn erase_recorded(
    store: &Store,
    state: &State,
    segment: u64,
    seqs: &[u64],
    reason: &str,
    by: Option<&str>,
    now: Micros,
) -> Result<Option<crate::store::Erased>, ServiceError> {
    if !seqs.is_empty() {
        let details = serde_json::json!({ "segment": segment, "events": seqs.len(), "reason": printable(reason).to_string(), "by": by });
        store.record("erasure_begun", details, now)?;
    }
    let erased = store.erase_in(segment, seqs)?;
    if let Some(erased) = &erased {
        let details = serde_json::json!({
            "segment": segment,
            "events": erased.events,
            "tombstones": erased.tombstones,
            "reason": printable(reason).to_string(),
            "by": by,
        });
        store.record("events_erased", details, now)?;
        state.put_segment(segment, &SegmentRecord::of(&erased.head)).map_err(other)?;
    }
    Ok(erased)
}

/// Events before this may have been sent: what is on its way counts.
fn sent_until(row: &SinkRow) -> u64 {
    if row.in_flight > 0 { row.head } else { row.cursor }
}

fn takes(row: &SinkRow, filter: Option<&Query>, event: &FoundEvent<'_>, batcher: &mut crate::events::Batcher) -> bool {
    if row.r#type == "guvi" {
        return event.format.time_is_the_senders();
    }
    let Some(filter) = filter else { return true };
    let mut found = 0;
    let time = batcher.terms(event.format, event.line, event.received_at, &mut |field, value| found |= filter.matches(field, value));
    filter.condition.holds(found) && filter.covers(time.unwrap_or(event.received_at))
}

/// Values that are looked for in refused texts as they are.
struct Literals {
    finders: Vec<memmem::Finder<'static>>,
    words: HashSet<Vec<u8>>,
}

impl Literals {
    /// What the query says of a person: exact values, but not those that say where or how.
    fn of(meant: &Meant) -> Literals {
        let (Meant::Query(query) | Meant::WholeSessions(query, _)) = meant else { return Literals::new(&[]) };
        let mut clauses = Vec::new();
        positive(&query.condition, &mut clauses);
        let values: Vec<&[u8]> = clauses
            .into_iter()
            .map(|clause| &query.clauses[clause])
            .filter(|clause| clause.field.is_none_or(says_who))
            .filter_map(|clause| match &clause.pattern {
                Pattern::Exact(value) => Some(&value[..]),
                _ => None,
            })
            .collect();
        Literals::new(&values)
    }

    fn new(values: &[&[u8]]) -> Literals {
        let mut literals = Literals { finders: Vec::new(), words: HashSet::new() };
        for value in values.iter().filter(|value| value.len() >= LITERAL_BYTES_MIN) {
            if literals.finders.len() >= LITERALS_MAX {
                literals.words.insert(value.to_vec());
                continue;
            }
            literals.finders.push(memmem::Finder::new(value).into_owned());
            // As JSON spells it.
            let spelt = serde_json::to_string(&String::from_utf8_lossy(value)).unwrap_or_default();
            let spelt = spelt.trim_matches('"').as_bytes();
            if !spelt.is_empty() && spelt != *value {
                literals.finders.push(memmem::Finder::new(spelt).into_owned());
            }
        }
        literals
    }

    fn stand_in(&self, text: &[u8]) -> bool {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        self.finders.iter().any(|finder| finder.find(text).is_some())
            || (!self.words.is_empty() && text.split(|byte| !is_part(byte)).any(|word| self.words.contains(word)))
    }
}

/// Clauses that must or may hold; those behind a `NOT` say who is not meant.
fn positive(condition: &Condition, clauses: &mut Vec<usize>) {
    match condition {
        Condition::Clause(clause) => clauses.push(*clause),
        Condition::Not(_) => {}
        Condition::All(all) | Condition::Any(all) => all.iter().for_each(|one| positive(one, clauses)),
    }
}

fn says_who(field: Field) -> bool {
    use Field::{Arch, Asn, Channel, Country, DstPort, Eventid, Protocol, Sensor};
    !matches!(field, Eventid | Sensor | Protocol | DstPort | Arch | Channel | Country | Asn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_texts_are_searched_for_what_says_who() {
        let meant = |text: &str| Meant::Query(Query::parse(text, 0).unwrap());
        let literals = Literals::of(&meant("src_ip:203.0.113.9 eventid:cowrie.login.failed NOT src_ip:192.0.2.77"));
        assert!(literals.stand_in(b"garbage 203.0.113.9"));
        assert!(!literals.stand_in(b"cowrie.login.failed from 192.0.2.77"));
        let spelt = Literals::of(&meant(r#"username:"a\"bcd""#));
        assert!(spelt.stand_in(br#"{"username":"a\"bcd"#) && spelt.stand_in(br#"a"bcd"#));
        assert!(!Literals::of(&meant("username:abc")).stand_in(b"abc"), "too short to mean anybody");
        assert!(!Literals::of(&meant("src_ip:203.0.*")).stand_in(b"203.0.113.9"), "shapes are not looked for");
        let many: Vec<Vec<u8>> = (0..1_000).map(|n| format!("{n:012x}").into_bytes()).collect();
        let many = Literals::new(&many.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(many.stand_in(b"{\"session\":\"0000000003e7\"") && !many.stand_in(b"0000000003e8"));
    }
}
