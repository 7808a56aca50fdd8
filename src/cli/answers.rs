//! Fills the answers of [`super::format`] from the store: the one place where both a daemon that is asked over its socket and a
//! command that opens the data directory itself get them.
use super::counted::{Count, CountRow, Distinct, Reading, Total};
use super::format::{
    Damage, IngestedFile, JournalStatus, QuarantineItem, QuarantineRow, QuarantineStatus, RebuildReport, Schema, SchemaField, SchemaType,
    Status, TopRow, VerifyReport,
};
use crate::events::id::hex;
use crate::events::{Field, Micros, time};
use crate::index::aggregate::{Interval, Question};
use crate::index::{self};
use crate::journal::segment;
use crate::journal::verify::Verified;
use crate::service::{self, Holdings, ServiceError};
use crate::sources::{Format, Reason};
use crate::state::{SegmentRecord, State};
use crate::store::{QuarantineRecord, Rebuilt, SchemaKey, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The most frequent values of a field, or pairs of values.
pub fn top(store: &Store, field: Field, by: Option<Field>, query: &str, limit: u64, now: Micros) -> Result<Vec<TopRow>, ServiceError> {
    let top = service::aggregate::top(store, field, by, query, limit, now)?;
    let error_at_most = (top.error_max > 0).then_some(top.error_max);
    Ok(top.rows.into_iter().map(|row| TopRow { error_at_most, ..top_row(row) }).collect())
}

/// Values of a field that were seen for the first time in a span.
pub fn new_values(store: &Store, field: Field, span: &str, limit: u64, now: Micros) -> Result<Vec<TopRow>, ServiceError> {
    Ok(service::aggregate::new_values(store, field, span, limit, now)?.into_iter().map(top_row).collect())
}

fn top_row(row: index::top::TopRow) -> TopRow {
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    TopRow {
        value: text(row.value),
        by: row.by.map(text),
        count: row.count,
        first_seen: time::format(row.first),
        last_seen: time::format(row.last),
        error_at_most: None,
    }
}

/// How many events match, by hour, day or week if asked.
pub fn count(store: &Store, query: &str, by: Option<Interval>, now: Micros) -> Result<Count, ServiceError> {
    let counts = service::aggregate::count(store, query, by, now)?;
    let row = |(from, events)| CountRow { from: time::format(from), events };
    Ok(match by {
        Some(_) => Count::Rows(counts.stretches.into_iter().map(row).collect()),
        None => Count::Total(Total { events: counts.events }),
    })
}

/// How many different values of a field there are.
pub fn distinct(store: &Store, field: Field, query: &str, now: Micros) -> Result<Distinct, ServiceError> {
    let index::aggregate::DistinctCount { values, exact } = service::aggregate::distinct(store, field, query, now)?;
    let standard_error = (!exact).then_some(index::distinct::STANDARD_ERROR);
    Ok(Distinct { field: field.name().to_owned(), distinct: values, exact, standard_error })
}

/// What is read at most to answer.
pub fn reading(store: &Store, question: Question, query: &str, now: Micros) -> Result<Reading, ServiceError> {
    Ok(service::aggregate::reach(store, question, query, now)?.into())
}

/// What events look like.
pub fn schemas(store: &Store, eventid: Option<&str>, sensor: Option<&str>) -> Vec<Schema> {
    let schemas = service::schemas(store, eventid, sensor);
    let row = |(key, schema): (SchemaKey, crate::store::Schema)| Schema {
        format: key.format,
        eventid: key.eventid,
        sensor: key.sensor,
        version: schema.version,
        first_seen: time::format(schema.first_seen),
        changed_at: time::format(schema.changed_at),
        fields: schema
            .fields
            .into_iter()
            .map(|(name, seen)| SchemaField {
                name,
                drifted: seen.iter().any(|type_| Some(type_.version) != seen.first().map(|first| first.version)),
                types: seen
                    .iter()
                    .map(|seen| SchemaType { name: seen.kind.name().into(), version: seen.version, first_seen: time::format(seen.at) })
                    .collect(),
            })
            .collect(),
    };
    schemas.into_iter().map(row).collect()
}

/// Checks everything on disk; `progress` is told (segments done, segments).
pub fn verify(store: &Store, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport, ServiceError> {
    let started = Instant::now();
    let outcome = service::verify(store, progress)?;
    let (journal_bytes, sidecar_bytes) = store.disk_bytes()?;
    let mut damage: Vec<Damage> = damage_of("", &outcome.journal).collect();
    damage.extend(outcome.bad_sidecars.into_iter().map(|(number, problem)| Damage {
        file: segment::sidecar_name(number),
        problem,
        ..Damage::default()
    }));
    damage.extend(unexplained(store, &outcome.journal)?);
    damage.extend(damage_of("../ledger/", &outcome.ledger));
    damage.extend(damage_of("../quarantine/", &outcome.quarantine));
    damage.extend(damage_of("../undelivered/", &outcome.undelivered));
    Ok(VerifyReport {
        segments: outcome.journal.segments,
        blocks: outcome.journal.blocks,
        events: outcome.journal.events,
        tombstones: outcome.journal.tombstones.values().sum(),
        bytes: journal_bytes + sidecar_bytes,
        seconds: started.elapsed().as_secs_f64(),
        sidecars: outcome.sidecars,
        head: outcome.journal.digest.map(|digest| hex(&digest)),
        damage,
    })
}

/// Tombstones that the ledger does not account for: the chain alone cannot tell an erasure from evidence that somebody took away.
fn unexplained(store: &Store, journal: &Verified) -> Result<Vec<Damage>, ServiceError> {
    if journal.tombstones.is_empty() {
        return Ok(Vec::new());
    }
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    let mut from_the_beginning = false;
    store.ledger().for_each(0, |number, line| {
        from_the_beginning |= number == 1;
        let record: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let member = |name: &str| record["details"][name].as_u64();
        if let ("erasure_begun" | "tombstones_loaded", Some(segment), Some(events)) =
            (record["event"].as_str().unwrap_or_default(), member("segment"), member("events"))
        {
            *told.entry(segment).or_default() += events;
        }
        true
    })?;
    let more = |(&segment, &there): (&u64, &u64)| {
        let told = told.get(&segment).copied().unwrap_or(0);
        let problem = format!("{there} events were erased and the ledger tells of {told}: evidence may have been taken away");
        (there > told).then(|| Damage { file: segment::file_name(segment), problem, ..Damage::default() })
    };
    // What the ledger's limit took is told no more.
    Ok(if from_the_beginning { journal.tombstones.iter().filter_map(more).collect() } else { Vec::new() })
}

fn damage_of(dir: &'static str, verified: &Verified) -> impl Iterator<Item = Damage> {
    verified.damage.iter().map(move |damage| Damage {
        file: format!("{dir}{}", segment::file_name(damage.segment)),
        block: damage.block.map(u64::from),
        offset: Some(damage.offset),
        problem: damage.what.clone(),
    })
}

/// Whether files may be deleted. What cannot be read is not ingested, and says why.
pub fn ingested<'a>(
    store: &Store,
    paths: impl IntoIterator<Item = &'a Path>,
    format: Option<Format>,
) -> Result<Vec<IngestedFile>, ServiceError> {
    let answer = |path: &Path| {
        let shown = path.to_string_lossy().into_owned();
        match service::ingested(store, path, format) {
            Ok(file) => Ok(IngestedFile {
                path: shown,
                ingested: file.ingested,
                bytes: file.bytes,
                durable_bytes: file.durable_bytes,
                problem: file.problem,
            }),
            Err(ServiceError::Source(error)) => {
                Ok(IngestedFile { path: shown, problem: Some(error.to_string()), ..IngestedFile::default() })
            }
            Err(error) => Err(error),
        }
    };
    paths.into_iter().map(answer).collect()
}

/// The newest records of the quarantine.
pub fn quarantine_list(store: &Store, reason: Option<Reason>, limit: u64) -> Result<Vec<QuarantineRow>, ServiceError> {
    let records = service::quarantine_list(store, reason, limit)?;
    Ok(records.into_iter().map(|(number, record)| row(number, record)).collect())
}

/// One record, and the bytes of it that were kept.
pub fn quarantine_item(store: &Store, number: u64) -> Result<(QuarantineItem, Vec<u8>), ServiceError> {
    let record = service::quarantine_show(store, number)?;
    let bytes = record.kept_bytes().unwrap_or_default();
    Ok((QuarantineItem::new(row(number, record), &bytes), bytes))
}

fn row(number: u64, record: QuarantineRecord) -> QuarantineRow {
    QuarantineRow {
        number,
        received_at: record.timestamp,
        reason: record.reason.name().to_owned(),
        source: record.source,
        path: record.path,
        offset: record.offset,
        len: record.len,
        detail: record.detail,
        hash: record.blake3,
    }
}

/// Makes all sidecars anew, and the catalogue from them; `progress` is told (segments done, segments).
pub fn rebuild(store: &Store, state: &State, now: Micros, progress: &mut dyn FnMut(u64, u64)) -> Result<RebuildReport, ServiceError> {
    let started = Instant::now();
    let numbers: Vec<u64> = store.view().sealed.iter().map(|sealed| sealed.number).collect();
    let mut report = RebuildReport { segments: numbers.len() as u64, ..RebuildReport::default() };
    for (done, &number) in numbers.iter().enumerate() {
        let (rebuilt, damage) = match store.rebuild_sidecar(number)? {
            Rebuilt::Done => (true, Vec::new()),
            Rebuilt::NoEvidence => (false, Vec::new()),
            Rebuilt::Partly(damage) => (true, damage),
            Rebuilt::Kept(damage) => (false, damage),
        };
        report.rebuilt += u64::from(rebuilt);
        report.kept += u64::from(!rebuilt);
        let found = Verified { damage, ..Verified::default() };
        report.damage.extend(damage_of("", &found));
        progress(done as u64 + 1, numbers.len() as u64);
    }
    let records: Vec<(u64, SegmentRecord)> =
        store.view().sealed.iter().map(|sealed| (sealed.number, SegmentRecord::of(sealed.sidecar.head()))).collect();
    state.replace_segments(&records).map_err(|error| ServiceError::Io(std::io::Error::other(error)))?;
    let details = serde_json::json!({ "segments": report.segments, "rebuilt": report.rebuilt, "damaged": report.damage.len() });
    store.record("sidecars_rebuilt", details, now)?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// The same, so that old events have the terms that the databases in force give them; the ledger remembers which those were.
pub fn geoip_apply(store: &Store, state: &State, now: Micros, progress: &mut dyn FnMut(u64, u64)) -> Result<RebuildReport, ServiceError> {
    let report = rebuild(store, state, now, progress)?;
    service::geoip::record_applied(store, report.segments, report.rebuilt, now)?;
    Ok(report)
}

/// What a data directory holds; who runs on it is for the caller to add.
pub fn status(store: &Store, data_dir: &Path, digest: Option<String>) -> Result<Status, ServiceError> {
    let Holdings {
        events,
        segments,
        raw_bytes,
        journal_bytes,
        sidecar_bytes,
        first_event,
        last_event,
        quarantine_records,
        quarantine_bytes,
        free_bytes,
        ..
    } = service::holdings(store)?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data_dir: data_dir.to_string_lossy().into_owned(),
        journal: JournalStatus {
            events,
            segments,
            raw_bytes,
            journal_bytes,
            sidecar_bytes,
            first_event: first_event.map(time::format),
            last_event: last_event.map(time::format),
            head: digest,
            free_bytes,
        },
        quarantine: QuarantineStatus { records: quarantine_records, bytes: quarantine_bytes },
        ..Status::default()
    })
}
