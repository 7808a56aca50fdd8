//! `[[enricher]]`: services that are asked what they know of a value.
use super::file::{Given, Values};
use super::groups::Enricher;
use super::key::{Origin, Place};
use super::settings::{Check, SourceName, default_of};
use crate::enrich::quota::Quota;
use crate::enrich::{Service, SubjectKind, desk};
use crate::network::Network;
use crate::sinks::guard::Guard;
use crate::telemetry::printable::printable;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

const HOUR: u64 = 3600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnricherSettings {
    pub name: SourceName,
    pub service: Service,
    pub url: Url,
    pub api_key_file: Option<PathBuf>,
    /// What it is asked about.
    pub kinds: Vec<SubjectKind>,
    /// How long an answer holds, and how long one that nothing is known.
    pub ttl: Duration,
    pub unknown_ttl: Duration,
    pub quota: Quota,
    /// For one request.
    pub timeout: Duration,
    /// How long it is left alone after a first failure.
    pub cooldown: Duration,
    pub allow_private: Vec<Network>,
    /// PEM.
    pub ca_file: Option<PathBuf>,
}

impl Check<'_> {
    pub(super) fn enrichers(&mut self, tables: &[(Place, Values)]) -> Vec<EnricherSettings> {
        let mut enrichers: Vec<EnricherSettings> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            // What a required key shows as its default is an example.
            if !values.contains_key("name") || !values.contains_key("type") {
                continue;
            }
            let enricher =
                Enricher::from_values(|key| values.get(key).map_or_else(|| default_of(&Enricher::GROUP, key), |given| given.value.clone()));
            let name = match SourceName::parse(&enricher.name) {
                Ok(name) => name,
                Err(message) => {
                    self.complain(&given("name"), message);
                    continue;
                }
            };
            if enrichers.iter().any(|other| other.name == name) {
                self.complain(&given("name"), format!("an enricher called `{name}` stands above: give each its own name"));
                continue;
            }
            let service = Service::parse(&enricher.r#type).expect("the choices of `type` are the services' names, a test says so");
            if let Some(settings) = self.enricher(name, service, &enricher, &given) {
                enrichers.push(settings);
            }
        }
        enrichers
    }

    fn enricher(
        &mut self,
        name: SourceName,
        service: Service,
        enricher: &Enricher,
        given: &dyn Fn(&str) -> Origin,
    ) -> Option<EnricherSettings> {
        let allow_private = self.networks(&enricher.allow_private, &given("allow_private"));
        let Some(text) = enricher.url.as_deref().or(service.url()) else {
            self.complain(&given("type"), "an enricher of type \"hook\" needs `url`: add url = \"https://intel.example/lookup\"".into());
            return None;
        };
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => url,
            _ => {
                self.complain(&given("url"), "`url` must begin with https:// and a host".into());
                return None;
            }
        };
        if let Err(forbidden) = Guard::new(allow_private.clone()).check_url(&url) {
            self.complain(&given("url"), format!("`url` can never be asked: {forbidden}"));
            return None;
        }
        if url.scheme() == "http" && !is_listed(&url, &allow_private) {
            let remedy = "use https://, or list the address itself in `allow_private`";
            self.complain(&given("url"), format!("`url` would carry key and values over the network for all to read: {remedy}"));
            return None;
        }
        if url.query().is_some() && service != Service::Hook {
            self.complain(&given("url"), "`url` must be the beginning of the service's URLs, without \"?…\"".into());
            return None;
        }
        if service.needs_key() && enricher.api_key_file.is_none() {
            let remedy = "put the key into a file that only the daemon's user can read, and name that";
            self.complain(&given("type"), format!("an enricher of type \"{}\" needs `api_key_file`: {remedy}", service.name()));
            return None;
        }
        let kinds = match &enricher.kinds {
            kinds if kinds.is_empty() => desk::kinds_by_default(service),
            written => self.subject_kinds(service, written, &given("kinds"))?,
        };
        let of_service = service.quota();
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(EnricherSettings {
            name,
            service,
            url,
            api_key_file: enricher.api_key_file.as_ref().map(|file| self.file(file, &given("api_key_file"))),
            kinds,
            ttl: Duration::from_secs(enricher.ttl_hours * HOUR),
            unknown_ttl: Duration::from_secs(enricher.unknown_ttl_hours * HOUR),
            quota: Quota {
                per_minute: enricher.quota_per_minute.map_or(of_service.per_minute, narrow),
                per_day: enricher.quota_per_day.map_or(of_service.per_day, narrow),
            },
            timeout: Duration::from_secs(enricher.timeout_seconds),
            cooldown: Duration::from_secs(enricher.cooldown_seconds),
            allow_private,
            ca_file: enricher.ca_file.as_ref().map(|file| self.file(file, &given("ca_file"))),
        })
    }

    fn subject_kinds(&mut self, service: Service, written: &[String], origin: &Origin) -> Option<Vec<SubjectKind>> {
        let mut kinds = Vec::new();
        for name in written {
            match SubjectKind::parse(name).filter(|kind| service.kinds().contains(kind)) {
                Some(kind) => kinds.push(kind),
                None => {
                    let there: Vec<String> = service.kinds().iter().map(|kind| format!("\"{kind}\"")).collect();
                    let message = format!("`{}` in `kinds`: \"{}\" is asked about {}", printable(name), service.name(), there.join(", "));
                    self.complain(origin, message);
                    return None;
                }
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        Some(kinds)
    }
}

/// Whether the host is an address that is listed, so that it is known whose network the request goes through.
pub(super) fn is_listed(url: &Url, allowed: &[Network]) -> bool {
    let listed = |address: IpAddr| allowed.iter().any(|network| network.contains(address));
    match url.host() {
        Some(Host::Ipv4(address)) => listed(address.into()),
        Some(Host::Ipv6(address)) => listed(address.into()),
        Some(Host::Domain(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Kind;
    use super::*;
    use std::path::Path;

    fn settings(text: &str) -> Result<Vec<EnricherSettings>, Vec<String>> {
        crate::config::settings::of_text(text).map(|settings| settings.enrichers)
    }

    #[test]
    fn each_service_has_its_place_its_kinds_and_its_quota() {
        let choices = Enricher::GROUP.key("type").map(|key| key.kind);
        let names: Vec<&str> = Service::ALL.iter().map(|service| service.name()).collect();
        assert!(matches!(choices, Some(Kind::Choice(choices)) if choices == names));
        let text = "[[enricher]]\nname = \"vt\"\ntype = \"virustotal\"\napi_key_file = \"vt.key\"\n\
                    [[enricher]]\nname = \"uh\"\ntype = \"urlhaus\"\napi_key_file = \"/run/uh\"\nkinds = [\"url\", \"hash\", \"url\"]\nttl_hours = 2\n\
                    [[enricher]]\nname = \"gn\"\ntype = \"greynoise\"\nquota_per_minute = 9\nquota_per_day = 99\n\
                    [[enricher]]\nname = \"mine\"\ntype = \"hook\"\nurl = \"http://10.0.3.7:8080/x?site=1\"\nallow_private = [\"10.0.0.0/8\"]\n";
        let enrichers = settings(text).expect("valid");
        assert_eq!(enrichers[0].url.as_str(), "https://www.virustotal.com/api/v3/");
        assert_eq!(enrichers[0].api_key_file.as_deref(), Some(Path::new("/etc/h/vt.key")));
        assert_eq!(enrichers[0].quota, Quota { per_minute: 4, per_day: 500 });
        assert_eq!(enrichers[0].kinds, [SubjectKind::Hash, SubjectKind::Address, SubjectKind::Domain], "URLs have to be named");
        assert_eq!((enrichers[0].ttl.as_secs(), enrichers[0].unknown_ttl.as_secs()), (168 * HOUR, 24 * HOUR));
        assert_eq!((&enrichers[1].kinds[..], enrichers[1].ttl.as_secs()), (&[SubjectKind::Hash, SubjectKind::Url][..], 2 * HOUR));
        assert_eq!(enrichers[2].quota, Quota { per_minute: 9, per_day: 99 });
        assert_eq!(enrichers[3].url.as_str(), "http://10.0.3.7:8080/x?site=1");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_line_and_a_remedy() {
        let vt = "[[enricher]]\nname = \"a\"\ntype = \"virustotal\"\napi_key_file = \"k\"\n";
        let hook = "[[enricher]]\nname = \"a\"\ntype = \"hook\"\nurl = \"https://x.example/\"\n";
        let cases: &[(String, &str)] = &[
            (vt.replace("api_key_file = \"k\"\n", ""), "/etc/h/h.toml:3:8: an enricher of type \"virustotal\" needs `api_key_file`"),
            (hook.replace("url = \"https://x.example/\"\n", ""), "/etc/h/h.toml:3:8: an enricher of type \"hook\" needs `url`"),
            (format!("{vt}{vt}"), "/etc/h/h.toml:6:8: an enricher called `a` stands above"),
            (
                format!("{vt}kinds = [\"phone\"]"),
                "/etc/h/h.toml:5:9: `phone` in `kinds`: \"virustotal\" is asked about \"hash\", \"address\"",
            ),
            (
                "[[enricher]]\nname = \"a\"\ntype = \"greynoise\"\nkinds = [\"url\"]".into(),
                "/etc/h/h.toml:4:9: `url` in `kinds`: \"greynoise\" is asked about \"address\"",
            ),
            (hook.replace("https:", "http:"), "/etc/h/h.toml:4:7: `url` would carry key and values over the network for all to read"),
            (hook.replace("x.example", "10.0.3.7"), "/etc/h/h.toml:4:7: `url` can never be asked: 10.0.3.7 is private"),
            (hook.replace("https://", "https://u:p@"), "/etc/h/h.toml:4:7: `url` can never be asked: the URL must not hold a user"),
            (hook.replace("https:", "file:"), "/etc/h/h.toml:4:7: `url` must begin with https://"),
            (format!("{vt}url = \"https://m.example/?k=1\""), "/etc/h/h.toml:5:7: `url` must be the beginning of the service's URLs"),
            (format!("{vt}quota_per_minute = 0"), "/etc/h/h.toml:5:20: `quota_per_minute` must be a whole number from 1 to 240"),
            (vt.replace("virustotal", "virus_total"), "/etc/h/h.toml:3:8: `type` must be one of"),
        ];
        for (text, expected) in cases {
            let problems = settings(text).expect_err(text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}\n{problems:?}");
        }
    }
}
