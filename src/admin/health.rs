//! Signs of life, readiness and figures. The first three routes are all that TCP serves: fixed words and numbers, no text of anybody's.
use super::{Admin, not_found};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// For TCP.
pub fn numbers(routes: &mut web::ServiceConfig) {
    routes
        .service(web::resource("/health").route(web::get().to(health)).default_service(web::to(not_found)))
        .service(web::resource("/ready").route(web::get().to(ready)).default_service(web::to(not_found)))
        .service(web::resource("/metrics").route(web::get().to(metrics)).default_service(web::to(not_found)));
}

/// For the Unix socket.
pub fn all(routes: &mut web::ServiceConfig) {
    routes
        .route("/health", web::get().to(identity))
        .route("/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics))
        .route("/health/metrics", web::get().to(snapshot));
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// Which daemon this is, so that a client finds the one of its data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub version: String,
    pub pid: u32,
    pub data_dir: PathBuf,
}

async fn identity(admin: web::Data<Admin>) -> HttpResponse {
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
    HttpResponse::Ok().content_type(PROMETHEUS).body(admin.engine.observed.telemetry.metrics.text())
}

async fn snapshot(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(admin.engine.observed.telemetry.metrics.snapshot())
}

impl Admin {
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
