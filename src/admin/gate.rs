//! What every request passes before its route: is the name it asks for ours, are there too many, who is it. And what every answer gets:
//! the request's id, a count and its latency by route.
use super::login::{self, Standing};
use super::problem::Problem;
use super::{Admin, access, audit, bounded};
use crate::access::credentials::sent;
use crate::access::{Denied, Principal};
use crate::events::time;
use crate::sinks::http::Secret;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use std::time::Instant;
use url::Url;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Longest id that is taken from a client.
const ID_BYTES_MAX: usize = 64;

/// By which log, ledger and answer name a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub String);

impl RequestId {
    /// The client's, if it has one that cannot do harm; else a new one.
    fn of(request: &ServiceRequest) -> RequestId {
        let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let is_plain = |id: &&str| {
            (1..=ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        RequestId(given.filter(is_plain).map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned))
    }
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Tcp,
    Unix,
}

impl Listener {
    pub fn name(self) -> &'static str {
        match self {
            Listener::Tcp => "tcp",
            Listener::Unix => "unix",
        }
    }
}

/// The way of a request in and of its answer out.
pub(super) async fn gate(mut request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let admin = request.app_data::<web::Data<Admin>>().cloned().expect("every listener is given it");
    let metrics = admin.engine.observed.telemetry.metrics.clone();
    let (started, id, method) = (Instant::now(), RequestId::of(&request), request.method().clone());
    let listener = *request.app_data::<Listener>().expect("every listener says which it is");
    bounded::in_time(&mut request);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(listener);
    let pattern = request.match_pattern();
    let origin = listed_origin(&admin, &request);
    let is_preflight = method == Method::OPTIONS && origin.is_some();
    let entered = enter(&admin, listener, &request).await;
    let is_stranger = !matches!(entered, Ok(Some(_)));
    let answered = match entered {
        Ok(principal) => {
            if let Some((principal, standing)) = principal {
                request.extensions_mut().insert(principal);
                request.extensions_mut().insert(standing);
            }
            if is_preflight {
                Ok(request.into_response(HttpResponse::NoContent().finish()))
            } else {
                next.call(request).await.map(ServiceResponse::map_into_boxed_body)
            }
        }
        Err(problem) => {
            audit::refused(&admin, audit::Told::of(request.request(), None), &problem);
            Ok(request.into_response(problem.error_response()))
        }
    };
    let status = match &answered {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    metrics.requested(known_method(&method), pattern.as_deref(), status.as_u16(), started.elapsed());
    let mut answer = answered?;
    if is_stranger || status == StatusCode::REQUEST_TIMEOUT {
        // There are only so many connections.
        answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    answer.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(&id.0).expect("letters, digits, - _ ."));
    if let Some(origin) = origin {
        allow_origin(answer.headers_mut(), origin);
    }
    Ok(answer)
}

/// How somebody proved who they are, to be asked again while a connection lasts.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// The kernel vouches for the connection itself.
    Peer,
    Credential(Secret),
    Session(Secret),
}

impl Shown {
    /// Of a request that passed the gate.
    pub fn of(admin: &Admin, request: &HttpRequest) -> Result<Shown, Problem> {
        let (authorization, key) = credential(request.headers())?;
        match (sent(authorization, key), request.cookie(admin.cookie.name())) {
            _ if request.extensions().get::<Listener>() == Some(&Listener::Unix) => Ok(Shown::Peer),
            (Ok(credential), _) => Ok(Shown::Credential(Secret::new(credential.to_owned()))),
            (Err(_), Some(cookie)) => Ok(Shown::Session(Secret::new(cookie.value().to_owned()))),
            (Err(denied), None) => Err(denied.into()),
        }
    }

    /// Whether it still proves the same.
    pub async fn still_proves(&self, admin: &Admin, who: &Principal) -> bool {
        let now = match self {
            Shown::Peer => return true,
            Shown::Credential(credential) => admin.engine.access.verify_text(credential.expose(), time::now()).await.ok(),
            Shown::Session(id) => login::whose(admin, id.expose()),
        };
        now.as_ref() == Some(who)
    }
}

/// The header fields `Authorization` and `x-api-key`, each at most once.
pub(super) fn credential(headers: &HeaderMap) -> Result<(Option<&str>, Option<&str>), Problem> {
    let field = |name: &HeaderName| -> Result<Option<&str>, Denied> {
        let mut fields = headers.get_all(name);
        match (fields.next(), fields.next()) {
            (None, _) => Ok(None),
            (Some(field), None) => field.to_str().map(Some).map_err(|_| Denied::Unrecognised),
            (Some(_), Some(_)) => Err(Denied::Ambiguous),
        }
    };
    Ok((field(&AUTHORIZATION)?, field(&API_KEY)?))
}

/// The origin of a page that asks, if the operator listed it.
fn listed_origin(admin: &Admin, request: &ServiceRequest) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    admin.engine.settings.borrow().admin.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// The page may read the answer. It needs a key of its own: cookies are not sent for it.
fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-api-key, x-request-id"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "x-request-id, retry-after"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
        (VARY, "origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

/// Whether no other site's page made a browser ask: its `Origin` is the address that is asked. Without one it is no browser, or a page that
/// only reads.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN);
    let Some(origin) = origins.next() else { return true };
    let mut hosts = headers.get_all(HOST);
    let (Some(host), None, None) = (hosts.next(), hosts.next(), origins.next()) else { return false };
    let place = |url: &str| -> Option<(String, u16)> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let is_bare =
            url.path() == "/" && url.username().is_empty() && url.password().is_none() && url.query().or(url.fragment()).is_none();
        Some((url.host_str().filter(|_| is_bare)?.to_owned(), url.port_or_known_default()?))
    };
    let same = || {
        let (origin, host) = (origin.to_str().ok()?, host.to_str().ok()?);
        let (scheme, _) = origin.split_once("://")?;
        Some(place(origin)? == place(&format!("{scheme}://{host}"))?)
    };
    same() == Some(true)
}

/// A label; methods can have any name.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

/// Who asks; `None`: somebody without a credential.
async fn enter(admin: &Admin, listener: Listener, request: &ServiceRequest) -> Result<Option<(Principal, Standing)>, Problem> {
    let standing = |principal: Principal| {
        let csrf = admin.sessions.token(&principal.name);
        (principal, Standing { csrf, by_cookie: false })
    };
    if listener == Listener::Unix {
        return access::peer(request, admin.engine.settings.borrow().admin.group_role).map(|peer| Some(standing(peer)));
    }
    if let Some(address) = request.peer_addr() {
        admin.limits.address(address.ip(), admin.engine.settings.borrow().admin.address_rate)?;
    }
    access::our_name(request, &admin.engine.settings.borrow().admin.hosts)?;
    let (authorization, key) = credential(request.headers())?;
    if authorization.is_none() && key.is_none() {
        return login::by_cookie(admin, request);
    }
    let verified = admin.engine.access.verify(authorization, key, time::now()).await;
    admin.engine.observed.telemetry.metrics.credential(verified.as_ref().map_or_else(Denied::code, |_| "accepted"));
    let principal = verified?;
    admin.limits.key(&principal.name, admin.engine.settings.borrow().admin.key_rate)?;
    Ok(Some(standing(principal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_very_address_may_watch() {
        let asked = |origin: &[&str], host: &[&str]| {
            let mut headers = HeaderMap::new();
            origin.iter().for_each(|origin| headers.append(ORIGIN, HeaderValue::from_str(origin).expect("a value")));
            host.iter().for_each(|host| headers.append(HOST, HeaderValue::from_str(host).expect("a value")));
            is_same_origin(&headers)
        };
        for (origin, host) in [
            ("http://localhost:8787", "localhost:8787"),
            ("http://LOCALHOST:8787", "localhost:8787"),
            ("https://guide.example", "guide.example"),
            ("https://guide.example", "guide.example:443"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("http://[::1]:8787", "[::1]:8787"),
        ] {
            assert!(asked(&[origin], &[host]), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "localhost:8787"),
            ("", "localhost:8787"),
            ("http://evil.example", "localhost:8787"),
            ("http://localhost", "localhost:8787"),
            ("http://localhost:8788", "localhost:8787"),
            ("http://localhost:8787.evil.example", "localhost:8787"),
            ("http://localhost:8787@evil.example", "localhost:8787"),
            ("http://localhost:8787/", "localhost:8787/x"),
            ("file://localhost:8787", "localhost:8787"),
            ("https://guide.example", "guide.example:80"),
            ("http://a@localhost:8787", "a@localhost:8787"),
        ] {
            assert!(!asked(&[origin], &[host]), "{origin} {host}");
        }
        assert!(asked(&[], &["localhost"]) && asked(&[], &[]));
        assert!(!asked(&["http://a", "http://a"], &["a"]) && !asked(&["http://a"], &["a", "a"]) && !asked(&["http://a"], &[]));
    }
}
