//! `POST /api/v1/events`: events from a body into the journal. Receivers ([`crate::receiver`]) answer it as well, with what is theirs.
//!
//! ```text
//! POST /api/v1/events?format=cowrie&source=push        Content-Type: application/x-ndjson
//! {"stored":998,"duplicate":1,"refused":1,"refusals":[{"line":17,"reason":"not_an_object","detail":"…"}]}
//! ```
//!
//! The answer comes when all of it is durable. A 4xx says that nothing was taken and what to change; a 503 that it is to be sent again.
use super::bounded::body_problem;
use super::problem::Problem;
use super::route::Route;
use super::{Admin, audit};
use crate::access::{Principal, Right};
use crate::actors::push::PushOutcome;
use crate::config::SourceName;
use crate::daemon::Engine;
use crate::service::push::{self, PushError, PushRequest, Room};
use crate::sources::push::{BODY_BYTES_MAX, BodyError, CONTENT_TYPES, Form};
use crate::sources::{Format, Source};
use crate::telemetry::printable::printable;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use serde::Deserialize;
use std::sync::Arc;

/// What is asked of those that nothing was taken from.
const RETRY_AFTER_SECONDS: u16 = 2;

pub fn routes() -> Vec<Route> {
    // What is pushed is in the journal itself: the ledger says who pushes, and repeats none of it.
    vec![
        Route::post("/events", Right::Push, "Takes events: answers when they are durable", events)
            .query::<Asked>()
            .body_as::<PushedBody>("application/json")
            .body_as::<PushedEvent>("application/x-ndjson")
            .answers::<PushOutcome>()
            .of_sensors()
            .only_asks(),
    ]
}

/// An event as the honeypot writes it, of up to 1 MiB.
#[derive(utoipa::ToSchema)]
#[schema(as = Event, value_type = Object)]
#[expect(dead_code, reason = "for the description: events are taken as they are")]
struct PushedEvent(serde_json::Map<String, serde_json::Value>);

/// One event, or several.
#[derive(utoipa::ToSchema)]
#[schema(as = Events)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the description: events are taken as they are")]
enum PushedBody {
    One(PushedEvent),
    Many(Vec<PushedEvent>),
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Name of a format of logs, built in or configured.
    #[serde(default = "cowrie")]
    #[param(default = "cowrie")]
    format: String,
    /// What the events are said to be of.
    #[serde(default = "pushed")]
    #[param(default = "push", min_length = 1, max_length = 64)]
    source: String,
}

fn cowrie() -> String {
    Format::COWRIE.name().to_owned()
}

fn pushed() -> String {
    SourceName::push().to_string()
}

async fn events(
    admin: web::Data<Admin>,
    asked: web::Query<Asked>,
    who: Principal,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let Some(format) = Format::parse(&asked.format) else {
        let names: Vec<&str> = Format::all().iter().map(|format| format.name()).collect();
        return Err(Problem::bad_request(&format!("there is no format {}: there are {}", printable(&asked.format), names.join(", "))));
    };
    let name = SourceName::parse(&asked.source).map_err(|error| Problem::bad_request(&error))?;
    if name != SourceName::push() && !who.may(Right::Ingest) {
        // Rules of redaction are by source, and so is what an operator believes of it.
        return Err(Problem::forbidden(format!("`source` is for who has the right {}: leave it out", Right::Ingest)));
    }
    let source = Arc::new(Source { name: name.as_str().to_owned(), format });
    let outcome = take(&admin.engine, source, (&who.name, who.sensors.clone()), &request, payload).await?;
    audit::pushed(&admin, &request, &who, name.as_str(), &outcome).await;
    Ok(HttpResponse::Ok().json(outcome))
}

/// Takes the events of a request, from whom, and of which sensors only.
pub(crate) async fn take(
    engine: &Engine,
    source: Arc<Source>,
    (whose, only_sensors): (&Arc<str>, Option<Arc<[String]>>),
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<PushOutcome, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(form) = Form::of(content_type) else {
        return Err(Problem::unsupported(format!("set Content-Type to {CONTENT_TYPES}, in UTF-8")));
    };
    push::taking(engine)?;
    let (body, room) = body(engine, whose, request, payload, BODY_BYTES_MAX).await?;
    Ok(push::push(engine, PushRequest { source, form, only_sensors, body, room }).await?)
}

/// Reads a body of bounded length when there is room for it. That it comes in time the listener sees to ([`super::bounded`]).
pub(crate) async fn body(
    engine: &Engine,
    whose: &Arc<str>,
    request: &HttpRequest,
    mut payload: web::Payload,
    bytes_max: usize,
) -> Result<(Bytes, Room), Problem> {
    let too_large = || Problem::too_large(format!("a body may have {bytes_max} bytes: send it in parts"));
    if request.headers().contains_key(CONTENT_ENCODING) {
        return Err(Problem::unsupported("send the body as it is, without Content-Encoding"));
    }
    let said = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|said| said > bytes_max) {
        return Err(too_large());
    }
    let room = engine.push.room(whose, said.unwrap_or(bytes_max)).await?;
    let mut body = BytesMut::with_capacity(said.unwrap_or(0));
    while let Some(part) = payload.next().await {
        let part = part.map_err(|error| body_problem(&error))?;
        if body.len() + part.len() > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&part);
    }
    Ok((body.freeze(), room))
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Problem {
        match error {
            PushError::Body(error @ (BodyError::TooLarge | BodyError::TooMany)) => Problem::too_large(error.to_string()),
            PushError::Body(error) => Problem::bad_request(&error),
            PushError::NoOutcome(error) => Problem::unavailable(&error, RETRY_AFTER_SECONDS),
        }
    }
}
