//! One configuration file as a fragment: whatever it sets, checked against the table of keys, every value with its place.
//!
//! All that is wrong with a file is found in one go; each problem is one line.
use super::bytes;
use super::groups::GROUPS;
use super::key::{Group, Key, Kind, Origin, Place, Value};
use crate::telemetry::printable::printable;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Longest file read, bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest string, bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// Most tables of one repeated group.
const TABLES_MAX: usize = 256;
/// Most problems told; the rest are counted.
const PROBLEMS_MAX: usize = 50;
/// Most problems looked for.
const PROBLEMS_FOUND_MAX: usize = 1000;

/// Something wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            // A path is the operator's own, but a terminal obeys escape sequences whoever wrote them.
            origin @ Origin::File(_) => write!(f, "{}: {}", printable(&origin.to_string()), self.message),
            origin => write!(f, "{origin}: {}", self.message),
        }
    }
}

/// A value and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub value: Value,
    pub origin: Origin,
}

/// Values of one table, by key.
pub type Values = BTreeMap<&'static str, Given>;

/// What one source of configuration sets; a later one goes over an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Tables that occur once, by name.
    pub groups: BTreeMap<&'static str, Values>,
    /// Tables that may occur many times, by name, each with its place.
    pub repeated: BTreeMap<&'static str, Vec<(Place, Values)>>,
}

impl Fragment {
    /// `upper` over `self`: single keys replace single keys; a list of tables replaces the list.
    pub fn merged_with(mut self, upper: Fragment) -> Fragment {
        for (group, values) in upper.groups {
            self.groups.entry(group).or_default().extend(values);
        }
        self.repeated.extend(upper.repeated.into_iter().filter(|(_, tables)| !tables.is_empty()));
        self
    }

    pub fn get(&self, group: &str, key: &str) -> Option<&Given> {
        self.groups.get(group)?.get(key)
    }

    /// The tables of a repeated group.
    pub fn tables(&self, group: &str) -> &[(Place, Values)] {
        self.repeated.get(group).map_or(&[], Vec::as_slice)
    }
}

/// Reads the text of a file.
pub fn parse(file: &Path, text: &str) -> Result<Fragment, Vec<Problem>> {
    let line_starts = std::iter::once(0).chain(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1)).collect();
    let mut reader = Reader { file: file.into(), text, line_starts, problems: Vec::new(), broken_lines: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(PROBLEMS_FOUND_MAX) {
        let place = reader.place(error.span().map_or(0, |span| span.start));
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        // Only the first complaint about a line helps.
        if !reader.broken_lines.contains(&place.line) {
            reader.broken_lines.push(place.line);
            reader.problems.push(Problem { origin: Origin::File(place), message: format!("not valid TOML: {}", printable(&message)) });
        }
    }
    let fragment = reader.root(root.get_ref());
    if reader.problems.is_empty() { Ok(fragment) } else { Err(told(reader.problems)) }
}

/// Checks the default of a key, which is TOML like any other value.
pub(super) fn parse_literal(group: &Group, key: &'static Key) -> Result<Value, String> {
    let text = format!("{} = {}", key.name, key.default);
    let root = DeTable::parse(&text).map_err(|error| error.to_string())?;
    let (_, value) = root.get_ref().iter().next().ok_or_else(|| format!("{} {} has no default", group.title(), key.name))?;
    check(key.kind, value.get_ref())
}

/// In the order of the file, and not without end.
fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    let place = |problem: &Problem| match &problem.origin {
        Origin::File(place) => (place.line, place.column),
        _ => (0, 0),
    };
    problems.sort_by_key(place);
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    if more > 0 {
        problems.truncate(PROBLEMS_MAX);
        let origin = problems[PROBLEMS_MAX - 1].origin.clone();
        problems.push(Problem { origin, message: format!("and at least {more} more problems after this one") });
    }
    problems
}

struct Reader<'t> {
    file: Arc<Path>,
    text: &'t str,
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    /// Lines with a syntax error: what the parser made of them is no ground for further complaints.
    broken_lines: Vec<usize>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let column = self.text[self.line_starts[line - 1]..offset].chars().count() + 1;
        Place { file: Arc::clone(&self.file), line, column }
    }

    /// Whether the parser already complained about the line: what it made of the rest is a guess, without a place of its own.
    fn is_broken(&self, offset: usize) -> bool {
        !self.broken_lines.is_empty() && self.broken_lines.contains(&self.place(offset).line)
    }

    fn complain(&mut self, offset: usize, message: String) {
        if self.problems.len() >= PROBLEMS_FOUND_MAX {
            return;
        }
        let place = self.place(offset);
        if !self.broken_lines.contains(&place.line) {
            self.problems.push(Problem { origin: Origin::File(place), message });
        }
    }

    fn root(&mut self, root: &DeTable<'_>) -> Fragment {
        let mut fragment = Fragment::default();
        let top = &GROUPS[0];
        for (name, value) in root.iter().filter(|(name, _)| !self.is_broken(name.span().start)).collect::<Vec<_>>() {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            match GROUPS.iter().find(|group| !group.name.is_empty() && group.name == name) {
                Some(group) if group.repeated => match value.get_ref() {
                    DeValue::Array(tables) => {
                        let tables = self.repeated(group, tables);
                        fragment.repeated.insert(group.name, tables);
                    }
                    _ => self.complain(at, format!("`{name}` can occur more than once: write [[{name}]]")),
                },
                Some(group) => match value.get_ref() {
                    DeValue::Table(table) => {
                        let values = self.table(group, table);
                        fragment.groups.insert(group.name, values);
                    }
                    _ => self.complain(at, format!("`{name}` is a table: write [{name}] on a line of its own and its keys below it")),
                },
                None => match (top.key(name), value.get_ref()) {
                    (Some(key), _) => {
                        if let Some(given) = self.value(key, value) {
                            fragment.groups.entry(top.name).or_default().insert(key.name, given);
                        }
                    }
                    (None, DeValue::Table(_) | DeValue::Array(_)) => self.complain(at, unknown_table(name)),
                    (None, _) => self.complain(at, unknown_key(top, name)),
                },
            }
        }
        fragment
    }

    fn repeated(&mut self, group: &'static Group, tables: &DeArray<'_>) -> Vec<(Place, Values)> {
        let mut all = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let at = table.span().start;
            let DeValue::Table(fields) = table.get_ref() else {
                self.complain(at, format!("`{}` can occur more than once: write [[{}]]", group.name, group.name));
                continue;
            };
            if index == TABLES_MAX {
                self.complain(at, format!("more than {TABLES_MAX} {} tables", group.title()));
                break;
            }
            let values = self.table(group, fields);
            for key in group.keys.iter().filter(|key| key.required) {
                let named = fields.iter().any(|(name, _)| name.get_ref() == key.name);
                if !named && self.broken_lines.is_empty() {
                    self.complain(at, format!("this {} has no `{}`: add {} = {}", group.title(), key.name, key.name, key.default));
                }
            }
            all.push((self.place(at), values));
        }
        all
    }

    fn table(&mut self, group: &'static Group, table: &DeTable<'_>) -> Values {
        let mut values = Values::new();
        for (name, value) in table.iter().filter(|(name, _)| !self.is_broken(name.span().start)).collect::<Vec<_>>() {
            match group.key(name.get_ref()) {
                Some(key) => {
                    if let Some(given) = self.value(key, value) {
                        values.insert(key.name, given);
                    }
                }
                None => self.complain(name.span().start, unknown_key(group, name.get_ref())),
            }
        }
        values
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Option<Given> {
        let at = value.span().start;
        match check(key.kind, value.get_ref()) {
            Ok(value) => Some(Given { value, origin: Origin::File(self.place(at)) }),
            Err(message) => {
                self.complain(at, format!("`{}` {message}", key.name));
                None
            }
        }
    }
}

/// The value, if it is of the kind and within its limits; else the rest of a sentence that starts with the key.
fn check(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let wrong = || Err(format!("must be {kind}, not {}", shown(value)));
    let (min, max, none) = match kind {
        Kind::Bytes { min, max, none } | Kind::Number { min, max, none } => (min, max, none),
        Kind::Text { none } => (0, 0, none),
        Kind::WordOrList { none, .. } => (0, 0, Some(none)),
        Kind::Choice(_) | Kind::Flag | Kind::List { .. } | Kind::Map { .. } => (0, 0, None),
    };
    if let (Some(text), Some(none)) = (value.as_str(), none)
        && text == none
    {
        return Ok(Value::None);
    }
    match (kind, value) {
        (Kind::Bytes { .. } | Kind::Number { .. }, DeValue::Integer(integer)) => {
            match u64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                _ => wrong(),
            }
        }
        (Kind::Bytes { .. }, DeValue::String(text)) => match bytes::parse(text) {
            Some(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
            _ => wrong(),
        },
        (Kind::Text { .. }, DeValue::String(text)) => text_value(text).map(Value::Text),
        (Kind::Choice(choices), DeValue::String(text)) if choices.contains(&text.as_ref()) => Ok(Value::Text(text.to_string())),
        (Kind::Choice(choices), DeValue::String(text)) => match nearest(text, choices.iter().copied()) {
            Some(choice) => Err(format!("must be {kind}, not {}; did you mean \"{choice}\"?", shown(value))),
            None => wrong(),
        },
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::WordOrList { words, .. }, DeValue::String(text)) if words.contains(&text.as_ref()) => Ok(Value::Text(text.to_string())),
        (Kind::List { most } | Kind::WordOrList { most, .. }, DeValue::Array(items)) if items.len() <= most => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => text_value(text),
                other => Err(format!("must be {kind}, but holds {}", shown(other))),
            });
            texts.collect::<Result<_, _>>().map(Value::List)
        }
        (Kind::Map { most }, DeValue::Table(entries)) if entries.len() <= most => {
            let entries = entries.iter().map(|(name, value)| {
                let name = text_value(name.get_ref()).map_err(|error| format!("has a name that {error}"))?;
                match value.get_ref() {
                    DeValue::String(text) => Ok((name, text_value(text)?)),
                    other => Err(format!("must be {kind}, but `{}` is {}", printable(&name), shown(other))),
                }
            });
            entries.collect::<Result<_, _>>().map(Value::Map)
        }
        (Kind::List { .. }, DeValue::String(_)) => Err(format!("must be a list, not a string: put it in brackets, [{}]", shown(value))),
        _ => wrong(),
    }
}

fn text_value(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("is {} bytes long: at most {TEXT_BYTES_MAX} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("must not hold control characters: \"{}\"", printable(text)));
    }
    Ok(text.to_string())
}

/// A value as it may stand in a message: short and harmless.
fn shown(value: &DeValue<'_>) -> String {
    let cut = |text: &str| {
        let short: String = text.chars().take(40).collect();
        let more = if short.len() < text.len() { "…" } else { "" };
        format!("{}{more}", printable(&short))
    };
    match value {
        DeValue::String(text) => format!("\"{}\"", cut(text)),
        DeValue::Integer(integer) => cut(&integer.to_string()),
        DeValue::Float(float) => cut(float.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a table".into(),
    }
}

fn unknown_key(group: &Group, name: &str) -> String {
    let shown: String = printable(&name.chars().take(80).collect::<String>()).into_owned();
    let here = nearest(name, group.keys.iter().map(|key| key.name));
    let elsewhere = || GROUPS.iter().find(|other| other.name != group.name && other.key(name).is_some());
    let place = if group.name.is_empty() { String::new() } else { format!(" in {}", group.title()) };
    match here {
        Some(near) => format!("unknown key `{shown}`{place}; did you mean `{near}`?"),
        None => match elsewhere() {
            Some(other) => format!("unknown key `{shown}`{place}; it belongs to {}", other.title()),
            None => match GROUPS.iter().filter_map(|other| Some((other, nearest(name, other.keys.iter().map(|key| key.name))?))).next() {
                Some((other, near)) => format!("unknown key `{shown}`{place}; did you mean `{near}` of {}?", other.title()),
                None => format!("unknown key `{shown}`{place}"),
            },
        },
    }
}

fn unknown_table(name: &str) -> String {
    let shown: String = printable(&name.chars().take(80).collect::<String>()).into_owned();
    let near = nearest(name, GROUPS.iter().map(|group| group.name).filter(|name| !name.is_empty()));
    let near = near.and_then(|near| GROUPS.iter().find(|group| group.name == near));
    match near {
        Some(group) => format!("unknown table `{shown}`; did you mean {}?", group.title()),
        None => {
            let titles: Vec<_> = GROUPS.iter().filter(|group| !group.name.is_empty()).map(Group::title).collect();
            format!("unknown table `{shown}`; there are {}", titles.join(", "))
        }
    }
}

/// The candidate a typing error away, if there is one.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let scored = candidates.map(|candidate| {
        let distance = strsim::damerau_levenshtein(&name, candidate);
        // `segment` for `segment_bytes`: the unit forgotten counts as one mistake.
        let unit_forgotten = candidate.strip_prefix(name.as_str()).is_some_and(|rest| name.len() >= 3 && rest.starts_with('_'));
        (if unit_forgotten { distance.min(1) } else { distance }, candidate)
    });
    scored.filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3)).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match parse(Path::new("h.toml"), text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_mistake_is_one_line_with_place_and_remedy() {
        let cases: &[(&str, &str)] = &[
            ("data_dri = \"/x\"", "h.toml:1:1: unknown key `data_dri`; did you mean `data_dir`?"),
            ("[journal]\n  segment = 1", "h.toml:2:3: unknown key `segment` in [journal]; did you mean `segment_bytes`?"),
            ("[journal]\nopen_files = 1", "h.toml:2:1: unknown key `open_files` in [journal]; it belongs to [limits]"),
            ("[journal]\nlisten_ = 1", "h.toml:2:1: unknown key `listen_` in [journal]; did you mean `listen` of [admin]?"),
            ("[journal]\nxyzzy = 1", "h.toml:2:1: unknown key `xyzzy` in [journal]"),
            ("[journl]\nx = 1", "h.toml:1:2: unknown table `journl`; did you mean [journal]?"),
            ("[sources]", "h.toml:1:2: unknown table `sources`; did you mean [[source]]?"),
            (
                "[kafka]",
                "h.toml:1:2: unknown table `kafka`; there are [admin], [[issuer]], [[receiver]], [[source]], [[format]], [[redact]], [privacy], [[sink]], [[enricher]], [model], [indicators], [anomalies], [alerts], [[alert]], [journal], [archive], [[retention]], [limits], [supervision], [log]",
            ),
            ("[source]\nname = \"a\"", "h.toml:1:2: `source` can occur more than once: write [[source]]"),
            ("journal = 3", "h.toml:1:1: `journal` is a table: write [journal] on a line of its own and its keys below it"),
            (
                "[[source]]\nname = \"a\"",
                "h.toml:1:1: this [[source]] has no `paths`: add paths = [\"/home/cowrie/cowrie/var/log/cowrie/cowrie.json*\"]",
            ),
            ("[limits]\nopen_files = 3", "h.toml:2:14: `open_files` must be a whole number from 16 to 65536, not 3"),
            ("[limits]\nopen_files = 512.0", "h.toml:2:14: `open_files` must be a whole number from 16 to 65536, not 512.0"),
            ("[limits]\nopen_files = -1", "h.toml:2:14: `open_files` must be a whole number from 16 to 65536, not -1"),
            (
                "[limits]\nopen_files = 99999999999999999999999",
                "h.toml:2:14: `open_files` must be a whole number from 16 to 65536, not 99999999999999999999999",
            ),
            (
                "[journal]\nsegment_bytes = \"64M\"",
                "h.toml:2:17: `segment_bytes` must be a size from 1 MiB to 1 GiB, such as \"64 MiB\" or a number of bytes, not \"64M\"",
            ),
            (
                "[journal]\nevidence_days = \"never\"",
                "h.toml:2:17: `evidence_days` must be a whole number from 1 to 36500, or \"forever\", not \"never\"",
            ),
            ("data_dir = true", "h.toml:1:12: `data_dir` must be a string, not true"),
            ("data_dir = \"\"", "h.toml:1:12: `data_dir` must not be empty"),
            ("data_dir = \"/a\\u0000b\\u001b[2J\"", "h.toml:1:12: `data_dir` must not hold control characters: \"/a\\u{0}b\\u{1b}[2J\""),
            (
                "[log]\nlevel = \"warn\"",
                "h.toml:2:9: `level` must be one of \"critical\", \"error\", \"warning\", \"info\", \"debug\", \"trace\", not \"warn\"",
            ),
            (
                "[log]\nformat = \"jsn\"",
                "h.toml:2:10: `format` must be one of \"auto\", \"json\", \"human\", not \"jsn\"; did you mean \"json\"?",
            ),
            ("[[source]]\nname = \"a\"\npaths = \"/x\"", "h.toml:3:9: `paths` must be a list, not a string: put it in brackets, [\"/x\"]"),
            ("[[source]]\nname = \"a\"\npaths = [1]", "h.toml:3:9: `paths` must be a list of up to 64 strings, but holds 1"),
        ];
        for (text, expected) in cases {
            assert_eq!(problems(text), [*expected], "{text}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
        let text = "dat_dir = 1\n\n[log]\nlevel = 7\nkeep = 3\n[journal]\nsegment_bytes = = 1\n[limits]\nquarantine = 1\n";
        let found = problems(text);
        assert_eq!(found.len(), 5, "{found:#?}");
        for (problem, place) in found.iter().zip(["h.toml:1:1:", "h.toml:4:9:", "h.toml:5:1:", "h.toml:7:17:", "h.toml:9:1:"]) {
            assert!(problem.starts_with(place), "{problem}");
        }
        assert!(found[3].contains("not valid TOML"), "{}", found[3]);
    }

    #[test]
    fn a_syntax_error_is_not_followed_by_complaints_about_what_the_parser_made_of_it() {
        for text in
            ["[log]\nlevel = info\n", "[[source]]\nname = \"a\npaths = [\"/x\"]\n", "data_dir = \"a\"\ndata_dir = \"b\"\n", "[log\n"]
        {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert!(found[0].contains("not valid TOML") && !found[0].contains('\n'), "{found:#?}");
        }
    }

    #[test]
    fn hostile_files_give_bounded_harmless_lines() {
        let long_key = format!("{} = 1", "k".repeat(100_000));
        let many = (0..10_000).map(|i| format!("\"nosuch\\u001b{i}\" = 1\n")).collect::<String>();
        let deep = format!("x = {}", "[".repeat(100_000));
        let dotted = format!("{} = 1", vec!["a"; 10_000].join("."));
        for text in [long_key.as_str(), &many, &deep, &dotted, "\"\\u202e\" = 1", "\u{feff}[nosuch]", "\0"] {
            let found = problems(text);
            assert!(!found.is_empty() && found.len() <= PROBLEMS_MAX + 1, "{}", found.len());
            for problem in found {
                assert!(problem.len() < 400, "{}", problem.len());
                assert!(!problem.chars().any(|c| c.is_control() || c == '\u{202e}'), "{problem:?}");
            }
        }
    }

    #[test]
    fn values_keep_their_place_and_a_later_fragment_wins() {
        let lower = parse(Path::new("a"), "data_dir = \"/a\"\n[log]\nlevel = \"debug\"\n[[source]]\nname = \"x\"\npaths = [\"/x\"]\n")
            .expect("valid");
        let upper = parse(Path::new("b"), "data_dir = \"/b\"").expect("valid");
        let merged = lower.merged_with(upper);
        let data_dir = merged.get("", "data_dir").expect("set");
        assert_eq!(data_dir.value, Value::Text("/b".into()));
        assert_eq!(data_dir.origin.to_string(), "b:1:12");
        assert_eq!(merged.get("log", "level").expect("kept").origin.to_string(), "a:3:9");
        assert_eq!(merged.tables("source").len(), 1);
        assert_eq!(merged.tables("source")[0].0.to_string(), "a:4:1");
    }
}
