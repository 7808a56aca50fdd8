//! What the daemon is doing, from the snapshots its actors publish: no mailbox is asked.
use super::Admin;
use super::problem::Problem;
use super::route::Route;
use crate::access::Right;
use crate::actors::ingest::IngestSnapshot;
use crate::cli::answers;
use crate::cli::format::{ActorStatus, SourceStatus, Status};
use crate::cli::terminal;
use crate::config::disclosed::Shown;
use actix_web::{HttpResponse, web};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Events per second are those of so many last seconds.
const RATE_SECONDS: usize = 10;
/// A tail that is less behind follows; more, and it catches up.
const BEHIND_BYTES: u64 = 1 << 20;

/// Sequence numbers of the last seconds.
#[derive(Default)]
pub struct Rate(Mutex<VecDeque<(Instant, u64)>>);

impl Rate {
    fn sample(&self, at: Instant, seq: u64) {
        let mut samples = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if samples.len() > RATE_SECONDS {
            samples.pop_front();
        }
        samples.push_back((at, seq));
    }

    /// Events per second, until now.
    fn per_second(&self, now: Instant, seq: u64) -> f64 {
        let samples = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        samples.front().map_or(0.0, |&(at, before)| {
            let rate = seq.saturating_sub(before) as f64 / now.duration_since(at).as_secs_f64();
            if rate.is_finite() { rate } else { 0.0 }
        })
    }
}

/// Samples once a second until the daemon stops.
pub async fn measure(admin: web::Data<Admin>) {
    let mut stopping = admin.stopping.clone();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = every_second.tick() => admin.rate.sample(Instant::now(), admin.engine.observed.journal.borrow().durable_seq),
            _ = stopping.wait_for(|&stopping| stopping) => return,
        }
    }
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/status", Right::Status, "What the daemon holds and does", status).answers::<Status>(),
        Route::get("/configuration", Right::Status, "The settings in force, without what may be secret", configuration)
            .answers::<Vec<Shown>>(),
        Route::get("/sources", Right::Status, "Sources: how far they are, and how they do", sources).answers::<Vec<SourceStatus>>(),
    ]
}

async fn sources(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(admin.engine.observed.ingests().iter().map(source).collect::<Vec<_>>())
}

async fn configuration(admin: web::Data<Admin>) -> HttpResponse {
    let shown = admin.engine.settings.borrow().shown();
    HttpResponse::Ok().json(shown)
}

async fn status(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(now(&admin).await?))
}

pub(super) async fn now(admin: &Admin) -> Result<Status, Problem> {
    let engine = admin.engine.clone();
    let data_dir = engine.settings.borrow().data_dir.clone();
    let digest = engine.observed.journal.borrow().digest.clone();
    // Not among the slow requests: it must answer when those are many.
    let held = tokio::task::spawn_blocking(move || {
        let status = answers::status(engine.store(), &data_dir, digest)?;
        Ok::<_, Problem>(Status { sinks: crate::service::sinks::list(&engine, crate::events::time::now()), ..status })
    });
    let status = held.await.map_err(|panic| Problem::failed(&panic))??;
    Ok(admin.running(status))
}

impl Admin {
    fn running(&self, holdings: Status) -> Status {
        let engine = &self.engine;
        let observed = &engine.observed;
        let journal = observed.journal.borrow().clone();
        let min_free = engine.settings.borrow().journal.min_free_bytes;
        let paused = match (journal.available, journal.paused) {
            (false, _) => Some(journal.trouble.unwrap_or_else(|| "the journal is being opened".to_owned())),
            (true, true) => Some(format!(
                "the disk is nearly full ({} free): reading goes on by itself when {} are",
                terminal::bytes(journal.free_bytes),
                terminal::bytes(min_free)
            )),
            (true, false) => None,
        };
        Status {
            running: true,
            pid: Some(std::process::id()),
            uptime_seconds: Some(engine.started.elapsed().as_secs_f64()),
            phase: Some(observed.telemetry.metrics.snapshot().phase.to_owned()),
            paused,
            archive: journal.archive,
            events_per_second: Some(self.rate.per_second(Instant::now(), journal.durable_seq)),
            sources: observed.ingests().iter().map(source).collect(),
            actors: self.actors(),
            ..holdings
        }
    }

    fn actors(&self) -> Vec<ActorStatus> {
        let heartbeats = self.engine.observed.heartbeats();
        let actor = |name: &str, stalled: bool| ActorStatus {
            name: name.to_owned(),
            state: if stalled { "stalled" } else { "running" }.to_owned(),
            restarts: self.engine.budget.restarts(name),
        };
        let supervisor = actor("supervisor", heartbeats.looked_at.elapsed() > self.stall());
        std::iter::once(supervisor).chain(heartbeats.actors.iter().map(|beat| actor(&beat.name, beat.stalled))).collect()
    }
}

fn source(ingest: &IngestSnapshot) -> SourceStatus {
    let progress = &ingest.progress;
    let behind_bytes = progress.bytes_behind + progress.bytes_total.saturating_sub(progress.bytes_read);
    let state = match () {
        () if ingest.finished => "done",
        () if !progress.trouble.is_empty() => "degraded",
        () if behind_bytes > BEHIND_BYTES => "reading",
        () => "live",
    };
    SourceStatus {
        name: ingest.source.clone(),
        state: state.to_owned(),
        files: progress.files,
        events: ingest.events,
        behind_bytes,
        problem: (!progress.trouble.is_empty()).then(|| progress.trouble.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let rate = Rate::default();
        let start = Instant::now();
        assert_eq!(rate.per_second(start, 5), 0.0);
        for second in 0..60 {
            rate.sample(start + Duration::from_secs(second), if second < 40 { second * 1_000 } else { 39_000 + (second - 39) * 10 });
        }
        assert_eq!(rate.per_second(start + Duration::from_secs(59), 39_000 + 200), 10.0);
        assert_eq!(rate.per_second(start, u64::MAX), 0.0, "a clock that stands still");
    }

    #[test]
    fn a_source_says_whether_it_follows() {
        let mut ingest = IngestSnapshot { source: "cowrie".into(), ..IngestSnapshot::default() };
        assert_eq!(source(&ingest).state, "live");
        ingest.progress.bytes_behind = 5 << 20;
        assert_eq!((source(&ingest).state.as_str(), source(&ingest).behind_bytes), ("reading", 5 << 20));
        ingest.progress.trouble = vec!["a cannot be read".into(), "b neither".into()];
        assert_eq!(source(&ingest).problem.as_deref(), Some("a cannot be read; b neither"));
        assert_eq!(source(&ingest).state, "degraded");
    }
}
