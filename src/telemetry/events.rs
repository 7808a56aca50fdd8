//! What can happen, as types: reporting one writes the log line and counts the metric, so the two cannot disagree.
//!
//! Text that may come from attackers (paths, panic messages, details) is a field of the log line, where it is escaped and
//! cut; it is never part of the message, and never a label.
use super::metrics::{Actor, FailureClass, FailureStage, JournalOperation, Metrics, Phase, SendOutcome};
use crate::events::time::{self, MICROS_PER_SECOND, Micros};
use crate::report::anomaly::{Direction, Measure};
use crate::sources::Reason;
use slog::{BorrowedKV, KV, Level, Logger, Record, Serializer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Of a throttled event this many lines are written in each [`WINDOW`]; the metric counts them all.
const LINES_PER_WINDOW: u32 = 20;
const WINDOW: Micros = 10 * MICROS_PER_SECOND;

/// Where events are reported. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub logger: Logger,
    pub metrics: Arc<Metrics>,
    throttles: Arc<Mutex<HashMap<&'static str, Throttle>>>,
}

impl Telemetry {
    pub fn new(logger: Logger, metrics: Arc<Metrics>) -> Telemetry {
        Telemetry { logger, metrics, throttles: Arc::default() }
    }

    /// Counts, and logs to nowhere: for commands that only print, and for tests of other parts.
    pub fn unlogged() -> Telemetry {
        Telemetry::new(Logger::root(slog::Discard, slog::o!()), Metrics::new(None))
    }

    /// Writes the log line and counts the metric.
    pub fn emit<E: Event>(&self, event: &E) {
        event.count(&self.metrics);
        let mut suppressed = 0;
        if E::THROTTLED {
            let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
            match throttles.entry(E::ACTION).or_default().admit(time::now()) {
                Some(before) => suppressed = before,
                None => return,
            }
        }
        let location = slog::RecordLocation { file: file!(), line: line!(), column: 0, function: "", module: module_path!() };
        let fixed = slog::RecordStatic { location: &location, tag: "", level: E::LEVEL };
        let fields = Reported { event, suppressed };
        self.logger.log(&Record::new(&fixed, &format_args!("{}", E::MESSAGE), BorrowedKV(&fields)));
    }
}

/// Something that happened. Implemented by the types of this module.
pub trait Event {
    /// `event.action` of the log line.
    const ACTION: &'static str;
    /// `event.dataset` of the log line.
    const DATASET: &'static str;
    const MESSAGE: &'static str;
    const LEVEL: Level;
    /// Attackers, or one broken file, can make many of these.
    const THROTTLED: bool;

    /// Gives the fields to the log line.
    fn fields(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result;

    fn count(&self, metrics: &Metrics);
}

struct Reported<'e, E> {
    event: &'e E,
    suppressed: u64,
}

impl<E: Event> KV for Reported<'_, E> {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        serializer.emit_str("event.dataset", E::DATASET)?;
        serializer.emit_str("event.action", E::ACTION)?;
        self.event.fields(record, serializer)?;
        if self.suppressed > 0 {
            serializer.emit_u64("lines_left_out_before", self.suppressed)?;
        }
        Ok(())
    }
}

/// Lets so many lines of a kind through in each window.
#[derive(Debug, Default)]
struct Throttle {
    window_started: Micros,
    told: u32,
    suppressed: u64,
}

impl Throttle {
    /// Whether to write a line now; if so, how many were left out since the last one.
    fn admit(&mut self, now: Micros) -> Option<u64> {
        // A clock that was set back starts a window, too.
        if !(0..WINDOW).contains(&now.saturating_sub(self.window_started)) {
            (self.window_started, self.told) = (now, 0);
        }
        if self.told == LINES_PER_WINDOW {
            self.suppressed += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// A value of a field.
trait Loggable {
    fn log(&self, key: slog::Key, serializer: &mut dyn Serializer) -> slog::Result;
}

macro_rules! loggable {
    ($($type:ty, |$value:ident, $key:ident, $serializer:ident| $body:expr;)*) => {$(
        impl Loggable for $type {
            fn log(&self, $key: slog::Key, $serializer: &mut dyn Serializer) -> slog::Result {
                let $value = self;
                $body
            }
        }
    )*};
}

loggable! {
    u64, |value, key, serializer| serializer.emit_u64(key, *value);
    u32, |value, key, serializer| serializer.emit_u32(key, *value);
    f64, |value, key, serializer| serializer.emit_f64(key, *value);
    Measure, |value, key, serializer| serializer.emit_str(key, value.name());
    Direction, |value, key, serializer| serializer.emit_str(key, value.name());
    bool, |value, key, serializer| serializer.emit_bool(key, *value);
    &str, |value, key, serializer| serializer.emit_str(key, value);
    Duration, |value, key, serializer| serializer.emit_f64(key, value.as_secs_f64());
    Reason, |value, key, serializer| serializer.emit_str(key, value.name());
    Actor, |value, key, serializer| serializer.emit_str(key, value.name());
    Phase, |value, key, serializer| serializer.emit_str(key, value.name());
    JournalOperation, |value, key, serializer| serializer.emit_str(key, value.name());
    SendOutcome, |value, key, serializer| serializer.emit_str(key, value.name());
    FailureStage, |value, key, serializer| serializer.emit_str(key, value.name());
    FailureClass, |value, key, serializer| serializer.emit_str(key, value.name());
}

macro_rules! throttled {
    (throttled) => {
        true
    };
    () => {
        false
    };
}

macro_rules! events {
    ($($(#[doc = $doc:literal])* $name:ident $(<$life:lifetime>)? $action:literal $dataset:literal $level:ident $($throttled:ident)?, $message:literal
        { $($field:ident: $type:ty),* $(,)? } |$event:pat_param, $metrics:pat_param| $count:expr;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name $(<$life>)? { $(pub $field: $type),* }

        impl $(<$life>)? Event for $name $(<$life>)? {
            const ACTION: &'static str = $action;
            const DATASET: &'static str = concat!("honeyguide.", $dataset);
            const MESSAGE: &'static str = $message;
            const LEVEL: Level = Level::$level;
            const THROTTLED: bool = throttled!($($throttled)?);

            fn fields(&self, _: &Record<'_>, _serializer: &mut dyn Serializer) -> slog::Result {
                $(Loggable::log(&self.$field, stringify!($field), _serializer)?;)*
                Ok(())
            }

            fn count(&self, metrics: &Metrics) {
                let ($event, $metrics) = (self, metrics);
                $count
            }
        }
    )*};
}

events! {
    /// The daemon serves.
    DaemonStarted<'e> "daemon_started" "daemon" Info, "ready" {
        version: &'e str, data_dir: &'e str, listen: &'e str, socket: &'e str, sources: u64, segments: u64, sequence: u64, startup: Duration,
    } |_, _| ();
    /// A signal, or a failure, ends the daemon.
    DaemonStopping<'e> "daemon_stopping" "daemon" Info, "stopping: what has been read is made durable first" { cause: &'e str } |_, _| ();
    DaemonStopped "daemon_stopped" "daemon" Info, "stopped" { drained: bool, duration: Duration } |_, _| ();
    /// SIGHUP, and the new configuration holds.
    SettingsReloaded<'e> "settings_reloaded" "config" Info, "configuration reloaded" { applied: u64, sources: u64, tables: &'e str, needs_restart: &'e str } |_, _| ();
    /// SIGHUP, and the new configuration is wrong: the old one stays.
    ReloadRefused<'e> "reload_refused" "config" Error, "configuration not reloaded, the old one stays in force" { problems: &'e str } |_, _| ();

    /// A batch of one source is durable.
    BatchCommitted<'e> "batch_committed" "journal" Debug, "batch committed" {
        source: &'e str, sequence: u64, events: u64, duplicates: u64, input_bytes: u64, latency: Duration,
    } |event, metrics| {
        metrics.committed(event.source, event.events, event.duplicates, event.input_bytes);
        metrics.observe_commit(event.latency);
    };
    /// Input went to quarantine.
    LinesRefused<'e> "lines_refused" "ingest" Warning throttled, "input refused and put into quarantine" {
        source: &'e str, path: &'e str, offset: u64, reason: Reason, count: u64, detail: &'e str,
    } |event, metrics| metrics.rejected(event.source, event.reason, event.count);
    /// An extractor panicked: the events are kept, without what these texts name.
    TextsUnread<'e> "texts_unread" "extract" Error throttled, "texts could not be looked through for indicators: this is a bug in honeyguide" {
        source: &'e str, texts: u64,
    } |event, metrics| metrics.failed(FailureStage::Extract, FailureClass::Permanent, event.texts);
    /// A file became shorter than what was read of it: what stood between may be lost.
    InputTruncated<'e> "input_truncated" "ingest" Warning throttled, "input file was truncated: reading it again from its beginning" {
        source: &'e str, path: &'e str, generation: u32, bytes_at_risk: u64,
    } |event, metrics| metrics.input_truncated(event.source);
    /// A file or directory cannot be read; it is tried again.
    InputUnreadable<'e> "input_unreadable" "ingest" Warning throttled, "input cannot be read: trying again" {
        source: &'e str, error: &'e str,
    } |_, _| ();
    /// A rotation was followed, a torn line joined, a front skipped.
    InputNoticed<'e> "input_noticed" "ingest" Info throttled, "input changed" { source: &'e str, notice: &'e str } |_, _| ();
    PhaseChanged "phase_changed" "ingest" Info, "phase changed" { phase: Phase, backlog_bytes: u64 } |event, metrics| metrics.set_phase(event.phase);

    /// A member of an event came with another type than any before.
    SchemaDrifted<'e> "schema_drift" "ingest" Warning throttled, "a field has a type it never had before" {
        format: &'e str, eventid: &'e str, sensor: &'e str, field: &'e str, known: &'e str, seen: &'e str,
    } |event, metrics| metrics.schema_drifted(event.format);
    /// The ledger did not take what was learnt of events; it is tried with the next batch that has such an event.
    SchemaNotWritten<'e> "schema_not_written" "ingest" Warning throttled, "what events look like could not be written to the ledger" {
        error: &'e str,
    } |_, _| ();

    SegmentSealed<'e> "segment_sealed" "journal" Info, "segment sealed" {
        segment: u64, events: u64, raw_bytes: u64, journal_bytes: u64, sidecar_bytes: u64, digest: &'e str, duration: Duration,
    } |_, metrics| metrics.segment_sealed();
    /// The chain's head, for whoever keeps logs elsewhere: the past cannot be rewritten unseen.
    HeadAnchored<'e> "head_anchored" "journal" Info, "journal head" { segment: u64, sequence: u64, digest: &'e str } |_, _| ();
    /// Retention removed evidence or answers.
    SegmentRemoved<'e> "segment_removed" "journal" Info, "segment removed by retention" {
        segment: u64, what: &'e str, rule: &'e str, bytes: u64,
    } |_, _| ();
    /// Evidence is in the archive, compared, before retention removes it.
    SegmentArchived<'e> "segment_archived" "archive" Info, "segment archived" {
        segment: u64, to: &'e str, files: u64, bytes: u64,
    } |_, metrics| metrics.segment_archived();
    /// Told once, until it works again; every attempt is counted.
    ArchiveFailing<'e> "archive_failing" "archive" Error, "cannot archive: nothing is removed until this works" {
        to: &'e str, error: &'e str,
    } |_, _| ();
    ArchiveRecovered<'e> "archive_recovered" "archive" Info, "archiving works again" { to: &'e str, failures: u64 } |_, _| ();
    /// Events of sensors that are past their age, in a segment that stays for others.
    EventsErased "events_erased" "journal" Info, "events erased by retention" { segment: u64, events: u64 } |_, _| ();
    JournalFault<'e> "journal_fault" "journal" Error throttled, "journal operation failed: nothing in doubt is acknowledged" {
        operation: JournalOperation, segment: u64, error: &'e str,
    } |event, metrics| metrics.journal_fault(event.operation);
    /// Bytes behind the last whole block were moved to quarantine at opening.
    TornTail "torn_tail" "journal" Warning, "incomplete block after an unclean stop: moved to quarantine" {
        segment: u64, offset: u64, bytes: u64,
    } |_, metrics| metrics.rejected("", Reason::TornTail, 1);
    /// A file of the journal is not what was written.
    CorruptionFound<'e> "corruption_found" "journal" Error throttled, "journal is damaged: run verify" {
        segment: u64, offset: u64, detail: &'e str,
    } |_, _| ();
    SidecarRebuilt<'e> "sidecar_rebuilt" "index" Warning, "sidecar rebuilt from the journal" { segment: u64, cause: &'e str, duration: Duration } |_, _| ();
    /// Nobody is told where addresses are; everything else goes on.
    GeoipRefused<'e> "geoip_refused" "geoip" Warning, "database of countries or autonomous systems not used" { error: &'e str } |_, _| ();
    StateRebuilt<'e> "state_rebuilt" "state" Warning, "state rebuilt from the journal" { cause: &'e str, duration: Duration } |_, _| ();

    /// A request to a sink's receiver arrived.
    SinkDelivered<'e> "sink_delivered" "delivery" Debug, "batch delivered" {
        sink: &'e str, batch: &'e str, attempt: u32, status: u32, outcome: SendOutcome, latency: Duration, items: u64, bytes: u64,
        correlation_id: &'e str,
    } |event, metrics| metrics.sink_attempted(event.sink, event.outcome, event.latency);
    /// A request to a sink's receiver did not arrive, or not all of it.
    SinkNotDelivered<'e> "sink_not_delivered" "delivery" Warning throttled, "batch not delivered" {
        sink: &'e str, batch: &'e str, attempt: u32, status: u32, outcome: SendOutcome, latency: Duration, items: u64, bytes: u64,
        correlation_id: &'e str, error: &'e str,
    } |event, metrics| {
        metrics.sink_attempted(event.sink, event.outcome, event.latency);
        metrics.failed(FailureStage::Send, match event.outcome {
            SendOutcome::Delivered | SendOutcome::Partial | SendOutcome::Retry | SendOutcome::TooLarge => FailureClass::Transient,
            SendOutcome::Refused => FailureClass::Permanent,
            SendOutcome::Unusable => FailureClass::Configuration,
        }, 1);
    };
    /// Something else went wrong on the way to a receiver.
    SinkFailed<'e> "sink_failed" "delivery" Warning throttled, "delivery failed before or behind the request" {
        sink: &'e str, stage: FailureStage, class: FailureClass, error: &'e str,
    } |event, metrics| metrics.failed(event.stage, event.class, 1);
    /// The program that scores chats had no say about some: the rules had.
    ModelFailed<'e> "model_failed" "delivery" Warning throttled, "chats were scored by the rules, not by the model" {
        sink: &'e str, error: &'e str,
    } |_, metrics| metrics.failed(FailureStage::Score, FailureClass::Transient, 1);
    /// Items their receiver refused for good are in quarantine.
    SinkRefused<'e> "sink_refused" "delivery" Warning throttled, "refused by the receiver and put into quarantine" {
        sink: &'e str, items: u64, first_sequence: u64, detail: &'e str,
    } |event, metrics| metrics.rejected("", Reason::Undeliverable, event.items);
    /// Retention, or damage, took events that a sink had not delivered.
    SinkLost<'e> "sink_lost" "delivery" Error throttled, "events are gone before they were delivered" {
        sink: &'e str, first_sequence: u64, events: u64, cause: &'e str,
    } |_, _| ();
    /// What a sink has comes from a journal that is gone: the data directory was wiped, or restored from a backup.
    SinkOfOtherJournal<'e> "sink_of_other_journal" "delivery" Warning, "a sink has events of another journal" { sink: &'e str, notice: &'e str } |_, _| ();
    SinkDegraded<'e> "sink_degraded" "delivery" Error throttled, "a sink delivers nothing" { sink: &'e str, reason: &'e str, lag_events: u64 } |_, _| ();
    SinkRecovered<'e> "sink_recovered" "delivery" Info throttled, "a sink delivers again" { sink: &'e str, lag_events: u64 } |_, _| ();
    /// An operator paused, resumed or sent back a sink.
    SinkOrdered<'e> "sink_ordered" "delivery" Info, "order for a sink carried out" { sink: &'e str, order: &'e str, sequence: u64 } |_, _| ();

    /// An enricher failed, or said that it is asked too often; told once until it answers again. Requests count where they are made.
    EnricherLeftAlone<'e> "enricher_left_alone" "enrich" Warning, "an enricher does not answer: it is left alone for a while" {
        enricher: &'e str, wait: Duration, error: &'e str,
    } |_, _| ();
    EnricherAnswers<'e> "enricher_answers" "enrich" Info, "an enricher answers again" { enricher: &'e str } |_, _| ();
    /// The state took neither an answer nor a quota: something may be asked once more.
    EnrichmentNotKept<'e> "enrichment_not_kept" "enrich" Warning throttled, "what an enricher answered could not be kept" { error: &'e str } |_, _| ();

    /// A sensor's day is not like those before. It stands in the ledger already, and is told once: no line is left out.
    AnomalyFound<'e> "anomaly" "anomalies" Warning, "a sensor is out of the ordinary" {
        sensor: &'e str, day: &'e str, measure: Measure, direction: Direction, value: u64, expected: f64, deviation: f64,
    } |event, metrics| metrics.anomaly(event.measure, event.direction);
    AnomaliesLooked "anomalies_looked" "anomalies" Debug, "looked for anomalies" { told: u64, duration: Duration } |_, _| ();
    AnomaliesUnknown<'e> "anomalies_unknown" "anomalies" Warning throttled, "anomalies could not be looked for: next time in an hour" {
        error: &'e str,
    } |_, _| ();

    /// A rule of alerts tells that something began. It stands in the ledger, and is on its way to the rule's sinks.
    AlertFired<'e> "alert_fired" "alerts" Warning, "an alert began" {
        alert: &'e str, when: &'e str, subject: &'e str, summary: &'e str, number: u64,
    } |event, metrics| metrics.alert(event.alert, "firing");
    AlertClosed<'e> "alert_closed" "alerts" Info, "an alert is over" {
        alert: &'e str, subject: &'e str, number: u64, duration: Duration, state: &'e str,
    } |event, metrics| metrics.alert(event.alert, "recovered");
    /// Of a rule that cannot be looked at nothing changes.
    AlertUnseen<'e> "alert_unseen" "alerts" Warning throttled, "a rule of alerts could not be looked at: trying again" {
        alert: &'e str, error: &'e str,
    } |_, _| ();
    /// Ledger or state did not take it: it is told all the same, and may be told again behind a crash.
    AlertNotKept<'e> "alert_not_kept" "alerts" Error throttled, "alerts could not be written down: trying again" { error: &'e str } |_, _| ();
    /// A notice does not reach a sink yet; it is sent until it does.
    AlertWaits<'e> "alert_waits" "alerts" Warning throttled, "an alert did not reach a sink yet: trying again" {
        alert: &'e str, sink: &'e str, number: u64, reason: &'e str,
    } |_, _| ();
    /// The sink is configured no more, or there are too many.
    AlertGivenUp<'e> "alert_given_up" "alerts" Error throttled, "an alert will not reach a sink" {
        alert: &'e str, sink: &'e str, number: u64,
    } |_, _| ();
    ReceiverListening<'e> "receiver_listening" "push" Info, "a receiver listens" { receiver: &'e str, listen: &'e str } |_, _| ();
    /// A reload found keys or phrases that cannot be used.
    ReceiverKeptFiles<'e> "receiver_kept_files" "push" Error, "files of a receiver cannot be used: what it had holds" {
        receiver: &'e str, error: &'e str,
    } |_, _| ();
    /// The service that replies to messages had no answer: the table of phrases had.
    ReplyHookFailed<'e> "reply_hook_failed" "push" Warning throttled, "a message was replied to by the table, not by the hook" {
        receiver: &'e str, error: &'e str,
    } |_, _| ();

    DiskLow "disk_low" "journal" Warning throttled, "disk nearly full: reading pauses until there is room" {
        free_bytes: u64, min_free_bytes: u64,
    } |_, metrics| metrics.set_intake_paused(true);
    DiskRecovered "disk_recovered" "journal" Info, "disk has room again: reading goes on" {
        free_bytes: u64, paused: Duration,
    } |_, metrics| metrics.set_intake_paused(false);
    /// The quarantine reached its limit.
    QuarantineRotated "quarantine_rotated" "quarantine" Warning throttled, "quarantine is full: its oldest part was removed" {
        removed_bytes: u64, removed_records: u64, kept_bytes: u64,
    } |event, metrics| {
        metrics.quarantine_removed(event.removed_bytes);
        metrics.set_quarantine_bytes(event.kept_bytes);
    };

    ActorRestarted<'e> "actor_restarted" "supervision" Error throttled, "a part of the daemon failed and is restarted" {
        actor: Actor, name: &'e str, cause: &'e str, restarts_in_window: u32, delay: Duration,
    } |event, metrics| metrics.actor_restarted(event.actor);
    /// The process is about to end with exit code 70.
    RestartBudgetSpent<'e> "restart_budget_spent" "supervision" Critical, "a part of the daemon keeps failing: giving up" {
        actor: Actor, name: &'e str, cause: &'e str, restarts_in_window: u32,
    } |_, _| ();
    ActorStalled<'e> "actor_stalled" "supervision" Error throttled, "a part of the daemon gives no sign of life" {
        actor: Actor, name: &'e str, silent: Duration,
    } |_, _| ();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_cut_and_the_rest_counted() {
        let mut throttle = Throttle::default();
        let start = 1_000 * MICROS_PER_SECOND;
        let told = (0..1000).filter(|i| throttle.admit(start + i) == Some(0)).count();
        assert_eq!(told, LINES_PER_WINDOW as usize);
        assert_eq!(throttle.admit(start + WINDOW - 1), None);
        assert_eq!(throttle.admit(start + WINDOW), Some(1000 - told as u64 + 1));
        assert_eq!(throttle.admit(start + WINDOW), Some(0));
        assert_eq!(throttle.admit(start - WINDOW), Some(0), "a clock set back");
    }

    #[test]
    fn an_event_counts_even_when_its_line_is_left_out() {
        let telemetry = Telemetry::unlogged();
        for _ in 0..100 {
            telemetry.emit(&LinesRefused {
                source: "x",
                path: "/x",
                offset: 0,
                reason: Reason::TooDeep,
                count: 2,
                detail: "nested too deep",
            });
        }
        telemetry.emit(&DiskLow { free_bytes: 1, min_free_bytes: 2 });
        let snapshot = telemetry.metrics.snapshot();
        assert_eq!(snapshot.rejected["too_deep"], 200);
        assert!(snapshot.intake_paused);
        telemetry.emit(&DiskRecovered { free_bytes: 3, paused: Duration::from_secs(1) });
        assert!(!telemetry.metrics.snapshot().intake_paused);
    }
}
