//! Figures about the daemon, for Prometheus and, from the same registry, as JSON.
//!
//! A label's value comes from a closed enum or from a source's configured name ([`SourceName`]); there is no way to put in
//! a string that was in somebody's log.
use crate::config::SourceName;
use crate::events::Field;
use crate::events::time::{self, MICROS_PER_SECOND};
use crate::os::process::ProcessStats;
use crate::report::anomaly::{Direction, Measure};
use crate::sinks::delivery::{SinkSnapshot, SinkState};
use crate::sources::Reason;
use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

macro_rules! labels {
    ($($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident $text:literal),* $(,)? })*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }
    )*};
}

labels! {
    /// The kinds of actors.
    Actor { Supervisor "supervisor", Ingest "ingest", Extraction "extraction", Journal "journal", Exporter "exporter", Metrics "metrics", Anomalies "anomalies", Alerts "alerts", Push "push" }
    /// Places where work waits.
    Queue {
        /// Bytes read and not yet durable, against `limits.in_flight_bytes`.
        InFlight "in_flight",
        /// Chunks waiting to be decoded.
        Extraction "extraction",
        /// Chunks waiting to be committed.
        Commit "commit",
        /// Segments waiting to be sealed.
        Seal "seal",
    }
    /// Whether a backlog is being worked off, or input is taken as it comes.
    Phase { Bulk "bulk", Live "live" }
    /// What the journal was doing when it failed.
    JournalOperation { Write "write", Sync "sync", Read "read", Seal "seal", Retention "retention" }
    /// What became of a request to a sink.
    SendOutcome {
        Delivered "delivered",
        /// Some of its items were refused, or are to be sent again.
        Partial "partial",
        Retry "retry",
        Refused "refused",
        TooLarge "too_large",
        /// The sink cannot work as it is configured.
        Unusable "unusable",
    }
    /// What became of a request to an enricher.
    EnrichmentOutcome {
        /// Also when it knows nothing.
        Answered "answered",
        /// It says that it is asked too often.
        RateLimited "rate_limited",
        Failed "failed",
        /// What it answered is not what it should.
        Unusable "unusable",
    }
    /// Where something failed on its way from a text to a receiver.
    FailureStage { Extract "extract", Score "score", Read "read", Encode "encode", Send "send", Quarantine "quarantine", Cursor "cursor" }
    /// What kind of failure it was.
    FailureClass {
        /// Trying again helps.
        Transient "transient",
        /// Nothing helps: these items will not arrive.
        Permanent "permanent",
        /// Somebody has to change the configuration, here or there.
        Configuration "configuration",
    }
}

/// All figures. Counting is lock-free; one per process (tests make their own).
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    data_dir: Option<PathBuf>,
    by_source: RwLock<HashMap<String, Arc<OfSource>>>,
    other: Arc<OfSource>,
    vecs: SourceVecs,
    rejected: IntCounterVec,
    schema_drift: IntCounterVec,
    anomalies: IntCounterVec,
    alerts: IntCounterVec,
    alerts_open: IntGaugeVec,
    schemas: IntGauge,
    schemas_left_out: IntGauge,
    commit_seconds: Histogram,
    chunks_in_flight: IntGauge,
    queue_saturation: GaugeVec,
    phase: IntGaugeVec,
    journal_bytes: IntGauge,
    sidecar_bytes: IntGauge,
    journal_segments: IntGauge,
    journal_sequence: IntGauge,
    segments_sealed: IntCounter,
    journal_faults: IntCounterVec,
    segments_archived: IntCounter,
    archive_failures: IntCounter,
    sidecar_probes: IntCounter,
    sidecar_hits: IntCounter,
    actor_restarts: IntCounterVec,
    quarantine_bytes: IntGauge,
    quarantine_removed_bytes: IntCounter,
    intake_paused: IntGauge,
    log_records_lost: IntCounter,
    detections: IntCounterVec,
    failures: IntCounterVec,
    sinks: SinkVecs,
    by_sink: RwLock<HashMap<String, Arc<OfSink>>>,
    enrichment_requests: IntCounterVec,
    enrichment_hits: IntCounterVec,
    enricher_cooling: IntGaugeVec,
    peer_reachable: IntGaugeVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    pub(crate) connections: IntGaugeVec,
    pub(crate) connections_refused: IntCounterVec,
    pub(crate) credentials: IntCounterVec,
    pub(crate) issuer_fetches: IntGaugeVec,
    pub(crate) live_clients: IntGauge,
    pub(crate) live_refused: IntGauge,
    pub(crate) live_dropped: IntGauge,
    process: Process,
}

/// Counters of one source.
#[derive(Debug)]
struct OfSource {
    events: IntCounter,
    duplicates: IntCounter,
    bytes: IntCounter,
    parse_failures: IntCounter,
    truncations: IntCounter,
    /// Messages by what became of them.
    stored: IntCounter,
    repeated: IntCounter,
    refused: IntCounter,
}

#[derive(Debug)]
struct SourceVecs {
    events: IntCounterVec,
    duplicates: IntCounterVec,
    bytes: IntCounterVec,
    parse_failures: IntCounterVec,
    truncations: IntCounterVec,
    messages: IntCounterVec,
}

/// Figures of one sink.
#[derive(Debug)]
struct OfSink {
    attempts: HashMap<SendOutcome, IntCounter>,
    seconds: Histogram,
    delivered: IntGauge,
    dead_letters: IntGauge,
    lost: IntGauge,
    lag: IntGauge,
    lag_seconds: Gauge,
    degraded: IntGauge,
    paused: IntGauge,
    in_flight: IntGauge,
    success: Gauge,
}

#[derive(Debug)]
struct SinkVecs {
    attempts: IntCounterVec,
    seconds: HistogramVec,
    delivered: IntGaugeVec,
    dead_letters: IntGaugeVec,
    lost: IntGaugeVec,
    lag: IntGaugeVec,
    lag_seconds: GaugeVec,
    degraded: IntGaugeVec,
    paused: IntGaugeVec,
    in_flight: IntGaugeVec,
    success: GaugeVec,
}

#[derive(Debug)]
struct Process {
    /// Serialises updates: a counter is brought up to the system's figure by its difference.
    update: Mutex<()>,
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    anonymous_bytes: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    threads: IntGauge,
    disk_free_bytes: IntGauge,
    uptime_seconds: Gauge,
}

/// Commit latencies, seconds: an fdatasync on an SSD takes 0.2 to 5 ms, on a tired disk half a second.
const COMMIT_SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Latencies of requests, seconds: from a file next door to a receiver at the end of its time limit.
const SEND_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Latencies of answers, seconds: a sign of life takes a tenth of a millisecond, a year's report a second.
const REQUEST_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.015, 0.05, 0.25, 1.0, 5.0, 30.0];

struct Builder {
    registry: Registry,
}

impl Builder {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels are literals, a test makes them all");
        self.registry.register(Box::new(collector.clone())).expect("each name is registered once, a test does so");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn counters2(&self, name: &str, help: &str, labels: [&str; 2]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &labels))
    }

    fn gauges(&self, name: &str, help: &str) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), &["sink"]))
    }
}

impl Metrics {
    /// `data_dir`: whose file system's free space is told.
    pub fn new(data_dir: Option<&Path>) -> Arc<Metrics> {
        let make = Builder { registry: Registry::new_custom(Some("honeyguide".into()), None).expect("the prefix is a valid name") };
        let vecs = SourceVecs {
            events: make.counters("events_total", "Events stored in the journal.", "source"),
            duplicates: make.counters("duplicates_total", "Events not stored because they already were.", "source"),
            bytes: make.counters("bytes_total", "Input bytes journalled, decompressed.", "source"),
            parse_failures: make.counters("parse_failures_total", "Lines the decoder could not read.", "source"),
            truncations: make.counters("input_truncations_total", "Input files that became shorter.", "source"),
            messages: make.counters2(
                "messages_total",
                "Messages (lines of a source) by what became of them: stored, duplicate, refused.",
                ["source", "outcome"],
            ),
        };
        let build = make.add(IntGaugeVec::new(Opts::new("build_info", "Always 1; the version is the label."), &["version"]));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let started_at = make.add(Gauge::new("start_time_seconds", "When the process started, seconds since 1970."));
        started_at.set(time::now() as f64 / MICROS_PER_SECOND as f64);
        let histogram = HistogramOpts::new("commit_seconds", "Time from a batch's arrival at the journal until it is durable.");
        let metrics = Metrics {
            started: Instant::now(),
            data_dir: data_dir.map(Into::into),
            by_source: RwLock::default(),
            other: Arc::new(vecs.of("other")),
            rejected: make.counters("rejected_total", "Stretches of input put into quarantine.", "reason"),
            schema_drift: make.counters("schema_drift_total", "Fields of events that came with a type they never had before.", "format"),
            anomalies: make.counters2(
                "anomalies_total",
                "Days of sensors that are not like those before, as they were told.",
                ["measure", "direction"],
            ),
            alerts: make.counters2("alerts_total", "Alerts that began, and that were over, by rule.", ["rule", "state"]),
            alerts_open: make.add(IntGaugeVec::new(Opts::new("alerts_open", "Alerts that are open, by rule."), &["rule"])),
            schemas: make.gauge("schemas", "Kinds of events (by format, event id and sensor) whose fields are known."),
            schemas_left_out: make.gauge("schemas_left_out", "Kinds of events and fields that no schema holds because there are too many."),
            commit_seconds: make.add(Histogram::with_opts(histogram.buckets(COMMIT_SECONDS.to_vec()))),
            chunks_in_flight: make.gauge("chunks_in_flight", "Chunks read and not yet durable."),
            queue_saturation: make
                .add(GaugeVec::new(Opts::new("queue_saturation_ratio", "How full a queue is: at 1, what feeds it waits."), &["queue"])),
            phase: make.add(IntGaugeVec::new(
                Opts::new("phase", "1 for what the daemon is doing: working off a backlog (bulk) or following its input (live)."),
                &["phase"],
            )),
            journal_bytes: make.gauge("journal_bytes", "Size of the journal's segments."),
            sidecar_bytes: make.gauge("sidecar_bytes", "Size of the sidecars."),
            journal_segments: make.gauge("journal_segments", "Number of segments."),
            journal_sequence: make.gauge("journal_sequence", "Sequence number of the newest durable event."),
            segments_sealed: make.counter("segments_sealed_total", "Segments sealed."),
            segments_archived: make.counter("segments_archived_total", "Segments archived before their removal."),
            archive_failures: make.counter("archive_failures_total", "Attempts to archive that failed; nothing was removed."),
            journal_faults: make.counters("journal_faults_total", "Failed operations of the journal.", "operation"),
            sidecar_probes: make.counter("sidecar_probes_total", "Filters of sealed segments asked whether they hold an event."),
            sidecar_hits: make.counter("sidecar_hits_total", "Probes that had to read exact ids."),
            actor_restarts: make.counters("actor_restarts_total", "Restarts after a failure.", "actor"),
            quarantine_bytes: make.gauge("quarantine_bytes", "Size of the quarantine."),
            quarantine_removed_bytes: make.counter("quarantine_removed_bytes_total", "Removed from the quarantine to keep its limit."),
            intake_paused: make.gauge("intake_paused", "1 while nothing is read because the disk is nearly full or the journal failed."),
            log_records_lost: make.counter("log_records_lost_total", "Log records dropped or not written."),
            detections: make.counters("detections_total", "Indicators found in events as they were stored.", "kind"),
            failures: make.counters2("failures_total", "Failures in extraction and on the way to receivers.", ["stage", "class"]),
            sinks: SinkVecs {
                attempts: make.counters2("outgoing_attempts_total", "Requests to receivers.", ["sink", "outcome"]),
                seconds: make.add(HistogramVec::new(
                    HistogramOpts::new("outgoing_attempt_seconds", "Time until a receiver answered, or did not.")
                        .buckets(SEND_SECONDS.to_vec()),
                    &["sink"],
                )),
                delivered: make.gauges("sink_delivered", "Items that arrived, since the start."),
                dead_letters: make.gauges("sink_dead_letters", "Items refused for good and put into quarantine, since the start."),
                lost: make.gauges("sink_lost", "Events that were gone before they were delivered, since the start."),
                lag: make.gauges("sink_lag_events", "Events between the sink's place and the end of the journal."),
                lag_seconds: make.add(GaugeVec::new(
                    Opts::new("sink_lag_seconds", "How long the oldest item in memory has waited since it was received."),
                    &["sink"],
                )),
                degraded: make.gauges("sink_degraded", "1 while something waits and nothing gets through."),
                paused: make.gauges("sink_paused", "1 while an operator keeps the sink from delivering."),
                in_flight: make.gauges("sink_in_flight", "Requests under way."),
                success: make.add(GaugeVec::new(
                    Opts::new(
                        "sink_success_ratio",
                        "Which part of the requests of the last hour succeeded; not a number when there was none.",
                    ),
                    &["sink"],
                )),
            },
            by_sink: RwLock::default(),
            enrichment_requests: make.counters2("enrichment_requests_total", "Requests to enrichers.", ["enricher", "outcome"]),
            enrichment_hits: make.counters("enrichment_cache_hits_total", "Questions to enrichers that a kept answer settled.", "enricher"),
            peer_reachable: make.add(IntGaugeVec::new(
                Opts::new(
                    "peer_reachable",
                    "1 if a peer of the configuration answered when it was last asked (`honeyguide peers`), 0 if not.",
                ),
                &["kind", "name"],
            )),
            enricher_cooling: make.add(IntGaugeVec::new(
                Opts::new("enricher_cooling", "1 while an enricher is left alone because it failed or was asked too often."),
                &["enricher"],
            )),
            requests: make.add(IntCounterVec::new(
                Opts::new("http_requests_total", "Requests answered, by route, method and class of status."),
                &["route", "method", "status"],
            )),
            request_seconds: make.add(HistogramVec::new(
                HistogramOpts::new("http_request_seconds", "Time until an answer began.").buckets(REQUEST_SECONDS.to_vec()),
                &["route"],
            )),
            connections: make.add(IntGaugeVec::new(Opts::new("http_connections", "Connections that are open."), &["listener"])),
            connections_refused: make.counters(
                "http_connections_refused_total",
                "Connections hung up on because their address had as many as one may have.",
                "listener",
            ),
            credentials: make.counters(
                "credentials_total",
                "Credentials that were shown, by what came of it: accepted, or why they were refused.",
                "outcome",
            ),
            issuer_fetches: make.add(IntGaugeVec::new(
                Opts::new("issuer_fetches", "Fetches of an issuer's keys since it was configured, by outcome: ok, failed."),
                &["issuer", "outcome"],
            )),
            live_clients: make.gauge("live_clients", "Clients that watch the live stream."),
            live_refused: make.gauge("live_refused", "Clients of the live stream refused because there were too many, since the start."),
            live_dropped: make.gauge("live_dropped", "Events dropped because clients of the live stream were too slow, since the start."),
            process: Process {
                update: Mutex::new(()),
                cpu_seconds: make.add(Counter::new("process_cpu_seconds_total", "Processor time used, user and system.")),
                resident_bytes: make.gauge("process_resident_memory_bytes", "Resident memory, mapped sidecars included."),
                anonymous_bytes: make.gauge("process_anonymous_memory_bytes", "Resident memory that is not backed by files."),
                open_fds: make.gauge("process_open_fds", "Open file descriptors."),
                max_fds: make.gauge("process_max_fds", "Most file descriptors that may be open."),
                threads: make.gauge("process_threads", "Threads."),
                disk_free_bytes: make.gauge("disk_free_bytes", "Free space of the file system with the data directory."),
                uptime_seconds: make.add(Gauge::new("uptime_seconds", "Time since the start.")),
            },
            vecs,
            registry: make.registry,
        };
        // A figure that is there from the start can be alerted on before the first case.
        Reason::ALL.iter().for_each(|reason| drop(metrics.rejected.with_label_values(&[reason.name()])));
        let _ = metrics.credentials.with_label_values(&["accepted"]);
        Actor::ALL.iter().for_each(|actor| drop(metrics.actor_restarts.with_label_values(&[actor.name()])));
        Queue::ALL.iter().for_each(|queue| drop(metrics.queue_saturation.with_label_values(&[queue.name()])));
        for (stage, class) in FailureStage::ALL.iter().flat_map(|stage| FailureClass::ALL.iter().map(move |class| (stage, class))) {
            let _ = metrics.failures.with_label_values(&[stage.name(), class.name()]);
        }
        JournalOperation::ALL.iter().for_each(|operation| drop(metrics.journal_faults.with_label_values(&[operation.name()])));
        metrics.set_phase(Phase::Bulk);
        Arc::new(metrics)
    }

    /// Makes the source's name a label. What comes from a source never registered counts under `other`.
    pub fn register_source(&self, name: &SourceName) {
        let mut by_source = self.by_source.write().unwrap_or_else(PoisonError::into_inner);
        by_source.entry(name.as_str().into()).or_insert_with(|| Arc::new(self.vecs.of(name.as_str())));
    }

    /// Makes the sink's name a label.
    pub fn register_sink(&self, name: &SourceName) {
        let mut by_sink = self.by_sink.write().unwrap_or_else(PoisonError::into_inner);
        by_sink.entry(name.as_str().into()).or_insert_with(|| Arc::new(self.sinks.of(name.as_str())));
    }

    /// Forgets the figures of a sink that is configured no more.
    pub fn remove_sink(&self, name: &SourceName) {
        let mut by_sink = self.by_sink.write().unwrap_or_else(PoisonError::into_inner);
        if by_sink.remove(name.as_str()).is_some() {
            self.sinks.remove(name.as_str());
        }
    }

    fn sink(&self, name: &str) -> Option<Arc<OfSink>> {
        self.by_sink.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A request to a sink came to its end.
    pub fn sink_attempted(&self, sink: &str, outcome: SendOutcome, latency: Duration) {
        if let Some(sink) = self.sink(sink) {
            sink.attempts[&outcome].inc();
            sink.seconds.observe(latency.as_secs_f64());
        }
    }

    /// What a sink is doing.
    pub fn set_sink(&self, snapshot: &SinkSnapshot, now: i64) {
        let Some(sink) = self.sink(&snapshot.name) else { return };
        sink.delivered.set(signed(snapshot.delivered));
        sink.dead_letters.set(signed(snapshot.dead_letters));
        sink.lost.set(signed(snapshot.lost));
        sink.lag.set(signed(snapshot.lag_events));
        let waited = snapshot.oldest_waiting.map_or(0, |since| now.saturating_sub(since).max(0));
        sink.lag_seconds.set(waited as f64 / MICROS_PER_SECOND as f64);
        sink.degraded.set(i64::from(snapshot.state == SinkState::Degraded));
        sink.paused.set(i64::from(snapshot.state == SinkState::Paused));
        sink.in_flight.set(signed(snapshot.in_flight));
        sink.success.set(snapshot.success().unwrap_or(f64::NAN));
    }

    /// Makes the enricher's name a label; its figures are there before the first request.
    pub fn register_enricher(&self, name: &SourceName) {
        EnrichmentOutcome::ALL
            .iter()
            .for_each(|outcome| drop(self.enrichment_requests.with_label_values(&[name.as_str(), outcome.name()])));
        let _ = (self.enrichment_hits.with_label_values(&[name.as_str()]), self.enricher_cooling.with_label_values(&[name.as_str()]));
    }

    /// A request to an enricher came to its end; the name is one that was registered.
    pub fn enrichment_requested(&self, enricher: &str, outcome: EnrichmentOutcome) {
        self.enrichment_requests.with_label_values(&[enricher, outcome.name()]).inc();
    }

    /// A request was answered, or its answer began. `route`: the pattern; `None`: there is no such route.
    pub fn requested(&self, method: &'static str, route: Option<&str>, status: u16, latency: Duration) {
        let route = route.unwrap_or("none");
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status / 100).clamp(1, 5) - 1];
        self.requests.with_label_values(&[route, method, class]).inc();
        self.request_seconds.with_label_values(&[route]).observe(latency.as_secs_f64());
    }

    pub fn enrichment_hit(&self, enricher: &str) {
        self.enrichment_hits.with_label_values(&[enricher]).inc();
    }

    /// Who answered, by kind and name, of all that were asked; who is named no more is forgotten.
    pub fn peers<'p>(&self, peers: impl Iterator<Item = (&'p str, &'p str, bool)>) {
        self.peer_reachable.reset();
        peers.for_each(|(kind, name, is_reachable)| self.peer_reachable.with_label_values(&[kind, name]).set(i64::from(is_reachable)));
    }

    pub fn set_enricher_cooling(&self, enricher: &str, is_cooling: bool) {
        self.enricher_cooling.with_label_values(&[enricher]).set(i64::from(is_cooling));
    }

    /// Something on the way to a receiver failed, so many times.
    pub fn failed(&self, stage: FailureStage, class: FailureClass, times: u64) {
        self.failures.with_label_values(&[stage.name(), class.name()]).inc_by(times);
    }

    /// Indicators of this kind were found in events that are stored now.
    pub fn detected(&self, kind: Field, count: u64) {
        self.detections.with_label_values(&[kind.name()]).inc_by(count);
    }

    fn source(&self, name: &str) -> Arc<OfSource> {
        let by_source = self.by_source.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_source.get(name).unwrap_or(&self.other))
    }

    /// A batch is durable.
    pub fn committed(&self, source: &str, events: u64, duplicates: u64, input_bytes: u64) {
        let source = self.source(source);
        source.events.inc_by(events);
        source.duplicates.inc_by(duplicates);
        source.bytes.inc_by(input_bytes);
        source.stored.inc_by(events);
        source.repeated.inc_by(duplicates);
    }

    pub fn observe_commit(&self, latency: Duration) {
        self.commit_seconds.observe(latency.as_secs_f64());
    }

    pub fn segment_archived(&self) {
        self.segments_archived.inc();
    }

    pub fn archive_failed(&self) {
        self.archive_failures.inc();
    }

    /// The name of a format is the operator's.
    pub fn schema_drifted(&self, format: &str) {
        self.schema_drift.with_label_values(&[format]).inc();
    }

    /// The name of a rule is the operator's.
    pub fn alert(&self, rule: &str, state: &str) {
        self.alerts.with_label_values(&[rule, state]).inc();
    }

    /// How many alerts of the rule are open.
    pub fn set_alerts_open(&self, rule: &SourceName, open: u64) {
        self.alerts_open.with_label_values(&[rule.as_str()]).set(signed(open));
    }

    /// Forgets a rule that is configured no more.
    pub fn remove_alert(&self, rule: &SourceName) {
        // It may never have been looked at.
        let _ = self.alerts_open.remove_label_values(&[rule.as_str()]);
    }

    pub fn anomaly(&self, measure: Measure, direction: Direction) {
        self.anomalies.with_label_values(&[measure.name(), direction.name()]).inc();
    }

    pub fn schemas(&self, count: u64, left_out: u64) {
        self.schemas.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.schemas_left_out.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    }

    pub fn rejected(&self, source: &str, reason: Reason, count: u64) {
        self.rejected.with_label_values(&[reason.name()]).inc_by(count);
        if !matches!(reason, Reason::Undeliverable | Reason::TornTail) {
            self.source(source).refused.inc_by(count);
        }
        if matches!(reason, Reason::NotAnObject | Reason::TooDeep | Reason::DecoderPanic | Reason::Partial) {
            self.source(source).parse_failures.inc_by(count);
        }
    }

    pub fn input_truncated(&self, source: &str) {
        self.source(source).truncations.inc();
    }

    pub fn set_chunks_in_flight(&self, chunks: u64) {
        self.chunks_in_flight.set(signed(chunks));
    }

    /// Figures of a queue; a capacity of 0 counts as full.
    pub fn set_queue(&self, queue: Queue, used: u64, capacity: u64) {
        let ratio = if capacity == 0 { 1.0 } else { used as f64 / capacity as f64 };
        self.queue_saturation.with_label_values(&[queue.name()]).set(ratio);
    }

    pub fn set_phase(&self, phase: Phase) {
        for &other in Phase::ALL {
            self.phase.with_label_values(&[other.name()]).set(i64::from(other == phase));
        }
    }

    pub fn set_journal(&self, segments: u64, journal_bytes: u64, sidecar_bytes: u64, last_sequence: u64) {
        self.journal_segments.set(signed(segments));
        self.journal_bytes.set(signed(journal_bytes));
        self.sidecar_bytes.set(signed(sidecar_bytes));
        self.journal_sequence.set(signed(last_sequence));
    }

    pub fn segment_sealed(&self) {
        self.segments_sealed.inc();
    }

    pub fn journal_fault(&self, operation: JournalOperation) {
        self.journal_faults.with_label_values(&[operation.name()]).inc();
    }

    pub fn sidecars_probed(&self, probes: u64, hits: u64) {
        self.sidecar_probes.inc_by(probes);
        self.sidecar_hits.inc_by(hits);
    }

    pub fn actor_restarted(&self, actor: Actor) {
        self.actor_restarts.with_label_values(&[actor.name()]).inc();
    }

    pub fn set_quarantine_bytes(&self, bytes: u64) {
        self.quarantine_bytes.set(signed(bytes));
    }

    pub fn quarantine_removed(&self, bytes: u64) {
        self.quarantine_removed_bytes.inc_by(bytes);
    }

    pub fn set_intake_paused(&self, paused: bool) {
        self.intake_paused.set(i64::from(paused));
    }

    pub fn log_record_lost(&self) {
        self.log_records_lost.inc();
    }

    /// Asks the system about the process and the disk.
    fn update_process(&self) {
        let process = &self.process;
        let _one_at_a_time = process.update.lock().unwrap_or_else(PoisonError::into_inner);
        process.uptime_seconds.set(self.started.elapsed().as_secs_f64());
        // What cannot be read keeps its last value: /proc may be hidden.
        if let Ok(stats) = ProcessStats::read() {
            process.cpu_seconds.inc_by((stats.cpu_seconds - process.cpu_seconds.get()).max(0.0));
            process.resident_bytes.set(signed(stats.resident_bytes));
            process.anonymous_bytes.set(signed(stats.anonymous_bytes));
            process.open_fds.set(signed(stats.open_fds));
            process.max_fds.set(signed(stats.max_fds));
            process.threads.set(signed(stats.threads));
        }
        if let Some(stat) = self.data_dir.as_deref().and_then(|dir| nix::sys::statvfs::statvfs(dir).ok()) {
            process.disk_free_bytes.set(signed(stat.blocks_available() * stat.fragment_size()));
        }
    }

    /// A credential was shown; the outcome is "accepted" or a code of [`crate::access::Denied`].
    pub fn credential(&self, outcome: &'static str) {
        self.credentials.with_label_values(&[outcome]).inc();
    }

    /// Fetches of an issuer's keys; its name is a configured one.
    pub fn set_issuer(&self, issuer: &str, fetches: u64, failed: u64) {
        self.issuer_fetches.with_label_values(&[issuer, "ok"]).set(signed(fetches.saturating_sub(failed)));
        self.issuer_fetches.with_label_values(&[issuer, "failed"]).set(signed(failed));
    }

    pub fn set_live(&self, clients: u64, refused: u64, dropped: u64) {
        self.live_clients.set(signed(clients));
        self.live_refused.set(signed(refused));
        self.live_dropped.set(signed(dropped));
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        self.update_process();
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).expect("what the registry gathers can be encoded")
    }

    /// Everything as one structure.
    pub fn snapshot(&self) -> Snapshot {
        self.update_process();
        let by_source = self.by_source.read().unwrap_or_else(PoisonError::into_inner);
        let mut sources: BTreeMap<String, SourceSnapshot> =
            by_source.iter().map(|(name, source)| (name.clone(), SourceSnapshot::of(source))).collect();
        drop(by_source);
        let other = SourceSnapshot::of(&self.other);
        if other != SourceSnapshot::default() {
            sources.insert("other".into(), other);
        }
        let probes = self.sidecar_probes.get();
        let phase = Phase::ALL.iter().find(|phase| self.phase.with_label_values(&[phase.name()]).get() == 1);
        let process = &self.process;
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: process.uptime_seconds.get(),
            phase: phase.map_or("unknown", |phase| phase.name()),
            sources,
            rejected: Reason::ALL.iter().map(|reason| (reason.name(), self.rejected.with_label_values(&[reason.name()]).get())).collect(),
            commits: CommitSnapshot::of(&self.commit_seconds),
            chunks_in_flight: self.chunks_in_flight.get(),
            queue_saturation: Queue::ALL
                .iter()
                .map(|queue| (queue.name(), self.queue_saturation.with_label_values(&[queue.name()]).get()))
                .collect(),
            journal: JournalSnapshot {
                segments: self.journal_segments.get(),
                journal_bytes: self.journal_bytes.get(),
                sidecar_bytes: self.sidecar_bytes.get(),
                sequence: self.journal_sequence.get(),
                segments_sealed: self.segments_sealed.get(),
                faults: JournalOperation::ALL
                    .iter()
                    .map(|operation| (operation.name(), self.journal_faults.with_label_values(&[operation.name()]).get()))
                    .collect(),
                sidecar_probes: probes,
                sidecar_hits: self.sidecar_hits.get(),
                sidecar_hit_ratio: if probes == 0 { 0.0 } else { self.sidecar_hits.get() as f64 / probes as f64 },
            },
            actor_restarts: Actor::ALL
                .iter()
                .map(|actor| (actor.name(), self.actor_restarts.with_label_values(&[actor.name()]).get()))
                .collect(),
            quarantine_bytes: self.quarantine_bytes.get(),
            quarantine_removed_bytes: self.quarantine_removed_bytes.get(),
            intake_paused: self.intake_paused.get() == 1,
            log_records_lost: self.log_records_lost.get(),
            process: ProcessSnapshot {
                cpu_seconds: process.cpu_seconds.get(),
                resident_bytes: process.resident_bytes.get(),
                anonymous_bytes: process.anonymous_bytes.get(),
                open_fds: process.open_fds.get(),
                max_fds: process.max_fds.get(),
                threads: process.threads.get(),
                disk_free_bytes: process.disk_free_bytes.get(),
            },
        }
    }
}

impl SourceVecs {
    /// The caller has the name from a [`SourceName`] or a literal.
    fn of(&self, name: &str) -> OfSource {
        let one = |counters: &IntCounterVec| counters.with_label_values(&[name]);
        OfSource {
            events: one(&self.events),
            duplicates: one(&self.duplicates),
            bytes: one(&self.bytes),
            parse_failures: one(&self.parse_failures),
            truncations: one(&self.truncations),
            stored: self.messages.with_label_values(&[name, "stored"]),
            repeated: self.messages.with_label_values(&[name, "duplicate"]),
            refused: self.messages.with_label_values(&[name, "refused"]),
        }
    }
}

impl SinkVecs {
    /// The caller has the name from a [`SourceName`].
    fn of(&self, name: &str) -> OfSink {
        let outcomes = SendOutcome::ALL.iter().map(|outcome| (*outcome, self.attempts.with_label_values(&[name, outcome.name()])));
        OfSink {
            attempts: outcomes.collect(),
            seconds: self.seconds.with_label_values(&[name]),
            delivered: self.delivered.with_label_values(&[name]),
            dead_letters: self.dead_letters.with_label_values(&[name]),
            lost: self.lost.with_label_values(&[name]),
            lag: self.lag.with_label_values(&[name]),
            lag_seconds: self.lag_seconds.with_label_values(&[name]),
            degraded: self.degraded.with_label_values(&[name]),
            paused: self.paused.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            success: self.success.with_label_values(&[name]),
        }
    }

    fn remove(&self, name: &str) {
        // A label that is not there is gone already.
        SendOutcome::ALL.iter().for_each(|outcome| drop(self.attempts.remove_label_values(&[name, outcome.name()])));
        let _ = (self.seconds.remove_label_values(&[name]), self.lag_seconds.remove_label_values(&[name]));
        let _ = self.success.remove_label_values(&[name]);
        for gauges in [&self.delivered, &self.dead_letters, &self.lost, &self.lag, &self.degraded, &self.paused, &self.in_flight] {
            let _ = gauges.remove_label_values(&[name]);
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// All figures at one moment, for `/health/metrics` and `status`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = MetricsSnapshot)]
pub struct Snapshot {
    pub version: &'static str,
    pub uptime_seconds: f64,
    pub phase: &'static str,
    pub sources: BTreeMap<String, SourceSnapshot>,
    pub rejected: BTreeMap<&'static str, u64>,
    pub commits: CommitSnapshot,
    pub chunks_in_flight: i64,
    pub queue_saturation: BTreeMap<&'static str, f64>,
    pub journal: JournalSnapshot,
    pub actor_restarts: BTreeMap<&'static str, u64>,
    pub quarantine_bytes: i64,
    pub quarantine_removed_bytes: u64,
    pub intake_paused: bool,
    pub log_records_lost: u64,
    pub process: ProcessSnapshot,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SourceSnapshot {
    pub events: u64,
    pub duplicates: u64,
    pub bytes: u64,
    pub parse_failures: u64,
    pub truncations: u64,
}

impl SourceSnapshot {
    fn of(source: &OfSource) -> SourceSnapshot {
        SourceSnapshot {
            events: source.events.get(),
            duplicates: source.duplicates.get(),
            bytes: source.bytes.get(),
            parse_failures: source.parse_failures.get(),
            truncations: source.truncations.get(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CommitSnapshot {
    pub count: u64,
    pub mean_seconds: f64,
    /// Upper bounds of the buckets that hold the quantiles; `None`: above the last bucket, or nothing yet.
    pub p50_seconds_max: Option<f64>,
    pub p99_seconds_max: Option<f64>,
}

impl CommitSnapshot {
    fn of(histogram: &Histogram) -> CommitSnapshot {
        let families = histogram.collect();
        let proto = families[0].get_metric()[0].get_histogram();
        let count = proto.get_sample_count();
        let quantile = |part: f64| {
            let rank = (count as f64 * part).ceil().max(1.0) as u64;
            proto.get_bucket().iter().find(|bucket| bucket.cumulative_count() >= rank).map(|bucket| bucket.upper_bound())
        };
        let mean_seconds = if count == 0 { 0.0 } else { proto.get_sample_sum() / count as f64 };
        CommitSnapshot { count, mean_seconds, p50_seconds_max: quantile(0.5), p99_seconds_max: quantile(0.99) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct JournalSnapshot {
    pub segments: i64,
    pub journal_bytes: i64,
    pub sidecar_bytes: i64,
    pub sequence: i64,
    pub segments_sealed: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub sidecar_probes: u64,
    pub sidecar_hits: u64,
    pub sidecar_hit_ratio: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ProcessSnapshot {
    pub cpu_seconds: f64,
    pub resident_bytes: i64,
    pub anonymous_bytes: i64,
    pub open_fds: i64,
    pub max_fds: i64,
    pub threads: i64,
    pub disk_free_bytes: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_snapshot_tell_the_same() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let metrics = Metrics::new(Some(dir.path()));
        metrics.register_source(&SourceName::parse("berlin").expect("a name"));
        metrics.committed("berlin", 10, 2, 5000);
        metrics.rejected("berlin", Reason::NotAnObject, 3);
        metrics.rejected("berlin", Reason::LineTooLong, 1);
        metrics.set_queue(Queue::InFlight, 1, 4);
        metrics.set_phase(Phase::Live);
        metrics.sidecars_probed(8, 2);
        metrics.set_journal(2, 1000, 500, 10);
        (0..99).for_each(|_| metrics.observe_commit(Duration::from_micros(300)));
        metrics.observe_commit(Duration::from_millis(30));
        metrics.actor_restarted(Actor::Journal);

        let text = metrics.text();
        for line in [
            "honeyguide_events_total{source=\"berlin\"} 10",
            "honeyguide_duplicates_total{source=\"berlin\"} 2",
            "honeyguide_parse_failures_total{source=\"berlin\"} 3",
            "honeyguide_rejected_total{reason=\"line_too_long\"} 1",
            "honeyguide_rejected_total{reason=\"torn_tail\"} 0",
            "honeyguide_queue_saturation_ratio{queue=\"in_flight\"} 0.25",
            "honeyguide_phase{phase=\"live\"} 1",
            "honeyguide_phase{phase=\"bulk\"} 0",
            "honeyguide_commit_seconds_bucket{le=\"0.0005\"} 99",
            "honeyguide_actor_restarts_total{actor=\"journal\"} 1",
            "honeyguide_journal_sequence 10",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let snapshot = metrics.snapshot();
        assert_eq!(
            snapshot.sources["berlin"],
            SourceSnapshot { events: 10, duplicates: 2, bytes: 5000, parse_failures: 3, truncations: 0 }
        );
        assert_eq!((snapshot.phase, snapshot.rejected["not_an_object"], snapshot.journal.sidecar_hit_ratio), ("live", 3, 0.25));
        assert_eq!(
            (snapshot.commits.count, snapshot.commits.p50_seconds_max, snapshot.commits.p99_seconds_max),
            (100, Some(0.0005), Some(0.0005))
        );
        assert!(snapshot.process.resident_bytes > 1 << 20 && snapshot.process.open_fds > 2 && snapshot.process.disk_free_bytes > 0);
        let json = serde_json::to_value(&snapshot).expect("serialises");
        assert_eq!(json["sources"]["berlin"]["events"], 10);
    }

    #[test]
    fn a_name_that_nobody_configured_never_becomes_a_label() {
        let metrics = Metrics::new(None);
        metrics.committed("evil\"} 1\nhoneyguide_events_total{source=\"x", 1, 0, 0);
        let text = metrics.text();
        assert!(!text.contains("evil"));
        assert!(text.contains("honeyguide_events_total{source=\"other\"} 1\n"));
    }

    #[test]
    fn processor_time_only_grows() {
        let metrics = Metrics::new(None);
        let first = metrics.snapshot().process.cpu_seconds;
        let second = metrics.snapshot().process.cpu_seconds;
        assert!(second >= first);
    }
}
