//! What a receiver answers a message with: nothing, a phrase of a [persona](super::persona), or what a service of the operator's says.
//!
//! The hook is asked by `POST`, with the message as it was received:
//!
//! ```json
//! {"version": 1, "receiver": "chat", "session": "abc", "turn": 2, "request": {"sessionId": "abc", "message": {…}, …}}
//! ```
//!
//! and expects, with status 200 and within the time limit, `{"reply": "…"}`. Whatever else it does, the persona replies. Its address is
//! guarded like a sink's; its words are bounded and made printable.
use super::persona::{Persona, PersonaError, turn};
use crate::config::ReplySettings;
use crate::events::chat::Message;
use crate::sinks::Answer;
use crate::sinks::http::{Http, HttpError, HttpSettings};
use crate::telemetry::printable::{prefix, printable};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::Semaphore;

/// Longest reply, bytes.
const REPLY_BYTES_MAX: usize = 4 << 10;
/// Of all messages that a hook is being asked about, KiB: a hook that is slow must not gather them in memory.
const ASKED_KIB: usize = 4 << 10;
/// Longest answer of a hook.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Who replies.
#[derive(Debug)]
pub enum Replies {
    Nobody,
    Persona(Persona),
    Hook { http: Box<Http>, otherwise: Persona, room: Semaphore },
}

#[derive(Debug, thiserror::Error)]
pub enum RepliesError {
    #[error(transparent)]
    Persona(#[from] PersonaError),
    #[error("the hook cannot be asked: {0}")]
    Hook(#[from] HttpError),
}

impl Replies {
    /// Reads the table of phrases, where there is one.
    pub fn open(settings: &ReplySettings) -> Result<Replies, RepliesError> {
        let persona = || Persona::read(settings.persona_file().map(|file| file.as_path()));
        Ok(match settings {
            ReplySettings::None => Replies::Nobody,
            ReplySettings::Persona(_) => Replies::Persona(persona()?),
            ReplySettings::Hook { url, timeout, allow_private, .. } => {
                let http = HttpSettings { timeout: *timeout, allow_private: allow_private.clone(), ..HttpSettings::new(url.clone()) };
                Replies::Hook { http: Box::new(Http::new(http)?), otherwise: persona()?, room: Semaphore::new(ASKED_KIB) }
            }
        })
    }

    /// The reply to a message, and why it is not the hook's if it should be. `received`: the message as it came, a JSON object.
    pub async fn reply(&self, receiver: &str, message: &Message, received: &str) -> (String, Option<String>) {
        match self {
            Replies::Nobody => (String::new(), None),
            Replies::Persona(persona) => (persona.reply(message, turn(message)).to_owned(), None),
            Replies::Hook { http, otherwise, room } => {
                let asked = match room.try_acquire_many((received.len() >> 10) as u32 + 1) {
                    Ok(_room) => ask(http, receiver, message, received).await,
                    Err(_) => Err("it is being asked about as much as may be".into()),
                };
                match asked {
                    Ok(reply) => (reply, None),
                    Err(why) => (otherwise.reply(message, turn(message)).to_owned(), Some(why)),
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Said {
    reply: String,
}

async fn ask(http: &Http, receiver: &str, message: &Message, received: &str) -> Result<String, String> {
    let text = |text: &str| serde_json::to_string(text).expect("a string can be written");
    let (receiver, session, turn) = (text(receiver), text(&message.session), turn(message));
    let question = format!("{{\"version\":1,\"receiver\":{receiver},\"session\":{session},\"turn\":{turn},\"request\":{received}}}");
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let asked = http.ask(Method::POST, &http.settings().url, fields, question.as_bytes(), ANSWER_BYTES_MAX).await;
    let reply = asked.map_err(Answer::into_why)?;
    if reply.status != 200 {
        return Err(format!("status {}", reply.status));
    }
    // What is cut is no JSON any more.
    let said: Said = serde_json::from_slice(&reply.body).map_err(|error| format!("not as documented ({:?} error)", error.classify()))?;
    match printable(prefix(said.reply.trim(), REPLY_BYTES_MAX)) {
        reply if reply.is_empty() => Err("an empty reply".into()),
        reply => Ok(reply.into_owned()),
    }
}
