//! The route that lists sessions.
use super::Admin;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::{Principal, Right};
use crate::events::time;
use crate::index::query::Query;
use crate::service::SearchRequest;
use crate::service::sessions::{self, Sessions};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sessions", Right::Evidence, "Sessions that have events which match, a page at a time", list)
            .query::<Asked>()
            .answers::<Sessions>()
            .of_sensors(),
    ]
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Which events; all when nobody says.
    #[serde(default)]
    query: String,
    /// 50 when nobody says. Where sessions are long a page has fewer; `next` tells whether there is more.
    #[serde(default = "limit_default")]
    #[param(default = 50, minimum = 1, maximum = 1_000)]
    limit: u64,
    /// Those of the newest events first, or those of the oldest.
    #[serde(default = "newest_default")]
    #[param(default = true)]
    newest: bool,
    /// Where to go on.
    cursor: Option<String>,
}

fn limit_default() -> u64 {
    50
}

fn newest_default() -> bool {
    true
}

async fn list(admin: web::Data<Admin>, asked: web::Query<Asked>, who: Principal) -> Result<HttpResponse, Problem> {
    let (Asked { query, limit, newest, cursor }, now) = (asked.into_inner(), time::now());
    // Errors are told as of what was asked, before it is held to what may be seen.
    Query::parse(&query, now).map_err(|error| Problem::bad_query(&error))?;
    let request = SearchRequest { query: who.within(&query), limit, newest };
    let store = admin.engine.store().clone();
    let page = stream::one(&admin, move || Ok(sessions::page(&store, &request, cursor.as_deref(), now)?));
    Ok(HttpResponse::Ok().json(page.await?))
}
