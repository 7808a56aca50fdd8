//! Requests to receivers that speak HTTP: one client for a sink, every connection admitted by the [guard](super::guard).
//!
//! Redirects are followed by hand and only where the same request may be repeated (307, 308), at most [`REDIRECTS_MAX`] times,
//! each target judged anew; credentials stay with the origin they were meant for. Answers are read up to a limit. What a status
//! means is the same for all sinks ([`answer_of`]) unless one knows better.
use super::guard::{Guard, Network, Refusal};
use super::{Answer, Outcome, Request};
use crate::config::{Compression, Credential, HttpReceiver};
use crate::telemetry::printable::printable;
use base64::Engine;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use std::error::Error as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use url::Url;

const REDIRECTS_MAX: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that nobody uses are closed before the receiver's own patience ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// A receiver cannot send a sink to sleep for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Most that is read of an answer that only its status matters of, bytes.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Of an answer's text that is shown, characters.
const EXCERPT_CHARS: usize = 200;
/// Largest secret's file, bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Why a sink cannot be made; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot read the secret in {path}: {error}", path = printable(&path.to_string_lossy()))]
    Secret { path: PathBuf, error: std::io::Error },
    #[error("the secret in {path} is empty, or has characters that a header field cannot carry", path = printable(&path.to_string_lossy()))]
    BadSecret { path: PathBuf },
    #[error("cannot read the certificates in {path}: {error}", path = printable(&path.to_string_lossy()))]
    Certificates { path: PathBuf, error: String },
    #[error("cannot set up HTTP: {0}")]
    Client(String),
}

/// A secret's file without the newline at its end.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, HttpError> {
    let failed = |error| HttpError::Secret { path: path.into(), error };
    let mut secret = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(SECRET_BYTES_MAX).read_to_end(&mut secret).map_err(failed)?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.is_empty() { Err(HttpError::BadSecret { path: path.into() }) } else { Ok(secret) }
}

/// Sends to one receiver.
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
    /// Where requests go.
    pub url: Url,
    headers: HeaderMap,
    /// Only for the origin of `url`.
    credential: Option<(HeaderName, HeaderValue)>,
    compression: Compression,
}

/// How an API key is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyHeader {
    /// `Authorization: ApiKey …`
    Authorization,
    /// `x-api-key: …`
    XApiKey,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    /// At most as long as was asked for.
    pub body: Vec<u8>,
    /// The answer was longer.
    pub cut: bool,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum Failure {
    /// The guard, or a redirect that is not followed.
    Refused(String),
    /// No connection, or it broke.
    Transport(String),
}

impl Client {
    /// Reads secrets and certificates: on a thread that may block.
    pub fn new(receiver: &HttpReceiver, api_key: ApiKeyHeader) -> Result<Client, HttpError> {
        let allowed: Vec<Network> = receiver.allow_private.iter().filter_map(|text| text.parse().ok()).collect();
        let guard = Guard::new(allowed);
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("honeyguide/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .dns_resolver(guard.clone());
        if let Some(path) = &receiver.ca_file {
            let failed = |error: String| HttpError::Certificates { path: path.clone(), error };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
            if certificates.is_empty() {
                return Err(failed("there is none in it (PEM is expected)".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| HttpError::Client(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &receiver.headers {
            // Both were checked with the configuration.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        let credential = receiver.credential.as_ref().map(|credential| credential_header(credential, api_key)).transpose()?;
        Ok(Client { http, guard, url: receiver.url.clone(), headers, credential, compression: receiver.compression })
    }

    /// Compresses a body as configured; the encoding's name goes into [`Request::headers`].
    pub fn compress(&self, body: Vec<u8>) -> (Vec<u8>, Option<&'static str>) {
        match self.compression {
            Compression::None => (body, None),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
                let compressed = encoder.write_all(&body).and_then(|()| encoder.finish());
                (compressed.expect("memory takes what is written"), Some("gzip"))
            }
            Compression::Zstd => (zstd::bulk::compress(&body, 1).expect("memory takes what is written"), Some("zstd")),
        }
    }

    /// Sends a request made by the sink's `encode`.
    pub async fn send(
        &self,
        url: &Url,
        request: &Request,
        attempt: u32,
        content_type: &'static str,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let id = request.id.to_string();
        for (name, value) in request
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("idempotency-key", id.as_str()), ("x-correlation-id", &format!("{id}-{attempt}"))])
        {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        self.exchange(Method::POST, url, headers, request.body.clone(), limit).await
    }

    /// One exchange, redirects included.
    pub async fn exchange(&self, method: Method, url: &Url, headers: HeaderMap, body: Vec<u8>, limit: usize) -> Result<Reply, Failure> {
        // Shared by the hops instead of copied for each.
        let body = bytes::Bytes::from(body);
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.guard.admit_url(&url).map_err(|refusal| Failure::Refused(refusal.to_string()))?;
            let mut request = self.http.request(method.clone(), url.clone()).headers(self.headers.clone()).headers(headers.clone());
            if let Some((name, value)) = self.credential.as_ref().filter(|_| url.origin() == self.url.origin()) {
                request = request.header(name, value);
            }
            let response = request.body(body.clone()).send().await.map_err(failure)?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return read(response, limit).await;
            }
            url = redirected(&url, status, response.headers().get(LOCATION))?;
        }
        Err(Failure::Refused(format!("redirected more than {REDIRECTS_MAX} times: give the last address as `url`")))
    }
}

/// Where a redirect leads, if it may be followed.
fn redirected(from: &Url, status: StatusCode, location: Option<&HeaderValue>) -> Result<Url, Failure> {
    let refuse = |why: String| Err(Failure::Refused(why));
    let target = location.and_then(|location| location.to_str().ok()).and_then(|location| from.join(location).ok());
    let Some(target) = target else { return refuse(format!("status {} without an address to go to", status.as_u16())) };
    let shown = printable(&excerpt(target.as_str())).into_owned();
    if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return refuse(format!(
            "status {} to {shown} would change the request: give that address as `url` if it is right",
            status.as_u16()
        ));
    }
    if from.scheme() == "https" && target.scheme() != "https" {
        return refuse(format!("a redirect from https to {shown}, which is not encrypted"));
    }
    Ok(target)
}

async fn read(mut response: reqwest::Response, limit: usize) -> Result<Reply, Failure> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    let (mut body, mut cut) = (Vec::new(), false);
    while let Some(part) = response.chunk().await.map_err(failure)? {
        let room = limit - body.len();
        body.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Reply { status, retry_after, body, cut })
}

/// Seconds or a date, bounded (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return Failure::Refused(refusal.to_string());
        }
        last = inner.to_string();
        cause = inner.source();
    }
    Failure::Transport(printable(&excerpt(&last)).into_owned())
}

fn credential_header(credential: &Credential, api_key: ApiKeyHeader) -> Result<(HeaderName, HeaderValue), HttpError> {
    let header = |path: &Path, name: HeaderName, bytes: Vec<u8>| {
        let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| HttpError::BadSecret { path: path.into() })?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    match credential {
        Credential::Bearer(path) => header(path, AUTHORIZATION, [b"Bearer ", &read_secret(path)?[..]].concat()),
        Credential::Basic { user, password_file } => {
            let pair = [user.as_bytes(), b":", &read_secret(password_file)?].concat();
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            header(password_file, AUTHORIZATION, format!("Basic {encoded}").into_bytes())
        }
        Credential::ApiKey(path) => match api_key {
            ApiKeyHeader::Authorization => header(path, AUTHORIZATION, [b"ApiKey ", &read_secret(path)?[..]].concat()),
            ApiKeyHeader::XApiKey => header(path, HeaderName::from_static("x-api-key"), read_secret(path)?),
        },
    }
}

/// The encoding as a header field of a [`Request`].
pub fn encoding_header(encoding: Option<&'static str>) -> Option<(&'static str, String)> {
    encoding.map(|encoding| ("content-encoding", encoding.to_owned()))
}

/// What an exchange means where only its status counts.
pub fn outcome_of(exchanged: &Result<Reply, Failure>) -> Outcome {
    match exchanged {
        Ok(reply) => Outcome { answer: answer_of(reply), status: Some(reply.status.as_u16()) },
        Err(failure) => Outcome { answer: failed(failure), status: None },
    }
}

/// What it means that nothing came back.
pub fn failed(failure: &Failure) -> Answer {
    match failure {
        Failure::Refused(why) => Answer::Unusable { why: why.clone() },
        Failure::Transport(why) => Answer::Retry { after: None, why: why.clone() },
    }
}

/// What a status means.
pub fn answer_of(reply: &Reply) -> Answer {
    let why = || told(reply);
    match reply.status.as_u16() {
        200..=299 => Answer::Delivered,
        408 | 425 | 429 | 500..=599 => Answer::Retry { after: reply.retry_after, why: why() },
        413 => Answer::TooLarge { why: why() },
        400 | 409 | 415 | 422 => Answer::Refused { why: why() },
        _ => Answer::Unusable { why: why() },
    }
}

/// Status and beginning of an answer, fit for a log.
pub fn told(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    let text = excerpt(text.trim());
    let status = format!("status {}", reply.status);
    if text.is_empty() { status } else { format!("{status}: {}", printable(&text)) }
}

fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_how_long_to_wait_in_seconds_or_by_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 10:00:00 GMT").expect("a date");
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999", Some(3600)),
            ("Sat, 21 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("Sat, 21 Nov 2076 09:00:00 GMT", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("", None),
            ("184467440737095516160", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn redirects_are_followed_only_where_the_request_stays_what_it_is() {
        let from = Url::parse("https://a.example/x").expect("a URL");
        let to = |status: u16, location: &'static str| {
            redirected(&from, StatusCode::from_u16(status).expect("a status"), Some(&HeaderValue::from_static(location)))
        };
        assert_eq!(to(307, "/y").expect("followed").as_str(), "https://a.example/y");
        assert_eq!(to(308, "https://b.example/").expect("followed").as_str(), "https://b.example/");
        for (status, location) in
            [(301, "/y"), (302, "/y"), (303, "/y"), (300, "/y"), (307, "http://a.example/y"), (307, "http://["), (308, "ftp://a/")]
        {
            assert!(matches!(to(status, location), Err(Failure::Refused(_))), "{status} {location}");
        }
        assert!(matches!(redirected(&from, StatusCode::TEMPORARY_REDIRECT, None), Err(Failure::Refused(_))));
    }

    #[test]
    fn a_status_means_the_same_everywhere() {
        let answer = |status: u16| {
            let reply = Reply {
                status: StatusCode::from_u16(status).expect("a status"),
                retry_after: None,
                body: b"no \x1b[2J".to_vec(),
                cut: false,
            };
            answer_of(&reply)
        };
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status), Answer::Delivered);
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(status), Answer::Retry { .. }), "{status}");
        }
        for status in [401, 403, 404, 405, 410, 402, 451] {
            assert!(matches!(answer(status), Answer::Unusable { .. }), "{status}");
        }
        for status in [400, 409, 415, 422] {
            assert!(matches!(answer(status), Answer::Refused { .. }), "{status}");
        }
        assert!(matches!(answer(413), Answer::TooLarge { .. }));
        let Answer::Refused { why } = answer(400) else { panic!("refused") };
        assert!(why.starts_with("status 400 Bad Request: no ") && !why.contains('\x1b'), "{why}");
    }

    #[test]
    fn secrets_are_read_without_their_newline_and_never_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\r\n").expect("written");
        assert_eq!(read_secret(&path).expect("read"), b"s3cret");
        std::fs::write(&path, "\n\n").expect("written");
        assert!(matches!(read_secret(&path), Err(HttpError::BadSecret { .. })));
        assert!(matches!(read_secret(&dir.path().join("none")), Err(HttpError::Secret { .. })));
    }
}
