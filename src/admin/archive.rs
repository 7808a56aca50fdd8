//! Routes of archives: archiving on demand, and tables of events.
use super::Admin;
use super::audit::Change;
use super::problem::Problem;
use super::questions::{Checking, leaving, teller, told_redacted};
use super::route::Route;
use super::stream;
use crate::access::Right;
use crate::archive::export::{Into, export};
use crate::archive::run::{ArchiveRun, Selection, run};
use crate::archive::{ArchiveFormat, ArchiveSettings, Stop};
use crate::config::ArchiveOptions;
use crate::events::time;
use crate::index::query::Query;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::io;

const PARQUET: &str = "application/vnd.apache.parquet";

pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/archive", Right::Administer, "Archives segments", archive)
            .names_files()
            .body::<ArchiveRequest>()
            .answers_lines::<Checking<ArchiveRun>>(),
        Route::get("/events/parquet", Right::Evidence, "The events that match as a table in a Parquet file", parquet)
            .query::<Table>()
            .answers_bytes(PARQUET),
    ]
}

/// What is to be archived, where and as what; what is not said is the configuration's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiveRequest {
    #[serde(default)]
    pub to: Option<String>,
    #[serde(default)]
    pub formats: Vec<ArchiveFormat>,
    #[serde(default)]
    pub selection: Selection,
}

impl ArchiveRequest {
    /// With the configuration's for the rest. An error is the caller's to mend.
    pub fn settings(&self, options: &ArchiveOptions) -> Result<ArchiveSettings, String> {
        let to = match &self.to {
            Some(to) => options.target(to)?,
            None => options.to.clone().ok_or("archive where? name a place with --to, or with `to` in [archive] of the configuration")?,
        };
        let formats = if self.formats.is_empty() { options.formats.clone() } else { self.formats.clone() };
        Ok(ArchiveSettings { to, formats })
    }
}

async fn archive(admin: web::Data<Admin>, asked: web::Json<ArchiveRequest>) -> Result<HttpResponse, Problem> {
    let settings = asked.settings(&admin.engine.settings.borrow().archive).map_err(|error| Problem::bad_request(&error))?;
    let store = admin.engine.store().clone();
    // Where to, the records of what was archived say.
    let change =
        Change::new(admin.holdings(), serde_json::json!({ "asked": { "formats": settings.formats, "selection": asked.selection } }));
    let (selection, stop) = (asked.selection, Stop::default());
    // A server may take its time; the daemon's end does not wait for it.
    let (mut stopping, told) = (admin.stopping.clone(), stop.clone());
    let watch = actix::spawn(async move {
        if stopping.wait_for(|&stopping| stopping).await.is_ok() {
            told.stop();
        }
    });
    let answer = stream::lines(&admin, move |lines| {
        let done = run(&store, &settings, selection, &stop, &mut teller::<ArchiveRun>(lines));
        watch.abort();
        let _ = lines.tell(&Checking::Report(done));
        Ok(())
    });
    Ok(change.told(answer.await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Table {
    query: String,
    /// All when nobody says.
    #[serde(default)]
    limit: Option<u64>,
    /// As they may leave, by the policy in force.
    #[serde(default)]
    redact: bool,
    /// The digest of the rules that the asking one knows.
    rules: Option<String>,
}

/// The events that match, as Parquet.
async fn parquet(admin: web::Data<Admin>, asked: web::Query<Table>) -> Result<HttpResponse, Problem> {
    let Table { query: text, limit, redact, rules } = asked.into_inner();
    let query = Query::parse(&text, time::now()).map_err(|error| Problem::bad_query(&error))?;
    let store = admin.engine.store().clone();
    let policy = leaving(&admin, redact, rules.as_deref())?;
    let mark = policy.clone();
    let mut answer = stream::lines(&admin, move |lines| {
        let out = Into(|bytes: &[u8]| if lines.bytes(bytes).is_break() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) });
        export(&store, (&text, &query), limit.unwrap_or(u64::MAX), policy.as_deref(), out).map_err(|error| Problem::failed(&error))?;
        Ok(())
    })
    .await?;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PARQUET));
    Ok(told_redacted(answer, mark.as_deref()))
}
