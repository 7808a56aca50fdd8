//! URLhaus of abuse.ch, version 1 of its interface: URLs that spread malware, their hosts, and the files behind them.
//!
//! <https://urlhaus-api.abuse.ch/>. Questions are forms; every answer has status 200 and says in `query_status` what it is. What is
//! listed is known to be bad; what is not may be anything. It is free of charge, within reason.
use super::subject::{Subject, SubjectKind};
use super::verdict::{Few, NoAnswer, Opinion, Verdict, number, read, texts, time_of, words};
use super::{REFUSED, Request};
use serde::Deserialize;
use url::Url;

pub const URL: &str = "https://urlhaus-api.abuse.ch/v1/";
pub const KEY_HEADER: &str = "auth-key";
pub const KINDS: &[SubjectKind] = &SubjectKind::ALL;
const SITE: &str = "https://urlhaus.abuse.ch/";

pub fn request(base: &Url, subject: &Subject) -> Request {
    let value = subject.value();
    match (subject.kind(), value.len()) {
        (SubjectKind::Address | SubjectKind::Domain, _) => Request::form(base, &["host", ""], &[("host", value)]),
        (SubjectKind::Url, _) => Request::form(base, &["url", ""], &[("url", value)]),
        (SubjectKind::Hash, 32) => Request::form(base, &["payload", ""], &[("md5_hash", value)]),
        (SubjectKind::Hash, _) => Request::form(base, &["payload", ""], &[("sha256_hash", value)]),
    }
}

/// It knows no SHA-1.
pub fn answers(subject: &Subject) -> bool {
    subject.kind() != SubjectKind::Hash || subject.value().len() != 40
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "words")]
    query_status: Option<String>,
    #[serde(default, deserialize_with = "words")]
    urlhaus_reference: Option<String>,
    #[serde(default, deserialize_with = "words")]
    url_status: Option<String>,
    #[serde(default, deserialize_with = "words")]
    threat: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "words")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "words")]
    file_type: Option<String>,
    #[serde(default, deserialize_with = "words", alias = "date_added")]
    firstseen: Option<String>,
    #[serde(default, deserialize_with = "words", alias = "last_online")]
    lastseen: Option<String>,
    #[serde(default, deserialize_with = "number")]
    url_count: Option<u64>,
    #[serde(default)]
    urls: Few<Listed>,
    #[serde(default)]
    payloads: Few<Payload>,
}

/// A URL of a host or of a file.
#[derive(Deserialize)]
struct Listed {
    #[serde(default, deserialize_with = "words")]
    url_status: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "words")]
    signature: Option<String>,
}

pub fn answer(subject: &Subject, status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
    if status != 200 {
        return Err(NoAnswer(format!("status {status}")));
    }
    let answer = read::<Answer>(body)?;
    match answer.query_status.as_deref() {
        Some("ok") => Ok(listed(subject, &answer)),
        Some("no_results") => Ok(Verdict::unknown("not listed")),
        Some("invalid_host" | "invalid_url" | "invalid_md5_hash" | "invalid_sha256_hash" | "invalid_hash") => Ok(Verdict::unknown(REFUSED)),
        Some(other) => Err(NoAnswer(format!("query_status {}", Verdict::unknown(other).summary.unwrap_or_default()))),
        None => Err(NoAnswer("no query_status".into())),
    }
}

fn listed(subject: &Subject, answer: &Answer) -> Verdict {
    let is_online = |status: &Option<String>| status.as_deref() == Some("online");
    let online = answer.urls.items.iter().filter(|url| is_online(&url.url_status)).count() as u64;
    let urls = answer.url_count.unwrap_or(0).max(answer.urls.len);
    let (verdict, summary) = match subject.kind() {
        SubjectKind::Url => (Opinion::Malicious, format!("listed, {}", answer.url_status.as_deref().unwrap_or("of unknown status"))),
        SubjectKind::Hash => (Opinion::Malicious, format!("came from {urls} listed URLs")),
        // Hosts have other owners, and those that were broken into are mended.
        _ if online == 0 => (Opinion::Suspicious, format!("{urls} listed URLs, none online")),
        _ => (Opinion::Malicious, format!("{urls} listed URLs, {online} of the newest {} online", answer.urls.items.len())),
    };
    let signatures = answer.payloads.items.iter().map(|payload| &payload.signature).chain([&answer.signature]).flatten();
    let tags = answer.tags.iter().chain(answer.urls.items.iter().flat_map(|url| &url.tags));
    let labels = signatures.chain(&answer.threat).chain(tags).chain(&answer.file_type);
    let link = match &answer.urlhaus_reference {
        Some(link) => link.clone(),
        None => format!("{SITE}browse.php?search={}", subject.value()),
    };
    let time = |text: &Option<String>| text.as_deref().and_then(time_of);
    Verdict { verdict, ..Verdict::default() }
        .label(labels.map(String::as_str))
        .seen(time(&answer.firstseen), time(&answer.lastseen))
        .linked(&link, SITE)
        .summed_up(&summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;
    use serde_json::{Value, json};

    fn of(value: &str, body: &Value) -> Result<Verdict, NoAnswer> {
        answer(&Subject::recognise(value).expect("a subject"), 200, body.to_string().as_bytes())
    }

    fn url_of_host(status: &str) -> Value {
        json!({ "id": "123", "urlhaus_reference": "https://urlhaus.abuse.ch/url/123/", "url": "http://evil.example/x", "url_status": status,
            "date_added": "2026-03-01 10:00:00 UTC", "threat": "malware_download", "reporter": "somebody", "larted": "true", "tags": ["elf", "mirai"] })
    }

    #[test]
    fn a_url_that_is_listed_is_malicious_also_when_it_is_offline() {
        for status in ["online", "offline", "unknown"] {
            let body = json!({ "query_status": "ok", "id": "105821", "urlhaus_reference": "https://urlhaus.abuse.ch/url/105821/",
                "url": "http://evil.example/x", "url_status": status, "host": "evil.example", "date_added": "2026-01-19 01:33:26 UTC",
                "last_online": "2026-02-01 00:00:00 UTC", "threat": "malware_download", "blacklists": { "spamhaus_dbl": "not listed" },
                "reporter": "somebody", "larted": "true", "takedown_time_in_seconds": null, "tags": ["Mozi"],
                "payloads": [{ "firstseen": "2026-01-19", "filename": "x", "file_type": "elf", "signature": "Mirai", "virustotal": null },
                    { "signature": null }] });
            let verdict = of("http://evil.example/x", &body).expect("an answer");
            assert_eq!((verdict.verdict, verdict.summary), (Opinion::Malicious, Some(format!("listed, {status}"))));
            assert_eq!(verdict.labels, ["Mirai", "malware_download", "Mozi"]);
            assert_eq!(verdict.link.as_deref(), Some("https://urlhaus.abuse.ch/url/105821/"));
            let seen = (time::parse(b"2026-01-19T01:33:26Z"), time::parse(b"2026-02-01T00:00:00Z"));
            assert_eq!((verdict.first_seen, verdict.last_seen), seen);
        }
    }

    #[test]
    fn a_host_is_malicious_while_a_url_of_it_is_online() {
        let host = |urls: Vec<Value>| {
            json!({ "query_status": "ok", "urlhaus_reference": "https://urlhaus.abuse.ch/host/evil.example/", "host": "evil.example",
                "firstseen": "2026-01-15 07:09:01 UTC", "url_count": "120", "blacklists": { "surbl": "not listed" }, "urls": urls })
        };
        let verdict = of("evil.example", &host(vec![url_of_host("offline"), url_of_host("online")])).expect("an answer");
        assert_eq!((verdict.verdict, verdict.summary.as_deref()), (Opinion::Malicious, Some("120 listed URLs, 1 of the newest 2 online")));
        assert_eq!(verdict.labels, ["elf", "mirai"]);
        let verdict = of("198.51.100.7", &host(vec![url_of_host("offline")])).expect("an answer");
        assert_eq!((verdict.verdict, verdict.summary.as_deref()), (Opinion::Suspicious, Some("120 listed URLs, none online")));
    }

    #[test]
    fn a_file_that_is_listed_is_malicious_and_a_link_elsewhere_is_left_out() {
        let hash = "a".repeat(64);
        let mut body = json!({ "query_status": "ok", "md5_hash": "b", "sha256_hash": hash, "file_type": "elf", "file_size": "95268",
            "signature": "Gafgyt", "firstseen": "2026-01-12 14:58:37", "lastseen": null, "url_count": 3,
            "urlhaus_download": "https://urlhaus-api.abuse.ch/v1/download/a/", "virustotal": { "result": "12 / 70" }, "urls": [] });
        let verdict = of(&hash, &body).expect("an answer");
        assert_eq!((verdict.verdict, verdict.summary.as_deref()), (Opinion::Malicious, Some("came from 3 listed URLs")));
        assert_eq!(
            (verdict.labels, verdict.link),
            (vec!["Gafgyt".to_owned(), "elf".into()], Some(format!("{SITE}browse.php?search={hash}")))
        );
        body["urlhaus_reference"] = json!("https://elsewhere.example/");
        assert_eq!(of(&hash, &body).expect("an answer").link, None);
    }

    #[test]
    fn what_is_not_listed_is_an_answer_and_a_wrong_key_is_none() {
        assert_eq!(of("evil.example", &json!({ "query_status": "no_results" })), Ok(Verdict::unknown("not listed")));
        assert_eq!(of("evil.example", &json!({ "query_status": "invalid_host" })), Ok(Verdict::unknown(REFUSED)));
        for status in [json!("unknown_auth_key"), json!("http_post_expected"), json!(null), json!([])] {
            assert!(of("evil.example", &json!({ "query_status": status })).is_err());
        }
        assert!(of("evil.example", &json!({})).is_err());
    }

    #[test]
    fn questions_are_forms() {
        let base = Url::parse(URL).expect("a URL");
        for (value, path, body) in [
            ("evil.example", "host/", "host=evil.example"),
            ("http://evil.example/?a=b&c", "url/", "url=http%3A%2F%2Fevil.example%2F%3Fa%3Db%26c"),
            ("d41d8cd98f00b204e9800998ecf8427e", "payload/", "md5_hash=d41d8cd98f00b204e9800998ecf8427e"),
            (&"a".repeat(64), "payload/", &format!("sha256_hash={}", "a".repeat(64))),
        ] {
            let request = request(&base, &Subject::recognise(value).expect("a subject"));
            let sent = request.body.map(|(_, body)| String::from_utf8(body).expect("text"));
            assert_eq!((request.url.as_str(), sent.as_deref()), (&*format!("{URL}{path}"), Some(body)));
        }
        assert!(!answers(&Subject::recognise(&"a".repeat(40)).expect("a hash")));
    }
}
