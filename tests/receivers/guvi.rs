//! A receiver of final results as GUVI's convention has it: it checks the path, the API key and every key of a result, and
//! counts. And a program that scores chats.
use super::{Faults, Server, finish, instead, lock};
use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// The key that senders must use.
pub const API_KEY: &str = "key of the test's receiver";

const PATH: &str = "/api/updateHoneyPotFinalResult";
const LISTS: [&str; 5] = ["bankAccounts", "upiIds", "phishingLinks", "phoneNumbers", "suspiciousKeywords"];
const MORE_LISTS: [&str; 4] = ["emailAddresses", "caseIds", "policyNumbers", "orderNumbers"];

/// A result that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `idempotency-key`
    pub key: String,
    pub result: Value,
}

/// The receiver.
pub struct Receiver {
    pub server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    told: Mutex<Vec<Told>>,
    problems: Mutex<Vec<String>>,
}

/// Starts a receiver on a free port.
pub fn start() -> Arc<Receiver> {
    let state = Arc::new(State::default());
    let data = Data::from(state.clone());
    let server = Server::start(move |config: &mut ServiceConfig| {
        config.app_data(data.clone()).app_data(PayloadConfig::new(4 << 20)).default_service(web::to(receive));
    });
    Arc::new(Receiver { server, state })
}

impl Receiver {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// In the order of arrival, repetitions included.
    pub fn told(&self) -> Vec<Told> {
        lock(&self.state.told).clone()
    }

    /// What was wrong with requests, apart from the faults.
    pub fn problems(&self) -> Vec<String> {
        lock(&self.state.problems).clone()
    }
}

async fn receive(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let fault = state.faults.next();
    if let Some(answer) = instead(&fault).await {
        return answer;
    }
    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if field("x-api-key") != API_KEY {
        return HttpResponse::Unauthorized().body(r#"{"status":"error","message":"unknown key"}"#);
    }
    let problem = |what: String| {
        lock(&state.problems).push(what.clone());
        HttpResponse::BadRequest().body(what)
    };
    if request.path() != PATH {
        return HttpResponse::NotFound().body("no such path");
    }
    if request.method() != Method::POST {
        return HttpResponse::MethodNotAllowed().finish();
    }
    if state.faults.is_poisoned(&body) {
        return HttpResponse::BadRequest().body("a result is poison");
    }
    if field("content-type") != "application/json" || field("idempotency-key").is_empty() {
        return problem(format!("content-type {:?}, idempotency-key {:?}", field("content-type"), field("idempotency-key")));
    }
    let result: Value = match serde_json::from_slice(&body) {
        Ok(result) => result,
        Err(error) => return problem(error.to_string()),
    };
    if let Err(what) = check(&result) {
        return problem(format!("{what}: {result}"));
    }
    lock(&state.told).push(Told { key: field("idempotency-key").to_owned(), result });
    finish(HttpResponse::Ok(), br#"{"status":"success"}"#.to_vec(), &fault)
}

/// Exactly the keys of one of the two variants, each of its type.
fn check(result: &Value) -> Result<(), String> {
    let is_extended = result.get("scamType").is_some();
    let intelligence = result["extractedIntelligence"].as_object().ok_or("no extractedIntelligence")?;
    let lists: Vec<&str> = LISTS.iter().chain(MORE_LISTS.iter().filter(|_| is_extended)).copied().collect();
    for list in &lists {
        let values = intelligence.get(*list).and_then(Value::as_array).ok_or(format!("no list {list}"))?;
        let mut texts: Vec<&str> =
            values.iter().map(|value| value.as_str().ok_or(format!("no text in {list}"))).collect::<Result<_, _>>()?;
        texts.sort_unstable();
        if texts.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("twice the same in {list}"));
        }
    }
    let typed = result["sessionId"].is_string()
        && result["scamDetected"] == true
        && result["totalMessagesExchanged"].as_u64().is_some_and(|messages| messages > 0)
        && result["agentNotes"].as_str().is_some_and(|notes| !notes.is_empty());
    let more = !is_extended
        || (result["engagementDurationSeconds"].is_u64()
            && result["scamType"].is_string()
            && result["confidenceLevel"].as_f64().is_some_and(|level| (0.0..=1.0).contains(&level)));
    let keys = result.as_object().map_or(0, serde_json::Map::len);
    match typed && more && intelligence.len() == lists.len() && keys == if is_extended { 8 } else { 5 } {
        true => Ok(()),
        false => Err("not as the convention has it".into()),
    }
}

/// Starts a program that gives every chat the same score, or answers with something else.
pub fn model(answer: fn(&Value) -> Value) -> Server {
    Server::start(move |config: &mut ServiceConfig| {
        config.default_service(web::to(move |body: Bytes| async move {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            HttpResponse::Ok().json(answer(&asked))
        }));
    })
}
