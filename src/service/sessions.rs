//! Sessions as a list, a page at a time: those of the newest events first, or those of the oldest.
//!
//! A search finds the events that match, in their order, and a session is listed at the first of its events that comes. Whether that was
//! on a page before, the indexes tell nearly always; so a page costs what a page of events costs, however many sessions there are. What
//! a session did in all is from the indexes as well: no event is read for it.
//!
//! A page looks at so many events and no more. Where long sessions fill these it has fewer sessions than it may, even none, and says
//! where to go on.
use super::cursor::Cursor;
use super::{SearchRequest, ServiceError};
use crate::events::act::{Act, Acts};
use crate::events::marks::{Address, Marks};
use crate::events::{Field, Micros, time};
use crate::index::query::{self, Query};
use crate::index::search::{self, Hit, LineTerms, Page, Position, View};
use crate::index::session_key;
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;

/// Most sessions of a page.
pub const PAGE_MAX: u64 = 1_000;
/// Events that a page looks at.
const EVENTS_MAX: usize = 10_000;
/// Events of one id further apart than this are taken for those of different sessions: no segment is asked that lies beyond.
const SILENCE_MAX: Micros = time::MICROS_PER_DAY;
/// Sessions of which a page finds out by a search whether they were listed before.
const SEARCHES_MAX: usize = 100;

/// A session at a sensor, and all that it did there, whatever the query finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionRow {
    pub session: String,
    /// Empty when its events name none.
    pub sensor: String,
    pub first_seen: String,
    pub last_seen: String,
    pub events: u64,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub src_ip: Option<String>,
    /// Credentials tried.
    pub credentials: u32,
    /// What it did and how often: connections, logins_failed, logins_succeeded, commands, downloads, uploads, tunnels, messages, other.
    pub acts: BTreeMap<String, u32>,
}

/// A page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SessionsPage)]
pub struct Sessions {
    pub sessions: Vec<SessionRow>,
    /// The cursor of the next page, if there may be more.
    pub next: Option<String>,
}

/// Session id and sensor.
type Who = (String, String);

/// The sessions that have events which match. One that has new events since the first page was asked for stands at the beginning of
/// a new list, and perhaps on no later page of this one.
pub fn page(store: &Store, request: &SearchRequest, cursor: Option<&str>, now: Micros) -> Result<Sessions, ServiceError> {
    // A cursor of events is none of sessions.
    let marked = format!("sessions {}", request.query);
    let cursor = cursor.map(|text| Cursor::read(text, &marked, request.newest)).transpose()?;
    let now = cursor.map_or(now, |cursor| cursor.now);
    let parsed = parse(&request.query, now)?;
    // Whether a session was on a page before is found out by its id and its sensor.
    if parsed.clauses.len() + 2 > query::CLAUSES_MAX {
        return Err(ServiceError::Wrong(format!("the query of a list of sessions has at most {} terms", query::CLAUSES_MAX - 2)));
    }
    let view = store.evidence();
    let page = Page {
        limit: EVENTS_MAX,
        newest_first: request.newest,
        after: cursor.map(|cursor| cursor.after),
        last_seq: cursor.map(|cursor| cursor.last_seq),
    };
    let mut pages_before = PagesBefore { store, view: &view, request, query: &parsed, cursor, now, searches: 0 };
    let limit = usize::try_from(request.limit.min(PAGE_MAX)).unwrap_or(usize::MAX);
    let (mut listed, mut times, mut seen) = (Vec::new(), None::<(Micros, Micros)>, HashSet::new());
    let (mut after, mut full, mut failed) = (page.after, false, None);
    let mut terms = store.terms();
    let outcome = search::search(&view, &parsed, page, &mut store.terms(), &mut |hit| {
        if let Some(who) = who(&mut terms, hit)
            && !seen.contains(&who)
        {
            match pages_before.list(&who) {
                Ok(Listed::No) if listed.len() == limit => full = true,
                Ok(Listed::No) => {
                    listed.push(who.clone());
                    times = Some(times.map_or((hit.time, hit.time), |(first, last)| (first.min(hit.time), last.max(hit.time))));
                }
                Ok(Listed::Yes) => {}
                Ok(Listed::Ask) => full = true,
                Err(error) => (failed, full) = (Some(error), true),
            }
            if full {
                return ControlFlow::Break(());
            }
            seen.insert(who);
        }
        after = Some(hit.position());
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let next = after.filter(|_| full || outcome.more);
    let next = next.map(|after| Cursor::new(&marked, request.newest, now, outcome.last_seq, after).encode());
    Ok(Sessions { sessions: totals(store, listed, times)?, next })
}

fn parse(text: &str, now: Micros) -> Result<Query, ServiceError> {
    Query::parse(text, now).map_err(|error| ServiceError::Query { query: text.to_owned(), error })
}

/// Whose event it is; `None`: nobody's.
fn who(terms: &mut impl LineTerms, hit: Hit<'_>) -> Option<Who> {
    let (mut session, mut sensor) = (None, String::new());
    terms.terms(hit.format?, hit.line, hit.time, &mut |field, value| match field {
        Field::Session => session = Some(String::from_utf8_lossy(value).into_owned()),
        Field::Sensor => sensor = String::from_utf8_lossy(value).into_owned(),
        _ => {}
    })?;
    Some((session?, sensor))
}

/// Whether a session was listed on a page before.
enum Listed {
    Yes,
    No,
    /// The next page has to find out.
    Ask,
}

/// What the pages before this one listed: the sessions that have events which match on that side of the cursor.
struct PagesBefore<'a> {
    store: &'a Store,
    view: &'a View,
    request: &'a SearchRequest,
    query: &'a Query,
    cursor: Option<Cursor>,
    now: Micros,
    searches: usize,
}

impl PagesBefore<'_> {
    fn list(&mut self, who: &Who) -> Result<Listed, ServiceError> {
        let Some(cursor) = self.cursor else { return Ok(Listed::No) };
        let is_before = |at: Micros| if self.request.newest { at > cursor.after.time } else { at < cursor.after.time };
        let (mut certain, mut possible) = (false, false);
        for segment in &self.view.segments {
            segment.with_index(&mut |index| {
                let Some((min, max)) = index.time_span() else { return Ok(()) };
                let outermost = if self.request.newest { max } else { min };
                if !is_before(outermost) && outermost != cursor.after.time {
                    return Ok(());
                }
                let entries = index.session(session_key(who.0.as_bytes()))?;
                if entries.is_empty() {
                    return Ok(());
                }
                let sensors = index.cells()?.sensors;
                for entry in
                    entries.iter().filter(|entry| sensors.get(entry.sensor as usize).is_some_and(|name| **name == *who.1.as_bytes()))
                {
                    let outermost = if self.request.newest { entry.last } else { entry.first };
                    possible |= is_before(outermost) || outermost == cursor.after.time;
                    // An event of that time there is.
                    certain |= is_before(outermost) && self.query.clauses.is_empty() && self.query.covers(outermost);
                }
                Ok(())
            })?;
        }
        match (certain, possible) {
            (true, _) => Ok(Listed::Yes),
            (false, false) => Ok(Listed::No),
            (false, true) if self.searches == SEARCHES_MAX => Ok(Listed::Ask),
            (false, true) => {
                self.searches += 1;
                let found = self.outermost(who, cursor)?;
                let was = found.is_some_and(|at| if self.request.newest { at >= cursor.after } else { at <= cursor.after });
                Ok(if was { Listed::Yes } else { Listed::No })
            }
        }
    }

    /// The first of its events that match, in the order of the list.
    fn outermost(&self, (session, sensor): &Who, cursor: Cursor) -> Result<Option<Position>, ServiceError> {
        let at = if sensor.is_empty() { " NOT exists:sensor".to_owned() } else { format!(" sensor:{}", query::quote(sensor)) };
        let text = query::within(&format!("session:{}{at}", query::quote(session)), &self.request.query);
        let page = Page { limit: 1, newest_first: self.request.newest, after: None, last_seq: Some(cursor.last_seq) };
        let mut found = None;
        search::search(self.view, &parse(&text, self.now)?, page, &mut self.store.terms(), &mut |hit| {
            found = Some(hit.position());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// What there is of a session in all segments.
struct Total {
    acts: Acts,
    marks: Marks,
    first: Micros,
    last: Micros,
}

/// The rows, in the order of the list, of sessions that have events from and to these times.
fn totals(store: &Store, listed: Vec<Who>, times: Option<(Micros, Micros)>) -> Result<Vec<SessionRow>, ServiceError> {
    let Some((mut from, mut to)) = times else { return Ok(Vec::new()) };
    let mut keys: Vec<u64> = listed.iter().map(|(session, _)| session_key(session.as_bytes())).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut totals: HashMap<(u64, Box<[u8]>), Total> = HashMap::new();
    let view = store.answers();
    let mut asked = vec![false; view.segments.len()];
    // Again from the first when something was found that lies nearer to a segment which was passed over.
    let mut at = 0;
    while at < view.segments.len() {
        let (segment, before) = (at, (from, to));
        at += 1;
        if asked[segment] {
            continue;
        }
        view.segments[segment].with_index(&mut |index| {
            let is_near = |(min, max): (Micros, Micros)| max >= from.saturating_sub(SILENCE_MAX) && min <= to.saturating_add(SILENCE_MAX);
            if !index.time_span().is_some_and(is_near) {
                return Ok(());
            }
            asked[segment] = true;
            let mut entries = Vec::new();
            index.sessions_among(&keys, &mut |entry| entries.push(entry.clone()))?;
            if entries.is_empty() {
                return Ok(());
            }
            let sensors = index.cells()?.sensors;
            for entry in entries {
                let Some(sensor) = sensors.get(entry.sensor as usize) else { continue };
                let new = || Total { acts: Acts::default(), marks: Marks::default(), first: entry.first, last: entry.last };
                let total = totals.entry((entry.key, sensor.clone())).or_insert_with(new);
                total.acts.add(&entry.acts);
                total.marks.then(&entry.marks);
                (total.first, total.last) = (total.first.min(entry.first), total.last.max(entry.last));
                (from, to) = (from.min(entry.first), to.max(entry.last));
            }
            Ok(())
        })?;
        if (from, to) != before {
            at = 0;
        }
    }
    let row = |(session, sensor): Who| {
        let total = totals.get(&(session_key(session.as_bytes()), sensor.as_bytes().into()))?;
        let acts = Act::ALL.iter().map(|&act| (act.name().to_owned(), total.acts.of(act))).filter(|(_, count)| *count > 0);
        let src_ip = match total.marks.address {
            Address::None => None,
            Address::V4(address) => Some(IpAddr::from(address)),
            Address::V6(address) => Some(IpAddr::from(address)),
        };
        Some(SessionRow {
            first_seen: time::format(total.first),
            last_seen: time::format(total.last),
            events: total.acts.events(),
            src_ip: src_ip.map(|address| address.to_string()),
            credentials: total.marks.credentials.count,
            acts: acts.collect(),
            session,
            sensor,
        })
    };
    Ok(listed.into_iter().filter_map(row).collect())
}
