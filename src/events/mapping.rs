//! Formats that a table of paths describes: where in a JSON object the time, the session and the terms stand.
//!
//! A path is names joined by dots (`message.timestamp`, `_id.$oid`). Behind a name, `[3]` is an element of an array, `[]` each of
//! them, and `[User-Agent]` the value that goes with a name: in an array of pairs such as `[["User-Agent", "curl"], …]`, or in an
//! object, in any case. Several paths joined by `|`: the first that is there counts.
//!
//! All paths are one tree, walked once over the line; what no path leads into is validated and passed over. The walk is as deep
//! as a path is long, never as deep as the input.
use super::Field;
use super::chat::event_time;
use super::decoder::{Decoder, Event, Identity};
use super::json::{self, Flaw, Literal, Value};
use crate::extract::Context;
use base64::Engine;
use serde::Deserialize;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Most steps of a path, most paths of a format, and longest path, bytes.
const STEPS_MAX: usize = 8;
const PATHS_MAX: usize = 128;
const PATH_BYTES_MAX: usize = 512;
/// Most values taken from one line.
const VALUES_MAX: usize = 256;

/// A format as the configuration describes it; the keys of a `[[format]]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Description {
    pub name: String,
    /// Read lines (or what is wrapped in them) as this format does, instead of by the paths below.
    pub like: Option<String>,
    /// What the lines are wrapped in.
    pub wrap: super::wrapping::Wrap,
    /// Of CSV.
    pub columns: Vec<String>,
    pub time: Option<String>,
    pub session: Option<String>,
    pub sensor: Option<String>,
    /// A path, or a text with paths in braces.
    pub eventid: Option<String>,
    /// Names of fields, each with its path.
    pub fields: BTreeMap<String, String>,
    /// Paths of texts that indicators are looked for in; before the path may stand `command:`, `chat:`, `address:`, `hash:` (what
    /// kind of text it is), `base64:` (decode it first).
    pub texts: Vec<String>,
    pub identity: IdentityRule,
    /// Members that lines of this format, and of no other, have: by these a file is recognised.
    pub recognised_by: Vec<String>,
}

/// `"line"`, `"position"`, or the paths whose values tell events apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IdentityRule {
    Word(IdentityWord),
    Fields(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityWord {
    /// That of the format it is `like`; by the line for others.
    #[default]
    Default,
    Line,
    Position,
}

impl Default for IdentityRule {
    fn default() -> IdentityRule {
        IdentityRule::Word(IdentityWord::Default)
    }
}

/// What is wrong with a description: the key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {message}")]
pub struct Problem {
    pub key: &'static str,
    pub message: String,
}

/// Several paths, of which the first that is there counts.
type Paths = Vec<u16>;

/// A description, ready to read lines.
#[derive(Debug)]
pub struct Mapping {
    name: String,
    root: Node,
    time: Paths,
    session: Paths,
    sensor: Paths,
    eventid: Vec<Piece>,
    fields: Vec<(Field, Paths)>,
    texts: Vec<(Context, bool, Paths)>,
    identity: Identity,
    identity_fields: Vec<Paths>,
}

/// A piece of an event id.
#[derive(Debug)]
enum Piece {
    Text(String),
    Value(Paths),
}

#[derive(Debug, Default)]
struct Node {
    /// Number of the path that ends here.
    path: Option<u16>,
    next: Vec<(Step, Node)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<[u8]>),
    Element(usize),
    Each,
    /// The value that goes with a name.
    Named(Box<[u8]>),
}

/// Values found in a line, with the numbers of their paths.
type Found<'a> = SmallVec<[(u16, Value<'a>); 32]>;

impl Mapping {
    pub fn new(description: &Description) -> Result<Mapping, Problem> {
        let mut tree = Tree::default();
        let mut optional = |key: &'static str, text: &Option<String>| match text {
            Some(text) => tree.paths(key, text),
            None => Ok(Vec::new()),
        };
        let time = optional("time", &description.time)?;
        let session = optional("session", &description.session)?;
        let sensor = optional("sensor", &description.sensor)?;
        let eventid = description.eventid.as_deref().map_or(Ok(Vec::new()), |text| tree.template(text))?;
        let mut fields = Vec::new();
        for (name, path) in &description.fields {
            let field = match Field::parse(name) {
                Some(Field::Session | Field::Sensor | Field::Eventid) => {
                    return Err(Problem {
                        key: "fields",
                        message: format!("holds `{name}`, which is a key of its own: write {name} = \"{path}\""),
                    });
                }
                Some(field) => field,
                None => return Err(Problem { key: "fields", message: unknown_field(name) }),
            };
            fields.push((field, tree.paths("fields", path)?));
        }
        let mut texts = Vec::new();
        for text in &description.texts {
            let (mut context, mut base64, mut path) = (Context::Other, false, text.as_str());
            while let Some((word, rest)) = path.split_once(':') {
                match word {
                    "command" => context = Context::Command,
                    "chat" => context = Context::Chat,
                    "address" => context = Context::Address,
                    "hash" => context = Context::Hash,
                    "base64" => base64 = true,
                    _ => break,
                }
                path = rest;
            }
            texts.push((context, base64, tree.paths("texts", path)?));
        }
        let (identity, identity_fields) = match &description.identity {
            IdentityRule::Word(IdentityWord::Default | IdentityWord::Line) => (Identity::Line, Vec::new()),
            IdentityRule::Word(IdentityWord::Position) => (Identity::Position, Vec::new()),
            IdentityRule::Fields(paths) if paths.is_empty() => {
                let message = "names no field: write \"line\", \"position\" or the paths of what tells events apart".into();
                return Err(Problem { key: "identity", message });
            }
            IdentityRule::Fields(paths) => {
                (Identity::Fields, paths.iter().map(|path| tree.paths("identity", path)).collect::<Result<_, _>>()?)
            }
        };
        let Tree { root, .. } = tree;
        Ok(Mapping { name: description.name.clone(), root, time, session, sensor, eventid, fields, texts, identity, identity_fields })
    }
}

fn unknown_field(name: &str) -> String {
    let shown = crate::telemetry::printable::printable(name).into_owned();
    let nearest = Field::ALL.iter().map(|field| field.name()).min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 3) {
        Some(known) => format!("holds `{shown}`, which is no field; did you mean `{known}`?"),
        None => format!("holds `{shown}`, which is no field: `honeyguide search --help` lists them"),
    }
}

/// The paths of a description as they are read.
#[derive(Default)]
struct Tree {
    root: Node,
    paths: u16,
}

impl Tree {
    /// Paths joined by `|`.
    fn paths(&mut self, key: &'static str, text: &str) -> Result<Paths, Problem> {
        text.split('|').map(|path| self.path(path.trim()).map_err(|message| Problem { key, message })).collect()
    }

    fn path(&mut self, text: &str) -> Result<u16, String> {
        let steps = steps(text)?;
        let mut node = &mut self.root;
        for step in steps {
            let at = match node.next.iter().position(|(known, _)| *known == step) {
                Some(at) => at,
                None => {
                    node.next.push((step, Node::default()));
                    node.next.len() - 1
                }
            };
            node = &mut node.next[at].1;
        }
        if let Some(path) = node.path {
            return Ok(path);
        }
        if usize::from(self.paths) == PATHS_MAX {
            return Err(format!("is one path too many: a format has at most {PATHS_MAX}"));
        }
        node.path = Some(self.paths);
        self.paths += 1;
        Ok(self.paths - 1)
    }

    /// A text with paths in braces, or a path.
    fn template(&mut self, text: &str) -> Result<Vec<Piece>, Problem> {
        let key = "eventid";
        if !text.contains(['{', '}']) {
            return Ok(vec![Piece::Value(self.paths(key, text)?)]);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let unclosed =
                || Problem { key, message: format!("has a brace that is not closed: write for example \"{}.{{logtype}}\"", "canary") };
            let close = rest[open..].find('}').ok_or_else(unclosed)? + open;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].into()));
            }
            pieces.push(Piece::Value(self.paths(key, &rest[open + 1..close])?));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(pieces)
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let shown = || crate::telemetry::printable::printable(&text.chars().take(60).collect::<String>()).into_owned();
    if text.is_empty() || text.len() > PATH_BYTES_MAX {
        return Err(format!("needs a path such as \"logdata.PATH\", of at most {PATH_BYTES_MAX} bytes"));
    }
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, mut brackets) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(format!("has a path with an empty name, `{}`", shown()));
        }
        steps.push(Step::Member(name.as_bytes().into()));
        while !brackets.is_empty() {
            let inside = brackets.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((inside, rest)) = inside else { return Err(format!("has a path whose brackets do not match, `{}`", shown())) };
            steps.push(match inside {
                "" => Step::Each,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Step::Element(digits.parse().map_err(|_| format!("has a path with an enormous number, `{}`", shown()))?)
                }
                name => Step::Named(name.as_bytes().into()),
            });
            brackets = rest;
        }
    }
    if steps.len() > STEPS_MAX {
        return Err(format!("has a path of more than {STEPS_MAX} steps, `{}`", shown()));
    }
    Ok(steps)
}

impl Node {
    fn take<'a>(&self, line: &'a [u8], value: Value<'a>, found: &mut Found<'a>) {
        if let Some(path) = self.path
            && found.len() < VALUES_MAX
        {
            found.push((path, value));
        }
        if self.next.is_empty() {
            return;
        }
        match value {
            Value::Object(from, to) => json::members_of(line, (from, to), |name, value| self.member(line, name, value, found)),
            Value::Array(from, to) => {
                let mut at = 0;
                json::elements_of(line, (from, to), |value| {
                    self.element(line, at, value, found);
                    at += 1;
                    found.len() < VALUES_MAX
                });
            }
            _ => {}
        }
    }

    fn member<'a>(&self, line: &'a [u8], name: Literal<'a>, value: Value<'a>, found: &mut Found<'a>) {
        for (step, next) in &self.next {
            let leads = match step {
                Step::Member(wanted) => name.is(wanted),
                Step::Named(wanted) => name.raw.eq_ignore_ascii_case(wanted),
                _ => false,
            };
            if leads {
                next.take(line, value, found);
            }
        }
    }

    fn element<'a>(&self, line: &'a [u8], at: usize, value: Value<'a>, found: &mut Found<'a>) {
        for (step, next) in &self.next {
            match (step, value) {
                (Step::Each, _) => next.take(line, value, found),
                (Step::Element(wanted), _) if *wanted == at => next.take(line, value, found),
                (Step::Named(wanted), Value::Array(from, to)) => {
                    let mut name = None;
                    json::elements_of(line, (from, to), |value| match (name, value) {
                        (None, Value::String(literal)) if literal.raw.eq_ignore_ascii_case(wanted) => {
                            name = Some(literal);
                            true
                        }
                        (None, _) => false,
                        (Some(_), value) => {
                            next.take(line, value, found);
                            false
                        }
                    });
                }
                _ => {}
            }
        }
    }
}

/// The values of the first of the paths that is there.
fn values<'f, 'a>(found: &'f Found<'a>, paths: &'f [u16]) -> impl Iterator<Item = Value<'a>> + 'f {
    let first = paths.iter().find(|path| found.iter().any(|(of, value)| of == *path && *value != Value::Null));
    found.iter().filter(move |(of, value)| first == Some(of) && *value != Value::Null).map(|(_, value)| *value)
}

impl Decoder for Mapping {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn decode(&self, line: &[u8], event: &mut Event) -> Result<(), Flaw> {
        let mut found: Found<'_> = SmallVec::new();
        json::members(line, |name, value| {
            event.member(name, &value);
            self.root.member(line, name, value, &mut found);
        })?;
        if self.identity == Identity::Fields {
            event.identify(&self.name, line, self.identity_fields.len(), |at| values(&found, &self.identity_fields[at]));
        }
        event.time = values(&found, &self.time).last().and_then(event_time);
        if let Some(id) = self.event_id(&found, event).filter(|id| !id.is_empty()) {
            event.add(Field::Eventid, id);
        }
        if let Some(value) = values(&found, &self.session).last() {
            event.session = event.text(value).filter(|text| !text.is_empty());
        }
        if let Some(value) = values(&found, &self.sensor).last()
            && let Some(text) = event.text(value).filter(|text| !text.is_empty())
        {
            event.sensor = Some(text);
            event.add(Field::Sensor, text);
        }
        for (field, paths) in &self.fields {
            for value in values(&found, paths) {
                if let Some(text) = event.text(value)
                    && (!text.is_empty() || matches!(field, Field::Username | Field::Password | Field::Command))
                {
                    event.add(*field, text);
                }
            }
        }
        for (context, base64, paths) in &self.texts {
            for value in values(&found, paths) {
                let text = match value {
                    Value::String(literal) if *base64 => event.write_text(|out| decode_base64(literal, out)).into(),
                    Value::String(_) => event.long_text(value),
                    _ => None,
                };
                if let Some(text) = text {
                    event.note(*context, text);
                }
            }
        }
        event.finish();
        Ok(())
    }

    fn verbatim(&self, field: Field) -> bool {
        field != Field::Eventid || matches!(self.eventid[..], [] | [Piece::Value(_)])
    }
}

impl Mapping {
    /// An event without one of the values that its id is made of has none.
    fn event_id(&self, found: &Found<'_>, event: &mut Event) -> Option<super::decoder::Span> {
        match &self.eventid[..] {
            [] => None,
            [Piece::Value(paths)] => values(found, paths).last().and_then(|value| event.text(value)),
            pieces => event.compose(|out| {
                pieces.iter().all(|piece| match piece {
                    Piece::Text(text) => {
                        out.extend_from_slice(text.as_bytes());
                        true
                    }
                    Piece::Value(paths) => match values(found, paths).last() {
                        Some(Value::String(literal)) => {
                            json::unescape(literal.raw, out);
                            true
                        }
                        Some(Value::Number(digits, _)) => {
                            out.extend_from_slice(digits);
                            true
                        }
                        _ => false,
                    },
                })
            }),
        }
    }
}

/// What a base64 text stands for, as far as a text is looked at; the text itself when it is no base64.
fn decode_base64(literal: Literal<'_>, out: &mut Vec<u8>) {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
    );
    let mut text = Vec::new();
    json::unescape(literal.raw, &mut text);
    text.truncate(crate::extract::TEXT_BYTES_MAX / 3 * 4);
    match ENGINE.decode(&text) {
        Ok(decoded) => out.extend_from_slice(&decoded),
        Err(_) => out.extend_from_slice(&text),
    }
}
