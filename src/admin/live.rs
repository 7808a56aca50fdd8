//! `GET /api/v1/live`: events as they become durable, over a WebSocket, both ways. `ops/LIVE.md` says what is said.
//!
//! One task for each connection listens and talks; it does nothing else, the hub ([`crate::live`]) has done the work. What is on its way
//! to a client is bounded three times: in the hub's queue, between this task and the connection ([`InFlight`]), and by the connection
//! itself, which takes more only when the client has read.
use super::Admin;
use super::frames::ShortFrames;
use super::gate::{Shown, is_same_origin};
use super::problem::Problem;
use super::questions::{leaving, told_redacted};
use super::route::Route;
use crate::access::{Principal, Right};
use crate::events::{Micros, time};
use crate::index::query::{Query, QueryError};
use crate::live::message::{CLIENT_MESSAGE_BYTES_MAX, ClientMessage, ID_BYTES_MAX, Refusal};
use crate::live::{Begin, Client, Ended, Next};
use crate::redact::digest;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use serde::Deserialize;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often a client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that says nothing and reads nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the last message of a connection may take.
const CLOSING: Duration = Duration::from_secs(1);
/// Bytes handed over that the connection has not taken yet; one message may always be.
const IN_FLIGHT_BYTES: usize = 32 << 10;
/// Messages of those: less than the channel to the connection holds, so that handing over never waits.
const IN_FLIGHT_MESSAGES: usize = 24;
/// Of these, so many are left for answers to pings.
const PONGS: usize = 4;

pub fn routes() -> Vec<Route> {
    vec![Route::get("/live", Right::Evidence, "Events as they come, over a WebSocket", live).query::<Asked>().switches().of_sensors()]
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// As they may leave, by the policy in force.
    #[serde(default)]
    redact: bool,
    /// The digest of the rules that the asking one knows.
    rules: Option<String>,
}

/// Begins to talk, unless as many clients as may be do.
async fn live(
    admin: web::Data<Admin>,
    request: HttpRequest,
    asked: web::Query<Asked>,
    who: Principal,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if !is_same_origin(request.headers()) {
        return Err(Problem::forbidden("a page of another site may not watch: `Origin` must be the address that is asked"));
    }
    if *admin.stopping.borrow() {
        return Err(Problem::stopping());
    }
    let policy = leaving(&admin, asked.redact, asked.rules.as_deref())?;
    let shown = Shown::of(&admin, &request)?;
    let client = admin.live.join(&who.name, policy.as_ref().map(|policy| digest(&policy.rules))).ok_or_else(Problem::busy)?;
    let body = ShortFrames::of(body.into_inner(), CLIENT_MESSAGE_BYTES_MAX as u64);
    let body = web::Payload::from_request(&request, &mut { body }).await.map_err(|error| Problem::failed(&error))?;
    let (answer, session, messages) = actix_ws::handle(&request, body).map_err(|error| Problem::bad_request(&error))?;
    let in_flight = Rc::new(InFlight::default());
    let answer = answer.map_body(|_, body| Metered { body, in_flight: in_flight.clone() }).map_into_boxed_body();
    let messages =
        messages.max_frame_size(CLIENT_MESSAGE_BYTES_MAX).aggregate_continuations().max_continuation_size(CLIENT_MESSAGE_BYTES_MAX);
    let hello = admin.live.hello().to_json();
    let connection =
        Connection { client, admin: admin.clone(), who, shown, session, in_flight, pending: Some(hello), heard: Instant::now() };
    actix::spawn(connection.talk(messages, admin.stopping.clone()));
    Ok(told_redacted(answer, policy.as_deref()))
}

/// What was handed over to the connection and not taken yet.
#[derive(Default)]
struct InFlight {
    bytes: Cell<usize>,
    messages: Cell<usize>,
    taken: Notify,
}

impl InFlight {
    fn has_room(&self, bytes: usize) -> bool {
        self.messages.get() == 0 || (self.messages.get() < IN_FLIGHT_MESSAGES - PONGS && self.bytes.get() + bytes <= IN_FLIGHT_BYTES)
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.messages.set(self.messages.get() + 1);
    }

    async fn room(&self, bytes: usize) {
        while !self.has_room(bytes) {
            self.taken.notified().await;
        }
    }
}

/// The body of the answer, which tells when the connection takes something. It always takes all that was handed over.
struct Metered {
    in_flight: Rc<InFlight>,
    body: BoxBody,
}

impl MessageBody for Metered {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if polled.is_ready() {
            self.in_flight.bytes.set(0);
            self.in_flight.messages.set(0);
            self.in_flight.taken.notify_one();
        }
        polled
    }
}

struct Connection {
    client: Client,
    admin: web::Data<Admin>,
    who: Principal,
    /// Asked again now and then: a key may be revoked.
    shown: Shown,
    session: Session,
    in_flight: Rc<InFlight>,
    /// Waits for the connection to take what was handed over before.
    pending: Option<String>,
    /// When the client last showed that it is there.
    heard: Instant,
}

/// How a connection ends.
enum End {
    /// The client is gone, or said good-bye.
    Gone(Option<CloseReason>),
    /// It is sent away.
    Close(CloseCode, &'static str),
}

impl Connection {
    async fn talk(mut self, mut messages: AggregatedMessageStream, mut stopping: watch::Receiver<bool>) {
        let end = self.until_it_ends(&mut messages, &mut stopping).await;
        let reason = match end {
            End::Gone(reason) => reason,
            End::Close(code, why) => Some(CloseReason { code, description: Some(why.to_owned()) }),
        };
        // A client that does not read is not told.
        let _ = tokio::time::timeout(CLOSING, self.session.close(reason)).await;
    }

    /// Ends it if what its client showed proves nothing any more.
    async fn check(&self) -> Result<(), End> {
        match self.shown.still_proves(&self.admin, &self.who).await {
            true => Ok(()),
            false => Err(End::Close(CloseCode::Policy, "the credential is not good any more")),
        }
    }

    async fn until_it_ends(&mut self, messages: &mut AggregatedMessageStream, stopping: &mut watch::Receiver<bool>) -> End {
        let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut keys = self.admin.engine.access.keys.changes();
        // One that changed since the request was let in has not been looked at.
        keys.mark_changed();
        loop {
            let bytes = self.pending.as_ref().map(String::len);
            let is_blocked = bytes.is_some_and(|bytes| !self.in_flight.has_room(bytes));
            let is_full = self.in_flight.messages.get() >= IN_FLIGHT_MESSAGES;
            let hears = !is_full && !self.client.is_busy();
            tokio::select! {
                // The sender lives as long as the server.
                _ = stopping.wait_for(|stopping| *stopping) => {
                    return End::Close(CloseCode::Away, "the daemon is stopping: come back and go on");
                }
                message = messages.recv(), if hears => {
                    self.heard = Instant::now();
                    if let Err(end) = self.hear(message).await {
                        return end;
                    }
                }
                next = self.client.next(), if bytes.is_none() => match next {
                    Next::Message(text) => self.pending = Some(text),
                    Next::Ended(Ended::OtherRules) => {
                        return End::Close(CloseCode::Policy, "the rules of redaction have changed: come back with the new ones");
                    }
                    Next::Ended(Ended::Failed | Ended::Left) => {
                        return End::Close(CloseCode::Error, "following the journal failed: the daemon's log says why");
                    }
                },
                () = self.in_flight.room(bytes.unwrap_or(0)), if is_full || bytes.is_some() => {
                    if is_blocked {
                        // It reads, if slowly.
                        self.heard = Instant::now();
                    }
                    if let Some(text) = self.pending.take() && self.send(text).await.is_err() {
                        return End::Gone(None);
                    }
                }
                // The sender lives as long as the keys.
                Ok(()) = keys.changed() => {
                    if let Err(end) = self.check().await {
                        return end;
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() > SILENCE_MAX {
                        return End::Close(CloseCode::Policy, "nothing was heard for a minute");
                    }
                    // A token ends by itself, and what issuers say may change.
                    if let Err(end) = self.check().await {
                        return end;
                    }
                    if self.look_alive().await.is_err() {
                        return End::Gone(None);
                    }
                }
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), actix_ws::Closed> {
        self.in_flight.add(text.len());
        self.session.text(text).await
    }

    /// Asks whether the client is there, and tells one that has everything how far that is.
    async fn look_alive(&mut self) -> Result<(), actix_ws::Closed> {
        if self.pending.is_none()
            && let Some(next) = self.client.position()
        {
            self.pending = Some(crate::live::message::ServerMessage::Position { next }.to_json());
        }
        if self.in_flight.has_room(0) {
            self.in_flight.add(0);
            self.session.ping(b"").await?;
        }
        Ok(())
    }

    async fn hear(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), End> {
        match message {
            None => Err(End::Gone(None)),
            Some(Err(error)) => Err(refusal(&error)),
            Some(Ok(AggregatedMessage::Text(text))) => {
                if let Err(refusal) = self.obey(&text) {
                    self.client.refuse(refusal);
                }
                Ok(())
            }
            Some(Ok(AggregatedMessage::Binary(_))) => Err(End::Close(CloseCode::Unsupported, "messages are JSON, as text")),
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                self.in_flight.add(0);
                self.session.pong(&bytes).await.map_err(|_| End::Gone(None))
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Close(reason))) => Err(End::Gone(reason)),
        }
    }

    /// Held to what the client may see; errors are told as of what was asked.
    fn query(&self, text: &str, now: Micros, id: &str) -> Result<Query, Refusal> {
        let query = Query::parse(text, now).and_then(|query| match self.who.sensors {
            Some(_) => Query::parse(&self.who.within(text), now),
            None => Ok(query),
        });
        query.map_err(|error| bad_query(&error, id))
    }

    fn obey(&self, text: &str) -> Result<(), Refusal> {
        let message = serde_json::from_str(text)
            .map_err(|error| Refusal::new("bad_message", format!("this is no message that is known here: {error}"), None))?;
        let now = time::now();
        let (id, ordered) = match message {
            ClientMessage::Ack { seq } => {
                self.client.acknowledge(seq);
                return Ok(());
            }
            ClientMessage::Subscribe { id, query, from, since } => {
                named(&id)?;
                let mut query = self.query(&query, now, &id)?;
                let begin = match (from, since) {
                    (None, None) => Begin::Now,
                    (Some(seq), None) => Begin::Seq(seq),
                    (None, Some(since)) => {
                        let since = point(&since, now).map_err(|detail| Refusal::new("bad_since", detail, Some(&id)))?;
                        query.since = query.since.max(Some(since));
                        Begin::Time(since)
                    }
                    (Some(_), Some(_)) => {
                        return Err(Refusal::new("bad_message", "a subscription has `from` or `since`, not both", Some(&id)));
                    }
                };
                (id.clone(), self.client.subscribe(id, query, begin))
            }
            ClientMessage::Change { id, query } => {
                named(&id)?;
                let query = self.query(&query, now, &id)?;
                (id.clone(), self.client.change(id, query))
            }
            ClientMessage::Unsubscribe { id } => {
                named(&id)?;
                (id.clone(), self.client.unsubscribe(id))
            }
        };
        // Only a thread that cannot be started can be the reason; its order is not answered then.
        ordered.map_err(|error| Refusal::new("failed", format!("the journal cannot be followed now: {error}"), Some(&id)))
    }
}

fn named(id: &str) -> Result<(), Refusal> {
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        let detail = format!("a subscription's `id` has 1 to {ID_BYTES_MAX} bytes and no control characters");
        return Err(Refusal::new("bad_message", detail, None));
    }
    Ok(())
}

fn bad_query(error: &QueryError, id: &str) -> Refusal {
    Refusal { column: Some(error.column), ..Refusal::new("bad_query", error.to_string(), Some(id)) }
}

/// A date, a time or an age, as the query language reads it.
fn point(since: &str, now: Micros) -> Result<Micros, String> {
    let query = Query::parse(&format!("since:{since}"), now).map_err(|error| error.problem.to_string())?;
    match query.since {
        Some(since) if query.clauses.is_empty() && query.until.is_none() => Ok(since),
        _ => Err("`since` is one date, time or age: what else is asked goes into `query`".into()),
    }
}

const TOO_LONG: &str = "a message has at most 16 KiB";
const NO_FRAME: &str = "this is no frame of a WebSocket";

/// How to say good-bye to a client that does not speak the protocol.
fn refusal(error: &ProtocolError) -> End {
    match error {
        ProtocolError::Overflow => End::Close(CloseCode::Size, TOO_LONG),
        // What the parser has no word of its own for, it tells as an error of input and output.
        ProtocolError::Io(error) => {
            let inner = error.get_ref();
            let is_long = inner.and_then(|inner| inner.downcast_ref()).is_some_and(|error| matches!(error, PayloadError::Overflow));
            let told = error.to_string();
            match error.kind() {
                io::ErrorKind::InvalidData if told.contains("reserved bits") => End::Close(CloseCode::Protocol, NO_FRAME),
                io::ErrorKind::InvalidData => End::Close(CloseCode::Invalid, "text is UTF-8"),
                _ if is_long || told.contains("continuation size") => End::Close(CloseCode::Size, TOO_LONG),
                _ => End::Gone(None),
            }
        }
        _ => End::Close(CloseCode::Protocol, NO_FRAME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_and_nothing_else() {
        let now = 1_774_138_242_000_000;
        assert_eq!(point("1h", now), Ok(now - 3_600_000_000));
        for wrong in ["", "yesterday", "1h username:root", "1h until:1m", "1h OR x"] {
            assert!(point(wrong, now).is_err(), "{wrong:?}");
        }
    }
}
