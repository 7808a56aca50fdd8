//! `--redact`: what is printed leaves as the policy of the configuration says, as to a sink.
use super::context::Usage;
use crate::config::Settings;
use crate::redact::{Policy, Redactor, Subject, WITHHELD};
use crate::sources::Format;
use std::borrow::Cow;

/// Redacts what is printed, when that is asked for.
pub struct Redacting(Option<(Policy, Redactor)>);

impl Redacting {
    /// An error says that it cannot be done: then nothing is printed.
    pub fn new(asked: bool, settings: &Settings) -> anyhow::Result<Redacting> {
        if !asked {
            return Ok(Redacting(None));
        }
        if settings.privacy.rules.is_empty() {
            return Err(Usage("--redact needs a [[redact]] in the configuration, which says what to redact".into()).into());
        }
        // Lines do not say which source they are of: a rule for some counts for all.
        let policy = settings.privacy.policy().map_err(anyhow::Error::msg)?.of_any_source();
        Ok(Redacting(Some((policy, Redactor::default()))))
    }

    /// A stored line as it may be printed. One whose format cannot be told is withheld, when fields are to be redacted.
    pub fn line<'l>(&mut self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let Some((policy, redactor)) = &mut self.0 else { return line.into() };
        let has_fields = policy.rules.iter().any(|rule| !rule.fields.is_empty());
        match Format::recognise(line) {
            None if has_fields => WITHHELD.into(),
            format => redactor.leaving(policy, Subject { source: "", format: format.unwrap_or(Format::COWRIE) }, line),
        }
    }

    pub fn policy(&self) -> Option<&Policy> {
        self.0.as_ref().map(|(policy, _)| policy)
    }
}
