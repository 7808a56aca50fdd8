//! The final result of a chat, for receivers that follow the convention of GUVI's honeypot challenge.
//!
//! One `POST /api/updateHoneyPotFinalResult` per chat, with header `x-api-key`:
//!
//! ```json
//! {"sessionId": "…", "scamDetected": true, "totalMessagesExchanged": 18,
//!  "extractedIntelligence": {"bankAccounts": [], "upiIds": [], "phishingLinks": [], "phoneNumbers": [], "suspiciousKeywords": []},
//!  "agentNotes": "…"}
//! ```
//!
//! The later variant ([`SessionSettings::extended`]) adds `emailAddresses`, `caseIds`, `policyNumbers` and `orderNumbers` to the
//! intelligence, and `engagementDurationSeconds`, `scamType` and `confidenceLevel` (0 to 1) beside it. Values are delivered as they stood
//! in the chat, each once: receivers look for them literally.
//!
//! At least once: a result may come again after a crash. It is the same for the same messages, and `Idempotency-Key` says so.
use super::http::{BODY_BYTES_MAX, Http, HttpError, HttpSettings, header_map};
use super::{Answer, Batch, Outcome, Request, Sink, Verdict};
use crate::events::Field;
use crate::events::chat::Message;
use crate::extract::scam::{Assessment, is_own};
use crate::telemetry::printable::{prefix, printable};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use std::time::Duration;
use url::Url;

const PATH: &str = "/api/updateHoneyPotFinalResult";
/// Longest `agentNotes`, bytes.
const NOTES_BYTES_MAX: usize = 1000;
/// Most values of one kind.
const VALUES_MAX: usize = 64;

/// When a chat is over, and what its result holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// A chat is over when nothing came for this long.
    pub quiet: Duration,
    /// Send the result again when the chat grew afterwards.
    pub again: bool,
    /// Add the keys of the later variant.
    pub extended: bool,
    /// Put in front of the reasons in `agentNotes`.
    pub notes: Option<String>,
    /// Most chats open at once; the one that is silent longest is concluded early when there are more.
    pub sessions_max: usize,
}

impl Default for SessionSettings {
    fn default() -> SessionSettings {
        SessionSettings { quiet: Duration::from_secs(300), again: false, extended: false, notes: None, sessions_max: 10_000 }
    }
}

/// A receiver of final results.
#[derive(Debug)]
pub struct Guvi {
    http: Http,
    url: Url,
}

impl Guvi {
    /// The URL's path is put in front of the convention's, unless it ends in it already; the API key belongs into the header field
    /// `x-api-key`. Bodies are not compressed.
    pub fn new(http: HttpSettings) -> Result<Guvi, HttpError> {
        let mut url = http.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        if !base.ends_with(PATH) {
            url.set_path(&format!("{base}{PATH}"));
        }
        Ok(Guvi { http: Http::new(http)?, url })
    }

    async fn post(&self, request: &Request, body: &[u8], key: &str, attempt: u32) -> Outcome {
        let correlation = format!("{}-{attempt}", request.id);
        let fields = [("content-type", "application/json"), ("idempotency-key", key), ("x-correlation-id", &correlation)];
        self.http.outcome(Method::POST, &self.url, header_map(fields), body).await
    }

    /// Posts one result after the other: the convention knows no batches.
    async fn post_all(&self, request: &Request, attempt: u32) -> Outcome {
        let results: Vec<(&str, &[u8])> = request.body.split(|byte| *byte == b'\n').filter_map(keyed).collect();
        if let [(key, result)] = results[..] {
            return self.post(request, result, key, attempt).await;
        }
        let mut verdicts = Vec::with_capacity(results.len());
        for (key, result) in &results {
            let outcome = self.post(request, result, key, attempt).await;
            verdicts.push(match outcome.answer {
                Answer::Delivered => Verdict::Delivered,
                Answer::Refused { why } | Answer::TooLarge { why } => Verdict::Refused(why),
                // The others would fare no better.
                _ if verdicts.is_empty() => return outcome,
                Answer::Retry { why, .. } | Answer::Unusable { why } => Verdict::Retry { status: outcome.status, why },
                Answer::Items(_) => Verdict::Retry { status: outcome.status, why: "an answer about several items".into() },
            });
            if let Some(failed @ Verdict::Retry { .. }) = verdicts.last() {
                let failed = failed.clone();
                verdicts.resize(results.len(), failed);
                break;
            }
        }
        Outcome { answer: Answer::Items(verdicts), status: None }
    }
}

/// A result of a request and its key, which is the same whichever results share the request.
fn keyed(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = memchr::memchr(b' ', line)?;
    Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
}

impl Sink for Guvi {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let mut body = Vec::with_capacity(batch.payload.len() + batch.items.len());
        for (index, item) in batch.items.iter().enumerate() {
            if index > 0 {
                body.push(b'\n');
            }
            body.extend_from_slice(item.id.to_string().as_bytes());
            body.push(b' ');
            body.extend_from_slice(batch.payload(item));
        }
        Ok(Request {
            body,
            id: batch.id(),
            items: batch.items.len(),
            last_seq: batch.items.last().map_or(0, |item| item.seq),
            headers: Vec::new(),
        })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        self.post_all(request, attempt).boxed()
    }

    /// Anything posted would be a result; so it asks for the page, and any answer but one about credentials will do.
    fn probe(&self) -> BoxFuture<'_, Outcome> {
        async {
            match self.http.ask(Method::OPTIONS, &self.url, HeaderMap::new(), b"", BODY_BYTES_MAX).await {
                // Not every receiver knows this method.
                Ok(reply) if matches!(reply.status, 200..=299 | 400 | 405 | 415 | 422 | 501) => {
                    Outcome { answer: Answer::Delivered, status: Some(reply.status) }
                }
                Ok(reply) => Outcome { answer: self.http.judge(&reply), status: Some(reply.status) },
                Err(answer) => Outcome { answer, status: None },
            }
        }
        .boxed()
    }
}

/// Everything a result says of a chat besides its assessment.
#[derive(Clone, Copy, Debug)]
pub struct Concluded<'a> {
    pub session: &'a str,
    pub messages: &'a [Message],
    pub assessment: &'a Assessment,
    /// Of both sides, as the sender counts them.
    pub messages_exchanged: u64,
    pub duration_seconds: u64,
    /// Not because it was over, but for want of room.
    pub early: bool,
}

/// The result of a chat, one line of JSON.
pub fn final_result(chat: &Concluded<'_>, settings: &SessionSettings) -> Vec<u8> {
    let assessment = chat.assessment;
    let of = |fields: &[Field]| {
        let mut values: Vec<&str> = Vec::new();
        for indicator in assessment.indicators.iter().filter(|indicator| fields.contains(&indicator.field)) {
            let written = indicator.verbatim.as_deref().unwrap_or(&indicator.value);
            if values.len() < VALUES_MAX && !values.contains(&written) {
                values.push(written);
            }
        }
        values
    };
    let emails = of(&[Field::Email]);
    let upi_ids = of(&[Field::Upi]);
    let urls = of(&[Field::Url]);
    // A domain counts where it stands by itself, as in "apply now at instant-loan.in".
    let part_of_another = |domain: &&str| urls.iter().chain(&emails).chain(&upi_ids).any(|other| other.contains(*domain));
    let domains: Vec<&str> = of(&[Field::Domain]).into_iter().filter(|domain| !part_of_another(domain)).collect();
    let texts = || chat.messages.iter().filter(|message| !is_own(&message.sender)).map(|message| message.text.as_str());
    let result = FinalResult {
        session: chat.session,
        scam_detected: assessment.confirmed(),
        messages: chat.messages_exchanged,
        intelligence: Intelligence {
            bank_accounts: of(&[Field::BankAccount]),
            upi_ids,
            phishing_links: urls.iter().copied().chain(domains).collect(),
            phone_numbers: of(&[Field::Phone]),
            keywords: assessment.keywords.clone(),
            more: settings.extended.then(|| More {
                emails,
                cases: numbered(texts(), &["case", "reference", "ref", "complaint", "ticket", "fir"]),
                policies: numbered(texts(), &["policy"]),
                orders: numbered(texts(), &["order", "parcel", "tracking", "consignment", "awb"]),
            }),
        },
        notes: notes(chat, settings),
        more: settings.extended.then(|| Engagement {
            duration_seconds: chat.duration_seconds,
            kind: assessment.kind.as_deref().unwrap_or("unknown"),
            confidence: f64::from(assessment.score) / 100.0,
        }),
    };
    serde_json::to_vec(&result).expect("strings and numbers can be written")
}

fn notes(chat: &Concluded<'_>, settings: &SessionSettings) -> String {
    let assessment = chat.assessment;
    let kind = assessment.kind.as_deref().unwrap_or("unknown kind");
    let mut notes = settings.notes.as_deref().map(|notes| format!("{notes} ")).unwrap_or_default();
    notes += &format!("{kind}, score {} of 100 by {}", assessment.score, assessment.scored_by);
    if chat.early {
        notes += "; concluded before it was over, because too many chats were open";
    }
    for (index, reason) in assessment.reasons.iter().filter(|reason| reason.weight > 0).enumerate() {
        notes += if index == 0 { ": " } else { "; " };
        notes += &reason.rule;
        if !reason.evidence.is_empty() {
            notes += &format!(" ({})", printable(&reason.evidence));
        }
    }
    prefix(&notes, NOTES_BYTES_MAX).to_owned()
}

/// Numbers that are named: `policy #LIC-482901`, `Order ID 12345`, `case no. 7/2026`.
fn numbered<'a>(texts: impl Iterator<Item = &'a str>, names: &[&str]) -> Vec<&'a str> {
    const BETWEEN: &[&str] = &["id", "no", "no.", "number", "num", "is", "ref", "code", "#", ":", "-"];
    let mut found: Vec<&str> = Vec::new();
    for text in texts {
        let mut words = text.split([' ', '\n', '\t', ',']).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            let name = word.trim_end_matches([':', '#']).trim_start_matches(['(', '"', '\'']);
            if !names.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                continue;
            }
            let mut skipped = 0;
            while skipped < 3
                && words
                    .peek()
                    .is_some_and(|word| BETWEEN.iter().any(|known| word.trim_end_matches(':').eq_ignore_ascii_case(known) || word == known))
            {
                words.next();
                skipped += 1;
            }
            let Some(number) = words.peek() else { break };
            let number = number.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let shape = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_');
            if (3..=32).contains(&number.len())
                && number.chars().all(shape)
                && number.bytes().filter(u8::is_ascii_digit).count() >= 3
                && found.len() < VALUES_MAX
                && !found.contains(&number)
            {
                found.push(number);
            }
        }
    }
    found
}

#[derive(Serialize)]
struct FinalResult<'a> {
    #[serde(rename = "sessionId")]
    session: &'a str,
    #[serde(rename = "scamDetected")]
    scam_detected: bool,
    #[serde(rename = "totalMessagesExchanged")]
    messages: u64,
    #[serde(rename = "extractedIntelligence")]
    intelligence: Intelligence<'a>,
    #[serde(rename = "agentNotes")]
    notes: String,
    #[serde(flatten)]
    more: Option<Engagement<'a>>,
}

#[derive(Serialize)]
struct Intelligence<'a> {
    #[serde(rename = "bankAccounts")]
    bank_accounts: Vec<&'a str>,
    #[serde(rename = "upiIds")]
    upi_ids: Vec<&'a str>,
    #[serde(rename = "phishingLinks")]
    phishing_links: Vec<&'a str>,
    #[serde(rename = "phoneNumbers")]
    phone_numbers: Vec<&'a str>,
    #[serde(rename = "suspiciousKeywords")]
    keywords: Vec<&'a str>,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

#[derive(Serialize)]
struct More<'a> {
    #[serde(rename = "emailAddresses")]
    emails: Vec<&'a str>,
    #[serde(rename = "caseIds")]
    cases: Vec<&'a str>,
    #[serde(rename = "policyNumbers")]
    policies: Vec<&'a str>,
    #[serde(rename = "orderNumbers")]
    orders: Vec<&'a str>,
}

#[derive(Serialize)]
struct Engagement<'a> {
    #[serde(rename = "engagementDurationSeconds")]
    duration_seconds: u64,
    #[serde(rename = "scamType")]
    kind: &'a str,
    #[serde(rename = "confidenceLevel")]
    confidence: f64,
}
