//! `--redact`: what is printed leaves as the policy of the configuration says, as to a sink.
//!
//! Lines are redacted where they are stored, by whoever knows their formats: see [`crate::service::leaving`].
use super::context::Usage;
use crate::config::Settings;
use crate::redact::{Policy, digest};

/// What is asked for, which can be done.
pub struct Redacting<'s>(Option<&'s Settings>);

impl Redacting<'_> {
    /// An error says that it cannot be done: then nothing is printed.
    pub fn new(asked: bool, settings: &Settings) -> anyhow::Result<Redacting<'_>> {
        if asked && settings.privacy.rules.is_empty() {
            return Err(Usage("--redact needs a [[redact]] in the configuration, which says what to redact".into()).into());
        }
        Ok(Redacting(asked.then_some(settings)))
    }

    /// The digest of the rules, when it is asked for: a daemon's must be the same.
    pub fn digest(&self) -> Option<String> {
        self.0.map(|settings| digest(&settings.privacy.rules))
    }

    /// How a daemon is asked.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        self.digest().into_iter().flat_map(|digest| [("redact", true.to_string()), ("rules", digest)])
    }

    /// With the key, when it is asked for.
    pub fn policy(&self) -> anyhow::Result<Option<Policy>> {
        self.0.map(|settings| settings.privacy.policy()).transpose().map_err(anyhow::Error::msg)
    }
}
