//! Whether what the configuration names can be reached: receivers, issuers, enrichers, the archive, hooks.
//!
//! A sink is asked as `sinks test` asks it. Whoever else speaks HTTP is asked for `/` by `HEAD`, without a credential, and through the guard
//! of the sinks: any answer at all shows that name, route, port and certificate are right, takes nothing from a quota and changes nothing.
use super::sinks;
use crate::archive::Target;
use crate::config::{ModelEndpoint, ReplySettings, Settings};
use crate::sinks::Answer;
use crate::sinks::http::{Http, HttpSettings, shown};
use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Asked at once.
const AT_ONCE: usize = 8;
/// How long each may take: sinks have a time limit of their own.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer, and whether it answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeerRow {
    /// `sink`, `issuer`, `enricher`, `archive`, `reply_hook` or `model`.
    pub kind: String,
    /// Of its table, where it has one.
    pub name: String,
    /// Path or URL, without what may be secret.
    pub place: String,
    pub reachable: bool,
    /// What it said, or why it could not be asked.
    pub answer: String,
    pub seconds: f64,
}

/// Somebody to ask.
struct Peer {
    kind: &'static str,
    name: String,
    place: String,
    by: By,
}

enum By {
    Sink,
    Http(Box<HttpSettings>),
    Socket(PathBuf),
    /// A directory that is to be written.
    Directory(PathBuf),
}

/// Asks all of them, at once as far as may be; in the order of the configuration.
pub async fn check(settings: &Settings) -> Vec<PeerRow> {
    futures_util::stream::iter(peers(settings)).map(|peer| ask(settings, peer)).buffered(AT_ONCE).collect().await
}

fn peers(settings: &Settings) -> Vec<Peer> {
    let http =
        |kind, name: &str, http: HttpSettings| Peer { kind, name: name.to_owned(), place: shown(&http.url), by: By::Http(Box::new(http)) };
    let mut peers: Vec<Peer> = Vec::new();
    peers.extend(settings.sinks.iter().map(|sink| Peer {
        kind: "sink",
        name: sink.name.to_string(),
        place: sink.receiver.place(),
        by: By::Sink,
    }));
    peers.extend(settings.issuers.iter().map(|issuer| {
        let url = issuer.jwks_url.clone().unwrap_or_else(|| issuer.url.clone());
        let how = HttpSettings { allow_private: issuer.allow_private.clone(), ca_file: issuer.ca_file.clone(), ..HttpSettings::new(url) };
        http("issuer", &issuer.issuer, how)
    }));
    peers.extend(settings.enrichers.iter().map(|enricher| {
        let (allow_private, ca_file) = (enricher.allow_private.clone(), enricher.ca_file.clone());
        http("enricher", enricher.name.as_str(), HttpSettings { allow_private, ca_file, ..HttpSettings::new(enricher.url.clone()) })
    }));
    peers.extend(settings.receivers.iter().filter_map(|receiver| match &receiver.reply {
        ReplySettings::Hook { url, allow_private, .. } => {
            let how = HttpSettings { allow_private: allow_private.clone(), ..HttpSettings::new(url.clone()) };
            Some(http("reply_hook", receiver.name.as_str(), how))
        }
        ReplySettings::None | ReplySettings::Persona(_) => None,
    }));
    peers.extend(settings.model.iter().map(|model| match model {
        ModelEndpoint::Http { url, networks } => {
            http("model", "", HttpSettings { allow_private: networks.clone(), ..HttpSettings::new(url.clone()) })
        }
        ModelEndpoint::Unix(socket) => {
            Peer { kind: "model", name: String::new(), place: socket.display().to_string(), by: By::Socket(socket.clone()) }
        }
    }));
    peers.extend(settings.archive.settings().map(|archive| {
        let by = match &archive.to {
            Target::Directory(directory) => By::Directory(directory.clone()),
            Target::S3(s3) => {
                let (allow_private, ca_file) = (s3.allow_private.clone(), s3.ca_file.clone());
                By::Http(Box::new(HttpSettings { allow_private, ca_file, ..HttpSettings::new(s3.endpoint.clone()) }))
            }
        };
        Peer { kind: "archive", name: String::new(), place: archive.to.place(), by }
    }));
    peers
}

async fn ask(settings: &Settings, Peer { kind, name, place, by }: Peer) -> PeerRow {
    let begun = Instant::now();
    let asked = match by {
        By::Sink => match sinks::test(settings, &name).await {
            Ok(report) if report.usable => Ok(report.answer),
            Ok(report) => Err(report.answer),
            Err(error) => Err(error.to_string()),
        },
        By::Http(http) => reached(*http).await,
        By::Socket(socket) => connected(&socket).await,
        By::Directory(directory) => writable(directory).await,
    };
    let (reachable, answer) = match asked {
        Ok(answer) => (true, answer),
        Err(why) => (false, why),
    };
    PeerRow { kind: kind.to_owned(), name, place, reachable, answer, seconds: begun.elapsed().as_secs_f64() }
}

async fn reached(settings: HttpSettings) -> Result<String, String> {
    let mut root = settings.url.clone();
    root.set_path("/");
    root.set_query(None);
    let settings = HttpSettings { url: root.clone(), timeout: PATIENCE, concurrency: 1, ..settings };
    // It reads the certificates that are trusted besides the system's.
    let made = tokio::task::spawn_blocking(move || Http::new(settings)).await;
    let http = made.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())?;
    let reply = http.ask(Method::HEAD, &root, HeaderMap::new(), b"", 0).await.map_err(Answer::into_why)?;
    Ok(format!("status {}", reply.status))
}

async fn connected(socket: &Path) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, tokio::net::UnixStream::connect(socket)).await {
        Ok(Ok(_)) => Ok("it listens".to_owned()),
        Ok(Err(error)) => Err(format!("cannot connect to {}: {error}", socket.display())),
        Err(_) => Err(format!("{} accepts nobody within {} s", socket.display(), PATIENCE.as_secs())),
    }
}

async fn writable(directory: PathBuf) -> Result<String, String> {
    use nix::unistd::{AccessFlags, access};
    let looked = tokio::task::spawn_blocking(move || {
        let may = std::fs::metadata(&directory)
            .and_then(|_| access(&directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(std::io::Error::from));
        may.map_err(|error| format!("cannot write to {}: {error}", directory.display()))
    });
    looked.await.map_err(|panic| panic.to_string())?.map(|()| "it can be written".to_owned())
}
