//! Events into Elasticsearch or OpenSearch by `_bulk`.
//!
//! Each event becomes a document of the index `PREFIX-YYYY.MM.DD`, by the *event's* day (UTC), with the event's id as `_id` and the
//! action `create`: what is there already answers 409 and counts as delivered, so repetitions change nothing. An id is unique within
//! its index only, which is why the day is the event's own: it never changes.
//!
//! A document holds `@timestamp` and `event.original` (the line as it was logged, stored and not indexed), `honeyguide.*` (sequence,
//! source, format, received_at) and `terms.FIELD` with every searchable value, indicators among them. The index template maps these
//! explicitly and nothing else (`dynamic: false`), so that no honeypot's change of a type can make a document be refused.
use super::http::{ApiKeyHeader, Client, Failure, HttpError, Reply, answer_of, encoding_header, failed, told};
use super::{Answer, Batch, Outcome, Request, Sink, Verdict, put_hex};
use crate::config::HttpReceiver;
use crate::events::batch::Batcher;
use crate::events::{Field, Micros, time};
use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use url::Url;

/// Answers are read up to this much, and so much for each item.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_PER_ITEM: usize = 2 << 10;
/// A keyword beyond this is not indexed; Lucene refuses terms above 32,766 bytes.
const IGNORE_ABOVE: usize = 1024;
/// Longest reason kept of a refused item, characters.
const REASON_CHARS: usize = 200;

pub struct Elasticsearch {
    client: Client,
    prefix: String,
    /// The template was put since the start, or since an index was missing.
    ready: AtomicBool,
    /// Decoders, one for each batch being encoded at once.
    batchers: Mutex<Vec<Batcher>>,
}

impl Elasticsearch {
    /// Reads secrets: on a thread that may block.
    pub fn new(receiver: &HttpReceiver, prefix: &str) -> Result<Elasticsearch, HttpError> {
        let client = Client::new(receiver, ApiKeyHeader::Authorization)?;
        Ok(Elasticsearch { client, prefix: prefix.into(), ready: AtomicBool::new(false), batchers: Mutex::default() })
    }

    fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.client.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url.set_query(query);
        url
    }

    /// Puts the index template, once.
    async fn prepare(&self) -> Result<(), Outcome> {
        if self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let url = self.url(&format!("_index_template/{}", self.prefix), None);
        let body = serde_json::to_vec(&template(&self.prefix)).expect("a template is JSON");
        let put = self.client.exchange(Method::PUT, &url, headers, body, ANSWER_BYTES_MAX).await;
        let answer = match &put {
            Ok(reply) if reply.status.is_success() => {
                self.ready.store(true, Ordering::Release);
                return Ok(());
            }
            // What is wrong is the template or the right to put it, no event.
            Ok(reply) => match answer_of(reply) {
                Answer::Retry { after, why } => Answer::Retry { after, why },
                _ => Answer::Unusable { why: format!("the index template was not accepted: {}", told(reply)) },
            },
            Err(failure) => failed(failure),
        };
        Err(Outcome { answer, status: put.ok().map(|reply| reply.status.as_u16()) })
    }

    fn bulk(&self, batch: &Batch) -> Vec<u8> {
        let pooled = self.batchers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        let mut batcher = pooled.unwrap_or_default();
        let mut body = Vec::with_capacity(batch.payload.len() * 2 + batch.items.len() * 512);
        let mut terms: Vec<(Field, std::ops::Range<usize>)> = Vec::new();
        let mut values = Vec::new();
        let mut action = Action::new(&self.prefix);
        for item in &batch.items {
            let line = batch.payload(item);
            action.put(item.time, item.id, &mut body);
            body.extend_from_slice(b"{\"@timestamp\":\"");
            body.extend_from_slice(time::format(item.time).as_bytes());
            body.extend_from_slice(b"\",\"event\":{\"original\":\"");
            put_escaped(line, &mut body);
            body.extend_from_slice(b"\"},\"honeyguide\":{\"sequence\":");
            body.extend_from_slice(item.seq.to_string().as_bytes());
            body.extend_from_slice(b",\"source\":\"");
            put_escaped(item.source.as_bytes(), &mut body);
            body.extend_from_slice(b"\",\"format\":\"");
            put_escaped(item.format.name().as_bytes(), &mut body);
            body.extend_from_slice(b"\",\"received_at\":\"");
            body.extend_from_slice(time::format(item.received_at).as_bytes());
            body.extend_from_slice(b"\"},\"terms\":{");
            terms.clear();
            values.clear();
            batcher.terms(item.format, line, item.received_at, &mut |field, value| {
                let start = values.len();
                values.extend_from_slice(value);
                terms.push((field, start..values.len()));
            });
            put_terms(&mut terms, &values, &mut body);
            body.extend_from_slice(b"}}\n");
        }
        self.batchers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(batcher);
        body
    }
}

/// The action line; neighbours are mostly of one day.
struct Action<'a> {
    prefix: &'a str,
    day: i32,
    text: Vec<u8>,
}

impl<'a> Action<'a> {
    fn new(prefix: &'a str) -> Action<'a> {
        Action { prefix, day: i32::MIN, text: Vec::new() }
    }

    fn put(&mut self, time: Micros, id: crate::events::EventId, out: &mut Vec<u8>) {
        let day = time::day_of(time);
        if day != self.day || self.text.is_empty() {
            let date = time::format(time);
            // 2026-11-21T… becomes 2026.11.21.
            let date = date.get(..10).unwrap_or_default().replace('-', ".");
            self.text = format!("{{\"create\":{{\"_index\":\"{}-{date}\",\"_id\":\"", self.prefix).into();
            self.day = day;
        }
        out.extend_from_slice(&self.text);
        put_hex(id, out);
        out.extend_from_slice(b"\"}}\n");
    }
}

/// `"src_ip":["1.2.3.4"],…`, each field once.
fn put_terms(terms: &mut [(Field, std::ops::Range<usize>)], values: &[u8], out: &mut Vec<u8>) {
    terms.sort_by_key(|(field, _)| *field);
    let mut last = None;
    for (field, value) in terms.iter() {
        if last == Some(*field) {
            out.push(b',');
        } else {
            if last.is_some() {
                out.extend_from_slice(b"],");
            }
            out.push(b'"');
            out.extend_from_slice(field.name().as_bytes());
            out.extend_from_slice(b"\":[");
            last = Some(*field);
        }
        out.push(b'"');
        put_escaped(&values[value.clone()], out);
        out.push(b'"');
    }
    if last.is_some() {
        out.push(b']');
    }
}

/// The inside of a JSON string that says `text`; what is not UTF-8 becomes U+FFFD.
fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    let lossy;
    let text = match simdutf8::basic::from_utf8(text) {
        Ok(_) => text,
        Err(_) => {
            lossy = String::from_utf8_lossy(text).into_owned();
            lossy.as_bytes()
        }
    };
    let mut copied = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// The composable index template, for Elasticsearch 7.8 and later and for OpenSearch.
pub fn template(prefix: &str) -> serde_json::Value {
    let keyword = || serde_json::json!({ "type": "keyword", "ignore_above": IGNORE_ABOVE });
    let mut terms = serde_json::Map::new();
    for field in Field::ALL {
        let mut mapping = keyword();
        if matches!(field, Field::SrcIp | Field::DstIp) {
            // Some honeypots write hashes or names there.
            mapping["fields"] = serde_json::json!({ "ip": { "type": "ip", "ignore_malformed": true } });
        }
        terms.insert(field.name().into(), mapping);
    }
    serde_json::json!({
        "index_patterns": [format!("{prefix}-*")],
        "priority": 200,
        "template": {
            "mappings": {
                "dynamic": false,
                "properties": {
                    "@timestamp": { "type": "date" },
                    "event": { "properties": { "original": { "type": "keyword", "index": false, "doc_values": false } } },
                    "honeyguide": { "properties": {
                        "sequence": { "type": "long" },
                        "source": keyword(),
                        "format": keyword(),
                        "received_at": { "type": "date" },
                    } },
                    "terms": { "properties": terms },
                },
            },
        },
        "_meta": { "description": "made by honeyguide" },
    })
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<BulkItem>,
}

#[derive(Deserialize)]
struct BulkItem {
    create: BulkStatus,
}

#[derive(Deserialize)]
struct BulkStatus {
    status: u16,
    #[serde(default)]
    error: Option<BulkError>,
}

#[derive(Deserialize)]
struct BulkError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
}

impl BulkStatus {
    fn told(&self) -> String {
        let Some(error) = &self.error else { return format!("status {}", self.status) };
        let reason: String = error.reason.as_deref().unwrap_or_default().chars().take(REASON_CHARS).collect();
        format!("status {}: {}: {reason}", self.status, error.kind)
    }
}

/// What the answer to a bulk request of so many items means.
fn judge(reply: &Reply, items: usize) -> Answer {
    if !reply.status.is_success() {
        return match answer_of(reply) {
            // A bulk request is refused as a whole because of its form or size, never because of one of its items.
            Answer::Refused { why } => Answer::Unusable { why },
            other => other,
        };
    }
    let retry = |why: &str| Answer::Retry { after: None, why: why.into() };
    if reply.cut {
        return retry("the answer is longer than one to so many items can be");
    }
    let Ok(answer) = serde_json::from_slice::<BulkAnswer>(&reply.body) else {
        return retry("the answer is not one of _bulk: is `url` right?");
    };
    if answer.items.len() != items {
        return retry("the answer speaks of another number of items");
    }
    let mut verdicts = Vec::with_capacity(items);
    for BulkItem { create } in answer.items {
        verdicts.push(match create.status {
            200..=299 | 409 => Verdict::Delivered,
            408 | 429 | 500..=599 => Verdict::Retry,
            401 | 403 => return Answer::Unusable { why: create.told() },
            404 if create.error.as_ref().is_some_and(|error| error.kind == "index_not_found_exception") => {
                return Answer::Unusable { why: create.told() };
            }
            _ => Verdict::Refused(create.told()),
        });
    }
    if verdicts.iter().all(|verdict| *verdict == Verdict::Delivered) { Answer::Delivered } else { Answer::Items(verdicts) }
}

impl Sink for Elasticsearch {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let (body, encoding) = self.client.compress(self.bulk(batch));
        let headers = encoding_header(encoding).into_iter().collect();
        Ok(Request { body, id: batch.id(), items: batch.items.len(), last_seq: batch.items.last().map_or(0, |item| item.seq), headers })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if let Err(outcome) = self.prepare().await {
                return outcome;
            }
            let url = self.url("_bulk", Some("filter_path=items.*.status,items.*.error.type,items.*.error.reason"));
            let limit = ANSWER_BYTES_MAX + request.items * ANSWER_BYTES_PER_ITEM;
            let sent: Result<Reply, Failure> = self.client.send(&url, request, attempt, "application/x-ndjson", limit).await;
            match sent {
                Ok(reply) => Outcome { answer: judge(&reply, request.items), status: Some(reply.status.as_u16()) },
                Err(failure) => Outcome { answer: failed(&failure), status: None },
            }
        })
    }

    /// Asks for the server's name and puts the template.
    fn probe(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            self.ready.store(false, Ordering::Release);
            match self.prepare().await {
                Ok(()) => Outcome { answer: Answer::Delivered, status: Some(200) },
                Err(outcome) => outcome,
            }
        })
    }

    fn concurrency_max(&self) -> usize {
        64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::StatusCode;

    fn answer(status: u16, body: &str, items: usize) -> Answer {
        let reply = Reply { status: StatusCode::from_u16(status).expect("a status"), retry_after: None, body: body.into(), cut: false };
        judge(&reply, items)
    }

    #[test]
    fn each_item_is_judged_by_itself() {
        let body = r#"{"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue"}}},{"create":{"status":503}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no"}}}]}"#;
        let refused = Verdict::Refused("status 400: mapper_parsing_exception: no".into());
        let expected = vec![Verdict::Delivered, Verdict::Delivered, Verdict::Retry, Verdict::Retry, refused];
        assert_eq!(answer(200, body, 5), Answer::Items(expected));
        assert_eq!(answer(200, r#"{"items":[{"create":{"status":201}},{"create":{"status":409}}]}"#, 2), Answer::Delivered);
        assert!(matches!(answer(200, body, 4), Answer::Retry { .. }), "another number of items");
        assert!(matches!(answer(200, "<html>", 1), Answer::Retry { .. }));
        assert!(matches!(
            answer(200, r#"{"items":[{"create":{"status":404,"error":{"type":"index_not_found_exception"}}}]}"#, 1),
            Answer::Unusable { .. }
        ));
        assert!(matches!(answer(200, r#"{"items":[{"create":{"status":403}}]}"#, 1), Answer::Unusable { .. }));
        assert!(matches!(answer(400, "", 1), Answer::Unusable { .. }), "no item is to blame for the form of the request");
        assert!(matches!(answer(413, "", 1), Answer::TooLarge { .. }));
        assert!(matches!(answer(429, "", 1), Answer::Retry { .. }));
    }

    #[test]
    fn the_template_maps_every_field_and_nothing_by_itself() {
        let template = template("honeyguide");
        assert_eq!(template["index_patterns"][0], "honeyguide-*");
        assert_eq!(template["template"]["mappings"]["dynamic"], false);
        for field in Field::ALL {
            assert_eq!(template["template"]["mappings"]["properties"]["terms"]["properties"][field.name()]["type"], "keyword", "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_what_json_says(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = vec![b'"'];
            put_escaped(text.as_bytes(), &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), text);
            let mut out = vec![b'"'];
            put_escaped(&bytes, &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), String::from_utf8_lossy(&bytes));
        }
    }
}
