//! The route of indicators: the list, with the daemon's configuration.
use super::Admin;
use super::problem::Problem;
use super::stream;
use crate::events::time;
use crate::indicators;
use crate::os::memory;
use crate::service::indicators::{Asked, list};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

/// When nobody says how many.
const LIMIT_DEFAULT: usize = 50;

pub fn routes(routes: &mut web::ServiceConfig) {
    routes.route("/indicators", web::get().to(indicators));
}

#[derive(Deserialize)]
struct Wanted {
    /// Names between commas.
    #[serde(default)]
    kind: String,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    min_count: u64,
    #[serde(default)]
    min_score: u8,
    sensor: Option<String>,
    #[serde(default)]
    hostile: bool,
    #[serde(default = "limit_default")]
    limit: usize,
}

fn limit_default() -> usize {
    LIMIT_DEFAULT
}

/// Indicators, the highest scores first, and how many more there are.
async fn indicators(admin: web::Data<Admin>, wanted: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let Wanted { kind, since, until, min_count, min_score, sensor, hostile, limit } = wanted.into_inner();
    let kinds = indicators::kinds_called(&kind).map_err(|error| Problem::bad_request(&error))?;
    let asked = Asked { kinds, since, until, min_count, min_score, sensor, hostile, limit };
    let (store, lists, now) = (admin.engine.store().clone(), admin.engine.settings.borrow().lists.clone(), time::now());
    let body = stream::one(&admin, move || {
        let listed = list(&store.answers(), &asked, &lists, now)?;
        let body = serde_json::to_vec(&listed).map_err(|error| Problem::failed(&error))?;
        drop(listed);
        // Judging all values leaves much behind, however few are listed.
        memory::give_back();
        Ok(body)
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body.await?))
}
