//! `[[issuer]]`: whose tokens are taken, and what their claims mean here.
use super::enrichers::is_listed;
use super::file::{Given, Values};
use super::groups::Issuer;
use super::key::{Origin, Place};
use super::settings::{Check, default_of};
use crate::access::Role;
use crate::network::Network;
use crate::sinks::guard::Guard;
use crate::telemetry::printable::printable;
use jsonwebtoken::Algorithm;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// As `iss` of its tokens has it, to the letter.
    pub issuer: String,
    pub url: Url,
    pub audience: String,
    /// `None`: its description says where its keys are.
    pub jwks_url: Option<Url>,
    pub algorithms: Vec<Algorithm>,
    /// Name or path of the claim, and what its values mean.
    pub roles_claim: String,
    pub roles: BTreeMap<String, Role>,
    pub sensors_claim: Option<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// How long keys are used without asking, and how long beyond when it cannot be asked.
    pub ttl: Duration,
    pub stale: Duration,
    /// Not asked more often.
    pub interval: Duration,
    /// For one request.
    pub timeout: Duration,
    pub allow_private: Vec<Network>,
    /// PEM.
    pub ca_file: Option<PathBuf>,
}

impl IssuerSettings {
    /// Whether the host is an address that may be asked without TLS.
    pub fn is_listed(&self, url: &Url) -> bool {
        is_listed(url, &self.allow_private)
    }
}

/// The algorithms that can be asked for: asymmetric ones, so that no key that others know signs anything.
const ALGORITHMS: [(&str, Algorithm); 3] = [("RS256", Algorithm::RS256), ("ES256", Algorithm::ES256), ("EdDSA", Algorithm::EdDSA)];

impl Check<'_> {
    pub(super) fn issuers(&mut self, tables: &[(Place, Values)]) -> Vec<IssuerSettings> {
        let mut issuers: Vec<IssuerSettings> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            // What a required key shows as its default is an example.
            if Issuer::GROUP.keys.iter().any(|key| key.required && !values.contains_key(key.name)) {
                continue;
            }
            let issuer =
                Issuer::from_values(|key| values.get(key).map_or_else(|| default_of(&Issuer::GROUP, key), |given| given.value.clone()));
            if issuers.iter().any(|other| other.issuer == issuer.url) {
                self.complain(&given("url"), "an issuer with this `url` stands above: put both into one table".into());
                continue;
            }
            issuers.extend(self.issuer(&issuer, &given));
        }
        issuers
    }

    fn issuer(&mut self, issuer: &Issuer, given: &dyn Fn(&str) -> Origin) -> Option<IssuerSettings> {
        let allow_private = self.networks(&issuer.allow_private, &given("allow_private"));
        let url = self.issuer_url("url", &issuer.url, &allow_private, &given("url"))?;
        if url.query().is_some() || url.fragment().is_some() {
            self.complain(&given("url"), "`url` must be as the issuer writes itself in tokens, without \"?\" and \"#\"".into());
            return None;
        }
        let jwks_url = match &issuer.jwks_url {
            None => None,
            Some(text) => Some(self.issuer_url("jwks_url", text, &allow_private, &given("jwks_url"))?),
        };
        if issuer.audience.is_empty() {
            self.complain(&given("audience"), "`audience` must be what the issuer's tokens for this daemon have in `aud`".into());
            return None;
        }
        let mut algorithms = Vec::new();
        for name in &issuer.algorithms {
            match ALGORITHMS.iter().find(|(known, _)| known == name) {
                Some((_, algorithm)) => algorithms.push(*algorithm),
                None => {
                    let message = format!("`{}` in `algorithms`: only RS256, ES256 and EdDSA are taken", printable(name));
                    self.complain(&given("algorithms"), message);
                    return None;
                }
            }
        }
        let mut roles = BTreeMap::new();
        for (value, role) in &issuer.roles {
            let Some(role) = Role::parse(role) else {
                let there: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
                self.complain(&given("roles"), format!("`{}` in `roles` is no role: there are {}", printable(role), there.join(", ")));
                return None;
            };
            roles.insert(value.clone(), role);
        }
        if roles.is_empty() || algorithms.is_empty() || issuer.roles_claim.is_empty() {
            let key = if roles.is_empty() {
                "roles"
            } else if algorithms.is_empty() {
                "algorithms"
            } else {
                "roles_claim"
            };
            self.complain(&given(key), format!("`{key}` is empty, so no token could ever be taken"));
            return None;
        }
        Some(IssuerSettings {
            issuer: issuer.url.clone(),
            url,
            audience: issuer.audience.clone(),
            jwks_url,
            algorithms,
            roles_claim: issuer.roles_claim.clone(),
            roles,
            sensors_claim: issuer.sensors_claim.clone(),
            leeway: Duration::from_secs(issuer.leeway_seconds),
            ttl: Duration::from_secs(issuer.ttl_seconds),
            stale: Duration::from_secs(issuer.stale_seconds),
            interval: Duration::from_secs(issuer.interval_seconds),
            timeout: Duration::from_secs(issuer.timeout_seconds),
            allow_private,
            ca_file: issuer.ca_file.as_ref().map(|file| self.path(file, &given("ca_file"))),
        })
    }

    fn issuer_url(&mut self, key: &str, text: &str, allowed: &[Network], origin: &Origin) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => url,
            _ => {
                self.complain(origin, format!("`{key}` must begin with https:// and a host"));
                return None;
            }
        };
        if let Err(forbidden) = Guard::new(allowed.to_vec()).check_url(&url) {
            self.complain(origin, format!("`{key}` can never be asked: {forbidden}"));
            return None;
        }
        if url.scheme() == "http" && !is_listed(&url, allowed) {
            let remedy = "use https://, or list the address itself in `allow_private`";
            self.complain(origin, format!("`{key}` would let anybody on the way put in keys of his own: {remedy}"));
            return None;
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<IssuerSettings>, Vec<String>> {
        crate::config::settings::of_text(text).map(|settings| settings.issuers)
    }

    const LEAST: &str = "[[issuer]]\nurl = \"https://id.example/realms/soc\"\naudience = \"honeyguide\"\nroles = { soc = \"analyst\" }\n";

    #[test]
    fn an_issuer_is_read_with_sensible_defaults() {
        let issuers = settings(LEAST).expect("valid");
        let issuer = &issuers[0];
        assert_eq!((&*issuer.issuer, &*issuer.audience), ("https://id.example/realms/soc", "honeyguide"));
        assert_eq!(issuer.algorithms, [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        assert_eq!((&issuer.jwks_url, &*issuer.roles_claim, issuer.roles["soc"]), (&None, "roles", Role::Analyst));
        assert_eq!((issuer.ttl.as_secs(), issuer.stale.as_secs(), issuer.interval.as_secs()), (600, 3600, 30));
    }

    #[test]
    fn what_would_be_unsafe_or_useless_is_refused() {
        for (line, said) in [
            ("algorithms = [\"HS256\"]", "only RS256, ES256 and EdDSA"),
            ("algorithms = [\"none\"]", "only RS256, ES256 and EdDSA"),
            ("algorithms = []", "no token could ever be taken"),
            ("jwks_url = \"http://id.example/jwks\"", "keys of his own"),
            ("jwks_url = \"https://127.0.0.1/jwks\"", "can never be asked"),
            ("jwks_url = \"ftp://id.example/jwks\"", "must begin with https://"),
        ] {
            let problems = settings(&format!("{LEAST}{line}\n")).expect_err(line);
            assert!(problems.iter().any(|problem| problem.contains(said)), "{line}: {problems:?}");
        }
        for (from, to, said) in [
            ("https://", "http://", "keys of his own"),
            ("realms/soc", "?realm=soc", "without \"?\""),
            ("\"honeyguide\"", "\"\"", "`audience`"),
            ("\"analyst\"", "\"root\"", "is no role"),
            ("{ soc = \"analyst\" }", "{}", "no token could ever be taken"),
        ] {
            let problems = settings(&LEAST.replace(from, to)).expect_err(to);
            assert!(problems.iter().any(|problem| problem.contains(said)), "{to}: {problems:?}");
        }
        assert!(settings(&format!("{LEAST}{LEAST}")).unwrap_err()[0].contains("stands above"));
        let listed = LEAST.replace("https://id.example", "http://127.0.0.1:3000");
        assert!(settings(&format!("{listed}allow_private = [\"127.0.0.1\"]\n")).is_ok());
    }
}
