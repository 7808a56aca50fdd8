//! `honeyguide session`: what happened in one session, told in order.
use super::client::Target;
use super::context::{Context, Exit};
use super::conversation::Conversation;
use super::redacting::Redacting;
use super::transcript::{self, Transcript};
use super::{args, format, print};
use crate::config::settings::Settings;
use crate::config::sinks::Receiver;
use crate::events::chat::Message;
use crate::events::time;
use crate::service;
use crate::service::leaving::Leaving;
use crate::sinks::guvi::SessionSettings;
use serde::Serialize;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A transcript is made in memory: beyond so many bytes of events the rest is left out, and that is said.
const SESSION_BYTES_MAX: usize = 64 << 20;

pub fn run(args: &args::SessionArgs, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::SessionArgs, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let settings = context.settings()?;
    let redacting = Redacting::new(args.redact, &settings)?;
    let mut keep = |line: &[u8]| {
        bytes += line.len();
        lines.push(line.to_owned());
        if bytes < SESSION_BYTES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match Target::find(&settings)? {
        Target::Daemon(client) => {
            let (path, parameters) = (["api", "v1", "sessions", &args.id], redacting.parameters().collect::<Vec<_>>());
            client.redacted(redacting.digest()).lines(&path, &parameters, &mut |line| Ok(keep(line)))?;
        }
        Target::Local(open) => {
            let mut leaving = Leaving::new(redacting.policy()?.map(Arc::new));
            service::session_hits(&open.store, &args.id, "", time::now(), &mut |hit| keep(&leaving.line(hit)))?;
        }
    }
    if lines.len() as u64 >= service::SESSION_EVENTS_MAX || bytes >= SESSION_BYTES_MAX {
        eprintln!("honeyguide: only the first {} events of this session are told: `honeyguide search session:…` finds all", lines.len());
    }
    // A session is either of a shell or a chat, unless two honeypots gave the same name.
    let mut messages = Vec::new();
    lines.retain(|line| Message::parse(line).map(|message| messages.push(message)).is_none());
    let mut told: Vec<Told> = transcript::transcripts(&lines).into_iter().map(|transcript| Told::Shell(Box::new(transcript))).collect();
    told.extend(Conversation::of(&messages, time::now(), quiet_after(&settings)).map(|chat| Told::Chat(Box::new(chat))));
    if context.global.json {
        writeln!(out, "{}", format::json(&told, &context.output)?)?;
    } else {
        for (number, session) in told.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            let page = match session {
                Told::Shell(transcript) => transcript.render(&context.output),
                Told::Chat(conversation) => conversation.render(&context.output),
            };
            write!(out, "{gap}{page}")?;
        }
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Shell(Box<Transcript>),
    Chat(Box<Conversation>),
}

/// After how long a chat counts as quiet: as the first sink says that reports chats.
pub(crate) fn quiet_after(settings: &Settings) -> Duration {
    let configured = settings.sinks.iter().find_map(|sink| match &sink.receiver {
        Receiver::Guvi { chats, .. } => Some(chats.quiet),
        _ => None,
    });
    configured.unwrap_or(SessionSettings::default().quiet)
}
