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
use super::decoder::{Decoder, Event, Identity, Place, Role};
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

/// Takes values: the number of the path, the member's name, the value. False: no more.
trait Take<'a>: FnMut(u16, Option<Literal<'a>>, Value<'a>) -> bool {}

impl<'a, T: FnMut(u16, Option<Literal<'a>>, Value<'a>) -> bool> Take<'a> for T {}

impl Node {
    fn take<'a>(&self, line: &'a [u8], name: Option<Literal<'a>>, value: Value<'a>, found: &mut impl Take<'a>) -> bool {
        let mut more = self.path.is_none_or(|path| found(path, name, value));
        if self.next.is_empty() {
            return more;
        }
        match value {
            Value::Object(from, to) => json::members_of(line, (from, to), |name, value| more &= self.member(line, name, value, found)),
            Value::Array(from, to) => {
                let mut at = 0;
                json::elements_of(line, (from, to), |value| {
                    more &= self.element(line, at, value, found);
                    at += 1;
                    more
                });
            }
            _ => {}
        }
        more
    }

    fn member<'a>(&self, line: &'a [u8], name: Literal<'a>, value: Value<'a>, found: &mut impl Take<'a>) -> bool {
        let mut more = true;
        for (step, next) in &self.next {
            let leads = match step {
                Step::Member(wanted) => name.is(wanted),
                Step::Named(wanted) => name.raw.eq_ignore_ascii_case(wanted),
                _ => false,
            };
            if leads {
                more &= next.take(line, Some(name), value, found);
            }
        }
        more
    }

    fn element<'a>(&self, line: &'a [u8], at: usize, value: Value<'a>, found: &mut impl Take<'a>) -> bool {
        let mut more = true;
        for (step, next) in &self.next {
            match (step, value) {
                (Step::Each, _) => more &= next.take(line, None, value, found),
                (Step::Element(wanted), _) if *wanted == at => more &= next.take(line, None, value, found),
                (Step::Named(wanted), Value::Array(from, to)) => {
                    let mut name = None;
                    json::elements_of(line, (from, to), |value| match (name, value) {
                        (None, Value::String(literal)) if literal.raw.eq_ignore_ascii_case(wanted) => {
                            name = Some(literal);
                            true
                        }
                        (None, _) => false,
                        (Some(_), value) => {
                            more &= next.take(line, None, value, found);
                            false
                        }
                    });
                }
                _ => {}
            }
        }
        more
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
            self.root.member(line, name, value, &mut |path, _, value| {
                if found.len() < VALUES_MAX {
                    found.push((path, value));
                }
                found.len() < VALUES_MAX
            });
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

    fn places(&self, line: &[u8], show: &mut dyn FnMut(Role, Place)) {
        let pieces = self.eventid.iter().filter_map(|piece| match piece {
            Piece::Value(paths) => Some((Role::Field(Field::Eventid), paths)),
            Piece::Text(_) => None,
        });
        let own = [(Role::Field(Field::Session), &self.session), (Role::Field(Field::Sensor), &self.sensor)];
        let fields = self.fields.iter().map(|(field, paths)| (Role::Field(*field), paths));
        let texts = self.texts.iter().map(|(context, base64, paths)| (Role::Text { context: *context, base64: *base64 }, paths));
        let roles: Vec<(Role, &Paths)> = own.into_iter().chain(pieces).chain(fields).chain(texts).collect();
        // It was accepted, so it is an object.
        let _ = json::members(line, |name, value| {
            self.root.member(line, name, value, &mut |path, name, value| {
                let place = match name {
                    Some(name) => Some(Place::of(line, name, value)),
                    None => json::element_range(value).map(|value| Place { name: None, value }),
                };
                for (role, _) in roles.iter().filter(|(_, paths)| paths.contains(&path)) {
                    place.iter().for_each(|place| show(*role, place.clone()));
                }
                true
            });
        });
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
    let mut text = Vec::new();
    json::unescape(literal.raw, &mut text);
    unpack_base64(&text, out);
}

/// What a text that is base64 holds, as far as it is looked through; of another the text itself.
pub(crate) fn unpack_base64(text: &[u8], out: &mut Vec<u8>) {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
    );
    let text = &text[..text.len().min(crate::extract::TEXT_BYTES_MAX / 3 * 4)];
    match ENGINE.decode(text) {
        Ok(decoded) => out.extend_from_slice(&decoded),
        Err(_) => out.extend_from_slice(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::batch::{Batcher, Explained};
    use crate::events::{Format, TERM_BYTES_PER_EVENT_MAX, time};

    fn format(text: &str) -> Result<Format, String> {
        let mut description: Description = toml::from_str(text).map_err(|error| error.to_string())?;
        description.name = "test".into();
        Format::describe(vec![description]).remove(0).map_err(|problem| problem.to_string())
    }

    fn explained(format: Format, line: &str) -> Explained {
        let [explanation] = &Batcher::new().explain(format, line.as_bytes(), 7)[..] else { panic!("one event") };
        explanation.event.clone().unwrap_or_else(|refusal| panic!("{line}: {}", refusal.detail))
    }

    fn terms(format: Format, line: &str) -> Vec<String> {
        let terms = explained(format, line).terms;
        terms.iter().map(|(field, value)| format!("{}={}", field.name(), String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn a_path_leads_to_what_it_names_and_to_nothing_else() {
        for (path, line, expected) in [
            ("a", r#"{"a":"x"}"#, &["x"][..]),
            ("a", r#"{"b":{"a":"x"}}"#, &[]),
            ("a", r#"{"\u0061":"x"}"#, &["x"]),
            ("a", r#"{"a":7}"#, &["7"]),
            ("a", r#"{"a":-1.5e3}"#, &["-1.5e3"]),
            ("a", r#"{"a":null}"#, &[]),
            ("a", r#"{"a":true}"#, &[]),
            ("a", r#"{"a":""}"#, &[]),
            ("a", r#"{"a":{"b":1}}"#, &[]),
            ("a", r#"{"a":"q\"\u00e9\n"}"#, &["q\"é\n"]),
            ("a.b.c", r#"{"a":{"b":{"c":"x","d":1}}}"#, &["x"]),
            ("a.b", r#" { "a" : { "c" : [ { "b" : 1 } ] , "b" : "x" } } "#, &["x"]),
            ("_id.$oid", r#"{"_id":{"$oid":"5a"}}"#, &["5a"]),
            ("a[1]", r#"{"a":["x","y","z"]}"#, &["y"]),
            ("a[9]", r#"{"a":["x"]}"#, &[]),
            ("a[]", r#"{"a":["x",1,null,"z"]}"#, &["x", "1", "z"]),
            ("a[].b", r#"{"a":[{"b":"x"},{"c":"y"},{"b":"z"}]}"#, &["x", "z"]),
            ("a[0][1]", r#"{"a":[["x","y"]]}"#, &["y"]),
            ("h[User-Agent]", r#"{"h":[["Host","a"],["user-agent","curl"],["User-Agent"],[1,2],"User-Agent"]}"#, &["curl"]),
            ("h[User-Agent]", r#"{"h":{"USER-AGENT":"curl"}}"#, &["curl"]),
            ("h[x].y", r#"{"h":[["x",{"y":"z"}]]}"#, &["z"]),
            ("a|b", r#"{"b":"y","a":"x"}"#, &["x"]),
            ("a|b", r#"{"b":"y","a":null}"#, &["y"]),
            ("a | b.c", r#"{"b":{"c":"y"}}"#, &["y"]),
            ("a", r#"{"a":"x","a":"y"}"#, &["x", "y"]),
        ] {
            let format = format(&format!("fields = {{ url = \"{path}\" }}")).unwrap();
            let expected: Vec<String> = expected.iter().map(|value| format!("url={value}")).collect();
            assert_eq!(terms(format, line), expected, "{path} in {line}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_logs_have() {
        let at = time::parse(b"2019-05-26T11:56:46.592954Z").unwrap();
        let second = at - 592_954;
        for (value, expected) in [
            (r#""2019-05-26T11:56:46.592954Z""#, Some(at)),
            (r#""2019-05-26 11:56:46.592954""#, Some(at)),
            (r#""2019-05-26T13:56:46.592954+0200""#, Some(at)),
            (r#""2019-05-26T11:56:46.592+0000""#, Some(at - 954)),
            (r#""2019-05-26 11:56:46.592954+00:00""#, Some(at)),
            (r#""\u0032019-05-26T11:56:46.592954Z""#, Some(at)),
            ("1558871806", Some(second)),
            ("1558871806.592954", Some(at)),
            ("1558871806592", Some(at - 954)),
            ("1558871806592.954", Some(at)),
            ("1558871806592954", Some(at)),
            (r#""1558871806592""#, Some(at - 954)),
            ("-5", None),
            ("1e9", None),
            ("99999999999999999999999999", None),
            (r#""yesterday""#, None),
            (r#""""#, None),
            ("null", None),
            ("[1558871806]", None),
        ] {
            let format = format("time = \"t.$date\"").unwrap();
            assert_eq!(explained(format, &format!("{{\"t\":{{\"$date\":{value}}}}}")).time, expected, "{value}");
        }
    }

    #[test]
    fn event_ids_are_made_of_what_the_line_says() {
        for (template, line, expected) in [
            ("canary.{logtype}", r#"{"logtype":3001}"#, Some("canary.3001")),
            ("canary.{logtype}", r#"{"logtype":[1]}"#, None),
            ("canary.{logtype}", r#"{}"#, None),
            ("{a.b}/{c|d}!", r#"{"a":{"b":"x"},"d":"\u00e9"}"#, Some("x/é!")),
            ("kind|type", r#"{"type":"t"}"#, Some("t")),
        ] {
            let format = format(&format!("eventid = \"{template}\"")).unwrap();
            let expected: Vec<String> = expected.iter().map(|id| format!("eventid={id}")).collect();
            assert_eq!(terms(format, line), expected, "{template} of {line}");
            assert_eq!(format.decoder().verbatim(Field::Eventid), !template.contains('{'));
        }
    }

    #[test]
    fn events_are_told_apart_by_the_fields_that_say_so() {
        let format = format("identity = [\"id\", \"at.n\"]").unwrap();
        let id = |line: &str| explained(format, line).id.unwrap();
        let first = id(r#"{"id":"a","at":{"n":1},"seen":1}"#);
        assert_eq!(first, id(r#"{"seen":2, "at":{"n":1}, "id":"\u0061"}"#));
        let others = [
            r#"{"id":"a"}"#,
            r#"{"id":"a","at":{"n":"1"}}"#,
            r#"{"id":"a","at":{"n":""}}"#,
            r#"{"id":"a","at":{"n":null}}"#,
            r#"{"id":"","at":{"n":1}}"#,
            r#"{"id":"a1","at":{}}"#,
            r#"{"id":["a"],"at":{"n":1}}"#,
            r#"{"other":1}"#,
            r#"{"other":2}"#,
        ];
        let mut ids: Vec<_> = others.iter().map(|line| id(line)).chain([first]).collect();
        ids.sort();
        ids.dedup();
        // A null is as good as nothing.
        assert_eq!(ids.len(), others.len());
    }

    #[test]
    fn texts_are_noted_whole_and_decoded() {
        let format = format(r#"texts = ["command:cmd", "base64:data", "chat:t.x", "n"]"#).unwrap();
        let line = r#"{"cmd":"wget \u0068ttp://x","data":"aHR0cDovL3k","t":{"x":"hi"},"n":12,"data":"not base64!"}"#;
        let mut event = Event::default();
        event.reset(true);
        format.decoder().decode(line.as_bytes(), &mut event).unwrap();
        let texts: Vec<_> = event
            .texts
            .iter()
            .map(|(context, text)| (*context, String::from_utf8_lossy(text.of(line.as_bytes(), &event.arena)).into_owned()))
            .collect();
        let expected =
            [(Context::Command, "wget http://x"), (Context::Other, "http://y"), (Context::Other, "not base64!"), (Context::Chat, "hi")];
        assert_eq!(texts, expected.map(|(context, text)| (context, text.to_owned())));
    }

    #[test]
    fn a_wrong_description_says_what_to_write() {
        for (text, expected) in [
            ("fields = { src_ipp = \"a\" }", "`fields` holds `src_ipp`, which is no field; did you mean `src_ip`?"),
            ("fields = { session = \"a\" }", "`fields` holds `session`, which is a key of its own: write session = \"a\""),
            ("fields = { url = \"a..b\" }", "`fields` has a path with an empty name, `a..b`"),
            ("session = \"a[b\"", "`session` has a path whose brackets do not match, `a[b`"),
            ("time = \"\"", "`time` needs a path such as \"logdata.PATH\", of at most 512 bytes"),
            ("time = \"a.b.c.d.e.f.g.h.i\"", "`time` has a path of more than 8 steps, `a.b.c.d.e.f.g.h.i`"),
            ("eventid = \"x{a\"", "`eventid` has a brace that is not closed: write for example \"canary.{logtype}\""),
            ("identity = []", "`identity` names no field: write \"line\", \"position\" or the paths of what tells events apart"),
            ("like = \"cowrei\"", "`like` names no format: did you mean \"cowrie\"?"),
            ("like = \"cowrie\"\ntime = \"t\"", "`like` leaves nothing to map: take it away, or the paths"),
            ("like = \"cowrie\"\nidentity = [\"a\"]", "`identity` can be \"line\" or \"position\" where a format is `like` another"),
            ("columns = [\"a\"]", "`columns` are of CSV: write wrap = \"csv\" as well"),
            ("wrap = \"csv\"", "`columns` must name the columns of the CSV file, 1 to 256 of them"),
        ] {
            assert_eq!(format(text).unwrap_err(), expected, "{text}");
        }
        let named = |name: &str| Description { name: name.into(), ..Description::default() };
        let problem = Format::describe(vec![named("cowrie")]).remove(0).unwrap_err();
        assert_eq!(problem.to_string(), "`name` is `cowrie`, which is built in: choose another, and say like = \"cowrie\"");
    }

    #[test]
    fn what_is_like_a_chat_has_its_senders_time() {
        assert!(Format::CHAT.time_is_the_senders() && format("like = \"chat\"\nwrap = \"docker\"").unwrap().time_is_the_senders());
        assert!(!Format::COWRIE.time_is_the_senders() && !format("like = \"cowrie\"").unwrap().time_is_the_senders());
        assert!(!format("time = \"t\"").unwrap().time_is_the_senders(), "a description is the operator's word");
    }

    #[test]
    fn the_same_description_is_the_same_format() {
        let text = "time = \"t\"\nfields = { url = \"u\" }";
        assert_eq!(format(text), format(text));
        assert_ne!(format(text), format("time = \"t\""));
    }

    /// Deep, wide and repeated: bounded work and bounded notes, and never a panic.
    #[test]
    fn hostile_lines_stay_within_bounds() {
        let format = format("fields = { url = \"a[].a[].a[].u\", command = \"a[]\" }\nidentity = [\"a\"]\ntexts = [\"a[]\"]").unwrap();
        let wide = format!("{{\"a\":[{}\"x\"]}}", "\"y\",".repeat(200_000));
        let long = format!("{{\"a\":[\"{}\"]}}", "z".repeat(900_000));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(62), "]".repeat(62));
        let twins = format!("{{{}\"a\":[]}}", "\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"u\":\"x\"}]}]}]}],".repeat(15_000));
        for line in [&wide, &long, &deep, &twins] {
            let explained = explained(format, line);
            assert!(explained.terms.len() <= crate::events::TERMS_PER_EVENT_MAX);
            assert!(explained.terms.iter().map(|(_, value)| value.len()).sum::<usize>() <= TERM_BYTES_PER_EVENT_MAX);
        }
        let mut event = Event::default();
        event.reset(false);
        format.decoder().decode(wide.as_bytes(), &mut event).unwrap();
        assert_eq!(event.texts.len(), crate::events::decoder::TEXTS_PER_EVENT_MAX);
        let bad = [&b"{\"a\":[\xff\xfe]}"[..], b"{\"a\":\0}", b"{\"a\":[[[[", b"\0\0\0", b"[]", b"", b"{\"a\":\"\x01\"}"];
        for line in bad {
            event.begin();
            assert!(format.decoder().decode(line, &mut event).is_err(), "{line:?}");
        }
        // Bytes that are no UTF-8 are kept in the line and replaced in terms.
        let [explanation] = &Batcher::new().explain(format, b"{\"a\":[\"\xff\"]}", 7)[..] else { panic!("one event") };
        assert_eq!(explanation.event.as_ref().unwrap().terms[0].1, "\u{fffd}".as_bytes());
    }
}
