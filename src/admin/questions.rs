//! Routes that only read: events, terms, sessions, checks.
use super::Admin;
use super::problem::Problem;
use super::stream::{self, Lines};
use crate::cli::answers;
use crate::cli::format::VerifyReport;
use crate::events::{Field, Micros, time};
use crate::index::query::Query;
use crate::report::{self, Kind, Period};
use crate::service::report::Sensors;
use crate::service::{self, SearchRequest};
use crate::sources::Format;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Events and values when nobody says how many.
const LIMIT_DEFAULT: u64 = 50;
/// Most values of a top list: it is made in memory.
const TERMS_MAX: u64 = 100_000;
/// Most files of one question.
const PATHS_MAX: usize = 10_000;

pub fn routes(routes: &mut web::ServiceConfig) {
    routes
        .route("/events", web::get().to(events))
        .route("/events/cost", web::get().to(cost))
        .route("/terms/{field}", web::get().to(terms))
        .route("/schemas", web::get().to(schemas))
        .route("/reports/{kind}/{period}", web::get().to(reports))
        .route("/sessions/{id}", web::get().to(session))
        .route("/verify", web::post().to(verify))
        .route("/ingested", web::post().to(ingested));
}

#[derive(Deserialize)]
struct Events {
    query: String,
    #[serde(default = "limit_default")]
    limit: u64,
    #[serde(default)]
    newest: bool,
}

fn limit_default() -> u64 {
    LIMIT_DEFAULT
}

/// What is asked for, and when; a query that is none is told before the answer begins.
fn understood(Events { query, limit, newest }: Events) -> Result<(SearchRequest, Micros), Problem> {
    let now = time::now();
    Query::parse(&query, now).map_err(|error| Problem::bad_query(&error))?;
    Ok((SearchRequest { query, limit, newest }, now))
}

/// The original lines that match.
async fn events(admin: web::Data<Admin>, asked: web::Query<Events>) -> Result<HttpResponse, Problem> {
    let (request, now) = understood(asked.into_inner())?;
    let store = admin.engine.store().clone();
    stream::lines(&admin, move |lines| {
        service::search(&store, &request, now, &mut |line| lines.push(line))?;
        Ok(())
    })
    .await
}

/// What finding them takes.
async fn cost(admin: web::Data<Admin>, asked: web::Query<Events>) -> Result<HttpResponse, Problem> {
    let (request, now) = understood(asked.into_inner())?;
    let store = admin.engine.store().clone();
    let cost = stream::one(&admin, move || Ok(service::search_cost(&store, &request, now)?)).await?;
    Ok(HttpResponse::Ok().json(cost))
}

#[derive(Deserialize)]
struct Limit {
    #[serde(default = "limit_default")]
    limit: u64,
}

/// The most frequent values of a field.
async fn terms(admin: web::Data<Admin>, field: web::Path<String>, limit: web::Query<Limit>) -> Result<HttpResponse, Problem> {
    let Some(field) = Field::parse(&field) else {
        return Err(Problem::not_found("there is no such field: `honeyguide search --help` lists them"));
    };
    let (store, limit) = (admin.engine.store().clone(), limit.limit.min(TERMS_MAX));
    let rows = stream::one(&admin, move || Ok(answers::top(&store, field, limit)?)).await?;
    Ok(HttpResponse::Ok().json(rows))
}

#[derive(Deserialize)]
struct Reports {
    /// One sensor's; without it all together.
    sensor: Option<String>,
    /// Each sensor's, and then all together.
    #[serde(default)]
    all: bool,
    #[serde(default = "rows_default")]
    rows: usize,
}

fn rows_default() -> usize {
    report::ROWS_DEFAULT
}

/// Reports on a period: always a list.
async fn reports(admin: web::Data<Admin>, of: web::Path<(String, String)>, asked: web::Query<Reports>) -> Result<HttpResponse, Problem> {
    let (kind, period) = of.into_inner();
    let Some(kind) = Kind::parse(&kind) else {
        return Err(Problem::not_found("reports are daily, weekly, monthly, or of a range"));
    };
    let now = time::now();
    let period = Period::parse(kind, &period, now).map_err(|error| Problem::bad_request(&error))?;
    let Reports { sensor, all, rows } = asked.into_inner();
    let sensors = match (sensor, all) {
        (Some(_), true) => return Err(Problem::bad_request(&"`sensor` and `all` exclude each other")),
        (Some(sensor), false) => Sensors::One(sensor),
        (None, true) => Sensors::Each,
        (None, false) => Sensors::Aggregate,
    };
    let (store, rows) = (admin.engine.store().clone(), rows.min(report::ROWS_MAX));
    let reports = stream::one(&admin, move || Ok(service::report::reports(&store, &period, &sensors, rows, now)?)).await?;
    Ok(HttpResponse::Ok().json(reports))
}

#[derive(Deserialize)]
struct Schemas {
    eventid: Option<String>,
    sensor: Option<String>,
}

/// What events look like.
async fn schemas(admin: web::Data<Admin>, asked: web::Query<Schemas>) -> Result<HttpResponse, Problem> {
    let (store, Schemas { eventid, sensor }) = (admin.engine.store().clone(), asked.into_inner());
    let schemas = stream::one(&admin, move || Ok(answers::schemas(&store, eventid.as_deref(), sensor.as_deref()))).await?;
    Ok(HttpResponse::Ok().json(schemas))
}

/// The original lines of one session.
async fn session(admin: web::Data<Admin>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (store, id) = (admin.engine.store().clone(), id.into_inner());
    stream::lines(&admin, move |lines| Ok(service::session(&store, &id, time::now(), &mut |line| lines.push(line))?)).await
}

/// Lines of a long check: how far it is, and at the end what it found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checking<Report> {
    Progress { done: u64, total: u64 },
    Report(Report),
}

/// Tells progress while somebody listens; the check itself goes on to its end.
pub(super) fn teller<Report: Serialize>(lines: &mut Lines) -> impl FnMut(u64, u64) + '_ {
    let mut heard = ControlFlow::Continue(());
    move |done, total| {
        if heard.is_continue() {
            heard = lines.tell(&Checking::<Report>::Progress { done, total });
        }
    }
}

async fn verify(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let store = admin.engine.store().clone();
    stream::lines(&admin, move |lines| {
        let report = answers::verify(&store, &mut teller::<VerifyReport>(lines))?;
        let _ = lines.tell(&Checking::Report(report));
        Ok(())
    })
    .await
}

/// Files to be looked for in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IngestedRequest {
    /// Absolute.
    pub paths: Vec<PathBuf>,
    /// `None`: recognised, file by file.
    #[serde(default)]
    pub format: Option<Format>,
}

async fn ingested(admin: web::Data<Admin>, asked: web::Json<IngestedRequest>) -> Result<HttpResponse, Problem> {
    let IngestedRequest { paths, format } = asked.into_inner();
    absolute(&paths)?;
    let store = admin.engine.store().clone();
    let files = stream::one(&admin, move || Ok(answers::ingested(&store, paths.iter().map(PathBuf::as_path), format)?)).await?;
    Ok(HttpResponse::Ok().json(files))
}

/// A relative path would be relative to the daemon's directory, which nobody means.
pub(super) fn absolute(paths: &[PathBuf]) -> Result<(), Problem> {
    if paths.len() > PATHS_MAX {
        return Err(Problem::bad_request(&format!("at most {PATHS_MAX} paths at once")));
    }
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(_) => Err(Problem::bad_request(&"paths must be absolute")),
        None => Ok(()),
    }
}
