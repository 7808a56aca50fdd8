//! Routes of enrichers: where they stand, and questions to them.
use super::Admin;
use super::audit::Change;
use super::problem::Problem;
use super::route::Route;
use crate::access::Right;
use crate::enrich::desk::{DeskError, Enriched, EnricherRow, Wanted};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/enrichers", Right::Status, "Enrichers with their quotas", enrichers).answers::<Vec<EnricherRow>>(),
        Route::post("/enrich", Right::Enrich, "Asks enrichers for one value", enrich).body::<EnrichRequest>().answers::<Enriched>(),
    ]
}

/// What to ask about, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrichRequest {
    pub value: String,
    /// Names of enrichers; none: all that answer such values.
    #[serde(default)]
    pub with: Vec<String>,
    /// Ask though an answer is kept.
    #[serde(default)]
    pub refresh: bool,
    /// Ask nobody: only what is kept.
    #[serde(default)]
    pub cached: bool,
}

impl EnrichRequest {
    pub fn new(value: String, Wanted { with, refresh, cached }: Wanted) -> EnrichRequest {
        EnrichRequest { value, with, refresh, cached }
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Problem {
        match error {
            DeskError::NoEnricher(_) => Problem::not_found(error.to_string()),
            DeskError::NoneConfigured | DeskError::NoSubject(_) => Problem::bad_request(&error),
        }
    }
}

async fn enrichers(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(admin.engine.enrichment.rows())
}

async fn enrich(admin: web::Data<Admin>, asked: web::Json<EnrichRequest>) -> Result<HttpResponse, Problem> {
    let (desk, EnrichRequest { value, with, refresh, cached }) = (admin.engine.enrichment.clone(), asked.into_inner());
    let wanted = Wanted { with, refresh, cached };
    let before = json!({ "asked": wanted });
    // To its end although who asked may go away: the quota is used, and the answer is worth keeping.
    let asked = actix_web::rt::spawn(async move { desk.ask(&value, &wanted).await });
    let enriched = asked.await.map_err(|panic| Problem::failed(&panic))??;
    // Not about which value: erasing it from the events would leave it here.
    let by: Vec<&str> = enriched.answers.iter().map(|answer| answer.enricher.as_str()).collect();
    let after = json!({ "kind": enriched.kind, "answered_by": by });
    Ok(Change::new(before, after).told(HttpResponse::Ok().json(enriched)))
}
