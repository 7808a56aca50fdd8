//! A table of phrases that a honeypot replies with, by what the scammer's text looks like and by how far the talk is.
//!
//! The same message of the same talk always gets the same reply, so that a sender who repeats it sees nothing odd; and one phrase does
//! not follow itself. The file is TOML; entries are tried from the top:
//!
//! ```toml
//! [[reply]]
//! kinds = ["bank_fraud", "kyc_fraud"]  # what the rules take the text for
//! words = ["otp", "pin"]               # or one of these is in it, whatever the case of its letters
//! from_turn = 2                        # and it is the second message of theirs, or a later one
//! to_turn = 9
//! phrases = ["One moment please.", "Which bank did you say?"]
//!
//! [[reply]]                            # the last one has no conditions: something is always said
//! phrases = ["Sorry, who is this?"]
//! ```
use crate::events::chat::Message;
use crate::extract::scam;
use crate::telemetry::printable::printable;
use serde::Deserialize;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What is used without a file.
pub const SHIPPED: &str = include_str!("../../config/persona.toml");

const FILE_BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: usize = 256;
const PHRASES_MAX: usize = 256;
const PHRASE_BYTES_MAX: usize = 2048;

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub enum PersonaError {
    #[error("cannot read the phrases in {}: {source}", printable(&path.to_string_lossy()))]
    Read { path: PathBuf, source: io::Error },
    #[error("the phrases in {} cannot be used: {why}", printable(&path.to_string_lossy()))]
    Wrong { path: PathBuf, why: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    reply: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    from_turn: Option<u64>,
    #[serde(default)]
    to_turn: Option<u64>,
    phrases: Vec<String>,
}

impl Entry {
    fn is_always(&self) -> bool {
        self.kinds.is_empty() && self.words.is_empty() && self.from_turn.is_none() && self.to_turn.is_none()
    }

    fn fits(&self, text: &str, kind: Option<&str>, turn: u64) -> bool {
        let any_look = self.kinds.is_empty() && self.words.is_empty();
        let looks = any_look || self.kinds.iter().any(|known| kind == Some(known)) || self.words.iter().any(|word| text.contains(word));
        looks && self.from_turn.is_none_or(|from| turn >= from) && self.to_turn.is_none_or(|to| turn <= to)
    }
}

/// A checked table.
#[derive(Debug)]
pub struct Persona {
    entries: Vec<Entry>,
}

impl Persona {
    /// The table in a file; without one, that which is compiled in.
    pub fn read(path: Option<&Path>) -> Result<Persona, PersonaError> {
        let Some(path) = path else {
            return Ok(Persona::parse(SHIPPED).expect("the file is part of the program, and a test reads it"));
        };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|source| PersonaError::Read { path: path.to_owned(), source })?;
        Persona::parse(&text).map_err(|why| PersonaError::Wrong { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Persona, String> {
        let Table { mut reply } = toml::from_str(text).map_err(|error| printable(&error.to_string()).trim_end().to_owned())?;
        if reply.len() > ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} entries"));
        }
        for (number, entry) in (1..).zip(&mut reply) {
            let wrong = |what: String| Err(format!("entry {number}: {what}"));
            if !(1..=PHRASES_MAX).contains(&entry.phrases.len()) {
                return wrong(format!("give it 1 to {PHRASES_MAX} phrases"));
            }
            let sayable =
                |phrase: &String| !phrase.trim().is_empty() && phrase.len() <= PHRASE_BYTES_MAX && !phrase.chars().any(char::is_control);
            if !entry.phrases.iter().all(sayable) {
                return wrong(format!("a phrase is one line of 1 to {PHRASE_BYTES_MAX} bytes"));
            }
            if let Some(unknown) = entry.kinds.iter().find(|kind| !scam::kinds().any(|known| known == *kind)) {
                let known: Vec<&str> = scam::kinds().collect();
                return wrong(format!("there is no kind of scam called `{}`: there are {}", printable(unknown), known.join(", ")));
            }
            entry.words.iter_mut().for_each(|word| *word = word.to_lowercase());
            if entry.words.iter().any(|word| word.trim().is_empty()) {
                return wrong("a word is empty".into());
            }
        }
        match reply.last() {
            Some(last) if last.is_always() => Ok(Persona { entries: reply }),
            _ => Err("its last entry must have phrases and nothing else, so that there is always something to say".into()),
        }
    }

    /// What is replied to `message`, which is their `turn`-th in the talk, from 1.
    pub fn reply(&self, message: &Message, turn: u64) -> &str {
        let text = message.text.to_lowercase();
        let kind = scam::assess(std::slice::from_ref(message)).kind;
        let entry = self.entries.iter().find(|entry| entry.fits(&text, kind.as_deref(), turn));
        let phrases = &entry.or(self.entries.last()).expect("a checked table has a last entry").phrases;
        let talk = blake3::hash(message.session.as_bytes());
        let first = u64::from_le_bytes(talk.as_bytes()[..8].try_into().expect("eight of 32 bytes"));
        &phrases[(first.wrapping_add(turn) % phrases.len() as u64) as usize]
    }
}

/// Which of their messages this is, from 1, by the history that was sent along: both sides speak in turns.
pub fn turn(message: &Message) -> u64 {
    message.repeated / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(session: &str, text: &str, repeated: u64) -> Message {
        Message { session: session.into(), sender: "scammer".into(), text: text.into(), repeated, ..Message::default() }
    }

    #[test]
    fn the_shipped_table_can_be_used_and_answers_anything() {
        let persona = Persona::read(None).expect("valid");
        for text in ["", "Share your OTP now", "आपका खाता बंद हो जाएगा", "click http://x.example"] {
            assert!(!persona.reply(&message("s", text, 0), 1).is_empty());
        }
    }

    #[test]
    fn replies_follow_words_kinds_and_turns_and_are_the_same_every_time() {
        let text = "[[reply]]\nwords = [\"OTP\"]\nphrases = [\"code?\"]\n[[reply]]\nkinds = [\"lottery_scam\"]\nphrases = [\"won?\"]\n\
                    [[reply]]\nfrom_turn = 3\nto_turn = 4\nphrases = [\"wait\"]\n[[reply]]\nphrases = [\"a\", \"b\", \"c\"]\n";
        let persona = Persona::parse(text).expect("valid");
        let reply = |text: &str, turn| persona.reply(&message("s1", text, 0), turn).to_owned();
        assert_eq!(reply("Tell me the otp.", 1), "code?");
        assert_eq!(reply("You have won the lottery! Claim your prize money now.", 1), "won?");
        assert_eq!(reply("hello", 3), "wait");
        assert_eq!(reply("hello", 5), reply("hello", 5));
        assert_ne!(reply("hello", 5), reply("hello", 6), "one phrase does not follow itself");
        assert_eq!((turn(&message("s", "", 0)), turn(&message("s", "", 4))), (1, 3));
    }

    #[test]
    fn a_table_that_may_have_nothing_to_say_is_refused() {
        let last = "[[reply]]\nphrases = [\"a\"]\n";
        let table = [
            ("".to_owned(), "missing field `reply`"),
            ("[[reply]]\nwords = [\"x\"]\nphrases = [\"a\"]\n".into(), "its last entry must"),
            (format!("[[reply]]\nphrases = []\n{last}"), "entry 1: give it 1 to"),
            (format!("[[reply]]\nphrases = [\" \"]\n{last}"), "entry 1: a phrase is one line"),
            (format!("[[reply]]\nphrases = [\"a\\u001b\"]\n{last}"), "entry 1: a phrase is one line"),
            (format!("[[reply]]\nkinds = [\"x\"]\nphrases = [\"a\"]\n{last}"), "no kind of scam called `x`: there are"),
            (format!("[[reply]]\nturn = 1\nphrases = [\"a\"]\n{last}"), "unknown field `turn`"),
        ];
        for (text, why) in table {
            let error = Persona::parse(&text).expect_err(why);
            assert!(error.contains(why), "{why}\n{error}");
        }
    }
}
