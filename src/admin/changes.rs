//! Routes that change something: load, quarantine, rebuild. What they began goes on when the client goes away.
use super::Admin;
use super::audit::Change;
use super::problem::Problem;
use super::questions::{Checking, absolute, teller};
use super::route::Route;
use super::stream::{self, NDJSON};
use crate::access::Right;
use crate::actors::supervisor::Retry;
use crate::cli::answers;
use crate::cli::format::{QuarantineItem, QuarantineRow, RebuildReport};
use crate::daemon::Engine;
use crate::events::time;
use crate::load::{self, LoadProgress, LoadRequest};
use crate::service::{self, RetryOutcome, Selection};
use crate::sources::Reason;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_util::stream as streams;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use utoipa::PartialSchema;

/// A load tells how far it is about so often.
const TOLD_EVERY: Duration = Duration::from_millis(200);
const BYTES: &str = "application/octet-stream";
/// Most records of one list.
const RECORDS_MAX: u64 = 10_000;

pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/load", Right::Ingest, "Loads files of the daemon's machine; tells how far it is", load)
            .names_files()
            .body::<LoadRequest>()
            .answers_lines::<LoadProgress>(),
        Route::get("/quarantine", Right::Evidence, "What was refused", list).query::<List>().answers::<Vec<QuarantineRow>>(),
        Route::post("/quarantine/retry", Right::Ingest, "Decodes what was refused again", retry)
            .body::<Selection>()
            .answers::<RetryOutcome>(),
        Route::post("/quarantine/purge", Right::Administer, "Removes what was refused", purge).body::<Selection>().answers::<Purged>(),
        Route::get("/quarantine/{number}", Right::Evidence, "One refused piece of input", show)
            .path_value("number", u64::schema())
            .answers::<QuarantineItem>(),
        Route::get("/quarantine/{number}/bytes", Right::Evidence, "Its bytes, as far as they were kept", bytes)
            .path_value("number", u64::schema())
            .answers_bytes(BYTES),
        Route::post("/rebuild", Right::Administer, "Makes the index of every segment anew", rebuild)
            .answers_lines::<Checking<RebuildReport>>(),
    ]
}

async fn load(admin: web::Data<Admin>, asked: web::Json<LoadRequest>) -> Result<HttpResponse, Problem> {
    let request = asked.into_inner();
    absolute(&request.paths)?;
    let permit = admin.loads.clone().try_acquire_owned().map_err(|_| Problem::busy())?;
    let change = Change::new(admin.holdings(), json!({ "asked": &request }));
    let progress = load::start(admin.engine.clone(), request, admin.stopping.clone());
    let mut until_ended = progress.clone();
    actix::spawn(async move {
        let _permit = permit;
        // An error is an end as well.
        let _ = until_ended.wait_for(LoadProgress::ended).await;
    });
    let lines = streams::unfold(Some(progress), |following| async move {
        let mut progress = following?;
        let now = progress.borrow_and_update().clone();
        if now.ended() {
            return Some((line(&now), None));
        }
        if progress.changed().await.is_err() {
            return Some((Err(Problem::failed(&"the load broke off: the daemon's log says why")), None));
        }
        tokio::time::sleep(TOLD_EVERY).await;
        let now = progress.borrow().clone();
        let following = (!now.ended()).then_some(progress);
        Some((line(&now), following))
    });
    Ok(change.told(HttpResponse::Ok().content_type(NDJSON).streaming(Box::pin(lines))))
}

fn line(value: &impl Serialize) -> Result<Bytes, Problem> {
    let mut line = serde_json::to_vec(value).map_err(|error| Problem::failed(&error))?;
    line.push(b'\n');
    Ok(line.into())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct List {
    #[param(inline)]
    reason: Option<Reason>,
    /// 50 when nobody says, and no more than 10,000.
    limit: Option<u64>,
}

async fn list(admin: web::Data<Admin>, asked: web::Query<List>) -> Result<HttpResponse, Problem> {
    let (store, List { reason, limit }) = (admin.engine.store().clone(), asked.into_inner());
    let limit = limit.unwrap_or(50).min(RECORDS_MAX);
    let rows = stream::one(&admin, move || Ok(answers::quarantine_list(&store, reason, limit)?)).await?;
    Ok(HttpResponse::Ok().json(rows))
}

async fn show(admin: web::Data<Admin>, number: web::Path<u64>) -> Result<HttpResponse, Problem> {
    let (store, number) = (admin.engine.store().clone(), number.into_inner());
    let (item, _) = stream::one(&admin, move || Ok(answers::quarantine_item(&store, number)?)).await?;
    Ok(HttpResponse::Ok().json(item))
}

/// Exactly what was refused, as far as it was kept.
async fn bytes(admin: web::Data<Admin>, number: web::Path<u64>) -> Result<HttpResponse, Problem> {
    let (store, number) = (admin.engine.store().clone(), number.into_inner());
    let (_, bytes) = stream::one(&admin, move || Ok(answers::quarantine_item(&store, number)?)).await?;
    Ok(HttpResponse::Ok().content_type(BYTES).body(bytes))
}

/// How many records went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Purged {
    pub removed: u64,
}

async fn purge(admin: web::Data<Admin>, asked: web::Json<Selection>) -> Result<HttpResponse, Problem> {
    let selection = asked.into_inner().sorted();
    let store = admin.engine.store().clone();
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let removed = stream::one(&admin, move || {
        let _upkeep = upkeep;
        let before = store.quarantine().records();
        let removed = service::quarantine_purge(&store, &selection, time::now())?;
        Ok((before, removed, store.quarantine().records()))
    });
    let (before, removed, after) = removed.await?;
    let after = json!({ "records": after, "removed": removed });
    Ok(Change::new(json!({ "records": before }), after).told(HttpResponse::Ok().json(Purged { removed })))
}

async fn retry(admin: web::Data<Admin>, asked: web::Json<Selection>) -> Result<HttpResponse, Problem> {
    let selection = asked.into_inner().sorted();
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let (engine, stopping) = (admin.engine.clone(), admin.stopping.clone());
    let before = quarantined(&engine).await?;
    let retried = actix::spawn(async move {
        let _upkeep = upkeep;
        retry_selected(&engine, selection, stopping).await
    });
    let retried = retried.await.map_err(|panic| Problem::failed(&panic))??;
    let records = quarantined(&admin.engine).await?;
    let after = json!({ "records": records, "retried": retried.retried, "resolved": retried.resolved });
    Ok(Change::new(json!({ "records": before }), after).told(HttpResponse::Ok().json(retried)))
}

/// On a thread that may block: somebody may be writing there.
async fn quarantined(engine: &Engine) -> Result<u64, Problem> {
    let store = engine.store().clone();
    tokio::task::spawn_blocking(move || store.quarantine().records()).await.map_err(|panic| Problem::failed(&panic))
}

/// Decodes the selected records again, through the path that all input takes; those that are events now leave the quarantine.
pub async fn retry_selected(engine: &Engine, selection: Selection, mut stopping: watch::Receiver<bool>) -> Result<RetryOutcome, Problem> {
    let asked = engine.supervisor.send(Retry(selection.clone())).await;
    let mut run = asked.map_err(|error| Problem::failed(&error))?;
    let finished = tokio::select! {
        finished = run.wait_for(|run| run.finished) => finished.map(|run| run.progress.trouble.first().cloned()).ok(),
        _ = stopping.wait_for(|&stopping| stopping) => None,
    };
    match finished {
        None => Err(Problem::stopping()),
        Some(Some(trouble)) => Err(Problem::failed(&trouble)),
        Some(None) => {
            let store = engine.store().clone();
            let resolved = tokio::task::spawn_blocking(move || service::quarantine_resolve(&store, &selection, time::now()));
            Ok(resolved.await.map_err(|panic| Problem::failed(&panic))??)
        }
    }
}

async fn rebuild(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let (engine, change) = (admin.engine.clone(), Change::new(admin.holdings(), json!({ "asked": "indexes of every segment" })));
    let answer = stream::lines(&admin, move |lines| {
        let _upkeep = upkeep;
        let report = answers::rebuild(engine.store(), &engine.state, time::now(), &mut teller::<RebuildReport>(lines))?;
        let _ = lines.tell(&Checking::Report(report));
        Ok(())
    });
    Ok(change.told(answer.await?))
}
