//! All that is known of one indicator: as what it occurs, where and on which days, some of its events, and what was typed around them.
use super::indicators::{each_of_file, hash_of, is_target};
use super::{SearchRequest, ServiceError, typed};
use crate::enrich::desk::Answer;
use crate::events::{Field, Format, Micros, time};
use crate::index::part::{CellTable, TermEntry, TermSummary};
use crate::index::query::{self, Query};
use crate::index::search::{self, LineTerms, Page, View};
use crate::index::session_key;
use crate::indicators::defang::refang;
use crate::indicators::known::Known;
use crate::indicators::lists::Lists;
use crate::indicators::{self, Indicator};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::ControlFlow;

/// Events that are shown, newest first, and bytes of each.
const SIGHTINGS_MAX: usize = 5;
const SIGHTING_BYTES_MAX: usize = 4096;
/// Sessions whose commands are told, and commands of each.
const SESSIONS_MAX: usize = 5;
const COMMANDS_MAX: usize = 30;
/// Lines whose session is remembered until the search says which of them it was for.
const LINES_MAX: usize = 16_384;
/// What of a command is told.
const COMMAND_BYTES_MAX: usize = 1024;

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dossier {
    pub value: String,
    /// As what it occurs.
    pub kinds: Vec<Occurrences>,
    /// The newest events with it, as they were logged; none when retention has removed them.
    pub sightings: Vec<String>,
    pub sessions: Vec<SessionSeen>,
    /// What is kept of others' answers; nobody was asked. For the caller to fill in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Answer>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Occurrences {
    pub indicator: Indicator,
    /// The most events first.
    pub sensors: Vec<(String, u64)>,
    /// Ascending.
    pub days: Vec<(String, u64)>,
}

/// A session in which it occurred.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IndicatorSession)]
pub struct SessionSeen {
    pub id: String,
    pub commands: Vec<String>,
    /// There are more than these.
    pub more: bool,
}

/// Tells about a value, which may be written so that it leads nowhere (`hxxp://evil[.]com`).
pub fn dossier(store: &Store, written: &str, (lists, known): (&Lists, &Known), now: Micros) -> Result<Dossier, ServiceError> {
    let (written, view) = (written.trim(), store.answers());
    let plain = refang(written);
    let mut spellings = vec![written.to_owned(), plain.clone(), plain.to_lowercase(), plain.to_uppercase()];
    spellings.dedup();
    for value in spellings.into_iter().filter(|value| !value.is_empty()) {
        let kinds = occurrences(&view, &value, (lists, known), now)?;
        if !kinds.is_empty() {
            let (sightings, sessions) = seen(store, &value, &kinds, now)?;
            return Ok(Dossier { value, kinds, sightings, sessions, verdicts: Vec::new() });
        }
    }
    Err(ServiceError::NoIndicator(written.to_owned()))
}

/// Sums of a value over all segments.
#[derive(Default)]
struct Sums {
    summary: Option<TermSummary>,
    sensors: BTreeMap<Vec<u8>, u64>,
    days: BTreeMap<i32, u64>,
}

impl Sums {
    fn add(&mut self, table: &CellTable, entry: &TermEntry) {
        let sum = self.summary.get_or_insert(TermSummary { count: 0, ..entry.summary });
        sum.count += entry.summary.count;
        (sum.first, sum.last) = (sum.first.min(entry.summary.first), sum.last.max(entry.summary.last));
        for (cell, events) in &entry.cells {
            if let Some(row) = table.cells.get(*cell as usize)
                && let Some(sensor) = table.sensors.get(row.sensor as usize)
            {
                *self.sensors.entry(sensor.to_vec()).or_default() += u64::from(*events);
                *self.days.entry(row.day).or_default() += u64::from(*events);
            }
        }
    }
}

fn occurrences(view: &View, value: &str, (lists, known): (&Lists, &Known), now: Micros) -> Result<Vec<Occurrences>, ServiceError> {
    let mut found = Vec::new();
    for kind in indicators::kinds() {
        let mut sums = Sums::default();
        if kind == Field::Shasum {
            // Of the spellings, the one in lower case is the value.
            if let Some(hash) = hash_of(value.as_bytes()).filter(|hash| hash == value.as_bytes()) {
                each_of_file(view, &hash, &mut |table, entry| sums.add(table, entry))?;
            }
        } else {
            for segment in &view.segments {
                segment.with_index(&mut |index| {
                    if let Some(entry) = index.term(kind, value.as_bytes())? {
                        sums.add(&index.cells()?, &entry);
                    }
                    Ok(())
                })?;
            }
        }
        let Some(sum) = sums.summary else { continue };
        let named = |(sensor, events): (Vec<u8>, u64)| (String::from_utf8_lossy(&sensor).into_owned(), events);
        let mut sensors: Vec<(String, u64)> = sums.sensors.into_iter().map(named).collect();
        sensors.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let days = sums.days.into_iter().map(|(day, events)| (time::format_day(day), events)).collect();
        found.push(Occurrences {
            indicator: Indicator::of(kind, value.to_owned(), sum, is_target(view, kind, value, sum.count)?, (lists, known), now),
            sensors,
            days,
        });
    }
    Ok(found)
}

/// What finds the events with the value.
fn query_of(value: &str, kinds: &[Occurrences]) -> String {
    let clause = |kind: Field| match kind {
        // The hash is hexadecimal, and stands at the end of these.
        Field::Shasum => format!("download:*{value} OR upload:*{value}"),
        kind => format!("{}:{}", kind.name(), query::quote(value)),
    };
    kinds.iter().map(|row| clause(row.indicator.kind)).collect::<Vec<_>>().join(" OR ")
}

/// The newest events with the value, and the sessions these belong to.
fn seen(store: &Store, value: &str, kinds: &[Occurrences], now: Micros) -> Result<(Vec<String>, Vec<SessionSeen>), ServiceError> {
    let request = SearchRequest { query: query_of(value, kinds), limit: SIGHTINGS_MAX as u64, newest: true };
    let (mut sightings, mut ids) = (Vec::new(), Vec::<String>::new());
    each_hit(store, &request, now, &mut |line, session| {
        sightings.push(String::from_utf8_lossy(&line[..line.len().min(SIGHTING_BYTES_MAX)]).into_owned());
        if let Some(id) = session
            && !ids.contains(&id)
            && ids.len() < SESSIONS_MAX
        {
            ids.push(id);
        }
    })?;
    let (evidence, mut terms) = (store.evidence(), store.terms());
    let sessions = ids.into_iter().map(|id| {
        let key = session_key(id.as_bytes());
        let session = typed::Session { key, sensor: None, commands_max: COMMANDS_MAX, command_bytes_max: COMMAND_BYTES_MAX };
        let typed = typed::typed(&evidence, &mut terms, session)?;
        Ok(SessionSeen { id, commands: typed.commands, more: typed.more })
    });
    let sessions = sessions.collect::<Result<Vec<_>, ServiceError>>()?;
    Ok((sightings, sessions))
}

/// Tells each line, and the session that the decoder reads in it.
fn each_hit(store: &Store, request: &SearchRequest, now: Micros, each: &mut dyn FnMut(&[u8], Option<String>)) -> Result<(), ServiceError> {
    let query = Query::parse(&request.query, now).map_err(|error| ServiceError::Query { query: request.query.clone(), error })?;
    let page =
        Page { limit: usize::try_from(request.limit).unwrap_or(usize::MAX), newest_first: request.newest, after: None, last_seq: None };
    let mut terms = Remembering { terms: store.terms(), hasher: foldhash::fast::RandomState::default(), sessions: HashMap::new() };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    search::search(&store.evidence(), &query, page, &mut terms, &mut |hit| {
        lines.push(hit.line.to_vec());
        ControlFlow::Continue(())
    })?;
    for line in lines {
        let session = terms.sessions.get(&terms.hasher.hash_one(&line[..])).cloned();
        each(&line, session);
    }
    Ok(())
}

/// Decodes lines for a search, and remembers their sessions.
struct Remembering<Terms> {
    terms: Terms,
    hasher: foldhash::fast::RandomState,
    /// By the hash of the line.
    sessions: HashMap<u64, String>,
}

impl<Terms: LineTerms> LineTerms for Remembering<Terms> {
    fn terms(&mut self, format: Format, line: &[u8], received_at: Micros, out: &mut dyn FnMut(Field, &[u8])) -> Option<Micros> {
        let mut session = None;
        let time = self.terms.terms(format, line, received_at, &mut |field, value| {
            if field == Field::Session {
                session = Some(String::from_utf8_lossy(value).into_owned());
            }
            out(field, value);
        });
        if let Some(session) = session.filter(|_| self.sessions.len() < LINES_MAX) {
            self.sessions.insert(self.hasher.hash_one(line), session);
        }
        time
    }

    fn verbatim(&self, format: Format, field: Field) -> bool {
        self.terms.verbatim(format, field)
    }
}
