//! Alerts as the ledger, the state and the sinks know them: kept, told, tried, and asked for.
use super::ServiceError;
use crate::actors::supervisor::ToSink;
use crate::alerts::book::{Book, Pending};
use crate::alerts::look::{self, Letters, Snapshots};
use crate::alerts::{Happened, Notice, Rule};
use crate::config::{AlertSettings, Settings, SinkSettings, SourceName};
use crate::daemon::Engine;
use crate::enrich::Desk;
use crate::events::{Format, Micros, time};
use crate::indicators::known::{self, Known};
use crate::indicators::lists::Lists;
use crate::redact::{Redactor, Subject};
use crate::sinks::delivery::Command;
use crate::sinks::{Batch, Item};
use crate::state::State;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::telemetry::events::{AlertClosed, AlertFired, AlertGivenUp, AlertNotKept, AlertUnseen};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Names of records in the ledger.
const TOLD: &str = "alert";
const SETTLED: &str = "alert_settled";
/// What a document of an alert says of its source.
const SOURCE: &str = "alerts";
/// A rule whose look took long waits so many times as long for the next: all looks together take a twentieth of a core.
const REST: u32 = 20;
/// How long one notice may be on its way before the delivery is asked anew.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a test waits for a sink.
const TEST_PATIENCE: Duration = Duration::from_secs(15);
/// Most rows of a history.
pub const HISTORY_MAX: usize = 10_000;

/// What became of a notice at a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    number: u64,
    sink: String,
    /// `delivered`, `dead` or `given_up`.
    outcome: String,
}

/// The book of alerts of a data directory. Everything that changes it stands in the ledger, and then in the state.
pub struct Alerts {
    store: Store,
    state: Arc<State>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// `None` until it was read.
    book: Option<Book>,
    /// What the ledger has yet to take: the disk may be the trouble that is told of.
    unwritten: Vec<(&'static str, serde_json::Value)>,
    /// Notices up to this number were given to the ledger, and may be sent.
    told_through: u64,
}

impl Alerts {
    pub fn new(store: Store, state: Arc<State>) -> Alerts {
        Alerts { store, state, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the book, which is read first if need be; on a thread that may block.
    fn with_book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> Result<T, ServiceError> {
        let mut held = self.held();
        if held.book.is_none() {
            let book = self.read()?;
            (held.told_through, held.book) = (book.last_number(), Some(book));
        }
        let book = held.book.get_or_insert_default();
        Ok(work(book))
    }

    /// The state's copy, and what the ledger says beyond it.
    fn read(&self) -> Result<Book, ServiceError> {
        let copy = self.state.alerts().and_then(|bytes| serde_json::from_slice::<Book>(&bytes).ok());
        let mut book = copy.unwrap_or_default();
        self.store.each_recorded(TOLD, &mut |notice: Notice| book.replay(&notice))?;
        self.store.each_recorded(SETTLED, &mut |Settled { number, sink, .. }: Settled| book.settled(&sink, number))?;
        Ok(book)
    }

    /// Writes records to the ledger, then the book to the state. What the ledger does not take now it gets with the next.
    fn keep(&self, records: impl IntoIterator<Item = (&'static str, serde_json::Value)>, telemetry: &Telemetry, now: Micros) {
        let mut held = self.held();
        held.unwritten.extend(records);
        let mut written = 0;
        // In their order; those of one name next to each other are synced together.
        while written < held.unwritten.len() {
            let name = held.unwritten[written].0;
            let same = held.unwritten[written..].iter().take_while(|(other, _)| *other == name);
            let details: Vec<serde_json::Value> = same.map(|(_, details)| details.clone()).collect();
            let count = details.len();
            if let Err(error) = self.store.record_all(name, details, now) {
                telemetry.emit(&AlertNotKept { error: &error.to_string() });
                break;
            }
            written += count;
        }
        held.unwritten.drain(..written);
        let Some(book) = &held.book else { return };
        let kept = serde_json::to_vec(book).map_err(|error| error.to_string());
        if let Err(error) = kept.and_then(|bytes| self.state.put_alerts(&bytes).map_err(|error| error.to_string())) {
            telemetry.emit(&AlertNotKept { error: &error });
        }
    }

    /// Tells, behind the ledger, what a look found out.
    fn tell(&self, notices: &[Notice], telemetry: &Telemetry, now: Micros) {
        if notices.is_empty() && self.held().unwritten.is_empty() {
            return;
        }
        self.keep(notices.iter().map(|notice| (TOLD, notice.recorded())), telemetry, now);
        if let Some(last) = notices.last() {
            self.held().told_through = last.number;
        }
        for notice in notices {
            let Notice { alert, when, subject, summary, number, .. } = notice;
            match notice.state {
                Happened::Firing => telemetry.emit(&AlertFired { alert, when, subject, summary, number: *number }),
                Happened::Recovered | Happened::Closed => {
                    let duration = Duration::from_secs(notice.duration_seconds.unwrap_or(0));
                    telemetry.emit(&AlertClosed { alert, subject, number: *number, duration, state: notice.state.name() });
                }
                Happened::Test => {}
            }
        }
    }

    /// The oldest notice on its way to each sink that is not in `busy`.
    pub fn next_pending(&self, busy: &dyn Fn(&str) -> bool) -> Result<Vec<Pending>, ServiceError> {
        self.with_book(|_| ())?;
        let held = self.held();
        let mut first: BTreeMap<&str, &Pending> = BTreeMap::new();
        let pending = held.book.iter().flat_map(|book| book.pending());
        for pending in pending.filter(|pending| pending.notice.number <= held.told_through && !busy(&pending.sink)) {
            first.entry(&pending.sink).or_insert(pending);
        }
        Ok(first.into_values().cloned().collect())
    }

    /// A notice arrived, or lies in quarantine.
    fn settle(&self, sink: &str, number: u64, outcome: &str, telemetry: &Telemetry, now: Micros) -> Result<(), ServiceError> {
        self.with_book(|book| book.settled(sink, number))?;
        let settled = Settled { number, sink: sink.to_owned(), outcome: outcome.to_owned() };
        self.keep([(SETTLED, serde_json::to_value(settled).unwrap_or_default())], telemetry, now);
        Ok(())
    }

    /// What became of a notice that was sent. An error says why it has to be sent again.
    pub fn sent(&self, sink: &SinkSettings, pending: &Pending, outcome: Sent, telemetry: &Telemetry, now: Micros) -> Result<(), String> {
        let (name, number) = (sink.name.as_str(), pending.notice.number);
        let outcome = match outcome {
            Sent::Arrived => "delivered",
            // The delivery made a dead letter of it.
            Sent::Refused => "dead",
            Sent::NotYet(why) => return Err(why),
        };
        self.settle(name, number, outcome, telemetry, now).map_err(|error| error.to_string())
    }

    /// The document of a notice as this sink may have it.
    fn batch(&self, sink: &SinkSettings, notice: &Notice) -> (Batch, crate::events::EventId) {
        let format = Format::parse("alert").unwrap_or(Format::UNKNOWN);
        let policy = self.store.privacy().policy().filter(|_| sink.redact);
        // Which field a value would be is not told by the place where it stands here: under a policy none leaves.
        let document = notice.document(policy.is_none());
        let mut redactor = Redactor::default();
        let line = match &policy {
            None => document.into(),
            Some(policy) => redactor.leaving(policy, Subject { source: SOURCE, format }, &document),
        };
        let id = notice.id();
        // In place of a place in the journal, and never 0: a file takes what is not behind 0 for what it has.
        let item =
            Item { seq: notice.number.max(1), id, time: notice.at, received_at: notice.at, source: SOURCE.into(), format, payload: 0..0 };
        let mut batch = Batch { redelivered: true, ..Batch::default() };
        batch.push(item, &line);
        (batch, id)
    }
}

/// How a notice fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Arrived,
    /// For good.
    Refused,
    /// Why not.
    NotYet(String),
}

/// Hands a notice to a sink's delivery and waits.
pub async fn send(
    alerts: &Alerts,
    sink: &SinkSettings,
    notice: &Notice,
    patience: Duration,
    to_sink: impl AsyncFnOnce(ToSink) -> Option<bool>,
) -> Sent {
    let (batch, id) = alerts.batch(sink, notice);
    let (done, answered) = oneshot::channel();
    match to_sink(ToSink(sink.name.to_string(), Command::Redeliver(batch, patience, done))).await {
        Some(true) => {}
        Some(false) => return Sent::NotYet("the sink does not run".to_owned()),
        None => return Sent::NotYet("the daemon stops".to_owned()),
    }
    match answered.await {
        Err(_) => Sent::NotYet("the sink was started anew".to_owned()),
        Ok(Err(why)) => Sent::NotYet(why),
        Ok(Ok(done)) if done.arrived.contains(&id) => Sent::Arrived,
        Ok(Ok(done)) if done.is_whole => Sent::Refused,
        Ok(Ok(_)) => Sent::NotYet(format!("nothing arrived within {} s", patience.as_secs())),
    }
}

/// [`send`], for what is due.
pub async fn send_due(alerts: &Alerts, sink: &SinkSettings, notice: &Notice, to_sink: impl AsyncFnOnce(ToSink) -> Option<bool>) -> Sent {
    send(alerts, sink, notice, PATIENCE, to_sink).await
}

/// Looks at rules, each when it is due.
#[derive(Default)]
pub struct Looker {
    letters: Letters,
    /// When the rule is looked at next.
    due: HashMap<String, Instant>,
    /// Rules that have a figure.
    shown: Vec<SourceName>,
}

/// What judges new indicators.
#[derive(Clone)]
pub struct Judging {
    pub lists: Lists,
    pub data_dir: PathBuf,
    pub desk: Arc<Desk>,
}

impl Judging {
    fn known(&self) -> Result<Known, String> {
        let known = Known::open(&known::directory(&self.data_dir)).map_err(|error| error.to_string())?;
        Ok(known.with_flagged(self.desk.flagged().map_err(|error| error.to_string())?))
    }
}

impl Looker {
    /// Looks at the rules that are due, and tells what is news; on a thread that may block.
    pub fn look(
        &mut self,
        (alerts, settings, sinks): (&Alerts, &AlertSettings, &[SinkSettings]),
        snapshots: &Snapshots,
        judging: &Judging,
        telemetry: &Telemetry,
        now: Micros,
    ) -> Result<(), ServiceError> {
        self.letters.see(&snapshots.sinks, now);
        self.due.retain(|name, _| settings.rules.iter().any(|rule| rule.name.as_str() == name));
        let mut notices = alerts.with_book(|book| book.keep(&settings.rules, now))?;
        for rule in &settings.rules {
            let begun = Instant::now();
            if self.due.get(rule.name.as_str()).is_some_and(|due| begun < *due) {
                continue;
            }
            let known = || judging.known();
            let judges = (&judging.lists, &known as &dyn Fn() -> Result<Known, String>);
            match look::look(rule, &alerts.store, snapshots, (&self.letters, settings.failures), judges, now) {
                Ok(None) => {}
                Ok(Some(sight)) => {
                    notices.extend(alerts.with_book(|book| {
                        if let crate::alerts::When::Indicator { window, .. } = rule.when {
                            let window = Micros::try_from(window.as_micros()).unwrap_or(Micros::MAX);
                            book.forget(rule.name.as_str(), now.saturating_sub(window.saturating_mul(2)));
                        }
                        book.look(rule, sight, now)
                    })?);
                }
                Err(error) => telemetry.emit(&AlertUnseen { alert: rule.name.as_str(), error: &error.to_string() }),
            }
            self.due.insert(rule.name.to_string(), Instant::now() + settings.every.max(begun.elapsed() * REST).mul_f64(0.95));
        }
        alerts.tell(&notices, telemetry, now);
        let is_there = |name: &str| sinks.iter().any(|sink| sink.name.as_str() == name);
        for Pending { sink, notice } in alerts.with_book(|book| book.give_up(&is_there))? {
            telemetry.emit(&AlertGivenUp { alert: &notice.alert, sink: &sink, number: notice.number });
            alerts.settle(&sink, notice.number, "given_up", telemetry, now)?;
        }
        let names: Vec<SourceName> = settings.rules.iter().map(|rule| rule.name.clone()).collect();
        self.shown.iter().filter(|shown| !names.contains(shown)).for_each(|gone| telemetry.metrics.remove_alert(gone));
        for name in &names {
            telemetry.metrics.set_alerts_open(name, alerts.with_book(|book| book.open_of(name.as_str()))?);
        }
        self.shown = names;
        Ok(())
    }
}

/// A rule, as `alerts list` tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertRow {
    pub rule: String,
    pub when: String,
    pub to: Vec<String>,
    pub cooldown_seconds: u64,
    pub open: Vec<OpenRow>,
    /// Notices that have not reached their sinks.
    pub pending: u64,
}

/// An alert that is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OpenAlert)]
pub struct OpenRow {
    pub subject: String,
    pub summary: String,
    pub since: String,
    pub number: u64,
}

/// Every rule with what is open of it.
pub fn list(alerts: &Alerts, rules: &[Rule]) -> Result<Vec<AlertRow>, ServiceError> {
    let (open, pending) = alerts.with_book(|book| {
        let pending: Vec<String> = book.pending().iter().map(|pending| pending.notice.alert.clone()).collect();
        (book.open().collect::<Vec<_>>(), pending)
    })?;
    let row = |rule: &Rule| {
        let name = rule.name.as_str();
        let of_rule = open.iter().filter(|open| open.alert == name).map(|open| OpenRow {
            subject: open.subject.clone(),
            summary: open.summary.clone(),
            since: time::format(open.since),
            number: open.number,
        });
        AlertRow {
            rule: name.to_owned(),
            when: rule.when.name().to_owned(),
            to: rule.to.iter().map(ToString::to_string).collect(),
            cooldown_seconds: rule.cooldown.as_secs(),
            open: of_rule.collect(),
            pending: pending.iter().filter(|alert| *alert == name).count() as u64,
        }
    };
    Ok(rules.iter().map(row).collect())
}

/// What the ledger tells of alerts, newest first, of one rule if asked.
pub fn history(store: &Store, rule: Option<&str>, limit: usize) -> Result<Vec<Notice>, ServiceError> {
    let (mut newest, limit) = (Vec::new(), limit.min(HISTORY_MAX));
    store.newest_recorded(TOLD, &mut |notice: Notice| {
        if newest.len() < limit && rule.is_none_or(|rule| rule == notice.alert) {
            newest.push(notice);
        }
        newest.len() < limit
    })?;
    Ok(newest)
}

/// What a rule would say now, and which of its sinks took a notice that says it is a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertTest {
    pub rule: String,
    /// What the condition holds of now, or values that are new within the window; `None` when it cannot be told now.
    pub holds: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<String>,
    pub sinks: Vec<TestedSink>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AlertSinkTest)]
pub struct TestedSink {
    pub sink: String,
    pub arrived: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Readings of a test.
const READINGS_MAX: usize = 20;

/// Tries a rule: looks, and sends a notice that says it is a test to its sinks. Nothing opens by it.
pub async fn test(engine: &Engine, name: &str, by: &str) -> Result<AlertTest, ServiceError> {
    let settings: Settings = engine.settings.borrow().clone();
    let rule = settings.alerts.rules.iter().find(|rule| rule.name.as_str() == name).cloned();
    let rule = rule.ok_or_else(|| ServiceError::NoAlert(name.to_owned()))?;
    let judging = Judging { lists: settings.lists.clone(), data_dir: settings.data_dir.clone(), desk: engine.enrichment.clone() };
    let (alerts, snapshots, failures, now) =
        (engine.alerts.clone(), engine.observed.alert_snapshots(true), settings.alerts.failures, time::now());
    let (looked, by) = (rule.clone(), by.to_owned());
    let seen = tokio::task::spawn_blocking(move || {
        let known = || judging.known();
        let judges = (&judging.lists, &known as &dyn Fn() -> Result<Known, String>);
        let sight = look::look(&looked, &alerts.store, &snapshots, (&Letters::default(), failures), judges, now);
        alerts.store.record("alert_tested", serde_json::json!({ "alert": looked.name.as_str(), "by": by }), now)?;
        sight.map_err(|error| ServiceError::Alert(error.to_string()))
    });
    let sight = seen.await.map_err(|panic| ServiceError::Alert(panic.to_string()))??;
    let (holds, readings) = match sight {
        None => (None, Vec::new()),
        Some(crate::alerts::book::Sight::Holds(readings)) => {
            let told = |reading: &crate::alerts::book::Reading| match reading.subject.as_str() {
                "" => reading.summary.clone(),
                subject => format!("{subject}: {}", reading.summary),
            };
            (Some(readings.len() as u64), readings.iter().take(READINGS_MAX).map(told).collect())
        }
        Some(crate::alerts::book::Sight::New(values)) => {
            (Some(values.len() as u64), values.iter().take(READINGS_MAX).map(|value| value.value.clone()).collect())
        }
    };
    let notice = Notice::test(&rule, now);
    let sinks = rule.to.iter().filter_map(|to| settings.sinks.iter().find(|sink| sink.name == *to));
    let tried = sinks.map(|sink| {
        let notice = &notice;
        async move {
            let ask = async |order: ToSink| engine.supervisor.send(order).await.ok();
            let (arrived, why) = match send(&engine.alerts, sink, notice, TEST_PATIENCE, ask).await {
                Sent::Arrived => (true, None),
                Sent::Refused => (false, Some("the receiver refused it".to_owned())),
                Sent::NotYet(why) => (false, Some(why)),
            };
            TestedSink { sink: sink.name.to_string(), arrived, why }
        }
    });
    let sinks = futures_util::future::join_all(tried).await;
    Ok(AlertTest { rule: name.to_owned(), holds, readings, sinks })
}
