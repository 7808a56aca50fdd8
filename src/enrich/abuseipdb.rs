//! AbuseIPDB, version 2 of its interface: how often an address was reported, and how sure its database is that it is an abuser's.
//!
//! <https://docs.abuseipdb.com/#check-endpoint>. An address without reports is an answer like any other. A quota that is used up has
//! status 429 with `Retry-After`. The free quota is 1,000 checks a day.
use super::subject::{Subject, SubjectKind};
use super::verdict::{NoAnswer, Opinion, Verdict, flag, number, read, time_of, words};
use super::{REFUSED, Request};
use serde::Deserialize;
use url::Url;

pub const URL: &str = "https://api.abuseipdb.com/api/v2/";
pub const KEY_HEADER: &str = "key";
pub const KINDS: &[SubjectKind] = &[SubjectKind::Address];
const SITE: &str = "https://www.abuseipdb.com/check/";

/// Age of the reports that count, days.
const REPORT_DAYS: &str = "90";
/// Percent from which on it counts as what it is called.
const MALICIOUS: u64 = 75;
const SUSPICIOUS: u64 = 25;

pub fn request(base: &Url, subject: &Subject) -> Request {
    let mut request = Request::get(base, &["check"]);
    request.url.query_pairs_mut().append_pair("ipAddress", subject.value()).append_pair("maxAgeInDays", REPORT_DAYS);
    request
}

#[derive(Deserialize)]
struct Answer {
    data: Checked,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    #[serde(deserialize_with = "number")]
    abuse_confidence_score: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    total_reports: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    num_distinct_users: Option<u64>,
    #[serde(default, deserialize_with = "words")]
    last_reported_at: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    is_whitelisted: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    is_tor: Option<bool>,
    #[serde(default, deserialize_with = "words")]
    usage_type: Option<String>,
    #[serde(default, deserialize_with = "words")]
    isp: Option<String>,
    #[serde(default, deserialize_with = "words")]
    domain: Option<String>,
    #[serde(default, deserialize_with = "words")]
    country_code: Option<String>,
}

pub fn answer(subject: &Subject, status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
    if status == 422 {
        return Ok(Verdict::unknown(REFUSED));
    }
    if status != 200 {
        return Err(NoAnswer(format!("status {status}")));
    }
    let checked = read::<Answer>(body)?.data;
    let Some(confidence) = checked.abuse_confidence_score.filter(|score| *score <= 100) else {
        return Err(NoAnswer("no abuseConfidenceScore from 0 to 100".into()));
    };
    let reports = checked.total_reports.unwrap_or(0);
    let verdict = match confidence {
        _ if checked.is_whitelisted == Some(true) => Opinion::Harmless,
        MALICIOUS.. => Opinion::Malicious,
        SUSPICIOUS.. => Opinion::Suspicious,
        _ => Opinion::Unknown,
    };
    let tor = checked.is_tor.unwrap_or(false).then_some("tor");
    let named = [&checked.usage_type, &checked.isp, &checked.domain, &checked.country_code];
    let summary = match (reports, checked.num_distinct_users) {
        (0, _) => format!("no reports within {REPORT_DAYS} days"),
        (_, Some(users)) => format!("{reports} reports by {users} users within {REPORT_DAYS} days"),
        (_, None) => format!("{reports} reports within {REPORT_DAYS} days"),
    };
    Ok(Verdict { verdict, score: Some(confidence as u8), ..Verdict::default() }
        .label(tor.into_iter().chain(named.into_iter().flatten().map(String::as_str)))
        .seen(None, checked.last_reported_at.as_deref().and_then(time_of))
        .linked(&format!("{SITE}{}", subject.value()), SITE)
        .summed_up(&summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;
    use serde_json::{Value, json};

    fn checked(more: Value) -> Vec<u8> {
        let mut data = json!({
            "ipAddress": "198.51.100.7", "isPublic": true, "ipVersion": 4, "isWhitelisted": false, "abuseConfidenceScore": 100,
            "countryCode": "NL", "usageType": "Data Center/Web Hosting/Transit", "isp": "Some Hosting B.V.", "domain": "some-hosting.example",
            "hostnames": [], "isTor": false, "totalReports": 384, "numDistinctUsers": 112, "lastReportedAt": "2026-03-20T21:00:03+00:00",
        });
        data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "data": data }).to_string().into()
    }

    fn of(status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
        answer(&Subject::recognise("198.51.100.7").expect("an address"), status, body)
    }

    #[test]
    fn confidence_decides_unless_it_is_on_their_list_of_the_harmless() {
        for (more, opinion, summary) in [
            (json!({}), Opinion::Malicious, "384 reports by 112 users within 90 days"),
            (json!({ "abuseConfidenceScore": 75 }), Opinion::Malicious, "384 reports by 112 users within 90 days"),
            (json!({ "abuseConfidenceScore": "74" }), Opinion::Suspicious, "384 reports by 112 users within 90 days"),
            (json!({ "abuseConfidenceScore": 24, "numDistinctUsers": null }), Opinion::Unknown, "384 reports within 90 days"),
            (
                json!({ "abuseConfidenceScore": 0, "totalReports": 0, "lastReportedAt": null }),
                Opinion::Unknown,
                "no reports within 90 days",
            ),
            (json!({ "isWhitelisted": true }), Opinion::Harmless, "384 reports by 112 users within 90 days"),
            (json!({ "isWhitelisted": null }), Opinion::Malicious, "384 reports by 112 users within 90 days"),
        ] {
            let verdict = of(200, &checked(more.clone())).expect("an answer");
            assert_eq!((verdict.verdict, verdict.summary.as_deref()), (opinion, Some(summary)), "{more}");
        }
        let verdict = of(200, &checked(json!({ "isTor": true }))).expect("an answer");
        assert_eq!(verdict.labels, ["tor", "Data Center/Web Hosting/Transit", "Some Hosting B.V.", "some-hosting.example", "NL"]);
        assert_eq!((verdict.score, verdict.link.as_deref()), (Some(100), Some("https://www.abuseipdb.com/check/198.51.100.7")));
        assert_eq!(verdict.last_seen, time::parse(b"2026-03-20T21:00:03Z"));
    }

    #[test]
    fn an_address_goes_into_the_query() {
        let base = Url::parse(URL).expect("a URL");
        let url = request(&base, &Subject::recognise("2001:db8::1").expect("an address")).url;
        assert_eq!(url.as_str(), format!("{URL}check?ipAddress=2001%3Adb8%3A%3A1&maxAgeInDays=90"));
    }

    #[test]
    fn other_documents_are_no_answer() {
        let error = br#"{"errors": [{"detail": "Authentication failed.", "status": 401}]}"#;
        assert_eq!(of(422, error).expect("an answer").summary.as_deref(), Some(REFUSED));
        for (status, body) in [(200, &error[..]), (200, b"{}"), (404, b"{}"), (200, &checked(json!({ "abuseConfidenceScore": 400 })))] {
            assert!(of(status, body).is_err(), "{status}");
        }
    }
}
