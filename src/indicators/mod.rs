//! Indicators: the values an operator may act on, made of the terms of the index.
//!
//! Everything here is a function of values, counts and times: [`lists`] says what is not hostile whoever used it, [`score`] how much
//! a value is worth and for how long, [`defang`] how people are shown one, [`export`], [`stix`] and [`misp`] how programs get it.
//! Where the values come from is for [`crate::service::indicators`] to say.
pub mod defang;
pub mod export;
pub mod known;
pub mod lists;
pub mod misp;
pub mod resolvers;
pub mod score;
pub mod software_hosts;
pub mod stix;

use crate::events::time::{self, MICROS_PER_DAY};
use crate::events::{Field, Micros};
use crate::index::part::TermSummary;
use known::Known;
use lists::Lists;
use serde::{Deserialize, Serialize};

/// The kinds there are: what is found in texts, the addresses attacks came from, and the files that were fetched or left.
pub fn kinds() -> impl Iterator<Item = Field> {
    Field::ALL.iter().copied().filter(|field| is_kind(*field))
}

pub fn is_kind(field: Field) -> bool {
    field.is_indicator() || matches!(field, Field::SrcIp | Field::Shasum)
}

/// The kind called `name`.
pub fn kind_called(name: &str) -> Option<Field> {
    Field::parse(name).filter(|field| is_kind(*field))
}

/// The kinds that are named, between commas; the error is for a person.
pub fn kinds_called(names: &str) -> Result<Vec<Field>, String> {
    let named = |name: &str| {
        kind_called(name).ok_or_else(|| {
            let all: Vec<&str> = kinds().map(Field::name).collect();
            format!("there is no kind of indicators called {name:?}: there are {}", all.join(", "))
        })
    };
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(named).collect()
}

/// A value of a kind, and what is thought of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Indicator {
    #[serde(with = "kind_name")]
    #[schema(value_type = String)]
    pub kind: Field,
    pub value: String,
    pub count: u64,
    #[serde(with = "written_time")]
    #[schema(value_type = String)]
    pub first_seen: Micros,
    #[serde(with = "written_time")]
    #[schema(value_type = String)]
    pub last_seen: Micros,
    /// `None`: for ever.
    #[serde(with = "written_time::optional")]
    #[schema(value_type = Option<String>)]
    pub valid_until: Option<Micros>,
    pub expired: bool,
    /// 0 to 100.
    pub score: u8,
    pub reasons: Vec<String>,
    /// The list that says it is not hostile.
    pub warning: Option<String>,
    /// Outside lists that know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_in: Vec<String>,
    /// Enrichers whose kept answers call it malicious.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flagged_by: Vec<String>,
}

impl Indicator {
    /// Judges a value by its events and by the lists; `is_target`: all of its events have it as what was attacked.
    pub fn of(kind: Field, value: String, sum: TermSummary, is_target: bool, (lists, known): (&Lists, &Known), now: Micros) -> Indicator {
        let (known_in, flagged_by) = (known.lists_of(kind, &value), known.flagged_by(kind, &value));
        // No clock of a honeypot makes a time that cannot be written.
        let sum = TermSummary { first: sum.first.clamp(0, score::TIME_MAX), last: sum.last.clamp(0, score::TIME_MAX), ..sum };
        let judged = lists.judge(kind, &value).of_target(is_target);
        let valid_until = score::valid_until(kind, sum.last);
        let evidence = score::Evidence { kind, sum, judged: &judged, known_in: &known_in, flagged_by: &flagged_by, now };
        let mut reasons = Vec::new();
        let score = score::score(&evidence, &mut |reason| reasons.push(reason.to_string()));
        Indicator {
            kind,
            value,
            count: sum.count,
            first_seen: sum.first,
            last_seen: sum.last,
            valid_until,
            expired: valid_until.is_some_and(|until| until <= now),
            score,
            reasons,
            warning: match judged {
                lists::Judged::Harmless(list) => Some(list.to_owned()),
                lists::Judged::Denied | lists::Judged::Unlisted => None,
            },
            known_in,
            flagged_by,
        }
    }

    /// Whether it is told to machines that act on it.
    pub fn is_hostile(&self) -> bool {
        self.warning.is_none() && !self.expired
    }

    /// Days (UTC) from the first to the last event, both counted.
    pub fn days(&self) -> u64 {
        days(self.first_seen, self.last_seen)
    }
}

pub(crate) fn days(first: Micros, last: Micros) -> u64 {
    (last.div_euclid(MICROS_PER_DAY) - first.div_euclid(MICROS_PER_DAY)).unsigned_abs().saturating_add(1)
}

mod kind_name {
    use super::*;
    use serde::{Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(kind: &Field, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Field, D::Error> {
        let name = String::deserialize(from)?;
        kind_called(&name).ok_or_else(|| D::Error::custom(format!("there is no kind of indicators called {name:?}")))
    }
}

pub(crate) mod written_time {
    use super::*;
    use serde::{Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&time::format(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        let text = String::deserialize(from)?;
        time::parse(text.as_bytes()).ok_or_else(|| D::Error::custom(format!("{text:?} is no time")))
    }

    pub mod optional {
        use super::*;

        pub fn serialize<S: Serializer>(time: &Option<Micros>, to: S) -> Result<S::Ok, S::Error> {
            time.map(time::format).serialize(to)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Micros>, D::Error> {
            let text = Option::<String>::deserialize(from)?;
            text.map(|text| time::parse(text.as_bytes()).ok_or_else(|| D::Error::custom(format!("{text:?} is no time")))).transpose()
        }
    }
}
