//! Routes about sinks. Orders say in the ledger who gave them.
use super::Admin;
use super::audit::Change;
use super::changes::Purged;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::{Principal, Right};
use crate::daemon::Engine;
use crate::events::time;
use crate::service::sinks::{self, DeadLetterRow, Order, Ordered, Redelivered, SinkRow, TestReport};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Most dead letters of one list.
const DEAD_MAX: u64 = 10_000;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sinks", Right::Status, "Sinks: how far they are, and how they do", list).answers::<Vec<SinkRow>>(),
        Route::get("/sinks/{name}", Right::Status, "One sink", show).answers::<SinkRow>(),
        Route::post("/sinks/{name}/test", Right::Deliver, "Asks the receiver whether it is there", test)
            .body::<Nothing>()
            .answers::<TestReport>(),
        Route::post("/sinks/{name}/order", Right::Deliver, "Pauses, resumes, or replays", order).body::<Order>().answers::<Ordered>(),
        Route::post("/sinks/{name}/forget", Right::Deliver, "Forgets a sink that is not configured any more", forget)
            .body::<Nothing>()
            .answers::<Nothing>(),
        Route::get("/sinks/{name}/dead", Right::Deliver, "Its dead letters", dead).query::<Limit>().answers::<Vec<DeadLetterRow>>(),
        Route::post("/sinks/{name}/dead/retry", Right::Deliver, "Delivers its dead letters again", dead_retry)
            .body::<Nothing>()
            .answers::<Redelivered>(),
        Route::post("/sinks/{name}/dead/purge", Right::Deliver, "Removes its dead letters", dead_purge)
            .body::<Nothing>()
            .answers::<Purged>(),
    ]
}

/// A request without content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

pub(super) async fn rows(admin: &Admin) -> Result<Vec<SinkRow>, Problem> {
    let engine = admin.engine.clone();
    // Not among the slow requests: it must answer when those are many.
    let rows = tokio::task::spawn_blocking(move || sinks::list(&engine, time::now()));
    rows.await.map_err(|panic| Problem::failed(&panic))
}

async fn list(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(rows(&admin).await?))
}

pub(super) async fn row(admin: &Admin, name: &str) -> Result<SinkRow, Problem> {
    let row = rows(admin).await?.into_iter().find(|row| row.name == name);
    Ok(row.ok_or_else(|| crate::service::ServiceError::NoSink(name.to_owned()))?)
}

async fn show(admin: web::Data<Admin>, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(row(&admin, &name).await?))
}

async fn test(admin: web::Data<Admin>, name: web::Path<String>, _: web::Json<Nothing>) -> Result<HttpResponse, Problem> {
    let (report, change) = tested(&admin, &name).await?;
    Ok(change.told(HttpResponse::Ok().json(report)))
}

pub(super) async fn tested(admin: &Admin, name: &str) -> Result<(TestReport, Change), Problem> {
    let settings = admin.engine.settings.borrow().clone();
    let report = sinks::test(&settings, name).await?;
    let change = Change::new((), &report);
    Ok((report, change))
}

async fn order(admin: web::Data<Admin>, name: web::Path<String>, asked: web::Json<Order>, who: Principal) -> Result<HttpResponse, Problem> {
    let (ordered, change) = ordered(&admin, &name, *asked, &who.name).await?;
    Ok(change.told(HttpResponse::Ok().json(ordered)))
}

pub(super) async fn ordered(admin: &Admin, name: &str, order: Order, by: &str) -> Result<(Ordered, Change), Problem> {
    let before = place(admin, name);
    let ordered = sinks::order(&admin.engine, name, order, by).await?;
    let mut after = json!({ "paused": ordered.paused, "cursor": ordered.cursor });
    if ordered.skipped > 0 {
        after["skipped"] = ordered.skipped.into();
    }
    let change = Change::new(before, after);
    Ok((ordered, change))
}

/// Where a sink stands in the journal, if it has begun.
fn place(admin: &Admin, name: &str) -> Option<serde_json::Value> {
    let cursor = admin.engine.state.cursor(name)?;
    Some(json!({ "paused": cursor.paused, "cursor": cursor.seq }))
}

async fn forget(admin: web::Data<Admin>, name: web::Path<String>, _: web::Json<Nothing>, who: Principal) -> Result<HttpResponse, Problem> {
    let (engine, by, before) = (admin.engine.clone(), who.name, place(&admin, &name));
    let settings = engine.settings.borrow().sinks.clone();
    stream::one(&admin, move || Ok(sinks::forget(&settings, &engine.state, engine.store(), &name, &by)?)).await?;
    Ok(Change::new(before, ()).told(HttpResponse::Ok().json(Nothing {})))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// 50 when nobody says, and no more than 10,000.
    limit: Option<u64>,
}

async fn dead(admin: web::Data<Admin>, name: web::Path<String>, limit: web::Query<Limit>) -> Result<HttpResponse, Problem> {
    let (store, limit) = (admin.engine.store().clone(), limit.limit.unwrap_or(50).min(DEAD_MAX));
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(sinks::dead(&store, &name, limit)?)).await?))
}

async fn dead_retry(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    _: web::Json<Nothing>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let (retried, change) = retry(&admin, name.into_inner(), who.name).await?;
    Ok(change.told(HttpResponse::Ok().json(retried)))
}

pub(super) async fn retry(admin: &Admin, name: String, by: Arc<str>) -> Result<(Redelivered, Change), Problem> {
    // A redelivery may take minutes: a second one is refused rather than wait for the first.
    let upkeep = admin.upkeep.clone().try_lock_owned();
    let upkeep = upkeep.map_err(|_| Problem::conflict("quarantine or sidecars are being changed: try again when that is done"))?;
    let engine = admin.engine.clone();
    // Goes on when the client goes away.
    let retried = actix_web::rt::spawn(async move {
        let _upkeep = upkeep;
        let before = letters(&engine, &name).await?;
        let retried = sinks::dead_retry(&engine, &name, &by).await?;
        let after = letters(&engine, &name).await?;
        let after = json!({ "dead_letters": after, "retried": retried.retried, "delivered": retried.delivered });
        Ok((retried, Change::new(json!({ "dead_letters": before }), after)))
    });
    retried.await.map_err(|panic| Problem::failed(&panic))?
}

/// On a thread that may block: somebody may be writing to the quarantine.
async fn letters(engine: &Engine, name: &str) -> Result<u64, Problem> {
    let (store, name) = (engine.store().clone(), name.to_owned());
    tokio::task::spawn_blocking(move || store.quarantine().letters_of(&name)).await.map_err(|panic| Problem::failed(&panic))
}

async fn dead_purge(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    _: web::Json<Nothing>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let (store, upkeep, by) = (admin.engine.store().clone(), admin.upkeep.clone().lock_owned().await, who.name);
    let removed = stream::one(&admin, move || {
        let _upkeep = upkeep;
        let before = store.quarantine().letters_of(&name);
        Ok((before, sinks::dead_purge(&store, &name, &by)?))
    });
    let (before, removed) = removed.await?;
    let after = json!({ "dead_letters": before.saturating_sub(removed), "removed": removed });
    Ok(Change::new(json!({ "dead_letters": before }), after).told(HttpResponse::Ok().json(Purged { removed })))
}
