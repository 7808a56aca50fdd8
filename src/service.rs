//! What commands ask of the store, as plain functions: the admin endpoint calls them for a running daemon, the command
//! line calls them itself when there is none. They know nothing of HTTP and nothing of terminals.
use crate::events::batch::{Batch, Batcher};
use crate::events::decoder::Identity;
use crate::events::{Field, Micros, time};
use crate::index::ids::IdCache;
use crate::index::query::{Query, QueryError};
use crate::index::search::{self, Hit, Page, SearchError};
use crate::index::sidecar::SidecarError;
use crate::index::top::TopRow;
use crate::index::{self};
use crate::journal::fs::RealFs;
use crate::journal::log::LogError;
use crate::journal::verify::{self, Verified};
use crate::sources::archive::{Archive, ArchiveSettings};
use crate::sources::reader;
use crate::sources::{Chunk, Format, Origin, Reason, Source, SourceError};
use crate::store::{DEAD_LETTERS_FROM, QuarantineRecord, Schema, SchemaKey, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod aggregate;
pub mod alerts;
pub mod anomalies;
pub mod audit;
pub mod clusters;
pub mod cursor;
pub mod dossier;
pub mod erase;
pub mod geoip;
pub mod indicators;
pub mod leaving;
pub mod letters;
pub mod marks;
pub mod peers;
pub mod push;
pub mod report;
pub mod retention;
pub mod sessions;
pub mod sinks;
pub mod typed;

use cursor::{Cursor, CursorError};

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("{error}\n{}", .error.pointer(.query))]
    Query { query: String, error: QueryError },
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Index(#[from] SidecarError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot read the journal: {0}")]
    Io(#[from] std::io::Error),
    #[error("there is no record {0} in quarantine: `honeyguide quarantine list` shows what there is")]
    NoRecord(u64),
    #[error("the sink {0:?} has no dead letter {1}: `honeyguide sinks dead list` shows what there is")]
    NoLetter(String, u64),
    #[error("no event has the session id {0:?}")]
    NoSession(String),
    #[error("there is no sink called {0:?}: `honeyguide sinks list` shows what there is")]
    NoSink(String),
    #[error("{0}")]
    Sink(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// It would make sense at another moment.
    #[error("{0}")]
    NotNow(String),
    #[error("there is no rule of alerts called {0:?}: `honeyguide alerts list` shows what there is")]
    NoAlert(String),
    #[error("{0}")]
    Alert(String),
    #[error("{} cannot be counted by itself: name another field behind by", .0.name())]
    ByItself(Field),
    #[error(
        "new since when? write since: with a date, a time or an age (since:7d), and until: if it shall end; nothing else can be asked here"
    )]
    NoSpan,
    #[error(transparent)]
    Geoip(#[from] geoip::GeoipError),
    #[error("{0}")]
    Indicators(String),
    #[error("{0:?} is no indicator of any event: `honeyguide search` finds other values")]
    NoIndicator(String),
    #[error("{0}")]
    Clusters(String),
    #[error("no session belongs to the cluster {0:?}: `honeyguide clusters` lists those that there are")]
    NoCluster(String),
    #[error("{0}")]
    Erase(String),
    #[error(transparent)]
    Erasing(#[from] crate::store::EraseError),
    #[error("the receiver of the answer is gone")]
    ReceiverGone,
}

/// Whether the command line was wrong, or something failed.
impl ServiceError {
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ServiceError::Query { .. }
                | ServiceError::Cursor(_)
                | ServiceError::ByItself(_)
                | ServiceError::NoSpan
                | ServiceError::Indicators(_)
                | ServiceError::Clusters(_)
                | ServiceError::Erase(_)
        )
    }
}

/// A search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchRequest {
    pub query: String,
    pub limit: u64,
    #[serde(default)]
    pub newest: bool,
}

/// Where a search begins: at its first event now, or behind the page that a cursor ended.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    now: Micros,
    cursor: Option<Cursor>,
}

/// At the first event.
impl From<Micros> for Begin {
    fn from(now: Micros) -> Begin {
        Begin { now, cursor: None }
    }
}

impl Begin {
    /// Reads the cursor, if there is one, and makes sure that it is of this search and that the query is one.
    pub fn read(request: &SearchRequest, cursor: Option<&str>, now: Micros) -> Result<Begin, ServiceError> {
        let cursor = cursor.map(|text| Cursor::read(text, &request.query, request.newest)).transpose()?;
        let begin = Begin { now: cursor.map_or(now, |cursor| cursor.now), cursor };
        begin.query(request)?;
        Ok(begin)
    }

    /// Ages count back from the first page's moment on every page.
    fn query(&self, request: &SearchRequest) -> Result<Query, ServiceError> {
        Query::parse(&request.query, self.now).map_err(|error| ServiceError::Query { query: request.query.clone(), error })
    }
}

/// Calls `each` with the lines of the events that match, in the order of their times. Answers how many there were, and
/// whether there may be more.
pub fn search(
    store: &Store,
    request: &SearchRequest,
    begin: impl Into<Begin>,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(u64, bool), ServiceError> {
    search_hits(store, request, begin, &mut |hit| each(hit.line))
}

/// [`search`], with all that is known of each.
pub fn search_hits(
    store: &Store,
    request: &SearchRequest,
    begin: impl Into<Begin>,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
) -> Result<(u64, bool), ServiceError> {
    let outcome = find(store, request, begin.into(), request.limit, each)?;
    Ok((outcome.hits as u64, outcome.more))
}

/// How a page of a search ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PageEnd {
    /// There certainly are more events that match.
    pub more: bool,
    /// Where to go on, if there are more. Without it only where no event was taken and none before.
    pub next: Option<String>,
}

/// Like [`search`], but looks for one event more than are wanted and says where the next page begins. `each` breaks off by not taking
/// the event it was called with: that one is the first of the next page.
pub fn search_page(
    store: &Store,
    request: &SearchRequest,
    begin: Begin,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
) -> Result<PageEnd, ServiceError> {
    let (mut taken, mut more) = (0, false);
    let mut after = begin.cursor.map(|cursor| cursor.after);
    let outcome = find(store, request, begin, request.limit.saturating_add(1), &mut |hit| {
        if taken == request.limit || each(hit).is_break() {
            more = true;
            return ControlFlow::Break(());
        }
        taken += 1;
        after = Some(hit.position());
        ControlFlow::Continue(())
    })?;
    let next = after.filter(|_| more).map(|after| Cursor::new(&request.query, request.newest, begin.now, outcome.last_seq, after).encode());
    Ok(PageEnd { more, next })
}

fn find(
    store: &Store,
    request: &SearchRequest,
    begin: Begin,
    limit: u64,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
) -> Result<search::Outcome, ServiceError> {
    let query = begin.query(request)?;
    let page = Page {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        newest_first: request.newest,
        after: begin.cursor.map(|cursor| cursor.after),
        last_seq: begin.cursor.map(|cursor| cursor.last_seq),
    };
    Ok(search::search(&store.evidence(), &query, page, &mut store.terms(), each)?)
}

/// What answering a search took, instead of its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchCost {
    /// Segments that there are, those whose indexes were asked before there were enough events, and those of them that may hold a match.
    pub segments: u64,
    #[serde(default)]
    pub segments_asked: u64,
    pub segments_possible: u64,
    /// Blocks that there are, those of the segments asked that may hold a match, and those read.
    pub blocks: u64,
    pub blocks_possible: u64,
    pub blocks_read: u64,
    /// Lines whose terms were looked at.
    pub lines_parsed: u64,
    pub events: u64,
    /// The limit ended it.
    pub more: bool,
    pub seconds: f64,
}

/// Answers a search, and says what that took.
pub fn search_cost(store: &Store, request: &SearchRequest, begin: impl Into<Begin>) -> Result<SearchCost, ServiceError> {
    let started = std::time::Instant::now();
    let outcome = find(store, request, begin.into(), request.limit, &mut |_| ControlFlow::Continue(()))?;
    Ok(SearchCost {
        segments: outcome.segments as u64,
        segments_asked: outcome.segments_asked as u64,
        segments_possible: outcome.segments_possible as u64,
        blocks: outcome.blocks as u64,
        blocks_possible: outcome.blocks_possible as u64,
        blocks_read: outcome.blocks_read as u64,
        lines_parsed: outcome.lines_parsed as u64,
        events: outcome.hits as u64,
        more: outcome.more,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The schemas of an event id and of a sensor, or of all.
pub fn schemas(store: &Store, eventid: Option<&str>, sensor: Option<&str>) -> Vec<(SchemaKey, Schema)> {
    let wanted = |key: &SchemaKey| eventid.is_none_or(|eventid| eventid == key.eventid) && sensor.is_none_or(|sensor| sensor == key.sensor);
    store.schemas().list(wanted)
}

/// The most frequent values of a field. Of sessions only those whose id the index keeps.
pub fn top(store: &Store, field: Field, limit: u64) -> Result<Vec<TopRow>, ServiceError> {
    Ok(index::top::top(&store.answers(), field, usize::try_from(limit).unwrap_or(usize::MAX))?)
}

/// Most events of one session that are shown.
pub const SESSION_EVENTS_MAX: u64 = 100_000;

/// Calls `each` with the lines of one session, in the order of their times.
pub fn session(store: &Store, id: &str, now: Micros, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), ServiceError> {
    session_hits(store, id, "", now, &mut |hit| each(hit.line))
}

/// [`session`], with all that is known of each, of those events that also match the query `scope`.
pub fn session_hits(
    store: &Store,
    id: &str,
    scope: &str,
    now: Micros,
    each: &mut dyn FnMut(Hit<'_>) -> ControlFlow<()>,
) -> Result<(), ServiceError> {
    let quoted = format!("{scope} session:{}", crate::index::query::quote(id));
    let request = SearchRequest { query: quoted, limit: SESSION_EVENTS_MAX, newest: false };
    match search_hits(store, &request, now, each)? {
        (0, _) => Err(ServiceError::NoSession(id.to_owned())),
        _ => Ok(()),
    }
}

/// A check of everything on disk.
#[derive(Debug, Default)]
pub struct VerifyOutcome {
    pub journal: Verified,
    pub ledger: Verified,
    pub quarantine: Verified,
    pub undelivered: Verified,
    pub sidecars: u64,
    /// Sidecars that do not agree with their checksums or their segment: (segment, what).
    pub bad_sidecars: Vec<(u64, String)>,
}

/// Verifies journal, sidecars, ledger and quarantine; `progress` is told (segments done, segments).
pub fn verify(store: &Store, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyOutcome, ServiceError> {
    let layout = store.layout();
    let view = store.view();
    let total = (view.sealed.len() + view.live.len()) as u64;
    let mut done = 0;
    // The last segment may be in the middle of an append.
    let journal = verify::verify(&RealFs, &layout.journal, true, |_| {
        done += 1;
        progress(done, total);
    })?;
    let ledger = verify::verify(&RealFs, &layout.ledger, true, |_| {})?;
    let quarantine = verify::verify(&RealFs, &layout.quarantine, true, |_| {})?;
    let undelivered = verify::verify(&RealFs, &layout.undelivered, true, |_| {})?;
    let mut outcome = VerifyOutcome { journal, ledger, quarantine, undelivered, ..VerifyOutcome::default() };
    for sealed in &view.sealed {
        outcome.sidecars += 1;
        if let Err(error) = sealed.sidecar.verify() {
            outcome.bad_sidecars.push((sealed.number, error.to_string()));
        }
    }
    Ok(outcome)
}

/// Whether a file may be deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IngestedFile {
    pub path: PathBuf,
    pub ingested: bool,
    /// Bytes of the (decompressed) file, and how many of them belong to events or refusals that are durable.
    pub bytes: u64,
    pub durable_bytes: u64,
    /// Events and refusals that are missing.
    pub missing: u64,
    pub problem: Option<String>,
}

/// Reads a file as `load` would, and asks the journal and the quarantine about every event and every refusal in it: the
/// proof is the content, not a checkpoint.
///
/// Without a format it is recognised. Events that are told apart by their position are proven only if they were loaded from this
/// very path: where else a line may have been read, its content does not tell.
pub fn ingested(store: &Store, path: &Path, format: Option<Format>) -> Result<IngestedFile, ServiceError> {
    let format = match format {
        Some(format) => format,
        None => reader::recognise(path)?.unwrap_or(Format::COWRIE),
    };
    let source = Arc::new(Source { name: "ingested".into(), format });
    let mut archive = Archive::open(path, source, ArchiveSettings::default())?;
    let mut batcher = Batcher::new();
    let mut cache = IdCache::new();
    let mut answer = IngestedFile { path: path.into(), ingested: true, bytes: 0, durable_bytes: 0, missing: 0, problem: None };
    while let Some(chunk) = archive.next_chunk()? {
        let bytes = chunk.origin.input_bytes;
        let batch = batcher.extract(chunk, &());
        let missing = missing_of(store, &batch, &mut cache)?;
        answer.bytes += bytes;
        answer.missing += missing;
        if missing == 0 {
            answer.durable_bytes += bytes;
        } else {
            answer.ingested = false;
        }
        if let Some(refused) = batch.refused.iter().find(|refused| refused.reason == Reason::Archive) {
            answer.ingested = false;
            answer.problem = Some(refused.detail.clone());
        }
    }
    if answer.missing > 0 {
        let by_position = format.decoder().identity() == Identity::Position;
        answer.problem.get_or_insert(if by_position {
            format!(
                "{} events cannot be proven: {} tells events apart by their place in a file, so only what was loaded from this very path can",
                answer.missing,
                format.name()
            )
        } else {
            format!("{} events are not in the journal yet", answer.missing)
        });
    }
    Ok(answer)
}

fn missing_of(store: &Store, batch: &Batch, cache: &mut IdCache) -> Result<u64, ServiceError> {
    let known = store.durable(&batch.ids, &batch.identity_hours, cache)?;
    let events = known.iter().filter(|&&known| !known).count() as u64;
    let quarantine = store.quarantine();
    Ok(events + batch.refused.iter().filter(|refused| !quarantine.contains(refused, &batch.origin.path)).count() as u64)
}

/// Which quarantine records.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuarantineSelection)]
pub struct Selection {
    /// Ascending: see [`Selection::sorted`].
    #[serde(default)]
    pub numbers: Vec<u64>,
    #[serde(default)]
    pub reason: Option<Reason>,
    #[serde(default)]
    pub all: bool,
}

impl Selection {
    /// With its numbers in order; anybody's selection goes through here.
    pub fn sorted(mut self) -> Selection {
        self.numbers.sort_unstable();
        self
    }

    fn takes(&self, number: u64, record: &QuarantineRecord) -> bool {
        self.all || self.numbers.binary_search(&number).is_ok() || self.reason == Some(record.reason)
    }
}

/// The newest `limit` records, newest first, of one reason or of all.
pub fn quarantine_list(store: &Store, reason: Option<Reason>, limit: u64) -> Result<Vec<(u64, QuarantineRecord)>, ServiceError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Of refused input and of dead letters.
    let mut newest = [VecDeque::new(), VecDeque::new()];
    store.quarantine().for_each(0, |number, record| {
        if reason.is_none_or(|reason| reason == record.reason) {
            let newest = &mut newest[usize::from(number >= DEAD_LETTERS_FROM)];
            if newest.len() == limit {
                newest.pop_front();
            }
            if limit > 0 {
                newest.push_back((number, record));
            }
        }
        true
    })?;
    let [mut refused, mut letters] = newest;
    let received = |(_, record): &(u64, QuarantineRecord)| record.timestamp.clone();
    let newer = std::iter::from_fn(|| match letters.back().map(received) > refused.back().map(received) {
        true => letters.pop_back(),
        false => refused.pop_back(),
    });
    Ok(newer.take(limit).collect())
}

/// One record.
pub fn quarantine_show(store: &Store, number: u64) -> Result<QuarantineRecord, ServiceError> {
    store.quarantine().get(number)?.ok_or(ServiceError::NoRecord(number))
}

/// Removes records for good. Answers how many went.
pub fn quarantine_purge(store: &Store, selection: &Selection, now: Micros) -> Result<u64, ServiceError> {
    let removed = store.quarantine().retain(|number, record| !selection.takes(number, record), now)?;
    if removed == 0 {
        return Ok(0);
    }
    let details = serde_json::json!({ "removed": removed, "selection": selection });
    store.record("quarantine_purged", details, now)?;
    Ok(removed)
}

/// The selected records whose bytes were kept whole, to be loaded again: what is accepted now becomes events, what is
/// refused again stays (each refused stretch is kept once). Only those that are there at the beginning, and never more
/// than asked for in memory.
pub struct Retried {
    store: Store,
    selection: Selection,
    from: u64,
    until: u64,
}

impl Retried {
    pub fn new(store: Store, selection: Selection) -> Retried {
        let until = store.quarantine().refused_end();
        Retried { store, selection, from: 0, until }
    }

    /// Chunks of about so many bytes; none when there are no more.
    pub fn next_chunks(&mut self, now: Micros, budget_bytes: usize) -> Result<Vec<Chunk>, String> {
        let numbered = self.next_numbered(now, budget_bytes).map_err(|error| error.to_string())?;
        Ok(numbered.into_iter().map(|(_, chunk)| chunk).collect())
    }

    fn next_numbered(&mut self, now: Micros, budget_bytes: usize) -> Result<Vec<(u64, Chunk)>, LogError> {
        let (mut chunks, mut bytes, mut next) = (Vec::new(), 0, self.until);
        let (selection, until) = (&self.selection, self.until);
        if self.from >= until {
            return Ok(chunks);
        }
        self.store.quarantine().for_each(self.from, |number, record| {
            if number >= until || bytes >= budget_bytes {
                next = number;
                return false;
            }
            let format = Format::parse(&record.format);
            // What a sink refused is in the journal already: it goes to its sink again with `honeyguide sinks dead retry`.
            let wanted = record.undelivered.is_none() && selection.takes(number, &record);
            if let (true, Some(kept), Some(format)) = (wanted, record.bytes(), format) {
                bytes += kept.len();
                chunks.push((number, chunk_of(&record, kept, format, now)));
            }
            true
        })?;
        self.from = next;
        Ok(chunks)
    }
}

fn chunk_of(record: &QuarantineRecord, mut bytes: Vec<u8>, format: Format, now: Micros) -> Chunk {
    let received_at = time::parse(record.timestamp.as_bytes()).unwrap_or(now);
    let input_bytes = bytes.len() as u64;
    bytes.push(b'\n');
    let origin = Origin {
        source: Arc::new(Source { name: record.source.clone(), format }),
        stream: "".into(),
        run: 0,
        ordinal: 0,
        path: record.path.as_str().into(),
        offset: record.offset,
        generation: 0,
        first_seen: 0,
        input_bytes,
        received_at,
        reflowed: false,
        checkpoint: Vec::new(),
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data: bytes, places: Vec::new(), refused: Vec::new(), stored: None }
}

/// Bytes of records looked at together when they are resolved.
const RESOLVED_BYTES: usize = 4 << 20;

/// What a retry came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RetryOutcome {
    /// Records whose bytes were kept whole and that were decoded again.
    pub retried: u64,
    /// Of these: now events of the journal, and gone from the quarantine.
    pub resolved: u64,
}

/// After a retry: removes those of the selected records whose bytes are events of the journal now.
pub fn quarantine_resolve(store: &Store, selection: &Selection, now: Micros) -> Result<RetryOutcome, ServiceError> {
    // As they were retried: with the policy that is in force.
    let mut batcher = store.batcher();
    let mut cache = IdCache::new();
    let mut resolved = Selection::default();
    let mut withheld = BTreeSet::new();
    let mut outcome = RetryOutcome::default();
    let mut records = Retried::new(store.clone(), selection.clone());
    loop {
        let chunks = records.next_numbered(now, RESOLVED_BYTES)?;
        if chunks.is_empty() {
            break;
        }
        for (number, chunk) in chunks {
            outcome.retried += 1;
            let batch = batcher.extract(chunk, &());
            let mut known = store.durable(&batch.ids, &batch.identity_hours, &mut cache)?;
            if !batch.other_ids().is_empty() {
                let by_other = store.durable(batch.other_ids(), &batch.identity_hours, &mut cache)?;
                known.iter_mut().zip(by_other).for_each(|(known, other)| *known |= other);
            }
            if batch.refused.is_empty() && !known.is_empty() && known.iter().all(|&known| known) {
                resolved.numbers.push(number);
            } else if batch.refused.iter().any(|refused| refused.bytes.is_empty() && refused.len > 0) {
                // Its new record holds no text; nor may this one, beside it.
                withheld.insert(number);
            }
        }
    }
    if !resolved.numbers.is_empty() {
        outcome.resolved = quarantine_purge(store, &resolved, now)?;
    }
    store.quarantine().withhold(&withheld, now)?;
    Ok(outcome)
}

/// What the journal holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Holdings {
    pub events: u64,
    pub segments: u64,
    pub raw_bytes: u64,
    pub journal_bytes: u64,
    pub sidecar_bytes: u64,
    pub first_event: Option<Micros>,
    pub last_event: Option<Micros>,
    pub next_seq: u64,
    pub quarantine_records: u64,
    pub quarantine_bytes: u64,
    pub free_bytes: Option<u64>,
}

pub fn holdings(store: &Store) -> Result<Holdings, ServiceError> {
    let view = store.view();
    let (journal_bytes, sidecar_bytes) = store.disk_bytes_lately()?;
    let mut holdings = Holdings {
        segments: (view.sealed.len() + view.live.len()) as u64,
        journal_bytes,
        sidecar_bytes,
        next_seq: view.next_seq(),
        free_bytes: store.free_bytes().ok(),
        ..Holdings::default()
    };
    let span = |holdings: &mut Holdings, first: Micros, last: Micros| {
        holdings.first_event = Some(holdings.first_event.map_or(first, |known| known.min(first)));
        holdings.last_event = Some(holdings.last_event.map_or(last, |known| known.max(last)));
    };
    for sealed in &view.sealed {
        let head = sealed.sidecar.head();
        holdings.events += head.events;
        holdings.raw_bytes += head.raw_bytes;
        if head.events > 0 {
            span(&mut holdings, head.time_min, head.time_max);
        }
    }
    for live in &view.live {
        let visible = live.durable_blocks() as usize;
        for meta in live.read().index.metas().iter().take(visible).filter(|meta| meta.events > 0) {
            holdings.events += u64::from(meta.events);
            holdings.raw_bytes += u64::from(meta.raw_len);
            span(&mut holdings, meta.time_min, meta.time_max);
        }
    }
    let quarantine = store.quarantine();
    holdings.quarantine_bytes = quarantine.disk_bytes();
    holdings.quarantine_records = quarantine.records();
    Ok(holdings)
}
