//! Signs of life, readiness and figures: fixed words and numbers, no text of anybody's.
use super::Admin;
use super::gate::Listener;
use super::route::{Needs, Route};
use crate::access::Right;
use crate::telemetry::metrics::Snapshot;
use actix_web::http::Method;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Of what is said in words.
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn routes() -> Vec<Route> {
    use Needs::NothingIfAnonymous as Open;
    vec![
        Route::new(Method::GET, "/health", Open, "Whether the daemon answers; on the socket, which one it is", health)
            .answers::<Identity>()
            .answers_bytes(TEXT),
        Route::new(Method::GET, "/ready", Open, "Whether it does its work: 503 and why, if not", ready)
            .answers_bytes(TEXT)
            .says("503", TEXT),
        Route::new(Method::GET, "/metrics", Open, "Figures for Prometheus", metrics).answers_bytes(PROMETHEUS),
        Route::new(Method::GET, "/health/metrics", Needs::Right(Right::Status), "Figures as JSON", snapshot).answers::<Snapshot>(),
    ]
}

/// Which daemon this is, so that a client finds the one of its data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Identity {
    pub version: String,
    pub pid: u32,
    #[schema(value_type = String)]
    pub data_dir: PathBuf,
}

async fn health(admin: web::Data<Admin>, listener: web::ReqData<Listener>) -> HttpResponse {
    if *listener == Listener::Tcp {
        return HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n");
    }
    let data_dir = admin.engine.settings.borrow().data_dir.clone();
    let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
    HttpResponse::Ok().json(Identity { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id(), data_dir })
}

async fn ready(admin: web::Data<Admin>) -> HttpResponse {
    match admin.unready() {
        None => HttpResponse::Ok().content_type(ContentType::plaintext()).body("ready\n"),
        Some(reason) => HttpResponse::ServiceUnavailable().content_type(ContentType::plaintext()).body(format!("{reason}\n")),
    }
}

async fn metrics(admin: web::Data<Admin>) -> HttpResponse {
    admin.measure();
    HttpResponse::Ok().content_type(PROMETHEUS).body(admin.engine.observed.telemetry.metrics.text())
}

async fn snapshot(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(admin.engine.observed.telemetry.metrics.snapshot())
}

impl Admin {
    /// Brings figures up to date that are kept where they arise.
    fn measure(&self) {
        let metrics = &self.engine.observed.telemetry.metrics;
        metrics.set_live(self.live.clients() as u64, self.live.refused(), self.live.dropped());
        for (issuer, standing) in self.engine.access.issuers.standings() {
            metrics.set_issuer(&issuer, standing.fetches, standing.failed);
        }
    }

    /// Why the daemon does not do its work now.
    fn unready(&self) -> Option<&'static str> {
        let observed = &self.engine.observed;
        if !observed.journal.borrow().available {
            return Some("the journal is not available");
        }
        if observed.intake.is_paused() {
            return Some("intake is paused");
        }
        let heartbeats = observed.heartbeats();
        let stalled = heartbeats.looked_at.elapsed() > self.stall() || heartbeats.actors.iter().any(|actor| actor.stalled);
        stalled.then_some("a part of the daemon does not answer")
    }

    /// Silence for so long counts as a stall.
    pub(super) fn stall(&self) -> Duration {
        Duration::from_secs(self.engine.settings.borrow().supervision.stall_seconds)
    }
}
