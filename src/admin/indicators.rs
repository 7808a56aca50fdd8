//! Routes of indicators: the list, and all about one of them, with the daemon's configuration.
use super::Admin;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::Right;
use crate::enrich::Desk;
use crate::events::time;
use crate::indicators::known::{self, Known};
use crate::indicators::lists::Lists;
use crate::indicators::{self};
use crate::os::memory;
use crate::service::dossier::{Dossier, dossier};
use crate::service::indicators::{Asked, Listed, list};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// When nobody says how many.
const LIMIT_DEFAULT: usize = 50;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/indicators", Right::Evidence, "Indicators with their scores, the highest first", indicators)
            .query::<Wanted>()
            .answers::<Listed>(),
        Route::get("/indicators/show", Right::Evidence, "One indicator with its sightings and relations", show)
            .query::<One>()
            .answers::<Dossier>(),
    ]
}

#[derive(Deserialize, utoipa::IntoParams)]
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

/// The operator's lists, and where those from outside are.
fn lists_of(admin: &Admin) -> (Lists, PathBuf) {
    let settings = admin.engine.settings.borrow();
    (settings.lists.clone(), known::directory(&settings.data_dir))
}

/// Outside lists, and what enrichers have said.
fn known(directory: &Path, desk: &Desk) -> Result<Known, Problem> {
    let known = Known::open(directory).map_err(|error| Problem::failed(&error))?;
    Ok(known.with_flagged(desk.flagged().map_err(|error| Problem::failed(&error))?))
}

/// Indicators, the highest scores first, and how many more there are.
async fn indicators(admin: web::Data<Admin>, wanted: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let Wanted { kind, since, until, min_count, min_score, sensor, hostile, limit } = wanted.into_inner();
    let kinds = indicators::kinds_called(&kind).map_err(|error| Problem::bad_request(&error))?;
    let asked = Asked { kinds, since, until, min_count, min_score, sensor, hostile, limit };
    let (store, now, (lists, directory)) = (admin.engine.store().clone(), time::now(), lists_of(&admin));
    let desk = admin.engine.enrichment.clone();
    let body = stream::one(&admin, move || {
        let known = known(&directory, &desk)?;
        let listed = list(&store.answers(), &asked, (&lists, &known), now)?;
        let body = serde_json::to_vec(&listed).map_err(|error| Problem::failed(&error))?;
        drop(listed);
        // Judging all values leaves much behind, however few are listed.
        memory::give_back();
        Ok(body)
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body.await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
struct One {
    value: String,
}

/// All that is known of a value.
async fn show(admin: web::Data<Admin>, one: web::Query<One>) -> Result<HttpResponse, Problem> {
    let (store, now, (lists, directory)) = (admin.engine.store().clone(), time::now(), lists_of(&admin));
    let desk = admin.engine.enrichment.clone();
    let told = stream::one(&admin, move || {
        let known = known(&directory, &desk)?;
        let told = dossier(&store, &one.value, (&lists, &known), now)?;
        Ok(Dossier { verdicts: desk.cached(&told.value), ..told })
    });
    Ok(HttpResponse::Ok().json(told.await?))
}
