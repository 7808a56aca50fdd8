//! Batches of events by `POST` to a URL.
//!
//! The body is one JSON object:
//!
//! ```json
//! {"batch": "<id>", "events": [{"id": "<id>", "sequence": 7, "source": "cowrie", "format": "cowrie",
//!                               "received_at": "2026-11-21T10:00:00.000000Z", "event": { … as it was logged … }}]}
//! ```
//!
//! Every event is delivered at least once. The same event always has the same `id`, so a receiver that remembers ids (or upserts
//! by them) has each once; the header `Idempotency-Key` is a hash of the ids of the batch, the same for every repetition of it.
//!
//! With a key (`secret_file`) the header `X-Honeyguide-Signature: t=<seconds since 1970>,v1=<hex>` carries HMAC-SHA-256 of
//! `<t>.<body>`, over the body as it was sent, compressed or not. Compute the same, compare in constant time, and refuse a `t` that is
//! more than five minutes off, so that nobody can send an old request again.
//!
//! Answers: 2xx takes the batch; 408, 425, 429 and 5xx ask for it again; 400, 409, 415, 422 say that something in it will never be taken
//! (the delivery finds out what); 413 asks for smaller ones; anything else says that the sink is not set up right.
use super::http::{ANSWER_BYTES_MAX, ApiKeyHeader, Client, HttpError, encoding_header, outcome_of, read_secret};
use super::{Batch, Outcome, Request, Sink, put_hex};
use crate::config::HttpReceiver;
use crate::events::id::hex;
use crate::events::time::{self, MICROS_PER_SECOND};
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::Path;
use std::sync::Arc;

/// Bytes around each event in a body.
const ENVELOPE_BYTES: usize = 192;

pub struct Webhook {
    client: Client,
    key: Option<Hmac<Sha256>>,
}

impl Webhook {
    /// Reads secrets: on a thread that may block.
    pub fn new(receiver: &HttpReceiver, secret_file: Option<&Path>) -> Result<Webhook, HttpError> {
        let client = Client::new(receiver, ApiKeyHeader::XApiKey)?;
        let key = secret_file.map(read_secret).transpose()?;
        let key = key.map(|key| Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"));
        Ok(Webhook { client, key })
    }

    /// Of a body, sent at `seconds` since 1970.
    fn signature(key: &Hmac<Sha256>, seconds: i64, body: &[u8]) -> String {
        let mut mac = key.clone();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes()))
    }
}

/// The body of a batch, not compressed.
pub fn body(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.payload.len() + batch.items.len() * ENVELOPE_BYTES + 64);
    body.extend_from_slice(b"{\"batch\":\"");
    put_hex(batch.id(), &mut body);
    body.extend_from_slice(b"\",\"events\":[");
    // Neighbours share source, format and time of receipt: that part is written once and copied.
    let mut shared: Option<(Arc<str>, &'static str, i64)> = None;
    let mut shared_text = Vec::new();
    for (at, item) in batch.items.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"id\":\"");
        put_hex(item.id, &mut body);
        body.extend_from_slice(b"\",\"sequence\":");
        body.extend_from_slice(item.seq.to_string().as_bytes());
        let same = |(source, format, received): &(Arc<str>, &str, i64)| {
            Arc::ptr_eq(source, &item.source) && *format == item.format.name() && *received == item.received_at
        };
        if !shared.as_ref().is_some_and(same) {
            let quoted = |text: &str| serde_json::to_string(text).expect("a string is JSON");
            let (source, format) = (quoted(&item.source), quoted(item.format.name()));
            shared_text =
                format!(r#","source":{source},"format":{format},"received_at":"{}","event":"#, time::format(item.received_at)).into();
            shared = Some((item.source.clone(), item.format.name(), item.received_at));
        }
        body.extend_from_slice(&shared_text);
        put_event(batch.payload(item), &mut body);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body
}

/// A payload is a JSON object. The journal keeps what was logged to the byte, also where that is not UTF-8; JSON must be.
fn put_event(payload: &[u8], out: &mut Vec<u8>) {
    match simdutf8::basic::from_utf8(payload) {
        Ok(_) => out.extend_from_slice(payload),
        Err(_) => out.extend_from_slice(String::from_utf8_lossy(payload).as_bytes()),
    }
}

impl Sink for Webhook {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let (body, encoding) = self.client.compress(body(batch));
        let headers = encoding_header(encoding).into_iter().collect();
        Ok(Request { body, id: batch.id(), items: batch.items.len(), last_seq: batch.items.last().map_or(0, |item| item.seq), headers })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let signed;
            let mut request = request;
            if let Some(key) = &self.key {
                // Signed anew each time: a repetition an hour later is not an old request.
                let signature = Webhook::signature(key, time::now() / MICROS_PER_SECOND, &request.body);
                let mut with = request.clone();
                with.headers.push(("x-honeyguide-signature", signature));
                signed = with;
                request = &signed;
            }
            outcome_of(&self.client.send(&self.client.url, request, attempt, "application/json", ANSWER_BYTES_MAX).await)
        })
    }

    /// An empty batch, which a receiver takes like any other.
    fn probe(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            match self.encode(&Batch::default()) {
                Ok(request) => self.send(&request, 1).await,
                Err(why) => Outcome { answer: super::Answer::Refused { why }, status: None },
            }
        })
    }

    fn concurrency_max(&self) -> usize {
        64
    }
}

#[cfg(test)]
mod tests {
    use super::super::Item;
    use super::*;
    use crate::events::{EventId, Format};

    fn batch(payloads: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        for (at, payload) in payloads.iter().enumerate() {
            let item = Item {
                seq: at as u64 + 7,
                id: EventId::of_line(payload),
                time: 0,
                received_at: 1_795_255_200_000_000 + at as i64 / 2,
                source: "cowrie".into(),
                format: Format::COWRIE,
                payload: 0..0,
            };
            batch.push(item, payload);
        }
        batch
    }

    #[test]
    fn a_body_is_json_with_every_event_as_it_was_logged() {
        let payloads: [&[u8]; 4] = [br#"{"eventid":"a","n":1.50}"#, b"{\"username\":\"\\u0000\\ud800\"}", b"{\"a\":\"\xff\"}", b"{}"];
        let batch = batch(&payloads);
        let text = String::from_utf8(body(&batch)).expect("UTF-8");
        // Lone surrogates are valid JSON text, but not for serde_json.
        let value: serde_json::Value = serde_json::from_str(&text.replace("\\ud800", "")).expect("JSON");
        assert_eq!(value["batch"], batch.id().to_string());
        let events = value["events"].as_array().expect("an array");
        assert_eq!(events.len(), 4);
        for (at, event) in events.iter().enumerate() {
            assert_eq!((event["sequence"].as_u64(), event["source"].as_str()), (Some(at as u64 + 7), Some("cowrie")));
            assert_eq!(event["id"], EventId::of_line(payloads[at]).to_string());
            assert_eq!(event["received_at"], time::format(1_795_255_200_000_000 + at as i64 / 2));
        }
        assert!(text.contains(r#""event":{"eventid":"a","n":1.50}"#), "numbers keep their digits");
        assert_eq!(events[2]["event"]["a"], "\u{FFFD}");
        assert_eq!(
            String::from_utf8(body(&Batch::default())).expect("UTF-8"),
            format!(r#"{{"batch":"{}","events":[]}}"#, Batch::default().id())
        );
    }

    /// RFC 4231, test case 2, and the form of the header.
    #[test]
    fn a_signature_is_hmac_sha_256_of_time_and_body() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").expect("a key");
        mac.update(b"what do ya want for nothing?");
        assert_eq!(hex(&mac.finalize().into_bytes()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let key = Hmac::<Sha256>::new_from_slice(b"k").expect("a key");
        let mut expected = key.clone();
        expected.update(b"12.{}");
        assert_eq!(Webhook::signature(&key, 12, b"{}"), format!("t=12,v1={}", hex(&expected.finalize().into_bytes())));
    }
}
