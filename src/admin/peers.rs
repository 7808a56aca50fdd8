//! The route that asks whether what the configuration names can be reached.
use super::Admin;
use super::audit::Change;
use super::problem::Problem;
use super::route::Route;
use super::sinks::Nothing;
use crate::access::Right;
use crate::service::peers::{PeerRow, check};
use actix_web::{HttpResponse, web};
use serde_json::json;

pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/peers/check", Right::Deliver, "Asks every configured peer whether it can be reached", peers)
            .body::<Nothing>()
            .answers::<Vec<PeerRow>>(),
    ]
}

async fn peers(admin: web::Data<Admin>, _: web::Json<Nothing>) -> Result<HttpResponse, Problem> {
    let settings = admin.engine.settings.borrow().clone();
    // Peers are asked once at a time, however many ask for it.
    let _asking = admin.asking_peers.try_lock().map_err(|_| Problem::busy())?;
    let rows = check(&settings).await;
    admin.engine.observed.telemetry.metrics.peers(rows.iter().map(|row| (row.kind.as_str(), row.name.as_str(), row.reachable)));
    let unreachable: Vec<&str> = rows.iter().filter(|row| !row.reachable).map(|row| row.place.as_str()).collect();
    let change = Change::new((), json!({ "asked": rows.len(), "unreachable": unreachable }));
    Ok(change.told(HttpResponse::Ok().json(rows)))
}
