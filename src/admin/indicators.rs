//! Routes of indicators: the list, and all about one of them, with the daemon's configuration.
use super::Admin;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::Right;
use crate::enrich::Desk;
use crate::events::{Micros, time};
use crate::indicators::known::{self, Known};
use crate::indicators::lists::Lists;
use crate::indicators::{self};
use crate::os::memory;
use crate::service::dossier::{Dossier, dossier};
use crate::service::indicators::{Asked, Listed, list};
use crate::store::Store;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

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
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Names between commas.
    #[serde(default)]
    kind: String,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    min_count: u64,
    #[serde(default)]
    #[param(maximum = 100)]
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

/// By what indicators are judged: the operator's lists, those from outside, and what enrichers have said.
pub(super) struct Judges {
    lists: Lists,
    directory: PathBuf,
    desk: Arc<Desk>,
}

pub(super) fn judges(admin: &Admin) -> Judges {
    let settings = admin.engine.settings.borrow();
    Judges { lists: settings.lists.clone(), directory: known::directory(&settings.data_dir), desk: admin.engine.enrichment.clone() }
}

impl Judges {
    fn known(&self) -> Result<Known, Problem> {
        let known = Known::open(&self.directory).map_err(|error| Problem::failed(&error))?;
        Ok(known.with_flagged(self.desk.flagged().map_err(|error| Problem::failed(&error))?))
    }

    /// Reads: on a thread that may block.
    pub fn list(&self, store: &Store, asked: &Asked, now: Micros) -> Result<Listed, Problem> {
        Ok(list(&store.answers(), asked, (&self.lists, &self.known()?), now)?)
    }

    /// The same.
    pub fn dossier(&self, store: &Store, value: &str, now: Micros) -> Result<Dossier, Problem> {
        let told = dossier(store, value, (&self.lists, &self.known()?), now)?;
        Ok(Dossier { verdicts: self.desk.cached(&told.value), ..told })
    }
}

/// Indicators, the highest scores first, and how many more there are.
async fn indicators(admin: web::Data<Admin>, wanted: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let Wanted { kind, since, until, min_count, min_score, sensor, hostile, limit } = wanted.into_inner();
    let kinds = indicators::kinds_called(&kind).map_err(|error| Problem::bad_request(&error))?;
    let asked = Asked { kinds, since, until, min_count, min_score, sensor, hostile, limit };
    let (store, judges) = (admin.engine.store().clone(), judges(&admin));
    let body = stream::one(&admin, move || {
        let listed = judges.list(&store, &asked, time::now())?;
        let body = serde_json::to_vec(&listed).map_err(|error| Problem::failed(&error))?;
        drop(listed);
        // Judging all values leaves much behind, however few are listed.
        memory::give_back();
        Ok(body)
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body.await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct One {
    value: String,
}

/// All that is known of a value.
async fn show(admin: web::Data<Admin>, one: web::Query<One>) -> Result<HttpResponse, Problem> {
    let (store, judges) = (admin.engine.store().clone(), judges(&admin));
    let told = stream::one(&admin, move || judges.dossier(&store, &one.value, time::now()));
    Ok(HttpResponse::Ok().json(told.await?))
}
