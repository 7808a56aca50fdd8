//! Batches of events by `POST`, signed, to whoever understands them.
//!
//! # What a receiver gets
//!
//! ```text
//! POST /path
//! content-type: application/json
//! content-encoding: gzip                      (or zstd, or absent: as configured)
//! idempotency-key: 5f0c…                      32 hexadecimal digits: the batch's id
//! x-correlation-id: 5f0c…-3                   the batch's id and the number of the attempt
//! x-honeyguide-signature: t=1774138242,v1=9a…  (when there is a secret)
//!
//! {"batch":"5f0c…","events":[
//!   {"id":"…","sequence":17,"source":"cowrie","format":"cowrie","received_at":"2026-03-22T00:10:42.831494Z","event":{…}}]}
//! ```
//!
//! `event` is the line as it stands in the journal; only bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD. `honeyguide sinks test` sends the same with no events.
//!
//! # Verifying
//!
//! 1. Take the body as it came, before decoding its content-encoding.
//! 2. Compute HMAC-SHA256 with the secret over the value of `t`, a dot, and the body; compare its hexadecimal form with `v1` in
//!    constant time. Ignore parts of the header field that have other names.
//! 3. Refuse when `t` (seconds since 1970, when this attempt was sent) is more than five minutes off: a recorded request cannot
//!    be played back later.
//!
//! # Deduplicating
//!
//! A request that was not answered is sent again, so a receiver may see one twice. It is the same batch, byte for byte, under the
//! same `idempotency-key`: answering 2xx to a key that is known already is enough. Behind a restart or a split, events may come
//! again in another batch, with another key: so a receiver to whom a repeated event matters remembers the events' `id`s, which
//! never change. An event is never left out.
//!
//! # Answering
//!
//! 2xx: all of it is kept. 408, 425, 429, 5xx: send it again (`retry-after` is respected). 413: send it in smaller pieces. 400,
//! 409, 415, 422: an event in it cannot be accepted; the batch is divided until that one is found. Anything else: the sink is
//! set up wrongly, and tried again slowly.
use super::http::{Http, HttpError, HttpSettings, Secret, compress, header_map};
use super::json::{write_hex, write_number, write_string, write_value};
use super::{Batch, Outcome, Request, Sink};
use crate::events::{EventId, Micros, time};
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use sha2::Sha256;

/// A larger body is hashed on a thread that may block.
const SIGNED_IN_PLACE_MAX: usize = 64 << 10;

/// A receiver of batches by `POST`.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub http: HttpSettings,
    /// Key of the signature; none, no signature.
    pub secret: Option<Secret>,
}

/// Posts batches of events.
#[derive(Debug)]
pub struct Webhook {
    http: Http,
    secret: Option<Secret>,
}

impl Webhook {
    pub fn new(settings: WebhookSettings) -> Result<Webhook, HttpError> {
        Ok(Webhook { http: Http::new(settings.http)?, secret: settings.secret })
    }

    async fn post(&self, request: &Request, attempt: u32) -> Outcome {
        let signature = match &self.secret {
            Some(secret) => Some(sign(secret.clone(), time::now() / time::MICROS_PER_SECOND, &request.body).await),
            None => None,
        };
        let key = request.id.to_string();
        let correlation = format!("{key}-{attempt}");
        let fields = [("content-type", "application/json"), ("idempotency-key", &key), ("x-correlation-id", &correlation)];
        let signature = signature.iter().map(|value| ("x-honeyguide-signature", value.as_str()));
        let further = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = header_map(fields.into_iter().chain(signature).chain(further));
        self.http.outcome(Method::POST, &self.http.settings().url, headers, &request.body).await
    }
}

impl Sink for Webhook {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let id = batch.id();
        let (body, encoding) = compress(body(batch, id), self.http.settings().compression);
        Ok(Request {
            body,
            id,
            items: batch.items.len(),
            last_seq: batch.items.last().map_or(0, |item| item.seq),
            headers: encoding.map(|encoding| ("content-encoding", encoding.to_owned())).into_iter().collect(),
        })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.post(request, attempt))
    }

    /// A batch without events: whether address, credentials and signature are right, and nothing is delivered.
    fn probe(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async {
            let request = self.encode(&Batch::default()).expect("a batch without events can be written");
            self.post(&request, 1).await
        })
    }

    fn concurrency_max(&self) -> usize {
        self.http.settings().concurrency
    }
}

/// The body, before compression.
fn body(batch: &Batch, id: EventId) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.payload.len() + 192 * batch.items.len() + 64);
    let mut received = Received::default();
    out.extend_from_slice(b"{\"batch\":\"");
    write_hex(&id.0, &mut out);
    out.extend_from_slice(b"\",\"events\":[");
    for (at, item) in batch.items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"id\":\"");
        write_hex(&item.id.0, &mut out);
        out.extend_from_slice(b"\",\"sequence\":");
        write_number(item.seq, &mut out);
        out.extend_from_slice(b",\"source\":");
        write_string(item.source.as_bytes(), &mut out);
        out.extend_from_slice(b",\"format\":");
        write_string(item.format.name().as_bytes(), &mut out);
        out.extend_from_slice(b",\"received_at\":\"");
        out.extend_from_slice(received.text(item.received_at).as_bytes());
        out.extend_from_slice(b"\",\"event\":");
        write_value(batch.payload(item), &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// The text of the time an event was received, which neighbours mostly share.
#[derive(Default)]
pub(super) struct Received {
    time: Micros,
    text: String,
}

impl Received {
    pub(super) fn text(&mut self, time: Micros) -> &str {
        if self.text.is_empty() || self.time != time {
            (self.time, self.text) = (time, time::format(time));
        }
        &self.text
    }
}

/// The value of the signature's header field.
async fn sign(secret: Secret, now_seconds: i64, body: &[u8]) -> String {
    if body.len() <= SIGNED_IN_PLACE_MAX {
        return signature(&secret, now_seconds, body);
    }
    let body = body.to_vec();
    let signed = tokio::task::spawn_blocking(move || signature(&secret, now_seconds, &body));
    signed.await.expect("hashing does not panic, and nobody cancels it")
}

fn signature(secret: &Secret, now_seconds: i64, body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{now_seconds}.").as_bytes());
    mac.update(body);
    format!("t={now_seconds},v1={}", crate::events::id::hex(&mac.finalize().into_bytes()))
}
