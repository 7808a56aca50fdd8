//! Events as they may leave: by the policy in force where they are stored, and with the format and source they were stored with. Whoever
//! only sees a line can but guess who reads it, and a wrong guess leaves in clear what was to be redacted.
use crate::index::search::Hit;
use crate::redact::{Policy, Redactor, Subject, digest};
use crate::sources::Format;
use crate::store::Store;
use std::borrow::Cow;
use std::sync::Arc;

/// Why nothing may leave redacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavingError {
    #[error("no [[redact]] is in force, which says what to redact: add one to the configuration, and reload the daemon if one runs")]
    NoRules,
    #[error("the daemon runs with other rules of [[redact]] than the configuration has: reload it (`systemctl reload honeyguide`)")]
    OtherRules,
}

/// The policy in force, which must have rules, and those of this digest if one is given.
pub fn policy(store: &Store, rules: Option<&str>) -> Result<Arc<Policy>, LeavingError> {
    let policy = store.privacy().policy().filter(|policy| !policy.rules.is_empty()).ok_or(LeavingError::NoRules)?;
    match rules {
        Some(rules) if rules != digest(&policy.rules) => Err(LeavingError::OtherRules),
        _ => Ok(policy),
    }
}

/// Hits by a policy, or as they are stored.
#[derive(Debug, Default)]
pub struct Leaving {
    policy: Option<Arc<Policy>>,
    redactor: Redactor,
}

impl Leaving {
    pub fn new(policy: Option<Arc<Policy>>) -> Leaving {
        Leaving { policy, redactor: Redactor::default() }
    }

    pub fn line<'h>(&mut self, hit: Hit<'h>) -> Cow<'h, [u8]> {
        let Some(policy) = &self.policy else { return hit.line.into() };
        let subject = Subject { source: hit.source, format: hit.format.unwrap_or(Format::UNKNOWN) };
        self.redactor.leaving(policy, subject, hit.line)
    }
}
