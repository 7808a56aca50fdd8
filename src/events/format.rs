//! Formats by name: who wrote a line, and so which decoder reads it.
//!
//! A format is named in the configuration and in every block of the journal, and lives as long as the process. Two are built in,
//! some are described by `config/formats.toml`, which is compiled in, and others by the configuration, when it is read. A block
//! whose format nobody knows any more keeps its events; they have no terms until the format is described again.
use super::decoder::{Decoder, Event, Identity, Place, Role};
use super::json::Flaw;
use super::mapping::{Description, IdentityRule, IdentityWord, Mapping, Problem};
use super::wrapping::{CSV_COLUMNS_MAX, Enveloped, Reidentified, Wrap, Wrapping};
use crate::telemetry::printable::printable;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};

/// A format; copying it copies a pointer.
#[derive(Clone, Copy)]
pub struct Format(&'static Entry);

struct Entry {
    name: &'static str,
    decoder: &'static dyn Decoder,
    wrapping: Option<Wrapping>,
    like: Option<Format>,
    /// What it was made of; `None` when it is built in.
    description: Option<Description>,
}

static COWRIE: Entry = Entry { name: "cowrie", decoder: &super::cowrie::Cowrie, wrapping: None, like: None, description: None };
static CHAT: Entry = Entry { name: "chat", decoder: &super::chat::Chat, wrapping: None, like: None, description: None };

static TOMBSTONE: Entry = Entry { name: "tombstone", decoder: &super::tombstone::Decode, wrapping: None, like: None, description: None };
static UNKNOWN: Entry = Entry { name: "unknown", decoder: &Unread, wrapping: None, like: None, description: None };

/// Reads nothing.
struct Unread;

impl Decoder for Unread {
    fn identity(&self) -> Identity {
        Identity::Line
    }

    fn decode(&self, _: &[u8], _: &mut Event) -> Result<(), Flaw> {
        Err(Flaw::malformed("nobody describes this format any more"))
    }

    fn places(&self, _: &[u8], _: &mut dyn FnMut(Role, Place)) {}
}

/// Every format that a description was ever made into: the same description is the same format, so that reading a configuration a
/// thousand times costs nothing, and what batches on their way refer to stays.
static MADE: Mutex<Vec<Format>> = Mutex::new(Vec::new());

/// Those of the configuration.
static CONFIGURED: RwLock<Vec<Format>> = RwLock::new(Vec::new());

/// `config/formats.toml`.
pub const SHIPPED: &str = include_str!("../../config/formats.toml");

static SHIPPED_FORMATS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    #[derive(serde::Deserialize)]
    struct Formats {
        format: Vec<Description>,
    }
    let Formats { format } = toml::from_str(SHIPPED).expect("the file is part of the program, and a test reads it");
    let make = |description| make(description, Format::BUILT_IN).expect("the file is part of the program, and a test reads it");
    format.into_iter().map(make).collect()
});

impl Format {
    /// Cowrie's JSON log.
    pub const COWRIE: Format = Format(&COWRIE);
    /// Messages of chats.
    pub const CHAT: Format = Format(&CHAT);

    /// Stands for one that nobody describes any more: its events have no terms.
    pub const UNKNOWN: Format = Format(&UNKNOWN);

    /// Of [tombstones](super::tombstone). Nobody can ask for it: only the journal says which lines are some.
    pub const TOMBSTONE: Format = Format(&TOMBSTONE);

    /// Those that no description makes, and none replaces.
    pub const BUILT_IN: &'static [Format] = &[Format::COWRIE, Format::CHAT];

    /// The name in the configuration and in the journal.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    pub fn decoder(self) -> &'static dyn Decoder {
        self.0.decoder
    }

    /// What its lines must be taken out of before they are decoded.
    pub fn wrapping(self) -> Option<&'static Wrapping> {
        self.0.wrapping.as_ref()
    }

    /// Whether its events have the time that their sender says, not that of a honeypot's own clock: messages of chats, and what is
    /// `like` them.
    pub fn time_is_the_senders(self) -> bool {
        self == Format::CHAT || self.0.like.is_some_and(Format::time_is_the_senders)
    }

    fn signs(self) -> &'static [String] {
        self.0.description.as_ref().map_or(&[], |description| &description.recognised_by)
    }

    /// The format called `name`, if there is one.
    pub fn parse(name: &str) -> Option<Format> {
        Format::all().into_iter().find(|format| format.name() == name)
    }

    /// Every format by its name, the built-in ones first.
    pub fn all() -> Vec<Format> {
        let configured = CONFIGURED.read().unwrap_or_else(PoisonError::into_inner);
        let replaced = |shipped: &&Format| configured.iter().any(|format| format.name() == shipped.name());
        let shipped = SHIPPED_FORMATS.iter().filter(|shipped| !replaced(shipped));
        Format::BUILT_IN.iter().chain(shipped).chain(configured.iter()).copied().collect()
    }

    /// Makes formats of the descriptions in a configuration, without making them known; `like` may name those before it.
    pub fn describe(descriptions: Vec<Description>) -> Vec<Result<Format, Problem>> {
        let mut known: Vec<Format> = Format::BUILT_IN.iter().chain(SHIPPED_FORMATS.iter()).copied().collect();
        let mut made = Vec::with_capacity(descriptions.len());
        for description in descriptions {
            let format = make(description, &known);
            known.extend(format.iter());
            made.push(format);
        }
        made
    }

    /// These are the configured formats from now on; they go over shipped ones of the same name.
    pub fn configure(formats: Vec<Format>) {
        *CONFIGURED.write().unwrap_or_else(PoisonError::into_inner) = formats;
    }

    /// The format called `name` in a configuration that describes `configured`; else what to say.
    pub fn named(name: &str, configured: &[Format]) -> Result<Format, String> {
        let known: Vec<Format> = Format::BUILT_IN.iter().chain(SHIPPED_FORMATS.iter()).chain(configured).copied().collect();
        let found = known.iter().rev().find(|format| format.name() == name).copied();
        found.ok_or_else(|| format!("there is no format called \"{}\": {}", printable(name), names(&known, name)))
    }

    /// The format of which a line says that it is.
    pub fn recognise(line: &[u8]) -> Option<Format> {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
        let text = |name: &str| event.get(name).and_then(|value| value.as_str());
        if text("eventid").is_some_and(|id| id.starts_with("cowrie.")) {
            return Some(Format::COWRIE);
        }
        if text("sessionId").is_some() && event.get("message").is_some_and(|message| message.get("text").is_some()) {
            return Some(Format::CHAT);
        }
        let fits = |format: &Format| !format.signs().is_empty() && format.signs().iter().all(|sign| event.contains_key(sign));
        Format::all().into_iter().filter(fits).max_by_key(|format| format.signs().len())
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Format {}

impl std::hash::Hash for Format {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Format({})", self.name())
    }
}

impl serde::Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Format::parse(&name).ok_or_else(|| serde::de::Error::custom(format_args!("there is no format called {name:?}")))
    }
}

/// A format made of a description, or the one that was made of the same before.
fn make(description: Description, known: &[Format]) -> Result<Format, Problem> {
    let problem = |key, message: String| Problem { key, message };
    if Format::BUILT_IN.iter().any(|format| format.name() == description.name) {
        let name = &description.name;
        return Err(problem("name", format!("is `{name}`, which is built in: choose another, and say like = \"{name}\"")));
    }
    match (&description.wrap, description.columns.len()) {
        (Wrap::Csv, 1..=CSV_COLUMNS_MAX) | (Wrap::None | Wrap::Syslog | Wrap::Docker, 0) => {}
        (Wrap::Csv, _) => return Err(problem("columns", format!("must name the columns of the CSV file, 1 to {CSV_COLUMNS_MAX} of them"))),
        _ => return Err(problem("columns", "are of CSV: write wrap = \"csv\" as well".into())),
    }
    let mapped = description.time.is_some()
        || description.session.is_some()
        || description.sensor.is_some()
        || description.eventid.is_some()
        || !description.fields.is_empty()
        || !description.texts.is_empty();
    let like = match &description.like {
        Some(_) if mapped => return Err(problem("like", "leaves nothing to map: take it away, or the paths".into())),
        Some(_) if matches!(description.identity, IdentityRule::Fields(_)) => {
            return Err(problem("identity", "can be \"line\" or \"position\" where a format is `like` another".into()));
        }
        Some(name) => {
            let found = known.iter().rev().find(|format| format.name() == name);
            Some(*found.ok_or_else(|| problem("like", format!("names no format: {}", names(known, name))))?)
        }
        None => None,
    };
    let wrapped_twice = like.is_some_and(|like| like.wrapping().is_some());
    if wrapped_twice {
        return Err(problem("like", "names a format that is wrapped itself: name the one inside".into()));
    }
    let mapping = Mapping::new(&description)?;
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = made.iter().find(|format| format.0.description.as_ref() == Some(&description) && format.0.like == like) {
        return Ok(*same);
    }
    let own = match description.identity {
        IdentityRule::Word(IdentityWord::Default) => None,
        IdentityRule::Word(IdentityWord::Line) => Some(Identity::Line),
        IdentityRule::Word(IdentityWord::Position) => Some(Identity::Position),
        IdentityRule::Fields(_) => Some(Identity::Fields),
    };
    let inner: &'static dyn Decoder = match like {
        Some(like) => like.decoder(),
        None => Box::leak(Box::new(mapping)),
    };
    let identity = own.unwrap_or(inner.identity());
    let decoder: &'static dyn Decoder = match description.wrap {
        Wrap::Syslog | Wrap::Docker => Box::leak(Box::new(Enveloped { inner, identity })),
        Wrap::None | Wrap::Csv if identity != inner.identity() => Box::leak(Box::new(Reidentified { inner, identity })),
        Wrap::None | Wrap::Csv => inner,
    };
    let wrapping = match description.wrap {
        Wrap::None => None,
        Wrap::Syslog => Some(Wrapping::Syslog),
        Wrap::Docker => Some(Wrapping::Docker),
        Wrap::Csv => Some(Wrapping::Csv(description.columns.clone())),
    };
    let name = Box::leak(description.name.clone().into_boxed_str());
    let format = Format(Box::leak(Box::new(Entry { name, decoder, wrapping, like, description: Some(description) })));
    made.push(format);
    Ok(format)
}

/// What may be meant instead.
fn names(known: &[Format], wrong: &str) -> String {
    let mut names: Vec<&str> = known.iter().map(|format| format.name()).collect();
    names.dedup();
    match names.iter().min_by_key(|name| strsim::damerau_levenshtein(name, wrong)) {
        Some(nearest) if strsim::damerau_levenshtein(nearest, wrong) <= 3 => format!("did you mean \"{nearest}\"?"),
        _ => format!("there are {}", names.join(", ")),
    }
}
