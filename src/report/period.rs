//! The days a report is about: a day, an ISO week, a month, any range.
use crate::events::time::{civil_from_days, day_of, days_from_civil, format_day, monday_of};
use crate::events::{Micros, time};
use std::ops::RangeInclusive;

/// Longest range of days.
pub const DAYS_MAX: i32 = 3_660;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReportKind)]
pub enum Kind {
    Daily,
    Weekly,
    Monthly,
    Range,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Daily, Kind::Weekly, Kind::Monthly, Kind::Range];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Daily => "daily",
            Kind::Weekly => "weekly",
            Kind::Monthly => "monthly",
            Kind::Range => "range",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whole days of event time, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    pub kind: Kind,
    /// Since 1970-01-01.
    pub days: RangeInclusive<i32>,
}

/// Why a date names no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPeriod {
    #[error("`{text}` is no {what}; write it like {like}, or `last`")]
    Form { text: String, what: &'static str, like: &'static str },
    #[error("there is no {text}")]
    NoSuchDay { text: String },
    #[error("{from} is behind {to}: a range begins with its first day")]
    Backwards { from: String, to: String },
    #[error("a range has at most {DAYS_MAX} days, and {from} to {to} are more")]
    TooLong { from: String, to: String },
    #[error("{text} lies before 2000 or after tomorrow: no event can")]
    Outside { text: String },
}

impl Period {
    /// `2026-03-23`, `2026-W12`, `2026-03`, `2026-03-01..2026-03-15`; of weekly and monthly also a day within; `last` is the latest one
    /// that is over at `now`.
    pub fn parse(kind: Kind, text: &str, now: Micros) -> Result<Period, NoPeriod> {
        let today = day_of(now);
        let days = match (kind, text) {
            (Kind::Daily, "last") => today - 1..=today - 1,
            (Kind::Weekly, "last") => week_of(today - 7),
            (Kind::Monthly, "last") => month_of(month_of(today).start() - 1),
            (Kind::Range, "last") => return Err(form(kind, text)),
            (Kind::Daily, text) => {
                let day = day(text, kind)?;
                day..=day
            }
            (Kind::Weekly, text) => match text.split_once("-W") {
                Some((year, week)) => iso_week(year, week).ok_or_else(|| form(kind, text))?,
                None => week_of(day(text, kind)?),
            },
            (Kind::Monthly, text) if text.len() == 7 => month_of(day(&format!("{text}-01"), kind).map_err(|_| form(kind, text))?),
            (Kind::Monthly, text) => month_of(day(text, kind)?),
            (Kind::Range, text) => {
                let (from, to) = text.split_once("..").ok_or_else(|| form(kind, text))?;
                day(from, kind)?..=day(to, kind)?
            }
        };
        let (from, to) = (format_day(*days.start()), format_day(*days.end()));
        match days.end() - days.start() {
            ..0 => Err(NoPeriod::Backwards { from, to }),
            DAYS_MAX.. => Err(NoPeriod::TooLong { from, to }),
            _ if *days.end() < day_of(time::EARLIEST) || *days.start() > today + 1 => Err(NoPeriod::Outside { text: text.to_owned() }),
            _ => Ok(Period { kind, days }),
        }
    }

    /// The period before this one.
    pub fn before(&self) -> Period {
        let start = *self.days.start();
        let days = match self.kind {
            Kind::Monthly => month_of(start - 1),
            _ => start - (self.days.end() - start) - 1..=start - 1,
        };
        Period { kind: self.kind, days }
    }

    /// `2026-03-23`, `2026-W12`, `2026-03`, `2026-03-01..2026-03-15`.
    pub fn label(&self) -> String {
        let (from, to) = (format_day(*self.days.start()), format_day(*self.days.end()));
        match self.kind {
            Kind::Daily => from,
            Kind::Weekly => {
                // The year of an ISO week is that of its Thursday.
                let thursday = self.days.start() + 3;
                let (year, ..) = civil_from_days(i64::from(thursday));
                let first = days_from_civil(year, 1, 1) as i32;
                format!("{year:04}-W{:02}", (thursday - first) / 7 + 1)
            }
            Kind::Monthly => from[..7].to_owned(),
            Kind::Range => format!("{from}..{to}"),
        }
    }
}

fn form(kind: Kind, text: &str) -> NoPeriod {
    let (what, like) = match kind {
        Kind::Daily => ("day", "2026-03-23"),
        Kind::Weekly => ("week", "2026-W12"),
        Kind::Monthly => ("month", "2026-03"),
        Kind::Range => ("range of days", "2026-03-01..2026-03-15"),
    };
    let text = crate::telemetry::printable::printable(text).to_string();
    NoPeriod::Form { text, what, like }
}

/// Since 1970-01-01.
fn day(text: &str, kind: Kind) -> Result<i32, NoPeriod> {
    let parts: Vec<&str> = text.split('-').collect();
    let digits =
        |part: &str, len: usize| (part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?;
    let [year, month, day] = parts[..] else { return Err(form(kind, text)) };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else { return Err(form(kind, text)) };
    let days = days_from_civil(year, month, day);
    if !(1..=12).contains(&month) || civil_from_days(days) != (year, month, day) {
        return Err(NoPeriod::NoSuchDay { text: text.to_owned() });
    }
    Ok(days as i32)
}

/// Monday to Sunday.
fn week_of(day: i32) -> RangeInclusive<i32> {
    let monday = monday_of(day);
    monday..=monday + 6
}

fn iso_week(year: &str, week: &str) -> Option<RangeInclusive<i32>> {
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year, 4) || !digits(week, 2) {
        return None;
    }
    let (year, week): (i64, i32) = (year.parse().ok()?, week.parse().ok()?);
    // The first week has January 4th in it.
    let first = week_of(days_from_civil(year, 1, 4) as i32);
    let week = first.start() + (week - 1) * 7..=first.end() + (week - 1) * 7;
    // A 53rd week, where the year has none, is the first of the next.
    (week.start() >= first.start() && civil_from_days(i64::from(week.start() + 3)).0 == year).then_some(week)
}

fn month_of(day: i32) -> RangeInclusive<i32> {
    let (year, month, _) = civil_from_days(i64::from(day));
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(year, month, 1) as i32..=days_from_civil(next_year, next_month, 1) as i32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Micros {
        time::parse(b"2026-03-22T10:00:00Z").expect("a time")
    }

    fn told(kind: Kind, text: &str) -> Result<(String, String, String), String> {
        let period = Period::parse(kind, text, now()).map_err(|error| error.to_string())?;
        Ok((period.label(), format_day(*period.days.start()), format_day(*period.days.end())))
    }

    #[test]
    fn names_are_periods() {
        for (kind, text, expected) in [
            (Kind::Daily, "2026-03-01", ("2026-03-01", "2026-03-01", "2026-03-01")),
            (Kind::Daily, "2024-02-29", ("2024-02-29", "2024-02-29", "2024-02-29")),
            (Kind::Daily, "last", ("2026-03-21", "2026-03-21", "2026-03-21")),
            (Kind::Weekly, "2026-W12", ("2026-W12", "2026-03-16", "2026-03-22")),
            (Kind::Weekly, "2026-03-16", ("2026-W12", "2026-03-16", "2026-03-22")),
            (Kind::Weekly, "last", ("2026-W11", "2026-03-09", "2026-03-15")),
            // Weeks at the turn of years belong to the year of their Thursday.
            (Kind::Weekly, "2020-W53", ("2020-W53", "2020-12-28", "2021-01-03")),
            (Kind::Weekly, "2021-01-03", ("2020-W53", "2020-12-28", "2021-01-03")),
            (Kind::Weekly, "2019-12-31", ("2020-W01", "2019-12-30", "2020-01-05")),
            (Kind::Monthly, "2026-02", ("2026-02", "2026-02-01", "2026-02-28")),
            (Kind::Monthly, "2025-12-05", ("2025-12", "2025-12-01", "2025-12-31")),
            (Kind::Monthly, "last", ("2026-02", "2026-02-01", "2026-02-28")),
            (Kind::Range, "2026-02-27..2026-03-02", ("2026-02-27..2026-03-02", "2026-02-27", "2026-03-02")),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned(), expected.2.to_owned());
            assert_eq!(told(kind, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_says_so() {
        for (kind, text, expected) in [
            (Kind::Daily, "yesterday", "`yesterday` is no day; write it like 2026-03-23, or `last`"),
            (Kind::Daily, "2026-3-1", "`2026-3-1` is no day; write it like 2026-03-23, or `last`"),
            (Kind::Daily, "2026-02-30", "there is no 2026-02-30"),
            (Kind::Daily, "2026-13-01", "there is no 2026-13-01"),
            (Kind::Weekly, "2026-W60", "`2026-W60` is no week; write it like 2026-W12, or `last`"),
            (Kind::Weekly, "2026-W00", "`2026-W00` is no week; write it like 2026-W12, or `last`"),
            (Kind::Weekly, "2026-W54", "`2026-W54` is no week; write it like 2026-W12, or `last`"),
            (Kind::Weekly, "2021-W53", "`2021-W53` is no week; write it like 2026-W12, or `last`"),
            (Kind::Monthly, "2026-13", "`2026-13` is no month; write it like 2026-03, or `last`"),
            (Kind::Range, "2026-03-02", "`2026-03-02` is no range of days; write it like 2026-03-01..2026-03-15, or `last`"),
            (Kind::Range, "2026-03-02..2026-03-01", "2026-03-02 is behind 2026-03-01: a range begins with its first day"),
            (Kind::Range, "2001-01-01..2026-03-01", "a range has at most 3660 days, and 2001-01-01 to 2026-03-01 are more"),
            (Kind::Daily, "1999-12-31", "1999-12-31 lies before 2000 or after tomorrow: no event can"),
            (Kind::Daily, "2026-03-24", "2026-03-24 lies before 2000 or after tomorrow: no event can"),
        ] {
            assert_eq!(told(kind, text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_period_before_ends_where_this_one_begins() {
        for (kind, text, expected) in [
            (Kind::Daily, "2026-03-01", "2026-02-28"),
            (Kind::Weekly, "2026-W01", "2025-W52"),
            (Kind::Monthly, "2026-03", "2026-02"),
            (Kind::Range, "2026-03-01..2026-03-03", "2026-02-26..2026-02-28"),
        ] {
            assert_eq!(Period::parse(kind, text, now()).unwrap().before().label(), expected);
        }
    }
}
