//! An archive in an S3 bucket, Amazon's or another's: signed requests, one object a file.
//!
//! An object is sent with its SHA-256, which the server checks on the way, and is asked for afterwards: length and checksum must be those of
//! the file. A server that keeps no checksums is asked for the whole object instead. Requests go where the guard of the sinks lets them;
//! bodies are read from the file while they are sent. Keys stand in files, and are read each time archiving begins.
use super::{ArchiveError, Destination, Held, Stop, Sums};
use crate::journal::fs::File;
use crate::network::Network;
use crate::sinks::Answer;
use crate::sinks::http::{BODY_BYTES_MAX, Http, HttpSettings, Secret, header_map};
use crate::sinks::open::secret;
use base64::Engine as _;
use bytes::Bytes;
use reqwest::{Method, Response};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use url::Url;

/// Longest life of a signature; each is used at once.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// What S3 takes in one request.
const OBJECT_BYTES_MAX: u64 = 5 << 30;
const UPLOADED_PIECE_BYTES: usize = 256 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
    pub endpoint: Url,
    pub region: String,
    /// The bucket is in the path, not in the host's name.
    pub path_style: bool,
    pub access_key_file: PathBuf,
    pub secret_key_file: PathBuf,
    /// For one request with its body.
    pub timeout: Duration,
    pub ca_file: Option<PathBuf>,
    pub allow_private: Vec<Network>,
}

impl S3Settings {
    pub fn place(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

pub struct S3 {
    settings: S3Settings,
    http: Http,
    bucket: Bucket,
    credentials: Credentials,
    runtime: Runtime,
}

/// What the server says of an object.
struct Head {
    bytes: Option<u64>,
    /// Base64.
    sha256: Option<String>,
}

impl S3 {
    /// Reads the keys; asks nothing. For a thread that may block.
    pub fn open(settings: &S3Settings) -> Result<S3, ArchiveError> {
        let failed = |why: String| ArchiveError::S3(format!("cannot archive to {}: {why}", settings.place()));
        let key = secret(&settings.access_key_file).map_err(failed)?;
        let secret: Secret = secret(&settings.secret_key_file).map_err(failed)?;
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(settings.endpoint.clone(), style, settings.bucket.clone(), settings.region.clone())
            .map_err(|error| failed(format!("{error}: does the endpoint need path_style = true?")))?;
        let http = HttpSettings {
            timeout: settings.timeout,
            ca_file: settings.ca_file.clone(),
            allow_private: settings.allow_private.clone(),
            concurrency: 1,
            ..HttpSettings::new(bucket.base_url().clone())
        };
        let http = Http::new(http).map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(format!("cannot start the runtime: {error}")))?;
        let credentials = Credentials::new(key.expose(), secret.expose());
        Ok(S3 { settings: settings.clone(), http, bucket, credentials, runtime })
    }

    fn key(&self, name: &str) -> String {
        if self.settings.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.settings.prefix) }
    }

    fn failed(&self, doing: &str, name: &str, why: &str) -> ArchiveError {
        ArchiveError::S3(format!("cannot {doing} {name} in {}: {why}", self.settings.place()))
    }

    /// Does work that ends when it takes too long or is told to stop.
    fn within<T>(&self, stop: &Stop, doing: &str, name: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, ArchiveError> {
        self.runtime.block_on(async {
            tokio::select! {
                done = tokio::time::timeout(self.settings.timeout, work) => match done {
                    Ok(done) => done.map_err(|why| self.failed(doing, name, &why)),
                    Err(_) => {
                        let seconds = self.settings.timeout.as_secs();
                        Err(self.failed(doing, name, &format!("it is not done within {seconds} s: raise timeout_seconds if it is only slow")))
                    }
                },
                () = stop.stopped() => Err(ArchiveError::Stopped),
            }
        })
    }

    async fn send(&self, method: Method, url: &Url, headers: &[(&'static str, &str)], body: reqwest::Body) -> Result<Response, String> {
        let sent = self.http.send_once(method, url, header_map(headers.iter().copied()), body).await;
        sent.map_err(Answer::into_why)
    }

    /// Why a request was refused, in the server's words as far as they are any.
    async fn why(&self, response: Response) -> String {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut response = response;
        while body.len() < BODY_BYTES_MAX
            && let Ok(Some(piece)) = response.chunk().await
        {
            body.extend_from_slice(&piece[..piece.len().min(BODY_BYTES_MAX - body.len())]);
        }
        let text = String::from_utf8_lossy(&body);
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>")).map(|(value, _)| self.http.excerpt(value.as_bytes()))
        };
        let code = element("Code").unwrap_or_default();
        let remedy = match (&*code, status) {
            ("SignatureDoesNotMatch", _) => ": is the key in secret_key_file right, and the region?",
            ("InvalidAccessKeyId", _) => ": is the key in access_key_file right?",
            ("NoSuchBucket", _) => ": make the bucket, or set `to` in [archive] to another",
            ("RequestTimeTooSkewed", _) => ": set this machine's clock",
            ("AccessDenied", _) | (_, 403) => ": the keys need s3:PutObject, s3:GetObject and s3:ListBucket there",
            (_, 301 | 307 | 308) | ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) => {
                ": set `endpoint` and `region` to the bucket's"
            }
            _ => "",
        };
        match (code.is_empty(), element("Message")) {
            (true, _) => format!("status {status}{remedy}"),
            (false, None) => format!("status {status}, {code}{remedy}"),
            (false, Some(message)) => format!("status {status}, {code} ({message}){remedy}"),
        }
    }

    async fn head(&self, name: &str) -> Result<Option<Head>, String> {
        let key = self.key(name);
        let mut action = self.bucket.head_object(Some(&self.credentials), &key);
        action.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        let url = action.sign(SIGNED_FOR);
        let response = self.send(Method::HEAD, &url, &[("x-amz-checksum-mode", "ENABLED")], reqwest::Body::default()).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        match response.status().as_u16() {
            200 => Ok(Some(Head {
                bytes: header("content-length").and_then(|len| len.parse().ok()),
                // `…-3`: of the parts of an object that somebody else put together.
                sha256: header("x-amz-checksum-sha256").filter(|sum| !sum.contains('-')).map(str::to_owned),
            })),
            404 => Ok(None),
            // The answer to HEAD has no body: what is wrong is told to one who asks for the object.
            _ => {
                let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
                let response = self.send(Method::GET, &url, &[("range", "bytes=0-0")], reqwest::Body::default()).await?;
                Err(self.why(response).await)
            }
        }
    }

    /// SHA-256 of the object itself, and its length.
    async fn fetched(&self, name: &str, bytes_max: u64) -> Result<(u64, [u8; 32]), String> {
        let key = self.key(name);
        let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
        let mut response = self.send(Method::GET, &url, &[], reqwest::Body::default()).await?;
        if !response.status().is_success() {
            return Err(self.why(response).await);
        }
        let (mut sha256, mut bytes) = (Sha256::new(), 0);
        while let Some(piece) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            sha256.update(&piece);
            bytes += piece.len() as u64;
            if bytes > bytes_max {
                break;
            }
        }
        Ok((bytes, sha256.finalize().into()))
    }

    async fn compare(&self, name: &str, sums: &Sums) -> Result<Held, String> {
        let Some(head) = self.head(name).await? else { return Ok(Held::Nothing) };
        if head.bytes.is_some_and(|bytes| bytes != sums.bytes) {
            return Ok(Held::Other);
        }
        let same = match head.sha256 {
            Some(sha256) => sha256 == base64(&sums.sha256),
            None => self.fetched(name, sums.bytes).await? == (sums.bytes, sums.sha256),
        };
        Ok(if same { Held::Same } else { Held::Other })
    }

    async fn upload(&self, name: &str, source: &Arc<dyn File>, sums: &Sums) -> Result<(), String> {
        let (key, sha256, len) = (self.key(name), base64(&sums.sha256), sums.bytes.to_string());
        let mut action = self.bucket.put_object(Some(&self.credentials), &key);
        action.headers_mut().insert("x-amz-checksum-sha256", &*sha256);
        // Some servers keep the checksum only for who names it as well.
        action.headers_mut().insert("x-amz-sdk-checksum-algorithm", "SHA256");
        let url = action.sign(SIGNED_FOR);
        let kind = if name.ends_with(".zst") { "application/zstd" } else { "application/vnd.apache.parquet" };
        let headers = [
            ("x-amz-checksum-sha256", &*sha256),
            ("x-amz-sdk-checksum-algorithm", "SHA256"),
            ("content-length", &*len),
            ("content-type", kind),
        ];
        let response = self.send(Method::PUT, &url, &headers, body(source.clone(), sums.bytes)).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.why(response).await) }
    }
}

impl Destination for S3 {
    fn place(&self) -> String {
        self.settings.place()
    }

    fn holds(&self, name: &str, sums: &Sums, stop: &Stop) -> Result<Held, ArchiveError> {
        self.within(stop, "look for", name, self.compare(name, sums))
    }

    fn put(&self, name: &str, source: &Arc<dyn File>, sums: &Sums, stop: &Stop) -> Result<(), ArchiveError> {
        if sums.bytes > OBJECT_BYTES_MAX {
            let why =
                format!("it has {} bytes and S3 takes {OBJECT_BYTES_MAX} at once: make `segment_bytes` in [journal] smaller", sums.bytes);
            return Err(self.failed("put", name, &why));
        }
        self.within(stop, "put", name, self.upload(name, source, sums))?;
        match self.within(stop, "look for", name, self.compare(name, sums))? {
            Held::Same => Ok(()),
            Held::Nothing | Held::Other => Err(ArchiveError::Mismatch { name: name.to_owned(), place: self.place() }),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A file's bytes, read while they are sent.
fn body(file: Arc<dyn File>, len: u64) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures_util::stream::unfold(0, move |at| {
        let file = file.clone();
        async move {
            let mut piece = vec![0; (len - at).min(UPLOADED_PIECE_BYTES as u64) as usize];
            if piece.is_empty() {
                return None;
            }
            let read = file.read_exact_at(&mut piece, at);
            let next = at + piece.len() as u64;
            Some((read.map(|()| Bytes::from(piece)), next))
        }
    }))
}
