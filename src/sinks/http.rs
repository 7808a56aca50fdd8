//! What all sinks that speak HTTP have in common: one guarded client, and what a status means.
//!
//! The client follows no proxy from the environment and no redirect by itself. A redirect is followed here when it keeps method
//! and body (307, 308), at most [`REDIRECTS_MAX`] in a row, each target checked by the [guard](super::guard); credentials and
//! configured header fields go to the configured origin only, and nothing goes from https to http.
//!
//! Why-texts end up in logs and on terminals: they are short, printable, and hold neither a credential nor a query, nor more of a
//! path than its first segment.
use super::guard::{Forbidden, Guard, Resolver};
use super::{Answer, Outcome};
use crate::network::Network;
use crate::telemetry::printable::{prefix, printable};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use reqwest::{Certificate, Client, Method, Response};
use std::error::Error;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use url::Url;

/// In a row.
pub const REDIRECTS_MAX: usize = 3;
/// Of an answer whose body is only looked at by people.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// A receiver that asks for more patience than this gets this much.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(30);
const WHY_BYTES_MAX: usize = 400;
const EXCERPT_BYTES_MAX: usize = 160;
/// What is shorter in a header field or a query is no secret, and would be found everywhere. Credentials have no least length.
const SECRET_BYTES_MIN: usize = 6;
/// A segment of a path that is so long may be a credential.
const SEGMENT_BYTES_SECRET: usize = 16;
const CA_BYTES_MAX: u64 = 4 << 20;

/// How to reach a receiver.
#[derive(Clone)]
pub struct HttpSettings {
    pub url: Url,
    /// For one request with its redirects and its answer.
    pub timeout: Duration,
    pub compression: Compression,
    /// Further header fields; their values may be secret.
    pub headers: Vec<(String, String)>,
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// What the guard lets through though it is not public.
    pub allow_private: Vec<Network>,
    /// Requests under way at once.
    pub concurrency: usize,
}

impl HttpSettings {
    pub fn new(url: Url) -> HttpSettings {
        HttpSettings {
            url,
            timeout: Duration::from_secs(30),
            compression: Compression::None,
            headers: Vec::new(),
            credentials: None,
            ca_file: None,
            allow_private: Vec::new(),
            concurrency: 4,
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpSettings")
            .field("url", &shown(&self.url))
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .field("headers", &headers)
            .field("credentials", &self.credentials)
            .field("ca_file", &self.ca_file)
            .field("allow_private", &self.allow_private)
            .field("concurrency", &self.concurrency)
            .finish()
    }
}

/// Of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// How the daemon shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: Basic …`
    Basic { user: String, password: Secret },
    /// `Authorization: ApiKey …`, Elasticsearch's own: the key as it is given out, base64 of id and key.
    ApiKey(Secret),
    /// A header field of its own: `x-api-key: …`
    Header { name: &'static str, value: Secret },
}

/// A text that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, to be sent or to make signatures with.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a sink cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{url} cannot be a receiver: {source}")]
    Url { url: String, source: Forbidden },
    #[error("{url} cannot be the beginning of other URLs: leave out its query")]
    Base { url: String },
    #[error("Elasticsearch takes bodies that are compressed by gzip or not at all: set compression to \"gzip\"")]
    Encoding,
    #[error("the header field {name} cannot be sent: remove characters that are not printable")]
    Header { name: String },
    #[error("the credential cannot be sent: the file must hold one line of printable characters")]
    Credential,
    #[error("cannot read {}: {source}", path.display())]
    CaRead { path: PathBuf, source: std::io::Error },
    #[error("{} holds no certificates: give it in PEM form", path.display())]
    CaParse { path: PathBuf },
    #[error("cannot start the HTTP client: {0}")]
    Client(String),
}

/// A client for one receiver.
pub struct Http {
    client: Client,
    guard: Arc<Guard>,
    settings: HttpSettings,
    /// Sent to the configured origin only.
    private_headers: HeaderMap,
    /// What no text may show.
    secrets: Vec<String>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").field(&self.settings).finish()
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// At most as long as was asked for; what is longer is cut.
    pub body: Vec<u8>,
    pub retry_after: Option<Duration>,
    /// Where a redirect that was not followed leads to, and why it was not.
    redirect: Option<String>,
}

impl Http {
    pub fn new(settings: HttpSettings) -> Result<Http, HttpError> {
        let guard = Arc::new(Guard::new(settings.allow_private.clone()));
        // A literal address that the guard refuses can never work; better to say so before anything waits for it.
        guard.check_url(&settings.url).map_err(|source| HttpError::Url { url: shown(&settings.url), source })?;
        let mut private_headers = HeaderMap::new();
        let mut secrets = Vec::new();
        let maybe_secret = |text: &str| (text.len() >= SECRET_BYTES_MIN).then(|| text.to_owned());
        for (name, value) in &settings.headers {
            let error = || HttpError::Header { name: printable(prefix(name, 64)).into_owned() };
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| error())?;
            private_headers.append(parsed, HeaderValue::from_str(value).map_err(|_| error())?);
            secrets.extend(maybe_secret(value));
        }
        if let Some(credentials) = &settings.credentials {
            let (name, value) = authorization(credentials, &mut secrets);
            let mut value = HeaderValue::from_str(&value).map_err(|_| HttpError::Credential)?;
            value.set_sensitive(true);
            private_headers.insert(name, value);
        }
        secrets.extend(settings.url.query().and_then(maybe_secret));
        // Receivers that do not know a path say so by repeating it.
        let segments = settings.url.path_segments().into_iter().flatten();
        secrets.extend(segments.filter(|segment| segment.len() >= SEGMENT_BYTES_SECRET).map(str::to_owned));
        secrets.extend(settings.url.query_pairs().filter_map(|(_, value)| maybe_secret(&value)));
        secrets.retain(|secret| !secret.is_empty());
        // The longest first: one may contain another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let client = client(&settings, &guard)?;
        Ok(Http { client, guard, settings, private_headers, secrets })
    }

    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Asks once, following redirects; reads at most `body_bytes_max` of what comes back. An error is what the failure means.
    pub async fn ask(&self, method: Method, url: &Url, headers: HeaderMap, body: &[u8], body_bytes_max: usize) -> Result<Reply, Answer> {
        let asked = self.follow(method, url.clone(), headers, body, body_bytes_max);
        match tokio::time::timeout(self.settings.timeout, asked).await {
            Ok(result) => result,
            Err(_) => Err(retry(format!("no answer within {} s", self.settings.timeout.as_secs_f64()))),
        }
    }

    /// What a reply means, judged by its status alone.
    pub fn judge(&self, reply: &Reply) -> Answer {
        let why = match &reply.redirect {
            Some(redirect) => format!("status {}: {redirect}", reply.status),
            None => self.why(reply),
        };
        classify(reply.status, reply.retry_after, why)
    }

    /// [`Http::ask`] and [`Http::judge`].
    pub async fn outcome(&self, method: Method, url: &Url, headers: HeaderMap, body: &[u8]) -> Outcome {
        match self.ask(method, url, headers, body, BODY_BYTES_MAX).await {
            Ok(reply) => Outcome { answer: self.judge(&reply), status: Some(reply.status) },
            Err(answer) => Outcome { answer, status: None },
        }
    }

    /// `status 400: …` with the beginning of the body.
    pub fn why(&self, reply: &Reply) -> String {
        let excerpt = self.excerpt(&reply.body);
        if excerpt.is_empty() { format!("status {}", reply.status) } else { format!("status {}: {excerpt}", reply.status) }
    }

    /// The beginning of what a receiver wrote, made harmless.
    pub fn excerpt(&self, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(&text[..text.len().min(4096)]).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "…");
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        prefix(&printable(&words.join(" ")), EXCERPT_BYTES_MAX).to_owned()
    }

    async fn follow(&self, method: Method, mut url: Url, headers: HeaderMap, body: &[u8], bytes_max: usize) -> Result<Reply, Answer> {
        let origin = self.settings.url.origin();
        let mut trusted = url.origin() == origin;
        for hop in 0.. {
            self.guard.check_url(&url).map_err(|forbidden| unusable(forbidden.to_string()))?;
            let mut request = self.client.request(method.clone(), url.clone()).headers(headers.clone()).body(body.to_vec());
            if trusted {
                request = request.headers(self.private_headers.clone());
            }
            let response = request.send().await.map_err(|error| self.failure(&url, error))?;
            let status = response.status().as_u16();
            if !response.status().is_redirection() {
                return self.read(response, bytes_max, None, &url).await;
            }
            let next = match redirect(status, &url, response.headers()) {
                Ok(_) if hop == REDIRECTS_MAX => Err(format!("more than {REDIRECTS_MAX} redirects: set url to where they lead")),
                next => next,
            };
            match next {
                Ok(next) => {
                    trusted &= next.origin() == origin;
                    url = next;
                }
                Err(why) => return self.read(response, bytes_max, Some(why), &url).await,
            }
        }
        unreachable!("the loop returns at the last hop")
    }

    /// Sends once, without following redirects: for bodies that can be sent only once. Guarded as all else; the caller bounds the time.
    pub(crate) async fn send_once(&self, method: Method, url: &Url, headers: HeaderMap, body: reqwest::Body) -> Result<Response, Answer> {
        self.guard.check_url(url).map_err(|forbidden| unusable(forbidden.to_string()))?;
        let request = self.client.request(method, url.clone()).headers(headers).headers(self.private_headers.clone()).body(body);
        request.send().await.map_err(|error| self.failure(url, error))
    }

    async fn read(&self, mut response: Response, bytes_max: usize, redirect: Option<String>, url: &Url) -> Result<Reply, Answer> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
        let mut body = Vec::new();
        while body.len() < bytes_max {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(bytes_max - body.len())]),
                Ok(None) => break,
                Err(error) => return Err(self.failure(url, error)),
            }
        }
        Ok(Reply { status, body, retry_after, redirect })
    }

    /// What an error of the client means.
    fn failure(&self, url: &Url, error: reqwest::Error) -> Answer {
        let error = error.without_url();
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
                return unusable(bounded(&forbidden.to_string()));
            }
            cause = error.source();
        }
        let innermost = innermost(&error);
        let place = format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let doing = match &error {
            error if error.is_builder() => return unusable(bounded(&format!("cannot ask {place}: {innermost}"))),
            error if error.is_connect() => "cannot connect to",
            error if error.is_body() || error.is_decode() => "the answer broke off from",
            _ => "no answer from",
        };
        retry(bounded(&format!("{doing} {place}: {innermost}")))
    }
}

/// Meaning of a status; see the field's conventions: what is wrong with the receiver must not cost events.
pub fn classify(status: u16, retry_after: Option<Duration>, why: String) -> Answer {
    match status {
        200..=299 => Answer::Delivered,
        408 | 425 | 429 | 500..=599 => Answer::Retry { after: retry_after, why },
        413 => Answer::TooLarge { why },
        400 | 409 | 415 | 422 => Answer::Refused { why },
        _ => Answer::Unusable { why },
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let after = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// A body as it is sent, and the encoding's name.
pub fn compress(body: Vec<u8>, compression: Compression) -> (Vec<u8>, Option<&'static str>) {
    let never = "writing to memory cannot fail";
    match compression {
        Compression::None => (body, None),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
            encoder.write_all(&body).expect(never);
            (encoder.finish().expect(never), Some("gzip"))
        }
        Compression::Zstd => {
            (zstd::bulk::compress(&body, 1).expect("level 1 exists, and the buffer is as large as zstd asks for"), Some("zstd"))
        }
    }
}

/// Header fields of a request.
///
/// # Panics
/// On a value that is not printable ASCII: nothing that comes from events belongs into header fields.
pub fn header_map<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("made by this program of printable characters");
    fields.into_iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

/// A URL without what may be secret in it: user, password, query, and of the path all but a short first segment, for many
/// receivers know who sends by nothing but a path that nobody can guess.
pub fn shown(url: &Url) -> String {
    use url::Position::{AfterPort, BeforeHost};
    let path = url.path().strip_prefix('/').unwrap_or(url.path());
    let path = match path.split_once('/') {
        _ if path.split('/').next().is_some_and(|first| first.len() >= SEGMENT_BYTES_SECRET) => "…".to_owned(),
        Some((first, rest)) if !rest.is_empty() => format!("{first}/…"),
        _ => path.to_owned(),
    };
    let query = if url.query().is_some() { "?…" } else { "" };
    bounded(&format!("{}://{}/{path}{query}", url.scheme(), &url[BeforeHost..AfterPort]))
}

fn client(settings: &HttpSettings, guard: &Arc<Guard>) -> Result<Client, HttpError> {
    let certificates = match &settings.ca_file {
        Some(path) => read_certificates(path)?,
        None => Vec::new(),
    };
    let agent = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(concat!("honeyguide/", env!("CARGO_PKG_VERSION"))))]);
    let builder = || {
        Client::builder()
            .default_headers(agent.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Every attempt is the delivery's, which counts and logs it.
            .retry(reqwest::retry::never())
            .dns_resolver(Resolver(guard.clone()))
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(settings.concurrency.max(1))
    };
    let whole = builder().tls_certs_merge(certificates.clone()).build();
    // On a system without any certificates, which plain HTTP does not need.
    let made = if settings.url.scheme() == "http" { whole.or_else(|_| builder().tls_certs_only(certificates).build()) } else { whole };
    made.map_err(|error| HttpError::Client(bounded(&innermost(&error))))
}

fn read_certificates(path: &PathBuf) -> Result<Vec<Certificate>, HttpError> {
    use std::io::Read;
    let failed = |source| HttpError::CaRead { path: path.clone(), source };
    let mut pem = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(failed)?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(HttpError::CaParse { path: path.clone() }),
    }
}

fn authorization(credentials: &Credentials, secrets: &mut Vec<String>) -> (HeaderName, String) {
    use base64::Engine;
    let mut note = |secret: &Secret| secrets.push(secret.expose().to_owned());
    match credentials {
        Credentials::Bearer(token) => {
            note(token);
            (AUTHORIZATION, format!("Bearer {}", token.expose()))
        }
        Credentials::ApiKey(key) => {
            note(key);
            (AUTHORIZATION, format!("ApiKey {}", key.expose()))
        }
        Credentials::Basic { user, password } => {
            note(password);
            let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
            note(&Secret::new(both.as_str()));
            (AUTHORIZATION, format!("Basic {both}"))
        }
        Credentials::Header { name, value } => {
            note(value);
            (HeaderName::from_static(name), value.expose().to_owned())
        }
    }
}

/// Where a redirect leads to, or why it is not followed.
fn redirect(status: u16, from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers.get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).ok_or("no usable Location")?;
    let mut to = from.join(location).map_err(|_| "its Location is no URL")?;
    to.set_fragment(None);
    if !matches!(status, 307 | 308) {
        return Err(format!("only 307 and 308 keep the request: set url to {}", shown(&to)));
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(format!("it leads from https to {}: not followed", shown(&to)));
    }
    Ok(to)
}

fn innermost(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn bounded(text: &str) -> String {
    prefix(&printable(text), WHY_BYTES_MAX).to_owned()
}

fn retry(why: String) -> Answer {
    Answer::Retry { after: None, why }
}

fn unusable(why: String) -> Answer {
    Answer::Unusable { why }
}

/// `content-type` of what the sinks send.
pub const JSON: (&str, &str) = ("content-type", "application/json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_longer_than_an_hour() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let cases = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:57 GMT", Some(20)),
            ("Sun Nov  6 08:49:47 1994", Some(10)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("１", None),
            ("tomorrow", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn redirects_keep_the_request_and_never_leave_https() {
        let follow = |status: u16, from: &str, to: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).expect("printable"))]);
            redirect(status, &Url::parse(from).expect("a URL"), &headers).map(|url| url.to_string())
        };
        assert_eq!(follow(307, "https://a.example/x/y", "../z?k=1#f").as_deref(), Ok("https://a.example/z?k=1"));
        assert_eq!(follow(308, "http://a.example/", "https://b.example/").as_deref(), Ok("https://b.example/"));
        assert_eq!(follow(308, "https://a.example/", "//b.example/").as_deref(), Ok("https://b.example/"));
        let refused = "it leads from https to http://a.example/?…: not followed";
        assert_eq!(follow(307, "https://a.example/", "http://a.example/?token=1").unwrap_err(), refused);
        assert_eq!(
            follow(302, "https://a.example/", "/b").unwrap_err(),
            "only 307 and 308 keep the request: set url to https://a.example/b"
        );
        assert!(redirect(307, &Url::parse("https://a.example/").expect("a URL"), &HeaderMap::new()).is_err());
    }

    #[test]
    fn of_a_url_nothing_is_shown_that_could_be_a_credential() {
        for (url, expected) in [
            ("https://hooks.example/services/T000/B000/SECRET", "https://hooks.example/services/…"),
            ("https://hooks.example:8443/bot123456:SECRETSECRET/send", "https://hooks.example:8443/…"),
            ("http://10.0.3.7/SECRETSECRETSECRET", "http://10.0.3.7/…"),
            ("https://u:SECRET@r.example/in?key=SECRET#SECRET", "https://r.example/in?…"),
            ("http://[2001:db8::1]:9200/elastic/", "http://[2001:db8::1]:9200/elastic/"),
            ("https://r.example", "https://r.example/"),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(shown(&url), expected);
        }
        let http = Http::new(HttpSettings::new("https://r.example/in/SECRETSECRETSECRET".parse().expect("a URL"))).expect("made");
        assert_eq!(http.excerpt(b"cannot POST /in/SECRETSECRETSECRET"), "cannot POST /in/…");
    }

    #[test]
    fn compressed_bodies_come_back_as_they_were() {
        let body = "a line of a log\n".repeat(1000).into_bytes();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let (sent, encoding) = compress(body.clone(), compression);
            let plain = match encoding {
                None => sent.clone(),
                Some("gzip") => {
                    let mut plain = Vec::new();
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(sent.as_slice()), &mut plain).expect("gzip");
                    plain
                }
                Some("zstd") => zstd::bulk::decompress(&sent, 1 << 20).expect("zstd"),
                Some(other) => panic!("{other}"),
            };
            assert!(plain == body && (compression == Compression::None || sent.len() < body.len() / 10), "{compression:?}");
        }
    }
}
