//! Routes about alerts: rules and what is open, what was told, and trying a rule.
use super::Admin;
use super::audit::Change;
use super::problem::Problem;
use super::route::Route;
use super::sinks::Nothing;
use super::stream;
use crate::access::{Principal, Right};
use crate::alerts::Notice;
use crate::service::alerts::{self, AlertRow, AlertTest, HISTORY_MAX};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

/// Rows of a history when nobody says how many.
const LIMIT_DEFAULT: usize = 50;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/alerts", Right::Status, "Rules of alerts, and which are open", list).answers::<Vec<AlertRow>>(),
        Route::get("/alerts/history", Right::Evidence, "What was told, newest first", history).query::<Wanted>().answers::<Vec<Notice>>(),
        Route::post("/alerts/{rule}/test", Right::Deliver, "Sends a notice that says it is a test", test)
            .body::<Nothing>()
            .answers::<AlertTest>(),
    ]
}

async fn list(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let (engine, rules) = (admin.engine.clone(), admin.engine.settings.borrow().alerts.rules.clone());
    // Not among the slow requests: it must answer when those are many.
    let rows = tokio::task::spawn_blocking(move || alerts::list(&engine.alerts, &rules));
    Ok(HttpResponse::Ok().json(rows.await.map_err(|panic| Problem::failed(&panic))??))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Name of a rule; all when nobody says.
    rule: Option<String>,
    /// 50 when nobody says, and no more than 10,000.
    limit: Option<usize>,
}

async fn history(admin: web::Data<Admin>, wanted: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let Wanted { rule, limit } = wanted.into_inner();
    let (store, limit) = (admin.engine.store().clone(), limit.unwrap_or(LIMIT_DEFAULT).min(HISTORY_MAX));
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(alerts::history(&store, rule.as_deref(), limit)?)).await?))
}

async fn test(admin: web::Data<Admin>, rule: web::Path<String>, _: web::Json<Nothing>, who: Principal) -> Result<HttpResponse, Problem> {
    let tested = alerts::test(&admin.engine, &rule, &who.name).await?;
    // What it was about may be values of events, which the ledger keeps none of.
    let after = serde_json::json!({ "rule": tested.rule, "holds": tested.holds, "sinks": tested.sinks });
    Ok(Change::new((), after).told(HttpResponse::Ok().json(tested)))
}
