//! Who changed what, and who was refused: one record of the ledger for each.
//!
//! Handlers say more of a change by putting [`Change`] into their answer's extensions. Refusals are what a stranger can cause, so no more
//! than so many a minute become records; the next one says how many were left out.
use super::Admin;
use super::gate::RequestId;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::{Principal, Right};
use crate::actors::push::PushOutcome;
use crate::events::time::{self, Micros};
use crate::service::audit::{Asked, REQUEST, Records};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Records of refusals in a minute: of strangers, who must not push what is older out of the ledger, and of those who proved who they are.
const STRANGERS_PER_MINUTE: u32 = 10;
const KNOWN_PER_MINUTE: u32 = 60;
/// Of a day: whoever changes addresses all the time does not fill the ledger.
const PUSHERS_MAX: usize = 1_000;
const PUSHERS_OF_ONE_MAX: usize = 32;
/// Longest path that is kept, characters.
const PATH_CHARS_MAX: usize = 256;
/// Of what was before, and of what was after: bytes of texts and names, about; characters of one text; items of one list.
const SIDE_BYTES_MAX: usize = 2_048;
const TEXT_CHARS_MAX: usize = 256;
const ITEMS_MAX: usize = 32;
const NUMBER_BYTES: usize = 8;
/// Longest method: it can be any word.
const METHOD_CHARS_MAX: usize = 16;

/// What a request is about, before it is answered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    #[serde(skip)]
    is_known: bool,
    by: String,
    /// The id of the key: names of keys are given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    from: String,
    method: String,
    path: String,
    request_id: String,
}

impl Told {
    pub fn of(request: &HttpRequest, principal: Option<&Principal>) -> Told {
        Told {
            is_known: principal.is_some(),
            by: principal.map_or_else(|| "nobody".to_owned(), |principal| principal.name.to_string()),
            key: principal.and_then(|principal| principal.key.as_deref().map(str::to_owned)),
            from: request.peer_addr().map_or_else(|| "socket".to_owned(), |address| address.ip().to_string()),
            method: request.method().as_str().chars().take(METHOD_CHARS_MAX).collect(),
            path: request.path().chars().take(PATH_CHARS_MAX).collect(),
            request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        }
    }
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/audit", Right::Audit, "Who did what: records of the ledger, newest first", list).query::<Asked>().answers::<Records>(),
    ]
}

async fn list(admin: web::Data<Admin>, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(records(&admin, asked.into_inner()).await?))
}

/// A page of the ledger's records.
pub(super) async fn records(admin: &Admin, asked: Asked) -> Result<Records, Problem> {
    let store = admin.engine.store().clone();
    stream::one(admin, move || Ok(crate::service::audit::records(&store, &asked)?)).await
}

/// Records that somebody logged in at the page, before the answer is sent; as often as refusals, but counted by itself.
pub(super) async fn logged(admin: &Admin, told: Told, what: &'static str, who: &Principal) {
    let Some(mut details) = admin.refusals.record(Whose::LoggedIn, &told, time::now()) else { return };
    (details["before"], details["after"]) = (Value::Null, json!({ what: who.to_string() }));
    details["status"] = StatusCode::SEE_OTHER.as_u16().into();
    let _ = record(admin, details, time::now()).await;
}

/// Who pushed as which source today, and from where: each is recorded once, and of one key no more than so many.
#[derive(Default)]
pub(super) struct Pushers(Mutex<(Micros, HashSet<[String; 3]>)>);

impl Pushers {
    fn is_new(&self, pusher: [String; 3], now: Micros) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let today = now.div_euclid(time::MICROS_PER_DAY);
        if known.0 != today {
            *known = (today, HashSet::new());
        }
        let of_one = || known.1.iter().filter(|other| other[0] == pusher[0]).count();
        if known.1.contains(&pusher) || known.1.len() >= PUSHERS_MAX || of_one() >= PUSHERS_OF_ONE_MAX {
            return false;
        }
        known.1.insert(pusher)
    }
}

/// Records who pushes, once a day for each source and address: that what is in the journal under this source came from them.
pub(super) async fn pushed(admin: &Admin, request: &HttpRequest, who: &Principal, source: &str, outcome: &PushOutcome) {
    let (now, told) = (time::now(), Told::of(request, Some(who)));
    let pusher = [told.key.clone().unwrap_or_else(|| told.by.clone()), source.to_owned(), told.from.clone()];
    if !admin.pushers.is_new(pusher, now) {
        return;
    }
    let PushOutcome { stored, duplicate, refused, .. } = outcome;
    let mut details = json!(told);
    details["after"] = json!({ "source": source, "stored": stored, "duplicate": duplicate, "refused": refused });
    details["status"] = StatusCode::OK.as_u16().into();
    let _ = record(admin, details, now).await;
}

/// What was before and after; either may be null. Of work that goes on behind its answer: what was asked for; what came of it is a record
/// of its own kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Change {
    before: Value,
    after: Value,
}

impl Change {
    /// Cut to what a record may hold; what has no JSON is null.
    pub fn new(before: impl Serialize, after: impl Serialize) -> Change {
        let small = |value: Result<Value, serde_json::Error>| {
            let mut value = value.unwrap_or_default();
            cut(&mut value, &mut { SIDE_BYTES_MAX });
            value
        };
        Change { before: small(serde_json::to_value(before)), after: small(serde_json::to_value(after)) }
    }

    /// Gives it to the record of the request that this answers.
    pub fn told(self, mut answer: HttpResponse) -> HttpResponse {
        answer.extensions_mut().insert(self);
        answer
    }
}

/// Shortens texts and lists, and leaves out what is behind them when `left` bytes are used up.
fn cut(value: &mut Value, left: &mut usize) {
    match value {
        Value::String(text) => {
            if text.chars().nth(TEXT_CHARS_MAX).is_some() {
                *text = text.chars().take(TEXT_CHARS_MAX).chain(['…']).collect();
            }
            *left = left.saturating_sub(text.len());
        }
        Value::Array(items) => {
            items.truncate(ITEMS_MAX);
            items.retain_mut(|item| {
                let fits = *left > 0;
                cut(item, left);
                fits
            });
        }
        Value::Object(members) => members.retain(|name, member| {
            let fits = *left > 0;
            *left = left.saturating_sub(name.len());
            cut(member, left);
            fits
        }),
        _ => *left = left.saturating_sub(NUMBER_BYTES),
    }
}

/// How many refusals became records in this minute, and how many did not since the last that did.
#[derive(Default)]
pub(super) struct Refusals([Mutex<(Micros, u32, u64)>; 3]);

/// What is counted by itself, so that nobody's flood leaves out what others did.
#[derive(Clone, Copy)]
enum Whose {
    Stranger,
    /// Refusals of, and what came to nothing for, those who proved who they are; and what any of them may do.
    Known,
    LoggedIn,
}

impl Refusals {
    /// Some: to be recorded, with how many before it were not.
    fn admit(&self, whose: Whose, now: Micros) -> Option<u64> {
        let per_minute = if let Whose::Stranger = whose { STRANGERS_PER_MINUTE } else { KNOWN_PER_MINUTE };
        let mut kept = self.0[whose as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.div_euclid(60 * time::MICROS_PER_SECOND);
        if kept.0 != minute {
            (kept.0, kept.1) = (minute, 0);
        }
        if kept.1 == per_minute {
            kept.2 += 1;
            return None;
        }
        kept.1 += 1;
        Some(std::mem::take(&mut kept.2))
    }

    /// The beginning of a record, if there is to be one.
    fn record(&self, whose: Whose, told: &Told, now: Micros) -> Option<Value> {
        let left_out = self.admit(whose, now)?;
        let mut details = json!(told);
        if left_out > 0 {
            details["left_out"] = left_out.into();
        }
        Some(details)
    }
}

/// Records a refusal, some time soon: the refused one does not wait for it.
pub(super) fn refused(admin: &Admin, told: Told, problem: &Problem) {
    let now = time::now();
    let whose = if told.is_known { Whose::Known } else { Whose::Stranger };
    let Some(mut details) = admin.refusals.record(whose, &told, now) else { return };
    details["status"] = problem.status.into();
    details["code"] = problem.code.clone().into();
    drop(record(admin, details, now));
}

/// Records a change before its answer is sent. What failed, and what anybody may do who is known (`is_anybodys`), is recorded as often as
/// refusals: a stolen key of a honeypot must not push what is older out of the ledger.
pub(super) async fn changed<B>(admin: &Admin, told: Told, is_anybodys: bool, answered: &Result<ServiceResponse<B>, actix_web::Error>) {
    let status = match answered {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let is_counted = is_anybodys || status.is_client_error() || status.is_server_error();
    let details = if is_counted { admin.refusals.record(Whose::Known, &told, time::now()) } else { Some(json!(told)) };
    let Some(mut details) = details else { return };
    if let Ok(answer) = answered
        && let Some(change) = answer.response().extensions().get::<Change>()
    {
        details["before"] = change.before.clone();
        details["after"] = change.after.clone();
    }
    details["status"] = StatusCode::as_u16(&status).into();
    // Only a panic, which the log tells.
    let _ = record(admin, details, time::now()).await;
}

fn record(admin: &Admin, details: Value, now: Micros) -> tokio::task::JoinHandle<()> {
    let (store, telemetry) = (admin.engine.store().clone(), admin.engine.observed.telemetry.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = store.record(REQUEST, details, now) {
            slog::error!(telemetry.logger, "the ledger cannot be written"; "error" => error.to_string());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pushes_is_recorded_once_a_day_and_not_without_end() {
        let (pushers, day) = (Pushers::default(), time::MICROS_PER_DAY);
        let pusher = |from: usize| [format!("key {}", from % 100), "push".to_owned(), from.to_string()];
        assert!(pushers.is_new(pusher(1), day) && !pushers.is_new(pusher(1), day + 1));
        assert!(pushers.is_new(pusher(2), day));
        let of_one = |number: usize| (0..100).filter(|at| pushers.is_new(pusher(number + 100 * at), day)).count();
        assert_eq!(of_one(7), PUSHERS_OF_ONE_MAX);
        assert_eq!((10..90).map(of_one).sum::<usize>(), PUSHERS_MAX - 2 - PUSHERS_OF_ONE_MAX);
        assert!(pushers.is_new(pusher(1), 2 * day));
    }

    #[test]
    fn a_record_holds_little_of_whatever_was_asked() {
        let huge = json!({ "text": "é".repeat(100_000), "list": vec!["x".repeat(1_000); 1_000], "deep": [[[{ "n": 1 }]]], "last": true });
        let Change { before, after } = Change::new((), &huge);
        assert_eq!(before, Value::Null);
        assert!(after.to_string().len() < 2 * SIDE_BYTES_MAX + 4 * TEXT_CHARS_MAX, "{}", after.to_string().len());
        assert!(after["deep"].is_array() && after["list"][0].as_str().is_some_and(|text| text.ends_with("x…")), "{after}");
        let many: serde_json::Map<String, Value> = (0..10_000).map(|at| (format!("{at:05}"), Value::Null)).collect();
        assert!(Change::new(&many, ()).before.to_string().len() < 4 * SIDE_BYTES_MAX);
        let small = json!({ "paused": false, "cursor": 7 });
        assert_eq!(Change::new(&small, &small), Change { before: small.clone(), after: small });
    }

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_recorded() {
        let (refusals, minute) = (Refusals::default(), 60 * time::MICROS_PER_SECOND);
        let all = [(Whose::Stranger, STRANGERS_PER_MINUTE), (Whose::Known, KNOWN_PER_MINUTE), (Whose::LoggedIn, KNOWN_PER_MINUTE)];
        for (whose, per_minute) in all {
            let recorded = (0..1_000).filter(|_| refusals.admit(whose, 5).is_some()).count();
            assert_eq!(recorded, per_minute as usize);
            assert_eq!(refusals.admit(whose, minute), Some(1_000 - u64::from(per_minute)));
            assert_eq!(refusals.admit(whose, minute + 1), Some(0));
        }
    }
}
