//! Events as documents of Elasticsearch or OpenSearch, by `_bulk`.
//!
//! An event becomes a document of the index of *its* day (UTC), `{prefix}-2026.03.22`, with its id as `_id`, by `create`: what
//! arrived before is answered with a conflict, which counts as delivered. So each event is there exactly once, however often it
//! is sent, until its index is deleted.
//!
//! A cluster bears so many indexes only, so who sends messages to a honeypot must not choose days: a chat's message whose own time
//! is far from when it came is in the index of the day it came; its `@timestamp` stays. What honeypots log by their own clocks is
//! believed, however old: loading an archive of years makes the indexes of its days.
//!
//! The template, put at the start and again when the connection was lost (it may be another server that comes back), maps every
//! field there is and switches dynamic mapping off: the values a honeypot logs change their types as attackers please, and a
//! mapping guessed from the first of them refuses the next. All values are keywords as the index of this daemon knows them, in
//! arrays under `terms`; `terms.src_ip.ip` is the address as an address. The line itself is `event.original`: kept, not searched.
//!
//! What an item is refused for is either the item's (a dead letter) or the receiver's state (no right to write, no index may be
//! created, disk full): then nothing is lost, the sink counts as unusable until that is mended.
use super::http::{Compression, Http, HttpError, HttpSettings, Reply, compress, header_map};
use super::json::{write_hex, write_number, write_string};
use super::webhook::Received;
use super::{Answer, Batch, Item, Outcome, Request, Sink, Verdict};
use crate::events::batch::Batcher;
use crate::events::{Field, time};
use crate::geoip;
use crate::report::compatible::Document;
use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use url::Url;

/// Longest value that is searchable, characters.
const IGNORE_ABOVE: u32 = 1024;
/// Over those that come with Elasticsearch, which have up to 200.
const TEMPLATE_PRIORITY: u32 = 500;
/// Of the answer to a batch: so much, and so much for each item.
const ANSWER_BYTES: usize = 64 << 10;
const ANSWER_BYTES_PER_ITEM: usize = 2 << 10;
/// What is asked for of an answer; receivers that do not know it answer in full.
const FILTER_PATH: &str = "errors,items.*.status,items.*.error.type,items.*.error.reason";

/// An Elasticsearch or OpenSearch.
#[derive(Clone, Debug)]
pub struct ElasticsearchSettings {
    pub http: HttpSettings,
    /// Of the names of indexes: `honeyguide` makes `honeyguide-2026.03.22`.
    pub prefix: String,
    /// A time that senders choose counts for the index this many days from the receipt; `None`: always.
    pub sender_days_max: Option<u32>,
}

/// Sends events as documents.
#[derive(Debug)]
pub struct Elasticsearch {
    http: Http,
    prefix: String,
    sender_days_max: Option<u32>,
    root: Url,
    bulk: Url,
    /// Whether the template has been put since the connection was last lost.
    prepared: AtomicBool,
    /// One puts it, the others wait.
    preparing: tokio::sync::Mutex<()>,
    encoders: Mutex<Vec<Encoder>>,
    places: geoip::Handle,
}

impl Elasticsearch {
    pub fn new(settings: ElasticsearchSettings) -> Result<Elasticsearch, HttpError> {
        let ElasticsearchSettings { http, prefix, sender_days_max } = settings;
        if http.compression == Compression::Zstd {
            return Err(HttpError::Encoding);
        }
        let mut root = http.url.clone();
        root.set_fragment(None);
        if root.query().is_some() || root.cannot_be_a_base() {
            return Err(HttpError::Base { url: super::http::shown(&root) });
        }
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        let mut bulk = below(&root, &["_bulk"]);
        bulk.set_query(Some(&format!("filter_path={FILTER_PATH}")));
        let (prepared, preparing, encoders, places) = Default::default();
        Ok(Elasticsearch { http: Http::new(http)?, prefix, sender_days_max, root, bulk, prepared, preparing, encoders, places })
    }

    /// Documents say where addresses are.
    #[must_use]
    pub fn with_places(self, places: geoip::Handle) -> Elasticsearch {
        Elasticsearch { places, ..self }
    }

    /// Puts the template unless that was done; a failure is never the items'.
    async fn prepare(&self) -> Result<(), Outcome> {
        if self.prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        let _preparing = self.preparing.lock().await;
        if self.prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        let url = below(&self.root, &["_index_template", &self.prefix]);
        let headers = header_map([super::http::JSON]);
        let outcome = self.http.outcome(Method::PUT, &url, headers, template(&self.prefix).as_bytes()).await;
        match outcome.answer {
            Answer::Delivered => {
                self.prepared.store(true, Ordering::Release);
                Ok(())
            }
            Answer::Refused { why } | Answer::TooLarge { why } => {
                let answer = Answer::Unusable { why: format!("the index template was refused: {why}") };
                Err(Outcome { answer, ..outcome })
            }
            _ => Err(outcome),
        }
    }

    async fn bulk(&self, request: &Request) -> Outcome {
        if let Err(outcome) = self.prepare().await {
            return outcome;
        }
        let further = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = header_map([("content-type", "application/x-ndjson")].into_iter().chain(further));
        let outcome = self.ask(headers, &request.body, request.items).await;
        if outcome.status.is_none() {
            self.prepared.store(false, Ordering::Release);
        }
        outcome
    }

    async fn ask(&self, headers: HeaderMap, body: &[u8], items: usize) -> Outcome {
        let bytes_max = ANSWER_BYTES + ANSWER_BYTES_PER_ITEM * items;
        let reply = match self.http.ask(Method::POST, &self.bulk, headers, body, bytes_max).await {
            Ok(reply) => reply,
            Err(answer) => return Outcome { answer, status: None },
        };
        let answer = match self.http.judge(&reply) {
            Answer::Delivered => self.verdicts(&reply, items),
            other => other,
        };
        Outcome { answer, status: Some(reply.status) }
    }

    /// Writes reports, each over the one with the same id.
    pub async fn publish(&self, reports: &[Document]) -> Outcome {
        let mut body = Vec::new();
        for report in reports {
            let action = serde_json::json!({ "index": { "_index": format!("{}.{}", self.prefix, report.index), "_id": report.id } });
            body.extend_from_slice(format!("{action}\n{}\n", report.body).as_bytes());
        }
        self.ask(header_map([("content-type", "application/x-ndjson")]), &body, reports.len()).await
    }

    /// What the answer says of each item.
    fn verdicts(&self, reply: &Reply, items: usize) -> Answer {
        let garbled = |what: &str| Answer::Retry { after: None, why: format!("{what}: {}", self.http.why(reply)) };
        let Ok(answer) = serde_json::from_slice::<BulkAnswer>(&reply.body) else {
            return garbled("the answer is none to a bulk request");
        };
        if answer.items.len() != items {
            return garbled(&format!("the answer is about {} items instead of {items}", answer.items.len()));
        }
        judge_items(answer.items, &|text| self.http.excerpt(text.as_bytes()))
    }
}

impl Sink for Elasticsearch {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let encoder = self.encoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = encoder.unwrap_or_else(|| Encoder::new(self.places.clone()));
        let body = encoder.body(&self.prefix, self.sender_days_max, batch);
        // As many are kept as encode at once.
        self.encoders.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
        let (body, encoding) = compress(body, self.http.settings().compression);
        Ok(Request {
            body,
            id: batch.id(),
            items: batch.items.len(),
            last_seq: batch.items.last().map_or(0, |item| item.seq),
            headers: encoding.map(|encoding| ("content-encoding", encoding.to_owned())).into_iter().collect(),
        })
    }

    fn send<'a>(&'a self, request: &'a Request, _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.bulk(request))
    }

    /// Asks the receiver for its name and version: whether address and credentials are right.
    fn probe(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(self.http.outcome(Method::GET, &self.root, HeaderMap::new(), b""))
    }

    fn concurrency_max(&self) -> usize {
        self.http.settings().concurrency
    }
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    /// Events are created, reports written over.
    #[serde(alias = "index")]
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<ItemError>,
}

/// An object; a text from very old servers and from other programs.
#[derive(Deserialize)]
#[serde(untagged)]
enum ItemError {
    Object {
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        reason: Option<String>,
    },
    Text(String),
}

impl ItemError {
    fn kind(&self) -> &str {
        match self {
            ItemError::Object { kind, .. } => kind,
            ItemError::Text(_) => "",
        }
    }

    fn reason(&self) -> &str {
        match self {
            ItemError::Object { reason, .. } => reason.as_deref().unwrap_or_default(),
            ItemError::Text(text) => text,
        }
    }

    /// Whether it is the receiver's state that an item is refused for: no item would be accepted.
    fn is_of_receiver(&self) -> bool {
        matches!(
            self.kind(),
            "security_exception"
                | "authorization_exception"
                | "cluster_block_exception"
                | "index_not_found_exception"
                | "index_closed_exception"
                | "invalid_index_name_exception"
                // The limit of shards, met when the index of a day is to be created.
                | "validation_exception"
        ) || self.reason().contains("maximum normal shards open")
            || self.reason().contains("maximum shards open")
    }
}

fn judge_items(items: Vec<ItemAnswer>, shown: &dyn Fn(&str) -> String) -> Answer {
    let mut verdicts = Vec::with_capacity(items.len());
    let (mut delivered, mut stuck, mut why_stuck) = (0, 0, None);
    for ItemAnswer { create: Created { status, error } } in items {
        let why = || match &error {
            Some(error) => format!("status {status}: {}", shown(&format!("{} {}", error.kind(), error.reason()))),
            None => format!("status {status}"),
        };
        let again = || Verdict::Retry { status: Some(status), why: why() };
        verdicts.push(match status {
            // 409: it arrived before.
            200 | 201 | 409 => {
                delivered += 1;
                Verdict::Delivered
            }
            429 | 500..=599 => again(),
            401 | 403 => {
                stuck += 1;
                why_stuck.get_or_insert_with(why);
                again()
            }
            _ if error.as_ref().is_some_and(ItemError::is_of_receiver) => {
                stuck += 1;
                why_stuck.get_or_insert_with(why);
                again()
            }
            400..=499 => Verdict::Refused(why()),
            // No status that an item can have.
            _ => again(),
        });
    }
    match why_stuck {
        _ if delivered == verdicts.len() => Answer::Delivered,
        Some(why) if stuck == verdicts.len() => Answer::Unusable { why },
        _ => Answer::Items(verdicts),
    }
}

/// A URL below another, each part as one segment of its path.
fn below(root: &Url, parts: &[&str]) -> Url {
    let mut url = root.clone();
    url.path_segments_mut().expect("http and https URLs have paths").pop_if_empty().extend(parts);
    url
}

/// The composable index template.
fn template(prefix: &str) -> String {
    use serde_json::{Map, Value, json};
    let mut terms: Map<String, Value> = Field::ALL
        .iter()
        .filter(|field| !field.is_joined())
        .map(|field| (field.name().to_owned(), json!({ "type": "keyword", "ignore_above": IGNORE_ABOVE })))
        .collect();
    terms[Field::SrcIp.name()]["fields"] = json!({ "ip": { "type": "ip", "ignore_malformed": true } });
    let keyword = json!({ "type": "keyword", "ignore_above": IGNORE_ABOVE });
    let template = json!({
        "index_patterns": [format!("{prefix}-*")],
        "priority": TEMPLATE_PRIORITY,
        "template": {
            "mappings": {
                "dynamic": false,
                "properties": {
                    "@timestamp": { "type": "date" },
                    "event": { "properties": { "original": { "type": "keyword", "index": false, "doc_values": false } } },
                    "honeyguide": {
                        "properties": {
                            "sequence": { "type": "long" },
                            "source": keyword,
                            "format": keyword,
                            "received_at": { "type": "date" },
                        },
                    },
                    "terms": { "properties": terms },
                },
            },
        },
        "_meta": { "description": "events of honeypots, sent by honeyguide" },
    });
    template.to_string()
}

/// Makes documents; its tables and buffers are reused.
struct Encoder {
    batcher: Batcher,
    /// Terms of one event, and their bytes.
    terms: Vec<(Field, u32, u32)>,
    values: Vec<u8>,
    received: Received,
    day: i32,
    /// `"_index":"{prefix}-{day}"` up to the id.
    action: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    fn new(places: geoip::Handle) -> Encoder {
        let (terms, values, action) = (Vec::new(), Vec::new(), Vec::new());
        Encoder { batcher: Batcher::with_places(places), terms, values, received: Received::default(), day: 0, action }
    }

    fn body(&mut self, prefix: &str, sender_days_max: Option<u32>, batch: &Batch) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * batch.payload.len() + 512 * batch.items.len());
        self.action.clear();
        for item in &batch.items {
            self.document(prefix, sender_days_max, item, batch.payload(item), &mut out);
        }
        out
    }

    fn document(&mut self, prefix: &str, sender_days_max: Option<u32>, item: &Item, line: &[u8], out: &mut Vec<u8>) {
        let Encoder { terms, values, .. } = self;
        terms.clear();
        values.clear();
        let time = self.batcher.terms(item.format, line, item.received_at, &mut |field, value| {
            if !field.is_joined() {
                let start = values.len() as u32;
                values.extend_from_slice(value);
                terms.push((field, start, values.len() as u32));
            }
        });
        // A line that its decoder does not read any more is found by the time that it came with.
        let time = time.unwrap_or(item.time);
        let (mut day, received_day) = (time::day_of(time), time::day_of(item.received_at));
        if item.format.time_is_the_senders() && sender_days_max.is_some_and(|most| day.abs_diff(received_day) > most) {
            day = received_day;
        }
        if self.action.is_empty() || self.day != day {
            self.day = day;
            let index = format!("{prefix}-{}", time::format_day(day).replace('-', "."));
            self.action.clear();
            self.action.extend_from_slice(b"{\"create\":{\"_index\":");
            write_string(index.as_bytes(), &mut self.action);
            self.action.extend_from_slice(b",\"_id\":\"");
        }
        out.extend_from_slice(&self.action);
        write_hex(&item.id.0, out);
        out.extend_from_slice(b"\"}}\n{\"@timestamp\":\"");
        out.extend_from_slice(time::format(time).as_bytes());
        out.extend_from_slice(b"\",\"event\":{\"original\":");
        write_string(line, out);
        out.extend_from_slice(b"},\"honeyguide\":{\"sequence\":");
        write_number(item.seq, out);
        out.extend_from_slice(b",\"source\":");
        write_string(item.source.as_bytes(), out);
        out.extend_from_slice(b",\"format\":");
        write_string(item.format.name().as_bytes(), out);
        out.extend_from_slice(b",\"received_at\":\"");
        out.extend_from_slice(self.received.text(item.received_at).as_bytes());
        out.extend_from_slice(b"\"},\"terms\":{");
        self.write_terms(out);
        out.extend_from_slice(b"}}\n");
    }

    /// `"field":["value",…],…`, each value once.
    fn write_terms(&mut self, out: &mut Vec<u8>) {
        let Encoder { terms, values, .. } = self;
        let value = |&(_, start, end): &(Field, u32, u32)| &values[start as usize..end as usize];
        terms.sort_by_key(|&(field, ..)| field);
        for (at, of_field) in terms.chunk_by(|left, right| left.0 == right.0).enumerate() {
            out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
            out.extend_from_slice(of_field[0].0.name().as_bytes());
            out.extend_from_slice(b"\":[");
            for (at, term) in of_field.iter().enumerate() {
                if of_field[..at].iter().any(|earlier| value(earlier) == value(term)) {
                    continue;
                }
                if at > 0 {
                    out.push(b',');
                }
                write_string(value(term), out);
            }
            out.push(b']');
        }
    }
}
