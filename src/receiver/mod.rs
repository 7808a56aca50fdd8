//! Listeners of their own for what honeypots push: `POST /api/v1/events`, and `POST /api/v1/messages` of chat-scam honeypots.
//!
//! A honeypot is where attackers are at home: its key opens these two routes and nothing else, and no route of the admin's is on these
//! listeners. Each request is counted against its address before anything of it is looked at, and against its key behind that; bodies,
//! connections and the time to send one are bounded. An answer that says so comes when the events are durable.
mod keys;
mod persona;
mod reply;

use crate::access::places::Places;
use crate::access::rates::{self, Rates};
use crate::admin::bounded::{Doors, UNREAD_MAX, in_time};
use crate::admin::problem::Problem;
use crate::admin::push;
use crate::config::{ReceiverSettings, SourceName};
use crate::daemon::Engine;
use crate::events::chat::Message;
use crate::events::json;
use crate::service::push::{PushRequest, push as store, taking};
use crate::sources::push::Form;
use crate::sources::{Format, Source};
use crate::telemetry::events::{ReceiverKeptFiles, ReceiverListening, ReplyHookFailed};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use keys::{Keys, KeysError};
use reply::{Replies, RepliesError};
use serde::Serialize;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Largest message with its history, bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long the head of a request may take to come.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers that are under way may take when the daemon stops, seconds.
const SHUTDOWN_SECONDS: u64 = 2;
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("the receiver {name} cannot listen on {address}: {source}; does something else use the port? `listen` sets another")]
    Tcp { name: SourceName, address: SocketAddr, source: io::Error },
    #[error("the receiver {name} has no keys: {source}")]
    Keys { name: SourceName, source: KeysError },
    #[error("the receiver {name} cannot reply: {source}")]
    Replies { name: SourceName, source: RepliesError },
}

/// The running listeners.
pub struct Receivers {
    servers: Vec<ServerHandle>,
    /// Ends what follows reloads.
    _stopping: watch::Sender<()>,
}

impl Receivers {
    /// Waits a little for answers under way.
    pub async fn stop(self) {
        futures_util::future::join_all(self.servers.iter().map(|server| server.stop(true))).await;
    }
}

/// What handlers are given.
struct Receiver {
    engine: Arc<Engine>,
    settings: ReceiverSettings,
    events: Arc<Source>,
    messages: Arc<Source>,
    /// By address, and by key.
    rates: [Rates; 2],
    files: RwLock<Arc<Files>>,
}

/// What a reload reads again.
struct Files {
    keys: Keys,
    replies: Replies,
}

impl Files {
    fn read(settings: &ReceiverSettings) -> Result<Files, ReceiverError> {
        let name = || settings.name.clone();
        let keys = Keys::read(&settings.keys_file).map_err(|source| ReceiverError::Keys { name: name(), source })?;
        let replies = Replies::open(&settings.reply).map_err(|source| ReceiverError::Replies { name: name(), source })?;
        Ok(Files { keys, replies })
    }
}

impl Receiver {
    fn files(&self) -> Arc<Files> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a request in that shows a key, unless the key was shown too often. Answers whose it is.
    fn admit(&self, request: &HttpRequest, files: &Files) -> Result<Arc<str>, Problem> {
        let mut shown = request.headers().get_all(X_API_KEY);
        let key = match (shown.next(), shown.next()) {
            (Some(key), None) => files.keys.find(key.as_bytes()),
            _ => None,
        };
        let Some(key) = key else { return Err(Problem::unauthorized("send one of the receiver's keys as x-api-key")) };
        self.rates[1].admit(key).map_err(Problem::too_many)?;
        Ok(format!("receiver {} {key}", self.settings.name).into())
    }

    /// Reads the files again at each reload; what cannot be used changes nothing.
    async fn follow_reloads(self: Arc<Receiver>, mut stopping: watch::Receiver<()>) {
        let mut reloads = self.engine.settings.subscribe();
        loop {
            tokio::select! {
                _ = stopping.changed() => return,
                changed = reloads.changed() => if changed.is_err() { return },
            }
            let settings = self.settings.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || Files::read(&settings)).await else { continue };
            match read {
                Ok(files) => *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files),
                Err(error) => {
                    let (receiver, error) = (self.settings.name.as_str(), &error.to_string());
                    self.engine.observed.telemetry.emit(&ReceiverKeptFiles { receiver, error });
                }
            }
        }
    }
}

/// Opens the configured listeners; they run in the current actix system until stopped.
pub fn serve(engine: &Arc<Engine>) -> Result<Receivers, ReceiverError> {
    let configured = engine.settings.borrow().receivers.clone();
    let (stopping, stopped) = watch::channel(());
    let mut servers = Vec::new();
    for settings in configured {
        let (name, address) = (settings.name.clone(), settings.listen);
        let tcp = |source| ReceiverError::Tcp { name: name.clone(), address, source };
        let files = RwLock::new(Arc::new(Files::read(&settings)?));
        let listener = TcpListener::bind(address).map_err(tcp)?;
        let listen = listener.local_addr().map_err(tcp)?.to_string();
        let source = |format| Arc::new(Source { name: name.as_str().to_owned(), format });
        let receiver = Arc::new(Receiver {
            engine: engine.clone(),
            events: source(settings.format),
            messages: source(Format::CHAT),
            rates: [(); 2].map(|()| Rates::new(settings.rate_per_second, NonZeroU32::MIN)),
            files,
            settings,
        });
        engine.observed.telemetry.metrics.register_source(&name);
        servers.push(serve_one(listener, receiver.clone()).map_err(tcp)?);
        engine.observed.telemetry.emit(&ReceiverListening { receiver: name.as_str(), listen: &listen });
        actix::spawn(receiver.follow_reloads(stopped.clone()));
    }
    Ok(Receivers { servers, _stopping: stopping })
}

/// Whether a receiver could listen now, with keys and replies that can be used.
pub fn check(settings: &ReceiverSettings) -> Result<(), ReceiverError> {
    Files::read(settings)?;
    let tcp = |source| ReceiverError::Tcp { name: settings.name.clone(), address: settings.listen, source };
    TcpListener::bind(settings.listen).map(drop).map_err(tcp)
}

fn serve_one(listener: TcpListener, receiver: Arc<Receiver>) -> io::Result<ServerHandle> {
    let connections_max = receiver.settings.connections_max;
    // On loopback all come through a proxy or a tunnel, and have its address.
    let each_max = if receiver.settings.listen.ip().is_loopback() { connections_max } else { connections_max.div_ceil(2) };
    let metrics = &receiver.engine.observed.telemetry.metrics;
    let name = format!("receiver {}", receiver.settings.name);
    let doors = Doors {
        places: Places::new(each_max),
        open: metrics.connections.with_label_values(&[&name]),
        refused: metrics.connections_refused.with_label_values(&[&name]),
        unread_max: UNREAD_MAX,
    };
    let receiver = web::Data::from(receiver);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(not_too_often))
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")).add(("Cache-Control", "no-store")))
            .app_data(receiver.clone())
            .route("/api/v1/messages", web::post().to(message))
            .route("/api/v1/events", web::post().to(events))
            .default_service(web::to(nothing_here))
    });
    let running = server
        .workers(1)
        .worker_max_blocking_threads(4)
        .max_connections(connections_max)
        .client_request_timeout(HEAD_PATIENCE)
        .tcp_nodelay(true)
        // A connection that may wait for another request is one that anybody can hold.
        .keep_alive(KeepAlive::Disabled)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .on_connect(move |connection, extensions| {
            if let Some(open) = doors.enter(connection, None) {
                extensions.insert(open);
            }
        })
        .listen(listener)?
        .run();
    let handle = running.handle();
    actix::spawn(running);
    Ok(handle)
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path, or not for this method: POST /api/v1/events or /api/v1/messages")
}

/// Counts requests of each address, whatever they ask for and whatever key they show.
async fn not_too_often<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    // Not what a header says: whoever sends writes it.
    let address = request.peer_addr().map(|peer| rates::network(peer.ip()));
    let receiver = request.app_data::<web::Data<Receiver>>();
    let refused = receiver.and_then(|receiver| receiver.rates[0].admit(address).err());
    match refused {
        Some(seconds) => Ok(request.into_response(Problem::too_many(seconds).error_response()).map_into_right_body()),
        None => {
            in_time(&mut request);
            Ok(next.call(request).await?.map_into_left_body())
        }
    }
}

async fn events(receiver: web::Data<Receiver>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let whose = receiver.admit(&request, &receiver.files())?;
    if !request.query_string().is_empty() {
        return Err(Problem::bad_request(&"there are no parameters here: the receiver's configuration says format and source"));
    }
    Ok(HttpResponse::Ok().json(push::take(&receiver.engine, receiver.events.clone(), (&whose, None), &request, payload).await?))
}

/// What the chat convention answers.
#[derive(Serialize)]
struct Replied {
    status: &'static str,
    reply: String,
}

async fn message(receiver: web::Data<Receiver>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let files = receiver.files();
    let whose = receiver.admit(&request, &files)?;
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    // Some senders say nothing of it.
    if content_type.is_some_and(|content_type| Form::of(content_type) != Some(Form::Json)) {
        return Err(Problem::unsupported("set Content-Type to application/json, in UTF-8"));
    }
    taking(&receiver.engine)?;
    let (body, room) = push::body(&receiver.engine, &whose, &request, payload, MESSAGE_BYTES_MAX).await?;
    let (text, said) = read(&body)?;
    let (source, form) = (receiver.messages.clone(), Form::Json);
    let outcome = store(&receiver.engine, PushRequest { source, form, only_sensors: None, body: body.clone(), room }).await?;
    if let Some(refusal) = outcome.refusals.first() {
        return Err(Problem::bad_request(&format!("the message is in quarantine: {}", refusal.detail)));
    }
    let name = receiver.settings.name.as_str();
    let (reply, trouble) = files.replies.reply(name, &said, text).await;
    if let Some(error) = trouble {
        receiver.engine.observed.telemetry.emit(&ReplyHookFailed { receiver: name, error: &error });
    }
    Ok(HttpResponse::Ok().json(Replied { status: "success", reply }))
}

/// The message in a body, as text and as what it says.
fn read(body: &[u8]) -> Result<(&str, Message), Problem> {
    let example = "send {\"sessionId\": \"…\", \"message\": {\"sender\": \"scammer\", \"text\": \"…\"}}";
    let wrong = |what: String| Problem::bad_request(&format!("{what}: {example}"));
    let text = std::str::from_utf8(body).map_err(|error| wrong(format!("the body is not UTF-8 behind byte {}", error.valid_up_to())))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(wrong("the body is empty".into()));
    }
    json::members(text.as_bytes(), |_, _| ()).map_err(|flaw| wrong(format!("the body is no JSON object: {flaw}")))?;
    let said = Message::parse(text.as_bytes()).ok_or_else(|| wrong("the message lacks its sessionId or its message.text".into()))?;
    Ok((text, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_no_message_are_told_what_is_wrong() {
        let table: [(&[u8], &str); 7] = [
            (b"", "the body is empty: send {"),
            (b" \r\n", "the body is empty"),
            (b"\xff", "not UTF-8 behind byte 0"),
            (b"[]", "no JSON object: expected an object"),
            (b"{\"sessionId\":\"s\"", "ends too early"),
            (b"{\"message\":{\"text\":\"x\"}}", "lacks its sessionId"),
            (b"{\"sessionId\":\"s\",\"message\":{}}", "lacks its sessionId or its message.text"),
        ];
        for (body, why) in table {
            let problem = read(body).expect_err(why);
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(why), "{problem}");
        }
        let (text, said) = read(b"\xef\xbb\xbf {\"sessionId\":\"s\",\"message\":{\"text\":\"hi\"}} \n").expect("a message");
        assert!(text.starts_with('{') && text.ends_with('}'));
        assert_eq!((said.session.as_str(), said.text.as_str()), ("s", "hi"));
    }
}
