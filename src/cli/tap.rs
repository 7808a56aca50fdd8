//! `honeyguide tap`: events as they happen, over the daemon's socket. The words are `ops/LIVE.md`'s.
//!
//! It outlives the daemon: when that goes away it waits, and goes on behind the last event it was told of, so that a restart costs nothing.
use super::client::Client;
use super::context::{Context, Exit, Usage};
use super::redacting::Redacting;
use super::terminal::escape;
use super::{args, format, print};
use crate::admin::problem::Problem;
use crate::admin::questions::REDACTED;
use crate::config::Settings;
use crate::events::time;
use crate::index::query::Query;
use crate::live::message::{ClientMessage, PROTOCOL, Refusal, ServerMessage};
use crate::telemetry::printable::printable;
use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Name of the one subscription.
const SUBSCRIPTION: &str = "tap";
/// Longest message of the daemon: what waits for a client is at most 16 MiB, and this much more costs nothing.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// How long to wait before asking again for a daemon that is gone: at first, and at most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Silence after which a daemon, which asks every 20 seconds whether anybody is there, is taken to be gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);

pub fn run(args: &args::Tap, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the events written to `out`.
pub fn answer(args: &args::Tap, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = context.settings()?;
    let redacting = Redacting::new(args.redact, &settings)?;
    let (query, since) = asked(args).map_err(Usage)?;
    let socket = socket(&settings)?;
    let mut tap = Tap {
        args,
        context,
        out,
        socket,
        query,
        since,
        uri: uri(&redacting),
        digest: redacting.digest(),
        next: args.from,
        journal: None,
        printed: 0,
    };
    if args.limit == Some(0) {
        return Ok(Exit::Done);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = tap.follow() => ended,
            stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        }
    });
    ended?;
    tap.out.flush()?;
    Ok(Exit::Done)
}

/// The query with the time from which events are wanted, and that time. It counts back from now, also when it is asked again later.
fn asked(args: &args::Tap) -> Result<(String, Option<String>), String> {
    let (text, now) = (args.query.join(" "), time::now());
    let understood = |text: &str| Query::parse(text, now).map_err(|error| format!("{error}\n{}", error.pointer(text)));
    understood(&text)?;
    let Some(since) = &args.since else { return Ok((text, None)) };
    let parsed = understood(&format!("since:{since}"))?;
    let Some(since) = parsed.since.filter(|_| parsed.clauses.is_empty() && parsed.until.is_none()) else {
        return Err("--since takes one date, time or age: conditions stand before it".into());
    };
    let since = time::format(since);
    Ok((format!("{text} since:{since}").trim_start().to_owned(), Some(since)))
}

fn socket(settings: &Settings) -> anyhow::Result<PathBuf> {
    let dir = printable(&settings.data_dir.to_string_lossy()).into_owned();
    let client = Client::find(settings)?.ok_or_else(|| {
        anyhow!(
            "no daemon runs on {dir}, and only a running one sees events happen: start it with `systemctl start honeyguide` or \
             `honeyguide run`; what is stored already, `honeyguide search` finds without one"
        )
    })?;
    Ok(client.socket().to_owned())
}

/// Only its path matters: what is asked goes through the socket.
fn uri(redacting: &Redacting<'_>) -> String {
    let mut url = url::Url::parse("ws://localhost/api/v1/live").expect("a literal URL");
    let parameters: Vec<_> = redacting.parameters().collect();
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    url.into()
}

type Connection = WebSocketStream<UnixStream>;

struct Tap<'a> {
    args: &'a args::Tap,
    context: &'a Context,
    out: &'a mut dyn Write,
    socket: PathBuf,
    query: String,
    since: Option<String>,
    uri: String,
    /// Of the rules by which everything must be redacted.
    digest: Option<String>,
    /// The event to go on with, once that is known.
    next: Option<u64>,
    /// Which journal its number is of.
    journal: Option<String>,
    printed: u64,
}

/// Why nothing was heard any more.
enum Broken {
    /// There are as many events as were asked for.
    Enough,
    Lost(String),
}

/// Why there is no connection.
enum NoConnection {
    /// There may be one later.
    Later(String),
    Never(anyhow::Error),
}

impl Tap<'_> {
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(NoConnection::Later(why)) => bail!("{why}"),
            Err(NoConnection::Never(error)) => return Err(error),
        };
        if self.context.output.terminal && !self.context.global.json {
            eprintln!("watching; Ctrl-C ends it");
        }
        loop {
            let why = match self.watch(&mut connection).await? {
                Broken::Enough => {
                    // Whether the daemon hears of it matters to nobody.
                    let _ = tokio::time::timeout(RETRY_MIN, connection.close(None)).await;
                    return Ok(());
                }
                Broken::Lost(why) => why,
            };
            self.out.flush()?;
            note(&format!("the daemon is gone ({why}): waiting for it to come back"));
            let mut delay = RETRY_MIN;
            connection = loop {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(RETRY_MAX);
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(NoConnection::Later(_)) => {}
                    Err(NoConnection::Never(error)) => return Err(error),
                }
            };
            match self.next {
                Some(next) => note(&format!("the daemon is back: going on with event {next}")),
                None => note("the daemon is back"),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, NoConnection> {
        let shown = printable(&self.socket.to_string_lossy()).into_owned();
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                NoConnection::Never(anyhow!("you may not ask the daemon on {shown}: only root, its own user and its group may"))
            }
            _ => NoConnection::Later(format!("no daemon answers on {shown}: {error}")),
        })?;
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (connection, answer) =
            client_async_with_config(self.uri.as_str(), stream, Some(config)).await.map_err(|error| refused(error, &shown))?;
        let by = answer.headers().get(REDACTED).map(|digest| digest.as_bytes());
        if self.digest.as_ref().is_some_and(|digest| by != Some(digest.as_bytes())) {
            return Err(NoConnection::Never(anyhow!(
                "the daemon does not say that what it sends is redacted, so nothing of it is shown: is it of another version?"
            )));
        }
        Ok(connection)
    }

    /// Prints what comes, until nothing more does.
    async fn watch(&mut self, connection: &mut Connection) -> anyhow::Result<Broken> {
        loop {
            let heard = match connection.next().now_or_never() {
                Some(heard) => heard,
                None => {
                    self.out.flush()?;
                    match tokio::time::timeout(SILENCE_MAX, connection.next()).await {
                        Ok(heard) => heard,
                        Err(_) => return Ok(Broken::Lost("nothing was heard of it for long".into())),
                    }
                }
            };
            let text = match heard {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map(|frame| format!("{}: {}", u16::from(frame.code), frame.reason.as_str()));
                    return Ok(Broken::Lost(why.unwrap_or_else(|| "it closed the connection".into())));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Ok(Broken::Lost(error.to_string())),
                None => return Ok(Broken::Lost("it closed the connection".into())),
            };
            // What later versions may add is passed over.
            let Ok(message) = serde_json::from_str::<ServerMessage>(&text) else { continue };
            let order = match message {
                ServerMessage::Hello { protocol, journal, .. } => self.begin(protocol, journal)?,
                message => match self.tell(message)? {
                    Told::Go => continue,
                    Told::Enough => return Ok(Broken::Enough),
                    Told::Again(order) => order,
                },
            };
            let order = serde_json::to_string(&order).context("strings are JSON")?;
            if let Err(error) = connection.send(Message::text(order)).await {
                return Ok(Broken::Lost(error.to_string()));
            }
        }
    }

    fn begin(&mut self, protocol: u32, journal: String) -> anyhow::Result<ClientMessage> {
        if protocol != PROTOCOL {
            bail!("the daemon speaks version {protocol} of the live stream and this program version {PROTOCOL}: use the daemon's own");
        }
        if self.journal.as_ref().is_some_and(|known| *known != journal) {
            note("it has another journal now: what happened meanwhile is not shown");
            self.next = None;
            self.since = None;
        }
        self.journal = Some(journal);
        Ok(self.subscribe())
    }

    fn subscribe(&self) -> ClientMessage {
        let since = self.since.clone().filter(|_| self.next.is_none());
        ClientMessage::Subscribe { id: SUBSCRIPTION.into(), query: self.query.clone(), from: self.next, since }
    }

    fn tell(&mut self, message: ServerMessage) -> anyhow::Result<Told> {
        match message {
            ServerMessage::Subscribed { from, .. } => self.next = Some(from),
            ServerMessage::Position { next } => self.next = self.next.max(Some(next)),
            ServerMessage::Event { seq, line, line_base64, line_bytes, .. } => {
                self.next = Some(seq + 1);
                self.printed += 1;
                match (line_base64, line) {
                    (Some(base64), _) => self.print(&BASE64.decode(base64).context("the daemon's message cannot be read")?)?,
                    (None, Some(line)) => self.print(line.as_bytes())?,
                    (None, None) => {
                        self.out.flush()?;
                        let bytes = line_bytes.unwrap_or(0);
                        note(&format!("event {seq} has {bytes} bytes, more than are sent live: `honeyguide search` shows it"));
                    }
                }
                if Some(self.printed) == self.args.limit {
                    return Ok(Told::Enough);
                }
            }
            ServerMessage::Dropped { count, from, to, .. } => {
                self.next = Some(to + 1);
                self.out.flush()?;
                let events = format::plural(count, "event was", "events were");
                note(&format!("{events} left out here, between number {from} and {to}: they came faster than they were read"));
            }
            ServerMessage::Gap { from, to, why } => {
                self.out.flush()?;
                note(&format!("the events {from} to {to} cannot be shown: {why}"));
            }
            ServerMessage::Error(Refusal { code, detail, .. }) => match &*code {
                // Of the same journal, which lost what was not durable yet.
                "bad_from" if self.printed > 0 => {
                    note(&detail);
                    self.next = None;
                    self.since = None;
                    return Ok(Told::Again(self.subscribe()));
                }
                "bad_query" | "bad_from" | "bad_since" => return Err(Usage(detail).into()),
                _ => bail!("{detail}"),
            },
            _ => {}
        }
        Ok(Told::Go)
    }

    fn print(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let output = &self.context.output;
        if self.context.global.json {
            self.out.write_all(&output.json_line(line, false))?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{}", format::hit(line, output))?;
        }
        Ok(())
    }
}

/// What a message came to.
enum Told {
    Go,
    Enough,
    /// To be asked once more, otherwise.
    Again(ClientMessage),
}

fn refused(error: tungstenite::Error, socket: &str) -> NoConnection {
    let tungstenite::Error::Http(answer) = error else {
        return NoConnection::Later(format!("the daemon on {socket} does not answer: {error}"));
    };
    let status = answer.status();
    let problem: Option<Problem> = answer.body().as_ref().and_then(|body| serde_json::from_slice(body).ok());
    match problem {
        _ if status.is_server_error() => {
            let why = problem.map_or_else(|| status.to_string(), |problem| problem.detail);
            NoConnection::Later(format!("the daemon lets nobody watch now: {why}"))
        }
        Some(problem) => NoConnection::Never(problem.into()),
        None => NoConnection::Never(anyhow!("the daemon answered with {status}: is it of another version?")),
    }
}

/// What is said about the events stays apart from them.
fn note(text: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "honeyguide: {}", escape(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(query: &[&str], since: Option<&str>) -> args::Tap {
        let query = query.iter().map(|&word| word.to_owned()).collect();
        args::Tap { query, limit: None, from: None, since: since.map(str::to_owned), redact: false }
    }

    #[test]
    fn an_age_becomes_a_time_that_stays() {
        let (query, since) = asked(&args(&["username:root", "OR", "username:admin"], Some("1h"))).expect("valid");
        let since = since.expect("a time");
        assert_eq!(query, format!("username:root OR username:admin since:{since}"));
        let parsed = Query::parse(&query, 0).expect("valid");
        assert_eq!(parsed.since, time::parse(since.as_bytes()));
        assert_eq!(asked(&args(&[], None)).expect("valid"), (String::new(), None));
        for wrong in ["yesterday", "1h x", "1h until:2m"] {
            assert!(asked(&args(&[], Some(wrong))).is_err(), "{wrong}");
        }
        assert!(asked(&args(&["usrname:root"], None)).expect_err("no field").contains("did you mean `username`?"));
    }
}
