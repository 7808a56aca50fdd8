//! The route that erases a session or a person; on the socket only, as everything that changes something.
use super::Admin;
use super::audit::Change;
use super::geoip::end_segment;
use super::problem::Problem;
use super::questions::{Checking, teller};
use super::route::Route;
use super::stream;
use crate::access::{Principal, Right};
use crate::events::time;
use crate::service::erase::{EraseReport, EraseRequest, erase};
use crate::service::sinks;
use actix_web::{HttpResponse, web};
use serde_json::json;

pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/erase", Right::Administer, "Erases events, leaving tombstones", run)
            .body::<EraseRequest>()
            .answers_lines::<Checking<EraseReport>>(),
    ]
}

/// Events that are stored now; what comes meanwhile is of the next request.
async fn run(admin: web::Data<Admin>, asked: web::Json<EraseRequest>, who: Principal) -> Result<HttpResponse, Problem> {
    let (asked, by) = (asked.into_inner(), who.name);
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let engine = admin.engine.clone();
    if !asked.dry_run && !end_segment(&engine).await? {
        return Err(Problem::failed(&"the segment that is written cannot be sealed: the daemon's log says why; nothing was erased"));
    }
    // Not whose: what is erased must not stay in the ledger.
    let what = match (&asked.session, &asked.query) {
        (Some(_), _) => "a session",
        (None, Some(_)) => "what a query finds",
        (None, None) => "nothing",
    };
    let after = json!({ "asked": { "of": what, "whole_sessions": asked.whole_sessions, "dry_run": asked.dry_run } });
    let change = Change::new(admin.holdings(), after);
    let kept = admin.clone();
    let answer = stream::lines(&admin, move |lines| {
        let _upkeep = upkeep;
        let rows = sinks::list(&engine, time::now());
        let mut tell = teller::<EraseReport>(lines);
        let report = erase(engine.store(), &engine.state, &asked, &rows, (&by, time::now()), &mut tell);
        // Whatever came of it: the page must not go on showing what is gone.
        kept.kept.clear();
        let report = report?;
        drop(tell);
        let _ = lines.tell(&Checking::Report(report));
        Ok(())
    });
    Ok(change.told(answer.await?))
}
