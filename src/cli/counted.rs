//! What the commands that count have in common: `top`, `count`, `distinct` and `new`. The words behind them, how their answers look,
//! and the warning before everything is read.
use super::answers;
use super::client::Target;
use super::context::{Context, Usage};
use super::format;
use super::terminal::{self, Align, Output, Table};
use crate::events::{Field, Micros};
use crate::index::aggregate::{Interval, Question};
use crate::index::query::{Query, nearest_name};
use crate::index::search::Reach;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::IsTerminal;

/// Widest bar beside a number, columns.
const BAR_COLUMNS: usize = 40;
/// Less than so much is read before anybody has read a warning, bytes.
const READ_UNSAID_BYTES: u64 = 256 << 20;

/// Events of one stretch of time. The JSON form of `count --by` is an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CountRow {
    /// Its beginning.
    pub from: String,
    pub events: u64,
}

/// `count`, without stretches of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Total {
    pub events: u64,
}

/// Either, as they are asked for with and without `by`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Count {
    Rows(Vec<CountRow>),
    Total(Total),
}

/// `distinct`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Distinct {
    pub field: String,
    pub distinct: u64,
    pub exact: bool,
    /// Of an estimate, as a part of it: two of three lie within it, and 95 of 100 within twice as much.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standard_error: Option<f64>,
}

/// What is read at most to answer. All 0: the indexes alone tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reading {
    /// Blocks that there are, and those that may hold a match.
    pub blocks: u64,
    pub blocks_possible: u64,
    /// In the latter.
    pub events: u64,
    pub raw_bytes: u64,
}

impl From<Reach> for Reading {
    fn from(reach: Reach) -> Reading {
        let Reach { blocks, blocks_possible, events, raw_bytes } = reach;
        Reading { blocks: blocks as u64, blocks_possible: blocks_possible as u64, events, raw_bytes }
    }
}

impl Count {
    pub fn render(&self, by: Option<Interval>, output: &Output) -> String {
        match (self, by) {
            (Count::Total(total), _) => format!("{}\n", format::plural(total.events, "event", "events")),
            (Count::Rows(rows), _) if rows.is_empty() => "no event matches\n".to_owned(),
            (Count::Rows(rows), by) => {
                let head = match by {
                    Some(Interval::Hour) => "hour (UTC)",
                    Some(Interval::Week) => "week from",
                    _ => "day",
                };
                // `2026-03-22T05:00:00.000000Z`
                let shown = if by == Some(Interval::Hour) { 16 } else { 10 };
                let most = rows.iter().map(|row| row.events).max().unwrap_or(0);
                let mut table = Table::new(&[(head, Align::Left), ("events", Align::Right), ("", Align::Left)]);
                for row in rows {
                    let from = row.from.get(..shown).unwrap_or(&row.from).replace('T', " ");
                    table.row([from.into(), format::grouped(row.events).into(), bar(row.events, most).into()]);
                }
                table.render(output)
            }
        }
    }
}

/// As long as the number is of `most`; what is not nothing is seen.
fn bar(number: u64, most: u64) -> String {
    let columns = (u128::from(number) * BAR_COLUMNS as u128).div_ceil(u128::from(most.max(1)));
    "█".repeat(columns as usize)
}

impl Distinct {
    pub fn render(&self) -> String {
        let values = format::grouped(self.distinct);
        match self.standard_error {
            None => format!("{values} different {}\n", noun(&self.field, self.distinct)),
            Some(error) => {
                let percent = error * 100.0;
                format!("about {values} different {} (estimated; standard error {percent:.1} %)\n", noun(&self.field, self.distinct))
            }
        }
    }
}

fn noun(field: &str, number: u64) -> String {
    format!("{} of {}", if number == 1 { "value" } else { "values" }, terminal::escape(field))
}

/// What to tell people whose question goes through everything; `None` when it does not, or is answered before they have read this.
pub fn warning(reading: &Reading) -> Option<String> {
    let is_everything = reading.blocks_possible.saturating_mul(10) >= reading.blocks.saturating_mul(9);
    (is_everything && reading.raw_bytes >= READ_UNSAID_BYTES).then(|| {
        format!(
            "this reads the whole journal: {}, {}; since:, until: or a value of a field would narrow it",
            format::plural(reading.events, "event", "events"),
            terminal::bytes(reading.raw_bytes)
        )
    })
}

/// Asks what the question costs and tells it, if a person would see that.
pub fn warn(target: &Target, context: &Context, question: Question, query: &str, now: Micros) -> anyhow::Result<()> {
    if context.global.json || !context.output.terminal || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    let reading: Reading = match target {
        Target::Local(open) => answers::reading(&open.store, question, query, now)?,
        Target::Daemon(client) => {
            let query = ("query", query.to_owned());
            match question {
                Question::Events { by } => {
                    let by = by.map(|by| ("by", by.name().to_owned()));
                    let asked: Vec<_> = [query].into_iter().chain(by).collect();
                    client.get(&["api", "v1", "count", "cost"], &asked, None)?
                }
                Question::Values { field, by } => {
                    let by = by.map(|by| ("by", by.name().to_owned()));
                    let asked: Vec<_> = [query].into_iter().chain(by).collect();
                    client.get(&["api", "v1", "terms", field.name(), "cost"], &asked, None)?
                }
            }
        }
    };
    if let Some(warning) = warning(&reading) {
        eprintln!("honeyguide: {warning}");
    }
    Ok(())
}

/// What stands behind a command: `by X where QUERY`, in either order, `where` being for the eye only.
#[derive(Debug, PartialEq, Eq)]
pub struct Words<'w> {
    pub by: Option<&'w str>,
    pub query: String,
}

/// Reads them. `is_by`: whether a word can stand behind `by`, to tell `… by src_ip` at the end from two words that are looked for.
pub fn words<'w>(words: &'w [String], is_by: impl Fn(&str) -> bool) -> Result<Words<'w>, Usage> {
    let mut rest = words;
    let mut by: Option<&str> = None;
    if let Some((first, behind)) = rest.split_first().filter(|(first, _)| *first == "by") {
        let (name, behind) =
            behind.split_first().ok_or_else(|| Usage(format!("`{first}` by what? Quotes look for the word: '\"{first}\"'")))?;
        (by, rest) = (Some(name.as_str()), behind);
    }
    if let (None, [before @ .., word, name]) = (by, rest)
        && word == "by"
        && is_by(name)
    {
        (by, rest) = (Some(name.as_str()), before);
    }
    if let Some((_, behind)) = rest.split_first().filter(|(first, _)| *first == "where") {
        rest = behind;
        if rest.is_empty() {
            return Err(Usage("where what? Write conditions as for `honeyguide search`; quotes look for the word: '\"where\"'".to_owned()));
        }
    }
    Ok(Words { by, query: rest.join(" ") })
}

/// A query that can be asked, or what is wrong with it and where.
pub fn checked(query: &str, now: Micros) -> Result<Query, Usage> {
    Query::parse(query, now).map_err(|error| Usage(format!("{error}\n{}", error.pointer(query))))
}

/// A field by its name, or the nearest one.
pub fn field(name: &str) -> Result<Field, String> {
    Field::parse(name).ok_or_else(|| {
        let nearest = nearest_name(name).filter(|nearest| Field::parse(nearest).is_some());
        let hint =
            nearest.map_or(Cow::Borrowed("`honeyguide search --help` lists them"), |nearest| format!("did you mean `{nearest}`?").into());
        format!("there is no field `{}`: {hint}", name.escape_debug())
    })
}

/// An interval by its name.
pub fn interval(name: &str) -> Result<Interval, String> {
    Interval::parse(name).ok_or_else(|| match Field::parse(name) {
        Some(field) => format!("events are counted by hour, day or week; `honeyguide top {}` counts the values of a field", field.name()),
        None => format!("events are counted by hour, day or week, not by `{}`", name.escape_debug()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: Output = Output { terminal: true, colour: false, columns: Some(60) };

    fn read(line: &str) -> Result<(Option<String>, String), String> {
        let typed: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let is_by = |name: &str| Field::parse(name).is_some();
        words(&typed, is_by).map(|words| (words.by.map(str::to_owned), words.query)).map_err(|error| error.0)
    }

    #[test]
    fn by_and_where_may_stand_in_either_order_or_not_at_all() {
        let by = Some("src_ip".to_owned());
        for (line, expected) in [
            ("", (None, "")),
            ("username:root since:7d", (None, "username:root since:7d")),
            ("where username:root", (None, "username:root")),
            ("by src_ip", (by.clone(), "")),
            ("by src_ip where sensor:ssh-1 since:7d", (by.clone(), "sensor:ssh-1 since:7d")),
            ("by src_ip sensor:ssh-1", (by.clone(), "sensor:ssh-1")),
            ("where sensor:ssh-1 by src_ip", (by.clone(), "sensor:ssh-1")),
            ("by srcip", (Some("srcip".to_owned()), "")),
            // Text that is looked for.
            ("stand by me", (None, "stand by me")),
            ("username:where", (None, "username:where")),
        ] {
            assert_eq!(read(line), Ok((expected.0, expected.1.to_owned())), "{line}");
        }
        assert!(read("by").unwrap_err().contains("by what?"));
        assert!(read("where").unwrap_err().contains("where what?"));
        assert!(read("by src_ip where").unwrap_err().contains("where what?"));
    }

    #[test]
    fn names_that_are_none_lead_to_those_that_are() {
        assert_eq!(field("srcip").unwrap_err(), "there is no field `srcip`: did you mean `src_ip`?");
        assert!(field("sinc").unwrap_err().contains("search --help"), "since is no field");
        assert!(interval("src_ip").unwrap_err().contains("`honeyguide top src_ip`"));
        assert!(interval("month").unwrap_err().contains("by hour, day or week, not by `month`"));
    }

    #[test]
    fn counts_have_bars_and_zeros() {
        let row = |from: &str, events| CountRow { from: format!("{from}.000000Z"), events };
        let rows = Count::Rows(vec![row("2026-03-22T00:00:00", 1_000), row("2026-03-23T00:00:00", 0), row("2026-03-24T00:00:00", 1)]);
        let shown = rows.render(Some(Interval::Day), &OUTPUT);
        let full = "█".repeat(40);
        assert_eq!(shown, format!("day         events\n2026-03-22   1,000  {full}\n2026-03-23       0\n2026-03-24       1  █\n"));
        assert!(rows.render(Some(Interval::Hour), &OUTPUT).contains("2026-03-22 00:00"));
        assert_eq!(Count::Rows(Vec::new()).render(Some(Interval::Day), &OUTPUT), "no event matches\n");
        assert_eq!(Count::Total(Total { events: 1_234 }).render(None, &OUTPUT), "1,234 events\n");
        assert_eq!(bar(u64::MAX, u64::MAX), full);
    }

    #[test]
    fn an_estimate_is_called_one() {
        let exact = Distinct { field: "src_ip".to_owned(), distinct: 1, exact: true, standard_error: None };
        assert_eq!(exact.render(), "1 different value of src_ip\n");
        assert_eq!(serde_json::to_string(&exact).unwrap(), r#"{"field":"src_ip","distinct":1,"exact":true}"#);
        let about = Distinct { distinct: 250_000, exact: false, standard_error: Some(0.008_125), ..exact };
        assert_eq!(about.render(), "about 250,000 different values of src_ip (estimated; standard error 0.8 %)\n");
    }

    #[test]
    fn only_who_reads_everything_is_warned() {
        let all = Reading { blocks: 1_000, blocks_possible: 990, events: 9_900_000, raw_bytes: 3 << 30 };
        let told = warning(&all).unwrap();
        assert!(told.contains("the whole journal: 9,900,000 events, 3.0 GiB"), "{told}");
        assert_eq!(warning(&Reading { blocks_possible: 500, ..all }), None);
        assert_eq!(warning(&Reading { raw_bytes: 1 << 20, ..all }), None);
        assert_eq!(warning(&Reading::default()), None);
    }
}
