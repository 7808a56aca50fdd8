//! A service of one's own, in the smallest shape that will do. It is posted
//!
//! ```json
//! {"version": 1, "kind": "hash", "value": "d41d8cd98f00b204e9800998ecf8427e"}
//! ```
//!
//! (`kind` is hash, address, domain or url) and answers with status 200
//!
//! ```json
//! {"verdict": "malicious", "score": 87, "labels": ["mirai"], "first_seen": "2026-01-19T01:33:26Z", "last_seen": "2026-03-01",
//!  "link": "https://intel.example/123", "summary": "seen at 3 customers"}
//! ```
//!
//! `verdict` is malicious, suspicious, harmless or unknown; everything else may be absent. Status 404 says that nothing is known. The key,
//! if there is one, is sent as `Authorization: Bearer …`.
use super::Request;
use super::subject::{Subject, SubjectKind};
use super::verdict::{NoAnswer, Opinion, Verdict, number, read, texts, time_of, words};
use serde::Deserialize;
use url::Url;

pub const KINDS: &[SubjectKind] = &SubjectKind::ALL;

pub fn request(base: &Url, subject: &Subject) -> Request {
    Request::json(base, &serde_json::json!({ "version": 1, "kind": subject.kind().name(), "value": subject.value() }))
}

#[derive(Deserialize)]
struct Answer {
    verdict: String,
    #[serde(default, deserialize_with = "number")]
    score: Option<u64>,
    #[serde(default, deserialize_with = "texts")]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "words")]
    first_seen: Option<String>,
    #[serde(default, deserialize_with = "words")]
    last_seen: Option<String>,
    #[serde(default, deserialize_with = "words")]
    link: Option<String>,
    #[serde(default, deserialize_with = "words")]
    summary: Option<String>,
}

pub fn answer(status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
    match status {
        200 => {}
        404 => return Ok(Verdict::unknown("not known")),
        _ => return Err(NoAnswer(format!("status {status}"))),
    }
    let answer = read::<Answer>(body)?;
    let Some(verdict) = Opinion::parse(&answer.verdict) else {
        return Err(NoAnswer("its verdict is neither malicious, suspicious, harmless nor unknown".into()));
    };
    let score = match answer.score {
        Some(score) if score > 100 => return Err(NoAnswer("its score is above 100".into())),
        score => score.map(|score| score as u8),
    };
    let time = |text: &Option<String>| text.as_deref().and_then(time_of);
    Ok(Verdict { verdict, score, ..Verdict::default() }
        .label(answer.labels.iter().map(String::as_str))
        .seen(time(&answer.first_seen), time(&answer.last_seen))
        .linked(answer.link.as_deref().unwrap_or_default(), "https://")
        .summed_up(answer.summary.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;

    #[test]
    fn what_it_says_is_taken_within_bounds() {
        let body =
            br#"{"verdict": "malicious", "score": 87, "labels": ["mirai"], "first_seen": "2026-01-19T01:33:26Z", "last_seen": "2026-03-01",
            "link": "https://intel.example/123", "summary": "seen at 3 customers", "more": {}}"#;
        let expected = Verdict {
            verdict: Opinion::Malicious,
            score: Some(87),
            labels: vec!["mirai".into()],
            first_seen: time::parse(b"2026-01-19T01:33:26Z"),
            last_seen: time::parse(b"2026-03-01T00:00:00Z"),
            link: Some("https://intel.example/123".into()),
            summary: Some("seen at 3 customers".into()),
        };
        assert_eq!(answer(200, body), Ok(expected));
        let bare = |verdict| Verdict { verdict, ..Verdict::default() };
        assert_eq!(answer(200, br#"{"verdict": "harmless"}"#), Ok(bare(Opinion::Harmless)));
        assert_eq!(answer(200, br#"{"verdict": "suspicious", "link": "javascript:x", "labels": 3}"#), Ok(bare(Opinion::Suspicious)));
        assert_eq!(answer(404, b""), Ok(Verdict::unknown("not known")));
        for body in ["{}", r#"{"verdict": "bad"}"#, r#"{"verdict": "malicious", "score": 870}"#, "[]", "<html>"] {
            assert!(answer(200, body.as_bytes()).is_err(), "{body}");
        }
        assert!(answer(204, b"").is_err());
    }

    #[test]
    fn it_is_posted_to_the_very_url() {
        let base = Url::parse("https://intel.example/lookup?site=7").expect("a URL");
        let request = request(&base, &Subject::recognise("evil.example").expect("a name"));
        assert_eq!(request.url, base);
        let sent = request.body.map(|(_, body)| String::from_utf8(body).expect("text"));
        assert_eq!(sent.as_deref(), Some(r#"{"kind":"domain","value":"evil.example","version":1}"#));
    }
}
