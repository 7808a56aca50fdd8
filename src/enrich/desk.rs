//! Where questions to other services come together: one desk for the whole process, so that a question that many have is asked once.
//!
//! A value that is kept and not too old is answered from the state. One that is not is asked for by the first who wants it while the
//! others wait for his answer. What may not be asked now (quota, cooldown, no answer) is answered with what is kept, however old, and
//! says so. An enricher's quota is written down before the request leaves: no restart forgets it.
use super::quota::{Hold, Standing};
use super::verdict::ANSWER_BYTES_MAX;
use super::{Opinion, Service, Subject, SubjectKind, Verdict};
use crate::config::{EnricherSettings, Settings};
use crate::events::{Field, Micros, time};
use crate::indicators::lists::Lists;
use crate::sinks::http::{self, Credentials, Http, HttpSettings, Reply};
use crate::sinks::{Answer as Meaning, open};
use crate::state::enrichment::{AnswerKey, Kept, SubjectHash, subject_hash};
use crate::state::{State, StateError};
use crate::telemetry::Telemetry;
use crate::telemetry::events::{EnricherAnswers, EnricherLeftAlone, EnrichmentNotKept};
use crate::telemetry::metrics::EnrichmentOutcome;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// An answer from the future by more than this was fetched under a wrong clock: it is old.
const CLOCK_SLACK: Micros = 5 * 60 * time::MICROS_PER_SECOND;
/// Requests to one service at once.
const CONCURRENCY: usize = 4;

/// Why nobody was asked. All of it is for the one who asks to mend.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("no [[enricher]] is configured: ops/ENRICHMENT.md describes the services there are")]
    NoneConfigured,
    #[error("there is no enricher called {0:?}: `honeyguide enrichers` shows what there is")]
    NoEnricher(String),
    #[error("{0:?} is nothing others can be asked about: give a hash (MD5, SHA-1, SHA-256), an address, a domain name or a URL")]
    NoSubject(String),
}

/// Whom to ask, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EnrichWanted)]
pub struct Wanted {
    /// Names of enrichers; none: all that answer such values.
    #[serde(default)]
    pub with: Vec<String>,
    /// Ask though an answer is kept.
    #[serde(default)]
    pub refresh: bool,
    /// Ask nobody: only what is kept.
    #[serde(default)]
    pub cached: bool,
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Enriched {
    /// In the spelling it is asked for.
    pub value: String,
    /// hash, address, domain or url.
    pub kind: String,
    pub answers: Vec<Answer>,
}

/// What one enricher answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EnricherAnswer)]
pub struct Answer {
    pub enricher: String,
    /// Type of the service.
    pub service: String,
    pub from: From,
    #[serde(flatten)]
    pub verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<String>,
    /// Why it was not asked, if it should have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it may be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EnrichedFrom)]
pub enum From {
    /// It was asked just now.
    Service,
    /// It was kept, and is not too old.
    Cache,
    /// It was kept, and is older than it should be.
    StaleCache,
    /// There is none.
    Nowhere,
}

/// Why an enricher was not asked, or did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It is private, reserved, or on a list of what is not told to anybody.
    Withheld,
    /// Only what is kept was wanted.
    NotAsked,
    /// So many a minute.
    MinuteQuota,
    DayQuota,
    Cooldown,
    Failed,
}

impl Held {
    /// Whether an answer was wanted and could not be had.
    pub fn is_missed(self) -> bool {
        !matches!(self, Held::Withheld | Held::NotAsked)
    }
}

/// Where an enricher stands, for people and programs; no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnricherRow {
    pub name: String,
    pub r#type: String,
    /// Where it is asked.
    pub place: String,
    /// What it is asked about.
    pub kinds: Vec<String>,
    /// ready, cooling_down or quota_used_up.
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    pub requests: u64,
    /// Questions that were answered without a request.
    pub hits: u64,
    pub quota_per_minute: u32,
    pub quota_per_day: u32,
    pub left_today: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Asks, and keeps answers.
pub struct Desk {
    state: Arc<State>,
    telemetry: Telemetry,
    clock: Box<dyn Fn() -> Micros + Send + Sync>,
    setup: RwLock<Arc<Setup>>,
    /// Questions under way, by what they ask.
    flights: Mutex<HashMap<AnswerKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// What the configuration says.
struct Setup {
    enrichers: Vec<Arc<Enricher>>,
    lists: Lists,
    answers_max: u64,
}

struct Enricher {
    settings: EnricherSettings,
    /// Made when it is first needed: secrets are read then.
    client: tokio::sync::OnceCell<Http>,
    progress: Arc<Mutex<Progress>>,
}

/// What changes with each request; goes on across reloads.
#[derive(Default)]
struct Progress {
    standing: Standing,
    last_error: Option<String>,
}

/// What a request came to.
enum Came {
    Answer(Verdict),
    /// Nothing can be had there now.
    Failed {
        outcome: EnrichmentOutcome,
        after: Option<Duration>,
        why: String,
    },
    /// Something that cannot be used.
    Unusable(String),
}

impl Desk {
    pub fn new(state: Arc<State>, settings: &Settings, telemetry: Telemetry) -> Desk {
        Desk::with_clock(state, settings, telemetry, Box::new(time::now))
    }

    /// With another clock than the system's.
    pub fn with_clock(state: Arc<State>, settings: &Settings, telemetry: Telemetry, clock: Box<dyn Fn() -> Micros + Send + Sync>) -> Desk {
        let none = Setup { enrichers: Vec::new(), lists: Lists::default(), answers_max: 1 };
        let desk = Desk { state, telemetry, clock, setup: RwLock::new(Arc::new(none)), flights: Mutex::default() };
        desk.configure(settings);
        desk
    }

    /// Takes another configuration over; secrets are read again.
    pub fn configure(&self, settings: &Settings) {
        let before = self.setup();
        let make = |settings: &EnricherSettings| {
            let known = before.enrichers.iter().find(|known| known.settings.name == settings.name);
            let progress = match known {
                Some(known) => known.progress.clone(),
                None => {
                    let standing = self.state.enricher(settings.name.as_str());
                    Arc::new(Mutex::new(Progress { standing, last_error: None }))
                }
            };
            self.telemetry.metrics.register_enricher(&settings.name);
            Arc::new(Enricher { settings: settings.clone(), client: tokio::sync::OnceCell::new(), progress })
        };
        let enrichers = settings.enrichers.iter().map(make).collect();
        let setup = Setup { enrichers, lists: settings.lists.clone(), answers_max: settings.limits.enrichment_entries };
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
    }

    fn setup(&self) -> Arc<Setup> {
        self.setup.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks those that answer such a value; needs a tokio runtime. Who drops it half way may have used up quota for nothing.
    pub async fn ask(&self, written: &str, wanted: &Wanted) -> Result<Enriched, DeskError> {
        let setup = self.setup();
        let subject = Subject::recognise(written).ok_or_else(|| DeskError::NoSubject(written.chars().take(200).collect()))?;
        let chosen = setup.chosen(&subject, &wanted.with)?;
        let withheld = subject.withheld(&setup.lists);
        let answers = chosen.into_iter().map(|enricher| async {
            match withheld {
                Some(list) => Answer::held(enricher, Held::Withheld, format!("not told to anybody: it is on the list \"{list}\""), None),
                None => self.answer(enricher, &subject, wanted, setup.answers_max).await,
            }
        });
        let answers = futures_util::future::join_all(answers).await;
        Ok(Enriched { value: subject.value().to_owned(), kind: subject.kind().name().to_owned(), answers })
    }

    /// What is kept of a value; nobody is asked, and who has never been is left out.
    pub fn cached(&self, written: &str) -> Vec<Answer> {
        let (setup, now) = (self.setup(), (self.clock)());
        let Some(subject) = Subject::recognise(written) else { return Vec::new() };
        let kept = setup.enrichers.iter().filter(|enricher| enricher.settings.service.answers(&subject)).filter_map(|enricher| {
            let kept = self.kept(&enricher.key(&subject))?;
            let from = if enricher.is_fresh(&kept, now) { From::Cache } else { From::StaleCache };
            Some(Answer::of(enricher, from, kept))
        });
        kept.collect()
    }

    /// The values that are malicious by answers that are not too old.
    pub fn flagged(&self) -> Result<Flagged, StateError> {
        let (setup, now) = (self.setup(), (self.clock)());
        let mut flagged = Flagged::default();
        for enricher in &setup.enrichers {
            let index = flagged.names.len();
            let mut each = |hash: SubjectHash, fetched_at: Micros| {
                if enricher.is_young(fetched_at, Opinion::Malicious, now) {
                    flagged.by_hash.entry(hash).or_default().push(index as u16);
                }
            };
            self.state.each_malicious(enricher.settings.name.as_str(), enricher.settings.service, &mut each)?;
            flagged.names.push(enricher.settings.name.to_string());
        }
        Ok(flagged)
    }

    /// Where each stands.
    pub fn rows(&self) -> Vec<EnricherRow> {
        let now = (self.clock)();
        self.setup().enrichers.iter().map(|enricher| enricher.row(now)).collect()
    }

    async fn answer(&self, enricher: &Arc<Enricher>, subject: &Subject, wanted: &Wanted, answers_max: u64) -> Answer {
        let (key, asked_at) = (enricher.key(subject), (self.clock)());
        let good = |kept: &Kept, now: Micros| if wanted.refresh { kept.fetched_at >= asked_at } else { enricher.is_fresh(kept, now) };
        let kept = self.kept(&key);
        if wanted.cached {
            return match kept {
                Some(kept) if enricher.is_fresh(&kept, asked_at) => self.hit(enricher, kept),
                kept => Answer::held(enricher, Held::NotAsked, "only what is kept was wanted".into(), None).with_stale(enricher, kept),
            };
        }
        if let Some(kept) = kept.filter(|kept| !wanted.refresh && good(kept, asked_at)) {
            return self.hit(enricher, kept);
        }
        let flight = self.flight(&key);
        let _turn = flight.turn.lock().await;
        // Who had the turn before may have the answer.
        let kept = self.kept(&key);
        if let Some(kept) = kept.clone().filter(|kept| good(kept, (self.clock)())) {
            return self.hit(enricher, kept);
        }
        let held = match self.request(enricher, subject).await {
            Ok(verdict) => {
                let kept = Kept { fetched_at: (self.clock)(), verdict };
                self.keep(key, kept.clone(), answers_max).await;
                return Answer::of(enricher, From::Service, kept);
            }
            Err(held) => held,
        };
        held.with_stale(enricher, kept)
    }

    /// One request, if it is allowed now.
    async fn request(&self, enricher: &Arc<Enricher>, subject: &Subject) -> Result<Verdict, Answer> {
        let name = &enricher.settings.name;
        let failed = |why: String| Answer::held(enricher, Held::Failed, why, None);
        // Before the quota: a key that cannot be read costs nothing.
        let http = enricher.client.get_or_try_init(|| client(&enricher.settings)).await.map_err(|why| {
            enricher.progress().last_error = Some(why.clone());
            failed(why)
        })?;
        let admitted = {
            let mut progress = enricher.progress();
            progress.standing.admit(enricher.settings.quota, (self.clock)()).map(|()| progress.standing.clone())
        };
        match admitted {
            Ok(standing) => self.note(name.as_str(), standing).await,
            Err(hold) => {
                let (held, why) = match hold {
                    Hold::Minute { .. } => {
                        (Held::MinuteQuota, format!("the quota of {} a minute is used up", enricher.settings.quota.per_minute))
                    }
                    Hold::Day { .. } => (Held::DayQuota, format!("the quota of {} a day is used up", enricher.settings.quota.per_day)),
                    Hold::Cooldown { .. } => {
                        let why = enricher.progress().last_error.clone();
                        (Held::Cooldown, format!("left alone after a failure{}", why.map(|why| format!(": {why}")).unwrap_or_default()))
                    }
                };
                return Err(Answer::held(enricher, held, why, Some(hold.until())));
            }
        }
        let came = send(http, &enricher.settings, subject).await;
        let (now, cooldown) = ((self.clock)(), enricher.settings.cooldown);
        let (outcome, ended, was_cooling, standing) = {
            let mut progress = enricher.progress();
            let was_cooling = progress.standing.is_cooling();
            let (outcome, ended) = match came {
                Came::Answer(verdict) => {
                    progress.last_error = None;
                    progress.standing.succeeded();
                    (EnrichmentOutcome::Answered, Ok(verdict))
                }
                Came::Failed { outcome, after, why } => {
                    progress.last_error = Some(why.clone());
                    let wait = progress.standing.failed(cooldown, after, now, rand::random());
                    (outcome, Err((why, Some(wait))))
                }
                Came::Unusable(why) => {
                    progress.last_error = Some(why.clone());
                    let wait = progress.standing.unusable(cooldown, now, rand::random());
                    (EnrichmentOutcome::Unusable, Err((why, wait)))
                }
            };
            (outcome, ended, was_cooling, progress.standing.clone())
        };
        self.telemetry.metrics.enrichment_requested(name.as_str(), outcome);
        let is_cooling = standing.is_cooling();
        self.telemetry.metrics.set_enricher_cooling(name.as_str(), is_cooling);
        // Told once when it begins, and once when it is over.
        match (&ended, was_cooling, is_cooling) {
            (Err((why, wait)), false, true) => {
                self.telemetry.emit(&EnricherLeftAlone { enricher: name.as_str(), wait: wait.unwrap_or_default(), error: why });
            }
            (Ok(_), true, _) => self.telemetry.emit(&EnricherAnswers { enricher: name.as_str() }),
            _ => {}
        }
        let until = standing.hold(enricher.settings.quota, now).map(Hold::until).filter(|_| is_cooling);
        self.note(name.as_str(), standing).await;
        ended.map_err(|(why, _)| Answer::held(enricher, Held::Failed, why, until))
    }

    fn hit(&self, enricher: &Enricher, kept: Kept) -> Answer {
        enricher.progress().standing.hits += 1;
        self.telemetry.metrics.enrichment_hit(enricher.settings.name.as_str());
        Answer::of(enricher, From::Cache, kept)
    }

    /// An answer that cannot be read is none: it is asked for again.
    fn kept(&self, key: &AnswerKey) -> Option<Kept> {
        self.state.enrichment(key).unwrap_or_else(|error| {
            self.telemetry.emit(&EnrichmentNotKept { error: &error.to_string() });
            None
        })
    }

    async fn keep(&self, key: AnswerKey, kept: Kept, answers_max: u64) {
        let state = self.state.clone();
        self.told(tokio::task::spawn_blocking(move || state.put_enrichment(&key, &kept, answers_max)).await);
    }

    async fn note(&self, name: &str, standing: Standing) {
        let (state, name) = (self.state.clone(), name.to_owned());
        self.told(tokio::task::spawn_blocking(move || state.put_enricher(&name, &standing, true)).await);
    }

    /// What could not be written costs a request more, at another time.
    fn told(&self, written: Result<Result<(), StateError>, tokio::task::JoinError>) {
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        self.telemetry.emit(&EnrichmentNotKept { error: &error });
    }

    fn flight(&self, key: &AnswerKey) -> Flight<'_> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = flights.entry(key.clone()).or_default().clone();
        Flight { desk: self, key: key.clone(), turn }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for enricher in &self.setup().enrichers {
            // What requests changed is written already; hits are but a figure.
            let (name, standing) = (enricher.settings.name.as_str(), enricher.progress().standing.clone());
            if self.state.enricher(name) != standing {
                let _ = self.state.put_enricher(name, &standing, false);
            }
        }
    }
}

/// A place among those who want the same.
struct Flight<'d> {
    desk: &'d Desk,
    key: AnswerKey,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = self.desk.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one: nobody else waits, and nobody can begin to while the map is locked.
        if Arc::strong_count(&self.turn) == 2 {
            flights.remove(&self.key);
        }
    }
}

impl Setup {
    fn chosen(&self, subject: &Subject, with: &[String]) -> Result<Vec<&Arc<Enricher>>, DeskError> {
        if self.enrichers.is_empty() {
            return Err(DeskError::NoneConfigured);
        }
        if let Some(name) = with.iter().find(|name| self.enrichers.iter().all(|enricher| enricher.settings.name.as_str() != **name)) {
            return Err(DeskError::NoEnricher(name.chars().take(64).collect()));
        }
        let chosen = self.enrichers.iter().filter(|enricher| {
            let EnricherSettings { name, service, kinds, .. } = &enricher.settings;
            (with.is_empty() || with.iter().any(|wanted| wanted == name.as_str()))
                && kinds.contains(&subject.kind())
                && service.answers(subject)
        });
        Ok(chosen.collect())
    }
}

impl Enricher {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, subject: &Subject) -> AnswerKey {
        AnswerKey::new(self.settings.name.as_str(), self.settings.service, subject)
    }

    fn is_fresh(&self, kept: &Kept, now: Micros) -> bool {
        self.is_young(kept.fetched_at, kept.verdict.verdict, now)
    }

    fn is_young(&self, fetched_at: Micros, opinion: Opinion, now: Micros) -> bool {
        let ttl = if opinion == Opinion::Unknown { self.settings.unknown_ttl } else { self.settings.ttl };
        let ttl = Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX);
        (-CLOCK_SLACK..ttl).contains(&now.saturating_sub(fetched_at))
    }

    fn row(&self, now: Micros) -> EnricherRow {
        let EnricherSettings { name, service, url, kinds, quota, .. } = &self.settings;
        let progress = self.progress();
        let hold = progress.standing.hold(*quota, now);
        let state = match hold {
            Some(Hold::Cooldown { .. }) => "cooling_down",
            Some(Hold::Day { .. } | Hold::Minute { .. }) => "quota_used_up",
            None => "ready",
        };
        EnricherRow {
            name: name.to_string(),
            r#type: service.name().to_owned(),
            place: http::shown(url),
            kinds: kinds.iter().map(|kind| kind.name().to_owned()).collect(),
            state: state.to_owned(),
            until: hold.map(|hold| time::format(hold.until())),
            requests: progress.standing.requests,
            hits: progress.standing.hits,
            quota_per_minute: quota.per_minute,
            quota_per_day: quota.per_day,
            left_today: progress.standing.left_today(*quota, now),
            last_error: progress.last_error.clone(),
        }
    }
}

impl Answer {
    fn of(enricher: &Enricher, from: From, Kept { fetched_at, verdict }: Kept) -> Answer {
        Answer {
            enricher: enricher.settings.name.to_string(),
            service: enricher.settings.service.name().to_owned(),
            from,
            verdict: Some(verdict),
            fetched_at: Some(time::format(fetched_at)),
            held: None,
            why: None,
            until: None,
        }
    }

    fn held(enricher: &Enricher, held: Held, why: String, until: Option<Micros>) -> Answer {
        Answer {
            enricher: enricher.settings.name.to_string(),
            service: enricher.settings.service.name().to_owned(),
            from: From::Nowhere,
            verdict: None,
            fetched_at: None,
            held: Some(held),
            why: Some(why),
            until: until.map(time::format),
        }
    }

    /// With what is kept, if anything is.
    fn with_stale(self, enricher: &Enricher, kept: Option<Kept>) -> Answer {
        match kept {
            Some(kept) => Answer { held: self.held, why: self.why, until: self.until, ..Answer::of(enricher, From::StaleCache, kept) },
            None => self,
        }
    }
}

/// Reads the key and the certificates, on a thread that may block.
async fn client(settings: &EnricherSettings) -> Result<Http, String> {
    let settings = settings.clone();
    let made = tokio::task::spawn_blocking(move || {
        let credentials = match (&settings.api_key_file, settings.service.key_header()) {
            (None, _) => None,
            (Some(file), Some(name)) => Some(Credentials::Header { name, value: open::secret(file)? }),
            (Some(file), None) => Some(Credentials::Bearer(open::secret(file)?)),
        };
        let http = HttpSettings {
            timeout: settings.timeout,
            credentials,
            ca_file: settings.ca_file,
            allow_private: settings.allow_private,
            concurrency: CONCURRENCY,
            ..HttpSettings::new(settings.url)
        };
        Http::new(http).map_err(|error| error.to_string())
    });
    made.await.unwrap_or_else(|panic| Err(panic.to_string()))
}

async fn send(http: &Http, settings: &EnricherSettings, subject: &Subject) -> Came {
    let request = settings.service.request(&settings.url, subject);
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let body = match request.body {
        Some((kind, body)) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            body
        }
        None => Vec::new(),
    };
    let failed = |outcome, after, why| Came::Failed { outcome, after, why };
    let reply = match http.ask(request.method, &request.url, headers, &body, ANSWER_BYTES_MAX + 1).await {
        Ok(reply) => reply,
        Err(Meaning::Retry { after, why }) => return failed(EnrichmentOutcome::Failed, after, why),
        Err(Meaning::Unusable { why }) => return failed(EnrichmentOutcome::Failed, None, why),
        Err(_) => return failed(EnrichmentOutcome::Failed, None, "no answer".into()),
    };
    of_reply(http, settings.service, subject, &reply)
}

fn of_reply(http: &Http, service: Service, subject: &Subject, reply: &Reply) -> Came {
    let (why, after) = (|| http.why(reply), reply.retry_after);
    let failed = |outcome, why| Came::Failed { outcome, after, why };
    match reply.status {
        429 => failed(EnrichmentOutcome::RateLimited, why()),
        401 | 403 => failed(EnrichmentOutcome::Failed, format!("{}: is it the right key?", why())),
        408 | 425 | 500..=599 => failed(EnrichmentOutcome::Failed, why()),
        300..=399 => match http.judge(reply) {
            Meaning::Unusable { why } => failed(EnrichmentOutcome::Failed, why),
            _ => failed(EnrichmentOutcome::Failed, why()),
        },
        _ if reply.body.len() > ANSWER_BYTES_MAX => Came::Unusable(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")),
        status => match service.answer(subject, status, &reply.body) {
            Ok(verdict) => Came::Answer(verdict),
            Err(error) => Came::Unusable(format!("its answer cannot be used: {error}")),
        },
    }
}

/// The values that somebody else calls malicious, as they were at one moment.
#[derive(Clone, Debug, Default)]
pub struct Flagged {
    names: Vec<String>,
    by_hash: HashMap<SubjectHash, SmallVec<[u16; 4]>>,
}

impl Flagged {
    /// Names of the enrichers that say so of an indicator.
    pub fn by(&self, kind: Field, value: &str) -> Vec<String> {
        // Making the one spelling of a value takes longer than everything else here.
        if self.by_hash.is_empty() || !may_be_asked(kind) {
            return Vec::new();
        }
        let Some(subject) = Subject::of(kind, value) else { return Vec::new() };
        let by = self.by_hash.get(&subject_hash(&subject));
        by.into_iter().flatten().map(|index| self.names[usize::from(*index)].clone()).collect()
    }
}

fn may_be_asked(kind: Field) -> bool {
    use Field::{Domain, Ipv4, Ipv6, Md5, Sha1, Sha256, Shasum, SrcIp, Url};
    matches!(kind, SrcIp | Ipv4 | Ipv6 | Domain | Url | Shasum | Md5 | Sha1 | Sha256)
}

/// What a service answers unless configured otherwise: URLs tell more than addresses and hashes do, so they have to be named.
pub fn kinds_by_default(service: Service) -> Vec<SubjectKind> {
    service.kinds().iter().copied().filter(|kind| *kind != SubjectKind::Url).collect()
}
