//! Formats by name: who wrote a line, and so which decoder reads it.
//!
//! A format is named in the configuration and in every block of the journal, and lives as long as the process: the built-in
//! ones are constants, those that the configuration describes are registered when it is read. A block whose format nobody
//! knows any more keeps its events; they have no terms until the format is described again.
use super::decoder::{Decoder, Event, Identity};
use super::json::Flaw;
use std::sync::{PoisonError, RwLock};

/// A format; copying it copies a pointer.
#[derive(Clone, Copy)]
pub struct Format(&'static Entry);

struct Entry {
    name: &'static str,
    decoder: &'static dyn Decoder,
}

static COWRIE: Entry = Entry { name: "cowrie", decoder: &super::cowrie::Cowrie };

static UNKNOWN: Entry = Entry { name: "unknown", decoder: &Unread };

/// Reads nothing.
struct Unread;

impl Decoder for Unread {
    fn identity(&self) -> Identity {
        Identity::Line
    }

    fn decode(&self, _: &[u8], _: &mut Event) -> Result<(), Flaw> {
        Err(Flaw::malformed("nobody describes this format any more"))
    }
}

/// What the configuration described, the newest of a name last.
static REGISTERED: RwLock<Vec<Format>> = RwLock::new(Vec::new());

impl Format {
    /// Cowrie's JSON log.
    pub const COWRIE: Format = Format(&COWRIE);

    /// Stands for one that nobody describes any more: its events have no terms.
    pub const UNKNOWN: Format = Format(&UNKNOWN);

    /// Those that need no description.
    pub const BUILT_IN: &'static [Format] = &[Format::COWRIE];

    /// The name in the configuration and in the journal.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    pub fn decoder(self) -> &'static dyn Decoder {
        self.0.decoder
    }

    /// The format called `name`, if there is one.
    pub fn parse(name: &str) -> Option<Format> {
        let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
        registered.iter().rev().chain(Format::BUILT_IN).find(|format| format.name() == name).copied()
    }

    /// Every format, the built-in ones first.
    pub fn all() -> Vec<Format> {
        let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
        Format::BUILT_IN.iter().chain(registered.iter()).copied().collect()
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
