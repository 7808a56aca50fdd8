//! A receiver of batches as the webhook sink documents it: it checks the signature by an implementation of its own, and counts.
use super::{Faults, Server, decoded, finish, instead, lock};
use actix_web::web::{self, Bytes, Data, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The key that senders must use.
pub const SECRET: &str = "key of the test's signature";

/// What is said of poison, which is no problem of the sender's.
const POISON: &str = "an event is poison";

/// A batch that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `idempotency-key`
    pub key: String,
    /// `x-correlation-id`
    pub correlation: String,
    pub encoding: Option<String>,
    /// Ids, in the order of the batch.
    pub events: Vec<String>,
}

/// The receiver.
pub struct Receiver {
    pub server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// How often each event arrived.
    events: Mutex<HashMap<String, u32>>,
    batches: Mutex<Vec<Taken>>,
    /// Lines of events, by id, while they are kept.
    lines: Mutex<Option<HashMap<String, String>>>,
    last: Mutex<Option<Request>>,
    problems: Mutex<Vec<String>>,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// Starts a receiver on a free port.
pub fn start() -> Arc<Receiver> {
    let state = Arc::new(State::default());
    let data = Data::from(state.clone());
    let server = Server::start(move |config: &mut ServiceConfig| {
        config.app_data(data.clone()).app_data(PayloadConfig::new(256 << 20)).default_service(web::to(receive));
    });
    Arc::new(Receiver { server, state })
}

impl Receiver {
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in", self.port())
    }

    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// How often each event arrived, by id.
    pub fn events(&self) -> HashMap<String, u32> {
        lock(&self.state.events).clone()
    }

    /// How many different events arrived.
    pub fn count(&self) -> usize {
        lock(&self.state.events).len()
    }

    /// Every batch that was taken, in the order of arrival.
    pub fn batches(&self) -> Vec<Taken> {
        lock(&self.state.batches).clone()
    }

    /// What was wrong with requests: empty at the end of every test.
    pub fn problems(&self) -> Vec<String> {
        lock(&self.state.problems).clone()
    }

    /// Keeps lines from now on.
    pub fn keep_lines(&self) {
        lock(&self.state.lines).get_or_insert_default();
    }

    /// The line of each event that arrived since they are kept.
    pub fn lines(&self) -> HashMap<String, String> {
        lock(&self.state.lines).clone().unwrap_or_default()
    }

    /// The last request, whatever became of it.
    pub fn last(&self) -> Request {
        lock(&self.state.last).clone().expect("a request has come")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    batch: &'a str,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "sequence")]
    _sequence: u64,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "received_at")]
    _received_at: &'a str,
    #[serde(borrow)]
    event: &'a RawValue,
}

async fn receive(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let fault = state.faults.next();
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
    *lock(&state.last) = Some(Request { headers, body: body.to_vec() });
    if let Some(answer) = instead(&fault).await {
        return answer;
    }
    let taken = match check(&header, &body, &state) {
        Ok(taken) => taken,
        Err((status, problem)) => {
            let code = actix_web::http::StatusCode::from_u16(status).expect("a status");
            if problem != POISON {
                lock(&state.problems).push(problem.clone());
            }
            return HttpResponse::build(code).body(problem);
        }
    };
    let mut counts = lock(&state.events);
    for id in &taken.events {
        *counts.entry(id.clone()).or_default() += 1;
    }
    drop(counts);
    lock(&state.batches).push(taken);
    finish(HttpResponse::Accepted(), b"{\"status\":\"taken\"}".to_vec(), &fault)
}

fn check(header: &dyn Fn(&str) -> Option<String>, body: &[u8], state: &State) -> Result<Taken, (u16, String)> {
    let need = |name: &str| header(name).ok_or_else(|| (400, format!("{name} is missing")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    verify(&need("x-honeyguide-signature")?, SECRET, body, now).map_err(|problem| (401, problem))?;
    if header("content-type").as_deref() != Some("application/json") {
        return Err((415, "content-type is not application/json".into()));
    }
    if !header("user-agent").is_some_and(|agent| agent.starts_with("honeyguide/")) {
        return Err((400, "user-agent does not name the sender".into()));
    }
    let (key, correlation, encoding) = (need("idempotency-key")?, need("x-correlation-id")?, header("content-encoding"));
    let plain = decoded(encoding.as_deref(), body).map_err(|problem| (400, problem))?;
    let Body { batch, events } = serde_json::from_slice(&plain).map_err(|error| (400, format!("the body: {error}")))?;
    if batch != key || !correlation.starts_with(&key) {
        return Err((400, format!("batch {batch}, idempotency-key {key}, x-correlation-id {correlation}")));
    }
    // Strictly: one that cannot be read refuses the batch, as a typical receiver does.
    if let Some(error) = events.iter().find_map(|event| serde_json::from_str::<serde_json::Value>(event.event.get()).err()) {
        return Err((400, format!("an event: {error}")));
    }
    if state.faults.is_poisoned(&plain) {
        return Err((400, POISON.into()));
    }
    if let Some(lines) = &mut *lock(&state.lines) {
        lines.extend(events.iter().map(|event| (event.id.to_owned(), event.event.get().to_owned())));
    }
    Ok(Taken { key, correlation, encoding, events: events.iter().map(|event| event.id.to_owned()).collect() })
}

/// Checks a signature as the sink's documentation says; HMAC is spelt out (RFC 2104).
pub fn verify(signature: &str, secret: &str, body: &[u8], now: u64) -> Result<(), String> {
    let part = |name: &str| signature.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (Some(time), Some(v1)) = (part("t"), part("v1")) else { return Err(format!("signature without t and v1: {signature}")) };
    let seconds: u64 = time.parse().map_err(|_| format!("t is no number: {time}"))?;
    if now.abs_diff(seconds) > 300 {
        return Err(format!("signed at {seconds}, now is {now}"));
    }
    let mut key = [0; 64];
    if secret.len() > 64 {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret.as_bytes());
    }
    let padded = |byte: u8| Sha256::new_with_prefix(key.map(|key| key ^ byte));
    let inner = padded(0x36).chain_update(time).chain_update(".").chain_update(body).finalize();
    let outer = padded(0x5c).chain_update(inner).finalize();
    let expected: String = outer.iter().map(|byte| format!("{byte:02x}")).collect();
    if v1 == expected { Ok(()) } else { Err("the signature is not that of the body".into()) }
}
