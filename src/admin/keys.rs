//! Routes about API keys, and the one that makes tokens of them. A key's text is in the answer that makes it and nowhere else.
use super::audit::Change;
use super::problem::Problem;
use super::route::{Needs, Route};
use super::sinks::Nothing;
use super::{Admin, gate};
use crate::access::keys::{self, KeyRow, KeysError, NewKey};
use crate::access::tokens::{TokenAnswer, TokenRequest, TokensError};
use crate::access::{Credentials, Denied, Principal, Right};
use crate::events::time;
use crate::sinks::http::Secret;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/keys", Right::Administer, "API keys, without their secrets", list).answers::<Vec<KeyRow>>(),
        Route::post("/keys", Right::Administer, "Makes an API key: its text is told this once", create)
            .body::<NewKey>()
            .answers::<KeyMade>(),
        Route::post("/keys/{id}/revoke", Right::Administer, "Revokes an API key and its tokens", revoke)
            .body::<Nothing>()
            .answers::<KeyRow>(),
        Route::post("/keys/{id}/rotate", Right::Administer, "Gives an API key a new secret", rotate)
            .body::<Rotation>()
            .answers::<KeyMade>(),
        Route::new(Method::POST, "/api/v1/token", Needs::Credential, "Makes a short-lived token of the key that asks", token)
            .changes()
            .body::<TokenRequest>()
            .answers::<TokenAnswer>(),
    ]
}

/// A key with its text.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyMade {
    /// The whole text: it is shown this once.
    pub key: String,
    #[serde(flatten)]
    pub row: KeyRow,
}

impl KeyMade {
    pub fn new((row, secret): (KeyRow, Secret)) -> KeyMade {
        KeyMade { key: secret.expose().to_owned(), row }
    }
}

/// A new secret that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// How long the secret before is good as well: "1h" unless said, "0s" when it may have leaked.
    #[schema(pattern = "^[0-9]{1,4}[smhdw]$")]
    pub overlap: Option<String>,
}

impl Rotation {
    pub fn overlap_or_default(&self) -> Option<crate::events::Micros> {
        self.overlap.as_deref().map_or(Some(time::MICROS_PER_HOUR), keys::span)
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Problem {
        match error {
            KeysError::NoKey(_) => Problem::not_found(error.to_string()),
            KeysError::NameTaken(_) | KeysError::Revoked(_) | KeysError::TooMany => Problem::conflict(error.to_string()),
            error if error.is_usage() => Problem::bad_request(&error),
            error => Problem::failed(&error),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        let status = if denied.is_temporary() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED };
        Problem::new(status, denied.code(), "not recognised", denied.to_string())
    }
}

impl From<TokensError> for Problem {
    fn from(error: TokensError) -> Problem {
        match error {
            TokensError::Denied(denied) => denied.into(),
            TokensError::NotAKey => Problem::new(StatusCode::UNAUTHORIZED, "not_a_key", "not recognised", error.to_string()),
            TokensError::Role(_) | TokensError::Sensors => Problem::forbidden(error.to_string()),
            TokensError::NoRole | TokensError::Lifetime => Problem::bad_request(&error),
            TokensError::Secret { .. } | TokensError::Sign(_) => Problem::failed(&error),
        }
    }
}

/// Not among the slow requests: a key must be revocable when those are many. Goes on when the client goes away.
async fn changed<T: Send + 'static>(
    admin: &Admin,
    change: impl FnOnce(&Credentials) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let access: Arc<Credentials> = admin.engine.access.clone();
    tokio::task::spawn_blocking(move || change(&access)).await.map_err(|panic| Problem::failed(&panic))?
}

async fn list(admin: web::Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(admin.engine.access.keys.list(time::now()))
}

async fn create(admin: web::Data<Admin>, new: web::Json<NewKey>, who: Principal) -> Result<HttpResponse, Problem> {
    let by = who.name;
    let made = changed(&admin, move |access| Ok(access.keys.create(&new, &by, time::now())?)).await?;
    Ok(Change::new((), &made.0).told(HttpResponse::Ok().json(KeyMade::new(made))))
}

/// What is known of a key: nothing of its secret.
fn row(access: &Credentials, id: &str) -> Option<KeyRow> {
    access.keys.list(time::now()).into_iter().find(|row| row.id == id)
}

async fn revoke(admin: web::Data<Admin>, id: web::Path<String>, _: web::Json<Nothing>, who: Principal) -> Result<HttpResponse, Problem> {
    let by = who.name;
    let (before, row) = changed(&admin, move |access| Ok((row(access, &id), access.keys.revoke(&id, &by, time::now())?))).await?;
    Ok(Change::new(before, &row).told(HttpResponse::Ok().json(row)))
}

async fn rotate(
    admin: web::Data<Admin>,
    id: web::Path<String>,
    wanted: web::Json<Rotation>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let by = who.name;
    let overlap = wanted.overlap_or_default().ok_or_else(|| Problem::bad_request(&"give an overlap such as 1h, 7d or 0s"))?;
    let made = changed(&admin, move |access| Ok((row(access, &id), access.keys.rotate(&id, overlap, &by, time::now())?)));
    let (before, made) = made.await?;
    Ok(Change::new(before, &made.0).told(HttpResponse::Ok().json(KeyMade::new(made))))
}

/// Needs the key itself in a header field, whoever else vouches for the peer.
async fn token(admin: web::Data<Admin>, wanted: web::Json<TokenRequest>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (authorization, api_key) = gate::credential(request.headers())?;
    let (authorization, api_key) = (authorization.map(str::to_owned), api_key.map(str::to_owned));
    let made = changed(&admin, move |access| Ok(access.issue(authorization.as_deref(), api_key.as_deref(), &wanted, time::now())?));
    let made = made.await?;
    Ok(Change::new((), json!({ "expires_at": made.expires_at })).told(HttpResponse::Ok().json(made)))
}
