//! What must not be stored, or must not leave: the operator's rules, and the rewriting of a line by them.
//!
//! A [`Policy`] is a list of [`Rule`]s; of several that apply to the same text the first counts. A [`Redactor`] rewrites a line in
//! place: what no rule names keeps its bytes, what one names becomes a mark (`[password]`, `[email:9f2c…]`) or goes, and the line
//! stays one JSON object. Pure: it knows neither files nor actors.
//!
//! It **fails closed**: the line is looked through until nothing more is found, decoded again, and looked through as the index
//! will look through it. If anything is left then, or the format's decoder does not read the line any more, the answer is
//! [`Uncertain`], and the caller must not keep the line. A mark is never taken for something to redact, so redacting again
//! changes nothing.
//!
//! E-mail addresses and phone numbers are what the extractors of [`crate::extract`] find when nothing may be missed
//! ([`spots`](crate::extract::spots)), cards what [`card`] does; in every string and number of the line, in names of members, and in
//! what may be packed into a text (base64, hexadecimal, percent signs): then all that it is packed into goes.
pub mod card;
mod handle;
mod line;

pub use handle::Handle;
pub use line::{Redactor, Subject, Uncertain, WITHHELD};

use crate::events::id::unhex;
use crate::events::{EventId, Field};
use crate::extract;

/// What happens to what a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A mark takes its place, the same for all values.
    Mask,
    /// A mark with 64 bits of a keyed hash: equal values stay equal, and without the key nobody can try out what they were.
    Hash,
    /// It goes: a member with its name, the found piece of a text.
    Drop,
}

impl Action {
    pub const fn name(self) -> &'static str {
        match self {
            Action::Mask => "mask",
            Action::Hash => "hash",
            Action::Drop => "drop",
        }
    }
}

/// What is found in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Email,
    Phone,
    Card,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Email, Kind::Phone, Kind::Card];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Card => card::NAME,
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The field whose terms are such values.
    pub const fn field(self) -> Option<Field> {
        match self {
            Kind::Email => Some(Field::Email),
            Kind::Phone => Some(Field::Phone),
            Kind::Card => None,
        }
    }

    fn extractor(self) -> &'static dyn extract::Extractor {
        match self {
            Kind::Email => extract::EMAIL,
            Kind::Phone => extract::PHONE,
            Kind::Card => &card::Card,
        }
    }
}

/// When a line is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before anything of it is stored.
    Store,
    /// Before it leaves: by the rules for this, and by those for storing, for the sake of what was stored before they were made.
    Export,
}

/// What is redacted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub fields: Vec<Field>,
    pub kinds: Vec<Kind>,
    pub action: Action,
    pub stage: Stage,
    /// Names of sources; none: all.
    pub sources: Vec<String>,
    /// Names of honeypots; none: all.
    pub sensors: Vec<String>,
}

impl Rule {
    fn applies(&self, stage: Stage, source: &str) -> bool {
        let in_time = stage == Stage::Export || self.stage == Stage::Store;
        in_time && (self.sources.is_empty() || self.sources.iter().any(|known| known == source))
    }
}

impl std::fmt::Display for Rule {
    /// One line for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = self.fields.iter().map(|field| field.name());
        let kinds = self.kinds.iter().map(|kind| match kind {
            Kind::Email => "e-mail addresses",
            Kind::Phone => "phone numbers",
            Kind::Card => "card numbers",
        });
        let what: Vec<&str> = fields.chain(kinds).collect();
        let (verb, when) = match (self.action, self.stage) {
            (Action::Mask, Stage::Store) => ("masked", "before they are stored"),
            (Action::Mask, Stage::Export) => ("masked", "before they leave"),
            (Action::Hash, Stage::Store) => ("replaced by a keyed hash", "before they are stored"),
            (Action::Hash, Stage::Export) => ("replaced by a keyed hash", "before they leave"),
            (Action::Drop, Stage::Store) => ("dropped", "before they are stored"),
            (Action::Drop, Stage::Export) => ("dropped", "before they leave"),
        };
        write!(f, "{}: {verb} {when}", what.join(", "))?;
        if !self.sources.is_empty() {
            write!(f, "; of the source {}", self.sources.join(", "))?;
        }
        if !self.sensors.is_empty() {
            write!(f, "; of the sensor {}", self.sensors.join(", "))?;
        }
        Ok(())
    }
}

/// A digest of rules, by which two find out whether theirs are the same. Nothing secret is in it.
pub fn digest(rules: &[Rule]) -> String {
    let rules: Vec<_> = rules
        .iter()
        .map(|Rule { fields, kinds, action, stage, sources, sensors }| {
            let fields: Vec<_> = fields.iter().map(|field| field.name()).collect();
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            serde_json::json!([fields, kinds, action.name(), *stage == Stage::Export, sources, sensors])
        })
        .collect();
    let hash = blake3::hash(serde_json::Value::from(rules).to_string().as_bytes());
    crate::events::id::hex(&hash.as_bytes()[..16])
}

/// What makes hashes that only its owner can make.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    values: [u8; 32],
    ids: [u8; 32],
    refused: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    pub fn new(secret: &[u8; 32]) -> Key {
        let derived = |context| blake3::derive_key(context, secret);
        Key {
            values: derived("honeyguide redaction: values"),
            ids: derived("honeyguide redaction: event ids"),
            refused: derived("honeyguide redaction: refused input"),
        }
    }

    /// The key in a file: 64 hexadecimal digits, or 32 bytes as they are.
    pub fn parse(file: &[u8]) -> Option<Key> {
        let secret = unhex(file.trim_ascii()).or_else(|| file.try_into().ok())?;
        Some(Key::new(&secret))
    }

    /// The identity of an event whose line is not stored as it was: who has no key cannot try out what the line may have been.
    pub fn id(&self, plain: EventId) -> EventId {
        let hash = blake3::keyed_hash(&self.ids, &plain.0);
        EventId(*hash.as_bytes().first_chunk().expect("32 bytes have 16"))
    }

    /// The hash of refused input whose text is withheld.
    pub fn refused(&self, plain: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(&self.refused, plain).as_bytes()
    }

    /// Sixteen hexadecimal digits for a value, at least one of them a letter: no number is found in it.
    fn mark(&self, name: &str, value: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.values);
        hasher.update(name.as_bytes()).update(&[0]).update(value);
        let hash = hasher.finalize();
        let mut digits = crate::events::id::hex(&hash.as_bytes()[..8]);
        if digits.bytes().all(|digit| digit.is_ascii_digit()) {
            digits.replace_range(..1, ["a", "b", "c", "d", "e", "f"][usize::from(hash.as_bytes()[8]) % 6]);
        }
        digits
    }
}

/// The rules, in their order, and the key of hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub key: Option<Key>,
}

impl Policy {
    /// Whether lines of a source are looked at in this stage.
    pub fn applies(&self, stage: Stage, source: &str) -> bool {
        self.rules.iter().any(|rule| rule.applies(stage, source))
    }

    /// The same rules for whoever does not know the source of a line: none is narrowed to some.
    pub fn of_any_source(mut self) -> Policy {
        self.rules.iter_mut().for_each(|rule| rule.sources.clear());
        self
    }

    /// The same rules, but for a field that cannot be left out.
    pub fn without(mut self, field: Field) -> Policy {
        self.rules.iter_mut().for_each(|rule| rule.fields.retain(|named| *named != field));
        self
    }

    /// What stands for a value; `None`: nothing does. Without a key a hash is not to be had, and says no more than a mask.
    fn mark(&self, action: Action, name: &str, value: &[u8]) -> Option<String> {
        match (action, &self.key) {
            (Action::Drop, _) => None,
            (Action::Hash, Some(key)) => Some(format!("[{name}:{}]", key.mark(name, value))),
            (Action::Hash, None) | (Action::Mask, _) => Some(format!("[{name}]")),
        }
    }

    /// Whether a line's sensor is one of `names`, or may have been before it was redacted: then it counts as one.
    fn names_sensor(&self, names: &[String], sensor: &[u8]) -> bool {
        let name = Field::Sensor.name();
        if names.iter().any(|known| known.as_bytes() == sensor) {
            return true;
        }
        if sensor.is_empty() {
            return self.rules.iter().any(|rule| rule.stage == Stage::Store && rule.fields.contains(&Field::Sensor));
        }
        let is_plain_mark = sensor.len() == name.len() + 2;
        let is_hash_of = |known: &String| self.mark(Action::Hash, name, known.as_bytes()).is_some_and(|mark| mark.as_bytes() == sensor);
        is_mark(name, sensor) && (is_plain_mark || self.key.is_none() || names.iter().any(is_hash_of))
    }

    /// What stands for a value of a field where it was redacted before it was stored, and whether it may stand nowhere, or as what
    /// says nothing of it.
    pub fn stored(&self, field: Field, value: &[u8]) -> Option<(Option<String>, bool)> {
        let named = |rule: &&Rule| rule.fields.contains(&field) || rule.kinds.iter().any(|kind| kind.field() == Some(field));
        let mut stored = None;
        for rule in self.rules.iter().filter(|rule| rule.stage == Stage::Store).filter(named) {
            let (mark, lost) = stored.get_or_insert((None, false));
            match (rule.action, &self.key) {
                (Action::Hash, Some(_)) => *mark = self.mark(rule.action, field.name(), value),
                _ => *lost = true,
            }
            // Later ones have no say.
            if rule.sources.is_empty() && rule.sensors.is_empty() {
                break;
            }
        }
        stored
    }

    /// An indicator as it may leave: `None` when it may not. Of its source nothing is known here, so rules for single sources count too.
    pub fn indicator(&self, field: Field, value: &str) -> Option<String> {
        let named = |rule: &&Rule| rule.fields.contains(&field) || rule.kinds.iter().any(|kind| kind.field() == Some(field));
        let Some(rule) = self.rules.iter().find(named) else { return (!self.is_within(value)).then(|| value.to_owned()) };
        if is_mark(field.name(), value.as_bytes()) {
            return Some(value.to_owned());
        }
        // A mask says nothing of an indicator: many would be the same.
        let hashed = rule.action == Action::Hash && self.key.is_some();
        hashed.then(|| self.mark(rule.action, field.name(), value.as_bytes())).flatten()
    }
}

impl Policy {
    /// Whether anything of the kinds to be redacted is found in an indicator: an address in a URL, a card in the number of an account.
    fn is_within(&self, value: &str) -> bool {
        let kinds = Kind::ALL.into_iter().filter(|kind| self.rules.iter().any(|rule| rule.kinds.contains(kind)));
        let extractors: Vec<_> = kinds.map(Kind::extractor).collect();
        let mut found = Vec::new();
        if !extractors.is_empty() {
            // In chats national telephone numbers are found as well.
            for context in [extract::Context::Other, extract::Context::Chat] {
                extract::spots(context, value, &extractors, &mut found);
            }
        }
        !found.is_empty()
    }
}

/// Whether a text is a mark of this name and nothing else.
fn is_mark(name: &str, text: &[u8]) -> bool {
    let inside = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let Some(rest) = inside.and_then(|inside| inside.strip_prefix(name.as_bytes())) else { return false };
    rest.is_empty() || (rest.len() == 17 && rest[0] == b':' && rest[1..].iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

thread_local! {
    static PRIVATE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// As long as this is held, what this thread works on may not be read: should it panic, its message is not logged.
#[must_use]
pub struct Private(bool);

impl Private {
    pub fn begin() -> Private {
        Private(PRIVATE.replace(true))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        PRIVATE.set(self.0);
    }
}

/// Whether what this thread works on may not be read.
pub fn is_private() -> bool {
    PRIVATE.get()
}

#[cfg(test)]
mod tests;
