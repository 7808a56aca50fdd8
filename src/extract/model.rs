//! The model hook: an external program scores talks, over HTTP or HTTP on a Unix socket.
//!
//! The daemon posts, at most [`ModelSettings::batch`] talks at once:
//!
//! ```json
//! {"version": 1, "sessions": [{"session": "abc", "channel": "SMS", "language": "English", "locale": "IN", "messages": [
//!   {"sender": "scammer", "text": "…", "time": "2026-01-21T10:00:00.000000Z"}]}]}
//! ```
//!
//! and expects, with status 200 and within the time limit:
//!
//! ```json
//! {"version": 1, "model": "NAME", "scores": [{"session": "abc", "score": 87, "kind": "bank_fraud",
//!   "reasons": [{"rule": "credential_request", "weight": 40, "evidence": "share otp"}]}]}
//! ```
//!
//! `score` is a number from 0 to 100; `kind`, `reasons`, and `weight` and `evidence` within, may be absent. `time` and the three keys that
//! describe a talk are left out when they are not known. Scores are matched by `session`, in any order; those of talks that were not
//! asked about are passed over. `version` may be absent.
//!
//! The rules ([`super::scam`]) run first and stand wherever the model says nothing usable: no answer, an answer that is too late, too
//! long or malformed, a talk left out or scored twice, a score out of range. What the model decided is marked `model:NAME`, all else `rules`. Keywords and
//! indicators are always the extractors'. A model's address is guarded like a sink's; it is a program's word on what attackers wrote,
//! so its own words are bounded and made printable.
use super::scam::{Assessment, Reason, assess};
use crate::events::chat::Message;
use crate::events::time;
use crate::sinks::Answer as Verdict;
use crate::sinks::http::{Http, HttpError, HttpSettings};
use crate::telemetry::printable::{prefix, printable};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Of questions and answers.
const VERSION: u64 = 1;
/// Longest text of a message that is sent, bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Most messages of a talk that are sent: its last ones.
const MESSAGES_MAX: usize = 200;
/// Of an answer, besides and per talk.
const ANSWER_BYTES: usize = 16 << 10;
const ANSWER_BYTES_PER_TALK: usize = 8 << 10;
/// Of what a model says in words.
const NAME_BYTES_MAX: usize = 64;
const REASONS_MAX: usize = 16;
const REASON_BYTES_MAX: usize = 200;

/// Where the model is.
#[derive(Clone, Debug)]
pub enum ModelEndpoint {
    /// Path of its socket; requests go to `/score`.
    Unix(PathBuf),
    Http(Box<HttpSettings>),
}

#[derive(Clone, Debug)]
pub struct ModelSettings {
    pub endpoint: ModelEndpoint,
    /// For one request, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Most talks in one request.
    pub batch: usize,
}

/// A talk to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Talk<'a> {
    pub session: &'a str,
    pub messages: &'a [Message],
}

/// Why the model had no say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("the model gave no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the model cannot be asked: {0}")]
    Trouble(String),
    #[error("the model answered with HTTP {0}")]
    Status(u16),
    #[error("the model's answer cannot be used: {0}")]
    Answer(String),
    #[error("the model left out {0} of the talks, or gave them no single score from 0 to 100")]
    Missing(usize),
}

/// What came of scoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// One per talk, in their order.
    pub assessments: Vec<Assessment>,
    /// Why some are the rules'; the first reason.
    pub fallback: Option<ModelError>,
}

/// Scores talks, by the model as far as it answers.
#[derive(Debug)]
pub struct Model {
    client: Client,
    timeout: Duration,
    batch: usize,
}

#[derive(Debug)]
enum Client {
    Http(Box<Http>),
    /// What is at the other end of a socket in the file system is the operator's: no guard is needed.
    Unix(reqwest::Client),
}

impl Model {
    pub fn new(settings: ModelSettings) -> Result<Model, HttpError> {
        let client = match settings.endpoint {
            ModelEndpoint::Unix(socket) => {
                let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).unix_socket(socket);
                Client::Unix(client.build().map_err(|error| HttpError::Client(error.to_string()))?)
            }
            ModelEndpoint::Http(http) => Client::Http(Box::new(Http::new(*http)?)),
        };
        Ok(Model { client, timeout: settings.timeout, batch: settings.batch })
    }

    /// Scores talks. Never fails: what the model does not score keeps the rules' score.
    pub async fn score(&self, talks: &[Talk<'_>]) -> Scored {
        let mut scored = Scored { assessments: Vec::with_capacity(talks.len()), fallback: None };
        for talks in talks.chunks(self.batch.max(1)) {
            let mut assessments: Vec<_> = talks.iter().map(|talk| assess(talk.messages)).collect();
            if let Err(error) = self.ask(talks, &mut assessments).await {
                scored.fallback.get_or_insert(error);
            }
            scored.assessments.append(&mut assessments);
        }
        scored
    }

    async fn ask(&self, talks: &[Talk<'_>], assessments: &mut [Assessment]) -> Result<(), ModelError> {
        let body = serde_json::to_vec(&Question::of(talks)).expect("strings and numbers can be written");
        let asked = self.client.ask(body, ANSWER_BYTES + talks.len() * ANSWER_BYTES_PER_TALK);
        let (status, answer) = tokio::time::timeout(self.timeout, asked).await.map_err(|_| ModelError::Timeout(self.timeout))??;
        if status != 200 {
            return Err(ModelError::Status(status));
        }
        let answer: Answer = serde_json::from_slice(&answer)
            // No position in the text and no word of it: just what is wrong with it.
            .map_err(|error| ModelError::Answer(format!("not as documented ({:?} error)", error.classify()).to_lowercase()))?;
        apply(answer, talks, assessments)
    }
}

impl Client {
    /// Status and body; one that is longer than `bytes_max` is an error.
    async fn ask(&self, body: Vec<u8>, bytes_max: usize) -> Result<(u16, Vec<u8>), ModelError> {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (status, answer) = match self {
            Client::Http(http) => {
                let reply =
                    http.ask(Method::POST, &http.settings().url, fields, &body, bytes_max + 1).await.map_err(|answer| match answer {
                        Verdict::Retry { why, .. } | Verdict::Unusable { why } => ModelError::Trouble(why),
                        _ => ModelError::Trouble("no answer".into()),
                    })?;
                (reply.status, reply.body)
            }
            Client::Unix(client) => {
                let trouble = |error: reqwest::Error| ModelError::Trouble(printable(&error.without_url().to_string()).into_owned());
                let mut response = client.post("http://model/score").headers(fields).body(body).send().await.map_err(trouble)?;
                let mut answer = Vec::new();
                while let Some(part) = response.chunk().await.map_err(trouble)? {
                    answer.extend_from_slice(&part[..part.len().min(bytes_max + 1 - answer.len())]);
                    if answer.len() > bytes_max {
                        break;
                    }
                }
                (response.status().as_u16(), answer)
            }
        };
        if answer.len() > bytes_max {
            return Err(ModelError::Answer(format!("longer than {bytes_max} bytes")));
        }
        Ok((status, answer))
    }
}

/// Puts the model's scores in the place of the rules'.
fn apply(answer: Answer, talks: &[Talk<'_>], assessments: &mut [Assessment]) -> Result<(), ModelError> {
    let name = word(&answer.model, NAME_BYTES_MAX);
    if name.is_empty() {
        return Err(ModelError::Answer("it does not say the model's name".into()));
    }
    if answer.version.is_some_and(|version| version != VERSION) {
        return Err(ModelError::Answer(format!("it is not of version {VERSION}")));
    }
    // Of two scores nobody knows which is meant.
    let mut scores: HashMap<&str, Option<&Score>> = HashMap::with_capacity(talks.len());
    for score in &answer.scores {
        scores.entry(score.session.as_str()).and_modify(|score| *score = None).or_insert(Some(score));
    }
    let mut missing = 0;
    for (talk, assessment) in talks.iter().zip(assessments) {
        let Some(score) = scores.get(talk.session).copied().flatten().filter(|score| (0.0..=100.0).contains(&score.score)) else {
            missing += 1;
            continue;
        };
        assessment.score = score.score.round() as u8;
        assessment.scored_by = format!("model:{name}");
        if let Some(kind) = &score.kind {
            let kind: String = word(kind, NAME_BYTES_MAX);
            assessment.kind = (!kind.is_empty()).then_some(kind);
        }
        if let Some(reasons) = &score.reasons {
            assessment.reasons = reasons
                .iter()
                .take(REASONS_MAX)
                .map(|reason| Reason {
                    rule: word(&reason.rule, NAME_BYTES_MAX).into(),
                    weight: reason.weight.clamp(-100.0, 100.0) as i16,
                    evidence: prefix(&printable(&reason.evidence), REASON_BYTES_MAX).to_owned(),
                })
                .collect();
        }
    }
    if missing > 0 { Err(ModelError::Missing(missing)) } else { Ok(()) }
}

/// A name as names are: letters, digits and what stands between them.
fn word(text: &str, bytes_max: usize) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | ' ')).take(bytes_max).collect()
}

#[derive(Serialize)]
struct Question<'a> {
    version: u64,
    sessions: Vec<Session<'a>>,
}

#[derive(Serialize)]
struct Session<'a> {
    session: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    messages: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Said<'a> {
    sender: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

impl<'a> Question<'a> {
    fn of(talks: &[Talk<'a>]) -> Question<'a> {
        let session = |talk: &Talk<'a>| {
            let messages = &talk.messages[talk.messages.len().saturating_sub(MESSAGES_MAX)..];
            Session {
                session: talk.session,
                channel: messages.iter().find_map(|message| message.channel.as_deref()),
                language: messages.iter().find_map(|message| message.language.as_deref()),
                locale: messages.iter().find_map(|message| message.locale.as_deref()),
                messages: messages
                    .iter()
                    .map(|message| Said {
                        sender: prefix(&message.sender, NAME_BYTES_MAX),
                        text: prefix(&message.text, TEXT_BYTES_MAX),
                        time: message.time.map(time::format),
                    })
                    .collect(),
            }
        };
        Question { version: VERSION, sessions: talks.iter().map(session).collect() }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    version: Option<u64>,
    model: String,
    scores: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    session: String,
    score: f64,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    reasons: Option<Vec<ModelReason>>,
}

#[derive(Deserialize)]
struct ModelReason {
    rule: String,
    #[serde(default)]
    weight: f64,
    #[serde(default)]
    evidence: String,
}
