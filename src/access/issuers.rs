//! Tokens of configured issuers: who in a company's directory may do what here, without a key of ours.
//!
//! A token chooses by its `iss` which issuer has to vouch for it, and nothing else. Then everything must fit what the configuration says
//! of that one: algorithm, signature, audience, time; and one of the values of a claim must be mapped to a role, for an issuer knows
//! nothing of roles here.
use super::jwks::{Jwks, Standing};
use super::jwt::{Claims, Unverified, texts};
use super::{Denied, Principal, Role};
use crate::config::IssuerSettings;
use crate::events::Micros;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

const SUBJECT_BYTES_MAX: usize = 255;
/// Of one token.
const SENSORS_MAX: usize = 256;
/// Stands for all of them, where an issuer has to say which.
const ALL_SENSORS: &str = "*";

/// All configured issuers.
#[derive(Default)]
pub struct Issuers(RwLock<Arc<[Arc<Jwks>]>>);

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all();
        f.debug_list().entries(all.iter().map(|jwks| &jwks.settings().issuer)).finish()
    }
}

impl Issuers {
    pub fn new(settings: &[IssuerSettings]) -> Issuers {
        let issuers = Issuers::default();
        issuers.configure(settings);
        issuers
    }

    /// Takes on other settings; what is known of the keys of those that did not change stays.
    pub fn configure(&self, settings: &[IssuerSettings]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = |new: &IssuerSettings| all.iter().find(|jwks| jwks.settings() == new).cloned();
        *all = settings.iter().map(|new| kept(new).unwrap_or_else(|| Jwks::new(new.clone()))).collect();
    }

    /// Where the keys of each stand, by what it is called in tokens.
    pub fn standings(&self) -> Vec<(String, Standing)> {
        self.all().iter().map(|jwks| (jwks.settings().issuer.clone(), jwks.standing())).collect()
    }

    /// Who sends this token. May wait for an issuer's keys; must be called in a runtime.
    pub async fn verify(&self, token: &str, now: Micros) -> Result<Principal, Denied> {
        self.judge(Unverified::read(token)?, now).await
    }

    pub(super) async fn judge(&self, token: Unverified<'_>, now: Micros) -> Result<Principal, Denied> {
        let issuer = token.claims.text("iss")?;
        let jwks = self.all().iter().find(|jwks| jwks.settings().issuer == issuer).cloned().ok_or(Denied::IssuerUnknown)?;
        let settings = jwks.settings();
        if !settings.algorithms.contains(&token.algorithm) {
            return Err(Denied::TokenAlgorithm);
        }
        let leeway = Micros::try_from(settings.leeway.as_micros()).unwrap_or(0);
        // What is not good anyhow must not make anybody ask the issuer.
        token.claims.within(leeway, now)?;
        audience(&token.claims, &settings.audience)?;
        let key = jwks.key(token.kid.as_deref(), token.algorithm, now).await?;
        principal(&token.verify(&key.key)?, settings)
    }

    fn all(&self) -> Arc<[Arc<Jwks>]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn audience(claims: &Claims, ours: &str) -> Result<(), Denied> {
    let audiences = claims.0.get("aud").and_then(texts).ok_or(Denied::TokenClaim("aud"))?;
    if audiences.contains(&ours) { Ok(()) } else { Err(Denied::TokenAudience) }
}

/// Who a token is for, when all else was judged.
fn principal(claims: &Claims, settings: &IssuerSettings) -> Result<Principal, Denied> {
    let subject = claims.text("sub")?;
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.contains(char::is_control) {
        return Err(Denied::TokenClaim("sub"));
    }
    let values = claims.at(&settings.roles_claim).and_then(texts).unwrap_or_default();
    let mut roles: Vec<Role> = values.iter().filter_map(|value| settings.roles.get(*value)).copied().collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        return Err(Denied::NoRole);
    }
    let sensors = match &settings.sensors_claim {
        None => None,
        Some(name) => sensors(claims.at(name))?,
    };
    Ok(Principal { name: format!("{} {subject}", settings.issuer).into(), roles: roles.into(), sensors })
}

/// `None`: all of them.
fn sensors(claim: Option<&Value>) -> Result<Option<Arc<[String]>>, Denied> {
    let names = claim.and_then(texts).unwrap_or_default();
    match names[..] {
        [] => Err(Denied::NoSensors),
        [ALL_SENSORS] => Ok(None),
        _ if names.len() > SENSORS_MAX || names.iter().any(|name| name.is_empty() || *name == ALL_SENSORS) => Err(Denied::NoSensors),
        _ => Ok(Some(names.into_iter().map(str::to_owned).collect())),
    }
}
