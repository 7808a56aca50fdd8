//! VirusTotal, version 3 of its interface: what some seventy engines say of files, addresses, domain names and URLs.
//!
//! <https://docs.virustotal.com/reference/overview>. An object that is not known has status 404 and the code `NotFoundError`; a value
//! that it takes for none has 400. The free quota is 4 requests a minute and 500 a day.
use super::subject::{Subject, SubjectKind};
use super::verdict::{NoAnswer, Opinion, Verdict, number, read, texts, words};
use super::{REFUSED, Request};
use crate::events::time::MICROS_PER_SECOND;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use url::Url;

pub const URL: &str = "https://www.virustotal.com/api/v3/";
pub const KEY_HEADER: &str = "x-apikey";
pub const KINDS: &[SubjectKind] = &SubjectKind::ALL;
const SITE: &str = "https://www.virustotal.com/gui/";

/// So many engines, and it is malicious; fewer err now and then.
const MALICIOUS_ENGINES: u64 = 3;

pub fn request(base: &Url, subject: &Subject) -> Request {
    let value = subject.value();
    match subject.kind() {
        SubjectKind::Hash => Request::get(base, &["files", value]),
        SubjectKind::Address => Request::get(base, &["ip_addresses", value]),
        SubjectKind::Domain => Request::get(base, &["domains", value]),
        SubjectKind::Url => Request::get(base, &["urls", &URL_SAFE_NO_PAD.encode(value)]),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: Code,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Code {
    #[serde(deserialize_with = "words")]
    code: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    data: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default, deserialize_with = "words")]
    id: Option<String>,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    last_analysis_stats: Option<Stats>,
    #[serde(default, deserialize_with = "number")]
    first_submission_date: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    last_submission_date: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    last_analysis_date: Option<u64>,
    #[serde(default)]
    popular_threat_classification: Option<Classification>,
    #[serde(default, deserialize_with = "words")]
    type_description: Option<String>,
    #[serde(default, deserialize_with = "words")]
    as_owner: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    tags: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Classification {
    #[serde(deserialize_with = "words")]
    suggested_threat_label: Option<String>,
}

/// Engines by what they say.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Stats {
    #[serde(deserialize_with = "number")]
    malicious: Option<u64>,
    #[serde(deserialize_with = "number")]
    suspicious: Option<u64>,
    #[serde(deserialize_with = "number")]
    undetected: Option<u64>,
    #[serde(deserialize_with = "number")]
    harmless: Option<u64>,
}

pub fn answer(subject: &Subject, status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
    match status {
        200 => of_object(subject, read::<Answer>(body)?.data),
        _ => match read::<Refusal>(body)?.error.code.as_deref() {
            Some("NotFoundError") => Ok(Verdict::unknown("not known to VirusTotal")),
            Some("InvalidArgumentError" | "BadRequestError") => Ok(Verdict::unknown(REFUSED)),
            _ => Err(NoAnswer(format!("status {status} without the code of an object that is not known"))),
        },
    }
}

fn of_object(subject: &Subject, Object { id, attributes }: Object) -> Result<Verdict, NoAnswer> {
    let Some(stats) = &attributes.last_analysis_stats else {
        return Ok(Verdict::unknown("known to VirusTotal, not analysed"));
    };
    let [malicious, suspicious, undetected, harmless] =
        [stats.malicious, stats.suspicious, stats.undetected, stats.harmless].map(|engines| engines.unwrap_or(0).min(1 << 20));
    let engines = malicious + suspicious + undetected + harmless;
    let verdict = match (malicious, suspicious) {
        (MALICIOUS_ENGINES.., _) => Opinion::Malicious,
        (1.., _) | (_, 1..) => Opinion::Suspicious,
        // That no engine finds anything makes a file of yesterday no harmless one.
        _ if harmless > 0 && subject.kind() != SubjectKind::Hash => Opinion::Harmless,
        _ => Opinion::Unknown,
    };
    let score = (engines > 0).then(|| (malicious * 100).div_ceil(engines).min(100) as u8);
    let seconds = |time: Option<u64>| i64::try_from(time?).ok()?.checked_mul(MICROS_PER_SECOND);
    let threat = attributes.popular_threat_classification.and_then(|threat| threat.suggested_threat_label);
    let named = [threat, attributes.type_description, attributes.as_owner];
    let value = subject.value();
    let link = match subject.kind() {
        SubjectKind::Hash => format!("{SITE}file/{value}"),
        SubjectKind::Address => format!("{SITE}ip-address/{value}"),
        SubjectKind::Domain => format!("{SITE}domain/{value}"),
        // There, a URL is called by a hash that only the service makes.
        SubjectKind::Url => format!("{SITE}url/{}", id.unwrap_or_default()),
    };
    let found = if suspicious > 0 {
        format!("{malicious} of {engines} engines, {suspicious} suspect it")
    } else {
        format!("{malicious} of {engines} engines")
    };
    Ok(Verdict { verdict, score, ..Verdict::default() }
        .label(named.iter().flatten().chain(&attributes.tags).map(String::as_str))
        .seen(seconds(attributes.first_submission_date), seconds(attributes.last_submission_date.or(attributes.last_analysis_date)))
        .linked(&link, SITE)
        .summed_up(&found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;
    use serde_json::json;

    fn subject(written: &str) -> Subject {
        Subject::recognise(written).expect("a subject")
    }

    fn report(malicious: u64, suspicious: u64, undetected: u64, harmless: u64) -> Vec<u8> {
        let stats = json!({ "malicious": malicious, "suspicious": suspicious, "undetected": undetected, "harmless": harmless,
            "timeout": 1, "confirmed-timeout": 0, "failure": 0, "type-unsupported": 4 });
        let attributes = json!({
            "last_analysis_stats": stats,
            "last_analysis_results": { "Some engine": { "category": "malicious", "engine_name": "Some engine", "result": "ELF/Mirai" } },
            "first_submission_date": 1_700_000_000, "last_submission_date": 1_710_000_000, "last_analysis_date": 1_710_000_100,
            "popular_threat_classification": { "suggested_threat_label": "trojan.mirai/gafgyt",
                "popular_threat_category": [{ "count": 20, "value": "trojan" }] },
            "type_description": "ELF", "tags": ["elf", "64bits"], "reputation": -12, "names": ["x86_64"],
        });
        json!({ "data": { "id": "f".repeat(64), "type": "file", "links": { "self": "https://…" }, "attributes": attributes } })
            .to_string()
            .into()
    }

    #[test]
    fn engines_decide() {
        let (file, address) = ("a".repeat(64), "198.51.100.7");
        let cases = [
            (file.as_str(), (12, 0, 58, 0), Opinion::Malicious, Some(18), "12 of 70 engines"),
            (&file, (3, 1, 66, 0), Opinion::Malicious, Some(5), "3 of 70 engines, 1 suspect it"),
            (&file, (2, 0, 68, 0), Opinion::Suspicious, Some(3), "2 of 70 engines"),
            (&file, (0, 1, 69, 0), Opinion::Suspicious, Some(0), "0 of 70 engines, 1 suspect it"),
            (&file, (0, 0, 70, 0), Opinion::Unknown, Some(0), "0 of 70 engines"),
            (&file, (0, 0, 60, 10), Opinion::Unknown, Some(0), "0 of 70 engines"),
            (address, (0, 0, 30, 60), Opinion::Harmless, Some(0), "0 of 90 engines"),
            (address, (0, 0, 90, 0), Opinion::Unknown, Some(0), "0 of 90 engines"),
            (address, (0, 0, 0, 0), Opinion::Unknown, None, "0 of 0 engines"),
            (address, (u64::MAX, 0, 0, 0), Opinion::Malicious, Some(100), "1048576 of 1048576 engines"),
        ];
        for (value, (malicious, suspicious, undetected, harmless), opinion, score, summary) in cases {
            let verdict = answer(&subject(value), 200, &report(malicious, suspicious, undetected, harmless)).expect("an answer");
            assert_eq!((verdict.verdict, verdict.score, verdict.summary.as_deref()), (opinion, score, Some(summary)));
            assert_eq!(verdict.labels, ["trojan.mirai/gafgyt", "ELF", "elf", "64bits"]);
            assert_eq!(verdict.first_seen.map(time::format).as_deref(), Some("2023-11-14T22:13:20.000000Z"));
        }
    }

    #[test]
    fn each_kind_has_its_place_and_its_link() {
        let base = Url::parse(URL).expect("a URL");
        let id = "aHR0cDovL2V2aWwuZXhhbXBsZS94"; // of http://evil.example/x
        let cases = [
            ("d41d8cd98f00b204e9800998ecf8427e", "files/d41d8cd98f00b204e9800998ecf8427e", "file/d41d8cd98f00b204e9800998ecf8427e"),
            ("198.51.100.7", "ip_addresses/198.51.100.7", "ip-address/198.51.100.7"),
            ("2001:db8::1", "ip_addresses/2001:db8::1", "ip-address/2001:db8::1"),
            ("evil.example", "domains/evil.example", "domain/evil.example"),
            ("http://evil.example/x", &format!("urls/{id}"), &format!("url/{}", "f".repeat(64))),
        ];
        for (value, path, link) in cases {
            let request = request(&base, &subject(value));
            assert_eq!((request.url.as_str(), request.body), (&*format!("{URL}{path}"), None));
            let verdict = answer(&subject(value), 200, &report(1, 0, 1, 0)).expect("an answer");
            assert_eq!(verdict.link, Some(format!("{SITE}{link}")));
        }
    }

    #[test]
    fn what_is_not_known_is_an_answer_and_all_else_is_none() {
        let of = |status: u16, body: &str| answer(&subject("evil.example"), status, body.as_bytes());
        let not_found = r#"{"error": {"code": "NotFoundError", "message": "Domain \"evil.example\" not found"}}"#;
        assert_eq!(of(404, not_found).expect("an answer").verdict, Opinion::Unknown);
        let invalid = r#"{"error": {"code": "InvalidArgumentError", "message": "…"}}"#;
        assert_eq!(of(400, invalid).expect("an answer").summary.as_deref(), Some(REFUSED));
        let bare = r#"{"data": {"id": "x", "type": "domain", "attributes": {"tags": []}}}"#;
        assert_eq!(of(200, bare).expect("an answer").verdict, Opinion::Unknown);
        for (status, body) in [(404, "<html>no such page</html>"), (404, "{}"), (200, "{}"), (200, "null"), (200, not_found), (200, "")] {
            assert!(of(status, body).is_err(), "{status} {body}");
        }
    }
}
