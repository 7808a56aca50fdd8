//! Routes about sinks. Orders say in the ledger who gave them.
use super::Admin;
use super::changes::Purged;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::{Principal, Right};
use crate::events::time;
use crate::service::sinks::{self, DeadLetterRow, Order, Ordered, Redelivered, SinkRow, TestReport};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
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
    let settings = admin.engine.settings.borrow().clone();
    Ok(HttpResponse::Ok().json(sinks::test(&settings, &name).await?))
}

async fn order(admin: web::Data<Admin>, name: web::Path<String>, asked: web::Json<Order>, who: Principal) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(sinks::order(&admin.engine, &name, *asked, &who.name).await?))
}

async fn forget(admin: web::Data<Admin>, name: web::Path<String>, _: web::Json<Nothing>, who: Principal) -> Result<HttpResponse, Problem> {
    let (engine, by) = (admin.engine.clone(), who.name);
    let settings = engine.settings.borrow().sinks.clone();
    stream::one(&admin, move || Ok(sinks::forget(&settings, &engine.state, engine.store(), &name, &by)?)).await?;
    Ok(HttpResponse::Ok().json(Nothing {}))
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
    Ok(HttpResponse::Ok().json(retry(&admin, name.into_inner(), who.name).await?))
}

pub(super) async fn retry(admin: &Admin, name: String, by: Arc<str>) -> Result<Redelivered, Problem> {
    // A redelivery may take minutes: a second one is refused rather than wait for the first.
    let upkeep = admin.upkeep.clone().try_lock_owned();
    let upkeep = upkeep.map_err(|_| Problem::conflict("quarantine or sidecars are being changed: try again when that is done"))?;
    let engine = admin.engine.clone();
    // Goes on when the client goes away.
    let retried = actix_web::rt::spawn(async move {
        let _upkeep = upkeep;
        sinks::dead_retry(&engine, &name, &by).await
    });
    Ok(retried.await.map_err(|panic| Problem::failed(&panic))??)
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
        Ok(sinks::dead_purge(&store, &name, &by)?)
    });
    Ok(HttpResponse::Ok().json(Purged { removed: removed.await? }))
}
