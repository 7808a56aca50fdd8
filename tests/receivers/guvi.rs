//! A receiver of the final results of chats, and a program that scores chats.
use super::{Faults, Server, lock};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

pub const API_KEY: &str = "key-of-the-test";

/// A result as it came.
#[derive(Clone, Debug)]
pub struct Told {
    /// `idempotency-key`
    pub key: String,
    pub result: Value,
}

#[derive(Default)]
struct State {
    faults: Faults,
    told: Mutex<Vec<Told>>,
}

pub struct Receiver {
    pub server: Server,
    state: Arc<State>,
}

/// Starts a receiver on a free port.
pub fn start() -> Arc<Receiver> {
    let state = Arc::new(State::default());
    let data = Data::from(state.clone());
    let server = Server::start(move |config: &mut ServiceConfig| {
        config.app_data(data.clone()).route("/api/updateHoneyPotFinalResult", web::post().to(receive));
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

    /// Every result, in the order of arrival.
    pub fn told(&self) -> Vec<Told> {
        lock(&self.state.told).clone()
    }
}

async fn receive(state: Data<State>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if header("x-api-key") != API_KEY {
        return HttpResponse::Unauthorized().finish();
    }
    let fault = state.faults.next();
    if let Some(answer) = super::instead(&fault).await {
        return answer;
    }
    match serde_json::from_slice(&body) {
        Ok(result) => {
            lock(&state.told).push(Told { key: header("idempotency-key"), result });
            HttpResponse::Ok().json(json!({ "status": "success" }))
        }
        Err(_) => HttpResponse::BadRequest().finish(),
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
