//! GreyNoise, its Community interface: whether an address scans the whole Internet, or belongs to a service everybody uses.
//!
//! <https://docs.greynoise.io/docs/using-the-greynoise-community-api>. Status 404 says that the address was not observed: an answer.
//! It also answers without a key, a few times a day.
use super::subject::{Subject, SubjectKind};
use super::verdict::{NoAnswer, Opinion, Verdict, flag, read, time_of, words};
use super::{REFUSED, Request};
use serde::Deserialize;
use url::Url;

pub const URL: &str = "https://api.greynoise.io/v3/";
pub const KEY_HEADER: &str = "key";
pub const KINDS: &[SubjectKind] = &[SubjectKind::Address];
const SITE: &str = "https://viz.greynoise.io/ip/";

pub fn request(base: &Url, subject: &Subject) -> Request {
    Request::get(base, &["community", subject.value()])
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    #[serde(deserialize_with = "words")]
    ip: Option<String>,
    #[serde(deserialize_with = "flag")]
    noise: Option<bool>,
    #[serde(deserialize_with = "flag")]
    riot: Option<bool>,
    #[serde(deserialize_with = "words")]
    classification: Option<String>,
    #[serde(deserialize_with = "words")]
    name: Option<String>,
    #[serde(deserialize_with = "words")]
    last_seen: Option<String>,
}

pub fn answer(subject: &Subject, status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
    if status == 400 {
        return Ok(Verdict::unknown(REFUSED));
    }
    if !matches!(status, 200 | 404) {
        return Err(NoAnswer(format!("status {status}")));
    }
    let answer = read::<Answer>(body)?;
    let is_of = |ip: &str| Subject::recognise(ip).is_some_and(|of| of == *subject);
    // A page that is not there has status 404 too.
    if !answer.ip.as_deref().is_some_and(is_of) {
        return Err(NoAnswer("it is not about the address that was asked for".into()));
    }
    if status == 404 {
        return Ok(Verdict::unknown("not observed"));
    }
    let (noise, riot) = (answer.noise.unwrap_or(false), answer.riot.unwrap_or(false));
    let verdict = match answer.classification.as_deref() {
        Some("malicious") => Opinion::Malicious,
        Some("suspicious") => Opinion::Suspicious,
        Some("benign") => Opinion::Harmless,
        _ if riot => Opinion::Harmless,
        _ => Opinion::Unknown,
    };
    let summary = match (noise, riot) {
        (true, true) => "scans the Internet, and belongs to a common service",
        (true, false) => "scans the Internet",
        (false, true) => "belongs to a common service",
        (false, false) => "not observed",
    };
    let name = answer.name.as_deref().filter(|name| *name != "unknown");
    Ok(Verdict { verdict, ..Verdict::default() }
        .label(noise.then_some("noise").into_iter().chain(riot.then_some("riot")).chain(name))
        .seen(None, answer.last_seen.as_deref().and_then(time_of))
        .linked(&format!("{SITE}{}", subject.value()), SITE)
        .summed_up(summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;
    use serde_json::{Value, json};

    fn of(status: u16, body: &Value) -> Result<Verdict, NoAnswer> {
        answer(&Subject::recognise("198.51.100.7").expect("an address"), status, body.to_string().as_bytes())
    }

    fn observed(noise: bool, riot: bool, classification: &str, name: &str) -> Value {
        json!({ "ip": "198.51.100.7", "noise": noise, "riot": riot, "classification": classification, "name": name,
            "link": "https://viz.greynoise.io/ip/198.51.100.7", "last_seen": "2026-03-20", "message": "Success" })
    }

    #[test]
    fn its_classification_decides_and_a_common_service_is_harmless() {
        for (body, opinion, labels) in [
            (observed(true, false, "malicious", "unknown"), Opinion::Malicious, vec!["noise"]),
            (observed(true, false, "suspicious", "unknown"), Opinion::Suspicious, vec!["noise"]),
            (observed(true, false, "benign", "Some Scanner"), Opinion::Harmless, vec!["noise", "Some Scanner"]),
            (observed(false, true, "benign", "Public DNS"), Opinion::Harmless, vec!["riot", "Public DNS"]),
            (observed(false, true, "unknown", "Public DNS"), Opinion::Harmless, vec!["riot", "Public DNS"]),
            (observed(true, true, "malicious", "unknown"), Opinion::Malicious, vec!["noise", "riot"]),
            (observed(true, false, "unknown", "unknown"), Opinion::Unknown, vec!["noise"]),
            (observed(true, false, "of a later version", "unknown"), Opinion::Unknown, vec!["noise"]),
        ] {
            let verdict = of(200, &body).expect("an answer");
            assert_eq!((verdict.verdict, verdict.labels), (opinion, labels.into_iter().map(str::to_owned).collect()), "{body}");
            assert_eq!((verdict.last_seen, verdict.score), (time::parse(b"2026-03-20T00:00:00Z"), None));
            assert_eq!(verdict.link.as_deref(), Some("https://viz.greynoise.io/ip/198.51.100.7"));
        }
    }

    #[test]
    fn not_observed_is_an_answer_and_a_page_that_is_not_there_is_none() {
        let body = json!({ "ip": "198.51.100.7", "noise": false, "riot": false, "message": "IP not observed scanning the internet." });
        assert_eq!(of(404, &body), Ok(Verdict::unknown("not observed")));
        assert_eq!(of(400, &json!({ "message": "Request is not a valid routable IPv4 address" })), Ok(Verdict::unknown(REFUSED)));
        for (status, body) in [(404, json!({ "message": "no such route" })), (404, json!(null)), (200, json!({ "ip": "203.0.113.1" }))] {
            assert!(of(status, &body).is_err(), "{status} {body}");
        }
        let base = Url::parse("https://mirror.example/greynoise").expect("a URL");
        let url = request(&base, &Subject::recognise("198.51.100.7").expect("an address")).url;
        assert_eq!(url.as_str(), "https://mirror.example/greynoise/community/198.51.100.7");
    }
}
