//! Reports as the store answers them.
use super::{ServiceError, sinks, typed};
use crate::config::Settings;
use crate::events::Micros;
use crate::index::search::{LineTerms, View};
use crate::index::session_name;
use crate::report::compatible::{self, Document};
use crate::report::{self, ExampleSession, Period, Report, Rules};
use crate::sinks::{Answer, Verdict};
use crate::store::Store;
use crate::telemetry::printable::prefix;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// Commands of a sequence that a report shows, and characters of each.
pub(super) const REPORT_COMMANDS_MAX: usize = 20;
pub(super) const REPORT_COMMAND_BYTES_MAX: usize = 1_000;

/// Which sensors reports are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sensors {
    /// All together, in one report.
    Aggregate,
    One(String),
    /// One, of somebody who is not told what others are called.
    Theirs(String),
    /// One report for each sensor that ever was, and then one for all together.
    Each,
}

/// Reports on a period, from sidecars and live indexes; the commands that they show are read from the journal.
pub fn reports(
    store: &Store,
    period: &Period,
    sensors: &Sensors,
    rows: usize,
    rules: Rules,
    now: Micros,
) -> Result<Vec<Report>, ServiceError> {
    let note = match sensors {
        Sensors::One(name) => unseen(store, name, true)?,
        Sensors::Theirs(name) => unseen(store, name, false)?,
        Sensors::Aggregate | Sensors::Each => None,
    };
    let sensors = match sensors {
        Sensors::Aggregate => vec![None],
        Sensors::One(name) | Sensors::Theirs(name) => vec![Some(name.clone())],
        Sensors::Each => self::sensors(store)?.into_iter().map(Some).chain([None]).collect(),
    };
    let report = |sensor| {
        let made = report(store, &report::Request { period: period.clone(), sensor, rows, rules }, now)?;
        Ok(Report { note: note.clone(), ..made })
    };
    sensors.into_iter().map(report).collect()
}

/// What to say of a sensor that never was: its figures are all zeros, which may be a name mistyped. `suggests`: also the name of another
/// one that may be meant.
pub fn unseen(store: &Store, name: &str, suggests: bool) -> Result<Option<String>, ServiceError> {
    let sensors = sensors(store)?;
    if sensors.iter().any(|known| known == name) {
        return Ok(None);
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    let short = sensors.iter().filter(|known| suggests && known.len().max(name.len()) <= SUGGESTED_BYTES_MAX);
    let near = short.map(|known| (distance(known), known)).filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3)).min();
    let hint = near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default();
    Ok(Some(format!("no event came from a sensor called `{}`{hint}", prefix(name, SUGGESTED_BYTES_MAX))))
}

/// Longer names are no typing errors.
const SUGGESTED_BYTES_MAX: usize = 64;

/// Every sensor that the index knows, by name.
pub fn sensors(store: &Store) -> Result<Vec<String>, ServiceError> {
    let mut sensors = BTreeSet::new();
    for segment in &store.answers().segments {
        segment.with_index(&mut |index| {
            sensors.extend(index.cells()?.sensors.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
            Ok(())
        })?;
    }
    Ok(sensors.into_iter().collect())
}

/// How often a receiver that cannot take reports just now is asked.
const ATTEMPTS_MAX: u32 = 5;

/// What became of reports that were sent to a sink's receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Published {
    pub sink: String,
    pub reports: u64,
    /// How many of them are there now.
    pub delivered: u64,
    pub attempts: u32,
    /// Why the others are not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
}

/// Writes reports in their compatible shape into the Elasticsearch of a sink, over those of the same period and sensor.
pub async fn publish(settings: &Settings, sink: &str, reports: &[Report]) -> Result<Published, ServiceError> {
    let settings = sinks::known(&settings.sinks, sink)?.clone();
    let documents: Option<Vec<Document>> = reports.iter().map(compatible::document).collect();
    let documents = documents.ok_or_else(|| ServiceError::Wrong("only daily, weekly and monthly reports are published".to_owned()))?;
    let policy = settings.policy;
    let opened = tokio::task::spawn_blocking(move || crate::sinks::open::elasticsearch(&settings)).await;
    let opened = opened.unwrap_or_else(|panic| Err(panic.to_string())).map_err(ServiceError::NotNow)?;
    let mut published = Published { sink: sink.to_owned(), reports: documents.len() as u64, ..Published::default() };
    loop {
        published.attempts += 1;
        let outcome = tokio::time::timeout(policy.timeout, opened.publish(&documents)).await;
        let late = || Answer::Retry { after: None, why: format!("no answer within {} s", policy.timeout.as_secs()) };
        let (after, why) = match outcome.map_or_else(|_| late(), |outcome| outcome.answer) {
            Answer::Delivered => (None, None),
            Answer::Items(verdicts) => {
                published.delivered = verdicts.iter().filter(|verdict| **verdict == Verdict::Delivered).count() as u64;
                let why = verdicts.into_iter().find_map(|verdict| match verdict {
                    Verdict::Delivered => None,
                    Verdict::Retry { why, .. } => Some((true, why)),
                    Verdict::Refused(why) => Some((false, why)),
                });
                (None, why)
            }
            Answer::Retry { after, why } => (after, Some((true, why))),
            Answer::Unusable { why } | Answer::TooLarge { why } | Answer::Refused { why } => (None, Some((false, why))),
        };
        match why {
            None => {
                published.delivered = published.reports;
                return Ok(published);
            }
            // The same id is written over: whatever arrived may be sent again.
            Some((true, _)) if published.attempts < ATTEMPTS_MAX => {
                tokio::time::sleep(policy.backoff.delay(published.attempts, after, rand::random())).await;
            }
            Some((_, why)) => return Ok(Published { problem: Some(why), ..published }),
        }
    }
}

fn report(store: &Store, request: &report::Request, now: Micros) -> Result<Report, ServiceError> {
    let mut examples = examples(store, REPORT_COMMANDS_MAX, REPORT_COMMAND_BYTES_MAX);
    Ok(report::build(&store.answers(), request, now, &mut |sensor, key| examples.read(sensor, key))?)
}

/// Example sessions, read from the journal; each once, for the same session is often that of a sequence and of a cluster.
pub(super) struct Examples<Terms> {
    evidence: View,
    terms: Terms,
    commands_max: usize,
    command_bytes_max: usize,
    read: HashMap<(Vec<u8>, u64), ExampleSession>,
}

pub(super) fn examples(store: &Store, commands_max: usize, command_bytes_max: usize) -> Examples<impl LineTerms> {
    Examples { evidence: store.evidence(), terms: store.terms(), commands_max, command_bytes_max, read: HashMap::new() }
}

impl<Terms: LineTerms> Examples<Terms> {
    /// What cannot be read is no reason to tell nothing of the rest: it is said to be unreadable.
    pub(super) fn read(&mut self, sensor: &[u8], key: u64) -> ExampleSession {
        let Examples { evidence, terms, commands_max, command_bytes_max, read } = self;
        let session = typed::Session { key, sensor: Some(sensor), commands_max: *commands_max, command_bytes_max: *command_bytes_max };
        let read = read.entry((sensor.to_vec(), key)).or_insert_with(|| match typed::typed(evidence, terms, session) {
            Ok(typed) => {
                let session = typed.id.or_else(|| session_name(key));
                ExampleSession { session, hassh: typed.hassh, lines: typed.commands, unreadable: false }
            }
            Err(_) => ExampleSession { session: session_name(key), unreadable: true, ..ExampleSession::default() },
        });
        read.clone()
    }
}
