//! What is told of an alert: in the ledger, to sinks, and to whoever asks for the history.
use crate::events::{EventId, Micros, time};
use serde::{Deserialize, Serialize};

/// Longest subject and summary, bytes; a subject may be a honeypot's name, which others write.
pub const SUBJECT_BYTES_MAX: usize = 256;
const SUMMARY_BYTES_MAX: usize = 512;
/// Most values that one notice lists.
pub const VALUES_MAX: usize = 50;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertState)]
pub enum Happened {
    Firing,
    Recovered,
    /// The rule was removed while it was open: no sink is told.
    Closed,
    /// An operator tried the rule.
    Test,
}

impl Happened {
    pub const fn name(self) -> &'static str {
        match self {
            Happened::Firing => "firing",
            Happened::Recovered => "recovered",
            Happened::Closed => "closed",
            Happened::Test => "test",
        }
    }
}

/// One thing that is told. Without its values it stands in the ledger, which never holds what an attacker wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AlertNotice)]
pub struct Notice {
    /// Counts all notices of this data directory, from 1.
    pub number: u64,
    /// Name of the rule.
    pub alert: String,
    /// Its kind, as in the configuration.
    pub when: String,
    pub state: Happened,
    /// What it is about: a sensor, a sink, a kind of value; empty where there is but one.
    pub subject: String,
    pub summary: String,
    #[serde(with = "crate::indicators::written_time")]
    #[schema(value_type = String)]
    pub at: Micros,
    /// When it began.
    #[serde(with = "crate::indicators::written_time")]
    #[schema(value_type = String)]
    pub since: Micros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u64>,
    /// Of what is over: how long it went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// How often it came and went untold in the cooldown before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suppressed: u64,
    /// Sinks that are told.
    #[serde(default)]
    pub to: Vec<String>,
    /// New indicators, the first [`VALUES_MAX`] of `value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<NewValue>,
}

/// A value never seen before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewValue {
    pub value: String,
    /// 0 to 100.
    pub score: u8,
    #[serde(with = "crate::indicators::written_time")]
    #[schema(value_type = String)]
    pub first_seen: Micros,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Notice {
    /// The same for every repetition, so that a receiver knows one it has.
    pub fn id(&self) -> EventId {
        EventId::of_line(format!("alert\n{}\n{}\n{}\n{}", self.alert, self.state.name(), self.at, self.subject).as_bytes())
    }

    /// As it stands in the ledger: what is erased from the journal must not live on there.
    pub fn recorded(&self) -> serde_json::Value {
        let without = Notice { values: Vec::new(), ..self.clone() };
        let mut record = serde_json::to_value(&without).unwrap_or_default();
        if let Some(members) = record.as_object_mut() {
            members.insert("id".to_owned(), self.id().to_string().into());
        }
        record
    }

    /// What a sink gets: one JSON object, of the format `alert`. Values are left out where they must not leave.
    pub fn document(&self, with_values: bool) -> Vec<u8> {
        let mut document = self.recorded();
        if let Some(members) = document.as_object_mut() {
            members.remove("to");
            members.insert("eventid".to_owned(), format!("alert.{}", self.state.name()).into());
            if with_values && !self.values.is_empty() {
                members.insert("values".to_owned(), serde_json::to_value(&self.values).unwrap_or_default());
            }
        }
        document.to_string().into_bytes()
    }

    /// That a rule is being tried.
    pub fn test(rule: &super::Rule, now: Micros) -> Notice {
        super::book::notice(rule, Happened::Test, "", "a test: nothing happened".to_owned(), (now, now))
    }

    /// With texts of bounded length.
    pub(super) fn bounded(mut self) -> Notice {
        shorten(&mut self.subject, SUBJECT_BYTES_MAX);
        shorten(&mut self.summary, SUMMARY_BYTES_MAX);
        self
    }

    /// How long it went on, for what is over.
    pub(super) fn lasted(since: Micros, now: Micros) -> u64 {
        (now.saturating_sub(since).max(0) / time::MICROS_PER_SECOND) as u64
    }
}

pub(super) fn shorten(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
