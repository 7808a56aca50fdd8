//! Asking others what they know of a value: services that are asked over HTTP, each answer kept.
//!
//! A service has a shape: which kinds of values it answers, how it is asked, and how its answer becomes a [`Verdict`]; one file each,
//! plain functions of bytes. Everything else is [`desk`]'s, once: what must not be told to anybody is not sent ([`subject`]), an answer is
//! kept ([`crate::state::enrichment`]) so that nothing is asked twice, and how often and when is decided without a clock of its own
//! ([`quota`]). Nothing here asks by itself: a person or a program has to (`honeyguide enrich`).
pub mod abuseipdb;
pub mod desk;
pub mod greynoise;
pub mod hook;
pub mod quota;
pub mod subject;
pub mod urlhaus;
pub mod verdict;
pub mod virustotal;

pub use desk::Desk;
pub use subject::{Subject, SubjectKind};
pub use verdict::{Opinion, Verdict};

use quota::Quota;
use reqwest::Method;
use serde_json::Value;
use url::Url;
use verdict::NoAnswer;

/// Of a verdict about a value that the service takes for none.
pub const REFUSED: &str = "the service takes no such value";

/// The shapes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    VirusTotal,
    AbuseIpDb,
    GreyNoise,
    UrlHaus,
    /// One's own.
    Hook,
}

impl Service {
    pub const ALL: [Service; 5] = [Service::VirusTotal, Service::AbuseIpDb, Service::GreyNoise, Service::UrlHaus, Service::Hook];

    /// As in `type = `.
    pub const fn name(self) -> &'static str {
        match self {
            Service::VirusTotal => "virustotal",
            Service::AbuseIpDb => "abuseipdb",
            Service::GreyNoise => "greynoise",
            Service::UrlHaus => "urlhaus",
            Service::Hook => "hook",
        }
    }

    pub fn parse(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Where it is asked unless configured; one's own is nowhere.
    pub fn url(self) -> Option<&'static str> {
        match self {
            Service::VirusTotal => Some(virustotal::URL),
            Service::AbuseIpDb => Some(abuseipdb::URL),
            Service::GreyNoise => Some(greynoise::URL),
            Service::UrlHaus => Some(urlhaus::URL),
            Service::Hook => None,
        }
    }

    /// What it can be asked about.
    pub fn kinds(self) -> &'static [SubjectKind] {
        match self {
            Service::VirusTotal => virustotal::KINDS,
            Service::AbuseIpDb => abuseipdb::KINDS,
            Service::GreyNoise => greynoise::KINDS,
            Service::UrlHaus => urlhaus::KINDS,
            Service::Hook => hook::KINDS,
        }
    }

    /// The header field its key is sent in; `None`: as a bearer token.
    pub fn key_header(self) -> Option<&'static str> {
        match self {
            Service::VirusTotal => Some(virustotal::KEY_HEADER),
            Service::AbuseIpDb => Some(abuseipdb::KEY_HEADER),
            Service::GreyNoise => Some(greynoise::KEY_HEADER),
            Service::UrlHaus => Some(urlhaus::KEY_HEADER),
            Service::Hook => None,
        }
    }

    /// Whether nobody is answered without a key.
    pub fn needs_key(self) -> bool {
        matches!(self, Service::VirusTotal | Service::AbuseIpDb | Service::UrlHaus)
    }

    /// What is free of charge, as far as the services say so; else what is modest.
    pub fn quota(self) -> Quota {
        match self {
            Service::VirusTotal => Quota { per_minute: 4, per_day: 500 },
            Service::AbuseIpDb => Quota { per_minute: 30, per_day: 1000 },
            // Free accounts have 50 a week; without one it is less.
            Service::GreyNoise => Quota { per_minute: 5, per_day: 7 },
            Service::UrlHaus => Quota { per_minute: 30, per_day: 2000 },
            Service::Hook => Quota { per_minute: 240, per_day: 1_000_000 },
        }
    }

    /// Whether it has an answer to this one; its kind is one of [`Service::kinds`].
    pub fn answers(self, subject: &Subject) -> bool {
        self.kinds().contains(&subject.kind()) && (self != Service::UrlHaus || urlhaus::answers(subject))
    }

    pub fn request(self, base: &Url, subject: &Subject) -> Request {
        match self {
            Service::VirusTotal => virustotal::request(base, subject),
            Service::AbuseIpDb => abuseipdb::request(base, subject),
            Service::GreyNoise => greynoise::request(base, subject),
            Service::UrlHaus => urlhaus::request(base, subject),
            Service::Hook => hook::request(base, subject),
        }
    }

    /// What a reply says, whatever its status that is neither about the asker nor about the service's health.
    pub fn answer(self, subject: &Subject, status: u16, body: &[u8]) -> Result<Verdict, NoAnswer> {
        match self {
            Service::VirusTotal => virustotal::answer(subject, status, body),
            Service::AbuseIpDb => abuseipdb::answer(subject, status, body),
            Service::GreyNoise => greynoise::answer(subject, status, body),
            Service::UrlHaus => urlhaus::answer(subject, status, body),
            Service::Hook => hook::answer(status, body),
        }
    }
}

/// A question to a service, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    /// With its type.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl Request {
    /// `segments` go behind the path of `base`, each as one segment whatever is in it.
    fn get(base: &Url, segments: &[&str]) -> Request {
        let mut url = base.clone();
        url.path_segments_mut().expect("http URLs have paths").pop_if_empty().extend(segments);
        Request { method: Method::GET, url, body: None }
    }

    fn form(base: &Url, segments: &[&str], fields: &[(&str, &str)]) -> Request {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Request {
            method: Method::POST,
            body: Some(("application/x-www-form-urlencoded", form.into_bytes())),
            ..Request::get(base, segments)
        }
    }

    fn json(url: &Url, document: &Value) -> Request {
        Request { method: Method::POST, url: url.clone(), body: Some(("application/json", document.to_string().into_bytes())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_leaves_its_segment_of_the_path() {
        let base = Url::parse("https://intel.example/api").expect("a URL");
        for (value, expected) in [("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c"), ("a b", "a%20b")] {
            assert_eq!(Request::get(&base, &["files", value]).url.as_str(), format!("https://intel.example/api/files/{expected}"));
        }
    }

    #[test]
    fn names_are_read_as_they_are_written_and_addresses_are_secure() {
        for service in Service::ALL {
            assert_eq!(Service::parse(service.name()), Some(service));
            assert!(service.url().is_none_or(|url| url.starts_with("https://") && url.ends_with('/')), "{service:?}");
            assert!(!service.kinds().is_empty() && service.quota().per_minute > 0);
        }
        assert_eq!(Service::parse("nobody"), None);
    }
}
