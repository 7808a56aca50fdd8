//! What one option is: name, type with its limits, default, and whether a reload can apply it.
//!
//! The options themselves stand in [`super::groups`], once: the struct the program reads, the checks, the suggestion for a
//! misspelt name, the shipped `config/honeyguide.toml` and the reload rules all come from that table.
use super::bytes;
use crate::events::mapping::{IdentityRule, IdentityWord};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A table of the file.
#[derive(Debug)]
pub struct Group {
    /// As in `[name]`; empty for the keys before the first table.
    pub name: &'static str,
    /// `[[name]]`: may occur many times.
    pub repeated: bool,
    pub about: &'static [&'static str],
    pub keys: &'static [Key],
}

impl Group {
    /// As the file would open it.
    pub fn title(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => "the top of the file".into(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        }
    }

    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One option.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// As TOML. For a required key: an example.
    pub default: &'static str,
    pub required: bool,
    pub apply: Apply,
    pub about: &'static [&'static str],
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// At SIGHUP.
    Reload,
    /// Only when the daemon is started again.
    Restart,
}

/// Type and limits of a value. `none` is the word that stands for "not set".
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bytes {
        min: u64,
        max: u64,
        none: Option<&'static str>,
    },
    Number {
        min: u64,
        max: u64,
        none: Option<&'static str>,
    },
    Text {
        none: Option<&'static str>,
    },
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// Up to `most` strings.
    List {
        most: usize,
    },
    /// A table of up to `most` names, each with a string.
    Map {
        most: usize,
    },
    /// One of some words, or a list of up to `most` strings.
    WordOrList {
        words: &'static [&'static str],
        none: &'static str,
        most: usize,
    },
}

impl fmt::Display for Kind {
    /// What to write instead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |f: &mut fmt::Formatter<'_>, none: Option<&str>| none.map_or(Ok(()), |none| write!(f, ", or \"{none}\""));
        match *self {
            Kind::Bytes { min, max, none } => {
                write!(f, "a size from {} to {}, such as \"64 MiB\" or a number of bytes", bytes::format(min), bytes::format(max))?;
                or(f, none)
            }
            Kind::Number { min, max, none } => {
                write!(f, "a whole number from {min} to {max}")?;
                or(f, none)
            }
            Kind::Text { none } => {
                f.write_str("a string")?;
                or(f, none)
            }
            Kind::Choice(choices) => {
                f.write_str("one of")?;
                choices.iter().enumerate().try_for_each(|(i, choice)| write!(f, "{} \"{choice}\"", if i > 0 { "," } else { "" }))
            }
            Kind::Flag => f.write_str("true or false"),
            Kind::WordOrList { words, none, most } => {
                words.iter().try_for_each(|word| write!(f, "\"{word}\", "))?;
                write!(f, "\"{none}\", or a list of up to {most} strings")
            }
            Kind::List { most } => write!(f, "a list of up to {most} strings"),
            Kind::Map { most } => write!(f, "a table of up to {most} strings, such as {{ a = \"b\" }}"),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(Place),
    /// The option's name, such as `--data`.
    CommandLine(&'static str),
}

/// A place in a file; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<Path>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => place.fmt(f),
            Origin::CommandLine(option) => f.write_str(option),
        }
    }
}

/// A value that passed its key's [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Number(u64),
    Text(String),
    Flag(bool),
    List(Vec<String>),
    /// In the order of the names.
    Map(BTreeMap<String, String>),
}

impl Value {
    /// As TOML, for `check` and for comparing.
    pub fn literal(&self, kind: Kind) -> String {
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        match (self, kind) {
            (Value::None, Kind::Bytes { none, .. } | Kind::Number { none, .. } | Kind::Text { none }) => quoted(none.unwrap_or_default()),
            (Value::None, Kind::WordOrList { none, .. }) => quoted(none),
            (Value::None, _) => quoted(""),
            (Value::Number(number), Kind::Bytes { .. }) => quoted(&bytes::format(*number)),
            (Value::Number(number), _) => number.to_string(),
            (Value::Text(text), _) => quoted(text),
            (Value::Flag(flag), _) => flag.to_string(),
            (Value::Map(map), _) => {
                let entries: Vec<String> = map.iter().map(|(name, text)| format!("{} = {}", quoted(name), quoted(text))).collect();
                format!("{{ {} }}", entries.join(", "))
            }
            (Value::List(list), _) => format!("[{}]", list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A Rust type that a field of a group can have.
pub trait Setting: Sized {
    /// The value has passed the key's kind, so this cannot fail.
    fn from_value(value: &Value) -> Self;
}

impl Setting for u64 {
    fn from_value(value: &Value) -> u64 {
        match value {
            Value::Number(number) => *number,
            other => unreachable!("a numeric key holds {other:?}"),
        }
    }
}

impl Setting for usize {
    fn from_value(value: &Value) -> usize {
        usize::try_from(u64::from_value(value)).expect("limits of keys fit an address")
    }
}

impl Setting for String {
    fn from_value(value: &Value) -> String {
        match value {
            Value::Text(text) => text.clone(),
            other => unreachable!("a text key holds {other:?}"),
        }
    }
}

impl Setting for bool {
    fn from_value(value: &Value) -> bool {
        match value {
            Value::Flag(flag) => *flag,
            other => unreachable!("a flag holds {other:?}"),
        }
    }
}

impl Setting for Vec<String> {
    fn from_value(value: &Value) -> Vec<String> {
        match value {
            Value::List(list) => list.clone(),
            other => unreachable!("a list key holds {other:?}"),
        }
    }
}

impl Setting for BTreeMap<String, String> {
    fn from_value(value: &Value) -> BTreeMap<String, String> {
        match value {
            Value::Map(map) => map.clone(),
            other => unreachable!("a table key holds {other:?}"),
        }
    }
}

/// A word, or paths.
impl Setting for IdentityRule {
    fn from_value(value: &Value) -> IdentityRule {
        match value {
            Value::List(paths) => IdentityRule::Fields(paths.clone()),
            Value::Text(word) if word == "position" => IdentityRule::Word(IdentityWord::Position),
            Value::Text(_) => IdentityRule::Word(IdentityWord::Line),
            _ => IdentityRule::default(),
        }
    }
}

impl<T: Setting> Setting for Option<T> {
    fn from_value(value: &Value) -> Option<T> {
        (*value != Value::None).then(|| T::from_value(value))
    }
}

/// The name of a field in the file: `r#type` is written `type`.
pub(super) const fn name_in_file(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}
