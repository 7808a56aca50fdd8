//! Why a request was not answered: `application/problem+json` (RFC 9457), one closed list of codes.
use crate::service::ServiceError;
use crate::service::geoip::GeoipError;
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, for programs (`code`) and for people (`detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema)]
#[error("{detail}")]
pub struct Problem {
    #[schema(inline)]
    pub r#type: ProblemType,
    pub status: u16,
    pub code: Cow<'static, str>,
    pub title: Cow<'static, str>,
    pub detail: String,
    /// Of a query, or of a line of a JSON body: where it stopped making sense, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    /// Of a JSON body.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// The parameter behind the `?` that is wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub parameter: Option<Box<str>>,
    /// Seconds; goes into `Retry-After`.
    #[serde(skip)]
    pub retry_after_seconds: Option<u16>,
}

/// Problems are told apart by their codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ProblemType {
    #[default]
    #[serde(rename = "about:blank")]
    AboutBlank,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            r#type: ProblemType::AboutBlank,
            status: status.as_u16(),
            code: code.into(),
            title: title.into(),
            detail: detail.into(),
            column: None,
            line: None,
            parameter: None,
            retry_after_seconds: None,
        }
    }

    /// A body, path or parameter that does not fit.
    pub fn bad_request(error: &dyn std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the request is wrong", error.to_string())
    }

    /// A JSON body that is none, or not of the form that is described.
    pub fn bad_json(error: &JsonPayloadError) -> Problem {
        match error {
            JsonPayloadError::Deserialize(wrong) => {
                let problem = Problem::bad_request(&format!("the body does not fit: {wrong}"));
                Problem { line: u32::try_from(wrong.line()).ok(), column: Some(wrong.column()), ..problem }
            }
            JsonPayloadError::ContentType => Problem::unsupported("set Content-Type to application/json"),
            error => super::bounded::body_problem(error),
        }
    }

    pub fn bad_query(error: &crate::index::query::QueryError) -> Problem {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_query", "the query is wrong", error.to_string());
        Problem { column: Some(error.column), ..problem }
    }

    /// A cursor that does not lead on with what is asked for.
    pub fn bad_cursor(error: &crate::service::cursor::CursorError) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", "the cursor is wrong", error.to_string())
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "not found", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "not allowed", detail)
    }

    /// No credential, or one that is none.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "a credential is needed", detail)
    }

    /// It would do at another moment, or with something else as it is.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "not as it is", detail)
    }

    pub fn method_not_allowed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method", detail)
    }

    /// The body did not come in time.
    pub fn timeout(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request came too slowly", detail)
    }

    /// A body over its limit.
    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large", detail)
    }

    /// A content type or an encoding that is not read.
    pub fn unsupported(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "the body is of a kind that is not read", detail)
    }

    /// Too often; so many seconds later it will do.
    pub fn too_many(retry_after_seconds: u16) -> Problem {
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "too many requests",
            format!("more requests than are allowed: try again in {retry_after_seconds} s"),
        );
        Problem { retry_after_seconds: Some(retry_after_seconds), ..problem }
    }

    /// Cannot be done now.
    pub fn unavailable(error: &dyn std::fmt::Display, retry_after_seconds: u16) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not now", error.to_string());
        Problem { retry_after_seconds: Some(retry_after_seconds), ..problem }
    }

    pub fn busy() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too much at once",
            "as many requests of this kind as are allowed are under way: try again",
        );
        Problem { retry_after_seconds: Some(1), ..problem }
    }

    pub fn stopping() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the daemon is stopping",
            "the daemon is stopping: ask again when it runs",
        )
    }

    pub fn failed(error: &dyn std::fmt::Display) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "failed", error.to_string())
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Problem {
        match error {
            ServiceError::Query { error, .. } => Problem::bad_query(&error),
            ServiceError::Cursor(error) => Problem::bad_cursor(&error),
            ServiceError::ByItself(_)
            | ServiceError::NoSpan
            | ServiceError::Wrong(_)
            | ServiceError::Indicators(_)
            | ServiceError::Clusters(_)
            | ServiceError::Erase(_) => Problem::bad_request(&error),
            ServiceError::NotNow(_) => Problem::conflict(error.to_string()),
            ServiceError::NoRecord(_)
            | ServiceError::NoSession(_)
            | ServiceError::NoLetter(..)
            | ServiceError::NoSink(_)
            | ServiceError::NoAlert(_)
            | ServiceError::NoIndicator(_)
            | ServiceError::NoCluster(_) => Problem::not_found(error.to_string()),
            ServiceError::Geoip(GeoipError::None(_)) => Problem::not_found(error.to_string()),
            ServiceError::Geoip(GeoipError::Refused { .. } | GeoipError::Read { .. }) => Problem::bad_request(&error),
            error => Problem::failed(&error),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_seconds {
            answer.insert_header((RETRY_AFTER, u64::from(seconds)));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        match serde_json::to_vec(self) {
            Ok(body) => answer.content_type(CONTENT_TYPE).body(body),
            Err(_) => answer.content_type(ContentType::plaintext()).finish(),
        }
    }
}

impl Responder for Problem {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}
