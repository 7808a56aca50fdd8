//! Asks the daemon over its Unix socket; and finds out whether there is one to ask.
use super::context::Usage;
use crate::admin::health::Identity;
use crate::admin::problem::{CONTENT_TYPE, Problem};
use crate::admin::questions::REDACTED;
use crate::config::Settings;
use crate::daemon::{DataDir, OpenStore, StartError};
use crate::os::owner::become_owner_of;
use crate::telemetry::Telemetry;
use crate::telemetry::printable::printable;
use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a daemon may take to say that it is one.
const HELLO: Duration = Duration::from_secs(5);
/// Longest line of an answer, bytes: a line of the journal is at most 1 MiB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A daemon that answers.
pub struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    socket: PathBuf,
    /// The digest of the rules by which every answer must be redacted.
    redacted: Option<String>,
}

/// Who answers a question.
pub enum Target {
    Daemon(Client),
    /// No daemon runs: the data directory itself, locked and open.
    Local(Box<OpenStore>),
}

impl Target {
    /// The daemon of the configured data directory, or else the directory itself, which must exist.
    pub fn find(settings: &Settings) -> anyhow::Result<Target> {
        if let Some(client) = Client::find(settings)? {
            return Ok(Target::Daemon(client));
        }
        Ok(Target::Local(Box::new(open_existing(settings)?.into_store())))
    }
}

/// Opens a data directory that must exist, as its owner.
pub fn open_existing(settings: &Settings) -> anyhow::Result<DataDir> {
    let dir = &settings.data_dir;
    let shown = printable(&dir.to_string_lossy()).into_owned();
    match std::fs::metadata(dir.join("journal")) {
        Ok(_) => open(settings, &Telemetry::unlogged()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.exists() => {
            bail!("{shown} is no data directory: it has no journal; `honeyguide load PATH` begins one there, `--data DIR` names another")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no data directory {shown}: `honeyguide load PATH` makes one, `--data DIR` names another")
        }
        Err(error) => Err(error).with_context(|| format!("cannot look into the data directory {shown}; are you in its group?")),
    }
}

/// Opens the data directory as its owner; a new one is made. Says on standard error what was found to be wrong.
pub fn open(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<DataDir> {
    become_owner_of(&settings.data_dir)?;
    let bar = super::terminal::progress(None);
    let opened = DataDir::open(settings, telemetry, &mut |what| {
        bar.set_message(what.to_owned());
        bar.tick();
    });
    bar.finish_and_clear();
    let data_dir = opened.map_err(|error| match error {
        StartError::Lock(error @ crate::os::lock::Error::InUse { .. }) => anyhow!("{error} It does not answer on {}", sockets(settings)),
        error => error.into(),
    })?;
    let report = &data_dir.parts.report;
    for damage in &report.damage {
        eprintln!("honeyguide: the journal is damaged: {}; `honeyguide verify` names all of it", printable(&damage.to_string()));
    }
    if let Some(torn) = &report.torn {
        let bytes = torn.bytes.len();
        eprintln!("honeyguide: segment {} ended in {bytes} bytes of an incomplete block: moved to quarantine", torn.segment);
    }
    for refused in &report.places_refused {
        eprintln!("honeyguide: {}", printable(refused));
    }
    for segment in &report.sidecars_rebuilt {
        eprintln!("honeyguide: the index of segment {segment} was missing or stale: built again");
    }
    Ok(data_dir)
}

fn sockets(settings: &Settings) -> String {
    let sockets: Vec<String> = settings.client_sockets().iter().map(|socket| printable(&socket.to_string_lossy()).into_owned()).collect();
    sockets.join(" or ")
}

impl Client {
    /// The daemon that serves the configured data directory, if one answers.
    pub fn find(settings: &Settings) -> anyhow::Result<Option<Client>> {
        let data_dir = settings.data_dir.canonicalize().unwrap_or_else(|_| settings.data_dir.clone());
        for socket in settings.client_sockets() {
            let shown = printable(&socket.to_string_lossy()).into_owned();
            match std::os::unix::net::UnixStream::connect(&socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(anyhow!("you may not ask the daemon on {shown}: only root, its own user and its group may"));
                }
                // No socket, or one that a daemon left behind.
                Err(_) => continue,
            }
            let client = Client::on(&socket)?;
            let identity: Identity =
                client.get(&["health"], &[], Some(HELLO)).with_context(|| format!("the daemon on {shown} does not answer"))?;
            if identity.data_dir == data_dir {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }

    fn on(socket: &Path) -> anyhow::Result<Client> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let builder = reqwest::Client::builder().unix_socket(socket).no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = builder.build().context("cannot start the client")?;
        Ok(Client { http, runtime, socket: socket.to_owned(), redacted: None })
    }

    /// Where it answers.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes no answer but one that says that it is redacted by the rules of this digest: a daemon of a version that does not know of
    /// redacting would answer in clear.
    pub fn redacted(self, digest: Option<String>) -> Client {
        Client { redacted: digest, ..self }
    }

    /// Only its path matters: what is asked goes through the socket.
    fn url(path: &[&str], parameters: &[(&str, String)]) -> reqwest::Url {
        let mut url = reqwest::Url::parse("http://localhost/").expect("a literal URL");
        url.path_segments_mut().expect("http URLs have paths").clear().extend(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    /// Asks, and reads the whole answer.
    pub fn get<T: DeserializeOwned>(&self, path: &[&str], parameters: &[(&str, String)], within: Option<Duration>) -> anyhow::Result<T> {
        let request = self.http.get(Self::url(path, parameters));
        let request = within.into_iter().fold(request, reqwest::RequestBuilder::timeout);
        serde_json::from_slice(&self.whole(request)?).context("the daemon's answer cannot be read: is it of another version?")
    }

    /// Asks for bytes as they are.
    pub fn get_bytes(&self, path: &[&str]) -> anyhow::Result<Vec<u8>> {
        self.whole(self.http.get(Self::url(path, &[])))
    }

    /// Tells the daemon to do something, and reads the whole answer.
    pub fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> anyhow::Result<T> {
        let answer = self.whole(self.http.post(Self::url(path, &[])).json(body))?;
        serde_json::from_slice(&answer).context("the daemon's answer cannot be read: is it of another version?")
    }

    /// Asks for lines; calls `each` with one after the other until it says to stop.
    pub fn lines(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(self.each_line(self.http.get(Self::url(path, parameters)), each))
    }

    /// Asks for bytes as they are, piece by piece.
    pub fn pieces(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut response = self.send(self.http.get(Self::url(path, parameters))).await?;
            while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error))? {
                each(&piece)?;
            }
            Ok(())
        })
    }

    /// Asks for lines behind which one more says how they ended; answers that one.
    pub fn lines_to_end<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<T> {
        // Only what comes behind a line tells whether it is the last one.
        let (mut held, mut is_held) = (Vec::new(), false);
        self.lines(path, parameters, &mut |line| {
            if is_held {
                each(&held)?;
            }
            held.clear();
            held.extend_from_slice(line);
            is_held = true;
            Ok(ControlFlow::Continue(()))
        })?;
        serde_json::from_slice(&held).context("the daemon's answer has no end: is it of another version?")
    }

    /// Tells the daemon to do something that it reports on in lines. Ctrl-C ends the following of it and nothing else.
    /// Answers whether the lines came to their end.
    pub fn post_lines(
        &self,
        path: &[&str],
        body: &impl Serialize,
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<bool> {
        let request = self.http.post(Self::url(path, &[])).json(body);
        self.runtime.block_on(async {
            tokio::select! {
                followed = self.each_line(request, each) => followed.map(|()| true),
                _ = tokio::signal::ctrl_c() => Ok(false),
            }
        })
    }

    fn whole(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
        self.runtime.block_on(async { Ok(self.send(request).await?.bytes().await.map_err(|error| self.broken(error))?.to_vec()) })
    }

    async fn each_line(
        &self,
        request: reqwest::RequestBuilder,
        each: &mut dyn FnMut(&[u8]) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let mut response = self.send(request).await?;
        let mut begun: Vec<u8> = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error))? {
            let mut rest = &piece[..];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, behind) = (&rest[..end], &rest[end + 1..]);
                rest = behind;
                let go_on = if begun.is_empty() {
                    each(line)?
                } else {
                    begun.extend_from_slice(line);
                    let go_on = each(&begun)?;
                    begun.clear();
                    go_on
                };
                if go_on.is_break() {
                    return Ok(());
                }
            }
            if begun.len() + rest.len() > LINE_BYTES_MAX {
                bail!("the daemon sends a line that does not end");
            }
            begun.extend_from_slice(rest);
        }
        Ok(())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            let by = response.headers().get(REDACTED).map(|digest| digest.as_bytes());
            if self.redacted.as_ref().is_some_and(|digest| by != Some(digest.as_bytes())) {
                bail!("the daemon does not say that its answer is redacted, so nothing of it is shown: is it of another version?");
            }
            return Ok(response);
        }
        let is_problem =
            response.headers().get(reqwest::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == CONTENT_TYPE.as_bytes());
        let body = response.bytes().await.map_err(|error| self.broken(error))?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem && matches!(&*problem.code, "bad_query" | "bad_cursor") => Err(Usage(problem.detail).into()),
            Ok(problem) if is_problem => Err(problem.into()),
            _ => bail!("the daemon answered with {status}: is it of another version?"),
        }
    }

    fn broken(&self, error: reqwest::Error) -> anyhow::Error {
        let socket = printable(&self.socket.to_string_lossy()).into_owned();
        anyhow::Error::from(error).context(format!("the answer of the daemon on {socket} broke off: its log says why"))
    }
}
