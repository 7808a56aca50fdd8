//! The feed of sinks that want one item per chat: its final result, once it is confirmed and over.
//!
//! Reads the journal's events in order and keeps a bounded table of the chats that are going on. A chat is over when somebody said so, or
//! when nothing came for the configured time; then all its messages are read and assessed. While the journal's end has not been reached,
//! time is that of the events read: a chat of last year is not quiet because the daemon was off.
//!
//! The cursor waits for the first message of the oldest chat not yet concluded, so a restart reads it again. Which results were
//! delivered is remembered durably ([`DeliveredSessions`]), so that reading again sends nothing again.
use super::feed::{BatchLimits, Feed, FeedError, Taken};
use super::guvi::{Concluded, SessionSettings, final_result};
use super::{Batch, Item};
use crate::events::chat::Message;
use crate::events::{EventId, Format, Micros};
use crate::extract::model::Talk;
use crate::extract::scam::{Assessment, assess, is_goodbye};
use crate::store::{Found, Gap, JournalReader};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// So much is looked at in one go, so that an order to the sink need not wait.
const SCANNED_EVENTS_MAX: usize = 16 << 10;
const SCANNED_BYTES_MAX: usize = 8 << 20;
/// So many chats that turn out to be no scams are looked at in one go.
const CONCLUDED_MAX: usize = 64;
/// A message with a longer session id belongs to no chat that could be told of.
pub const SESSION_BYTES_MAX: usize = 1024;
/// Results of one replay that are told apart; beyond that, one may come twice.
const REPLAYED_MAX: usize = 100_000;
/// Of a longer chat only its beginning is assessed.
pub const MESSAGES_MAX: usize = 5_000;

/// Which results were delivered; outlives the process.
pub trait DeliveredSessions: Send {
    /// How many messages the chat had when its result was delivered last.
    fn messages(&mut self, session: &str) -> Result<Option<u64>, String>;

    /// Notes it; durable when it returns.
    fn delivered(&mut self, session: &str, messages: u64) -> Result<(), String>;
}

/// All lines of a chat, in the order of their times. The second parameter is the most that are of use.
pub type SessionLines = Box<dyn FnMut(&str, usize) -> Result<Vec<Vec<u8>>, String> + Send>;

/// Assesses talks; each gets one assessment. The rules do, or the model (which falls back on them).
pub type Assess = Box<dyn FnMut(&[Talk<'_>]) -> Vec<Assessment> + Send>;

/// Where events come from, from a position on: the journal.
pub trait Events: Send {
    /// Hands over the next event, if there is one, and goes on behind it.
    fn next(&mut self, each: &mut dyn FnMut(ChatEvent<'_>)) -> Result<Next, FeedError>;
    /// Sequence number of the event that comes next.
    fn position(&self) -> u64;
    fn seek(&mut self, seq: u64);
    /// Nothing is read for a while: keep no buffers.
    fn rest(&mut self);
}

/// What [`Events::next`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Event,
    End,
    Gap(Gap),
}

#[derive(Clone, Copy, Debug)]
pub struct ChatEvent<'a> {
    pub seq: u64,
    pub received_at: Micros,
    pub source: &'a Arc<str>,
    pub format: Format,
    pub line: &'a [u8],
}

impl Events for JournalReader {
    fn next(&mut self, each: &mut dyn FnMut(ChatEvent<'_>)) -> Result<Next, FeedError> {
        match self.load() {
            Ok(Found::Event) => {}
            Ok(Found::End) => return Ok(Next::End),
            Ok(Found::Gap(gap)) => return Ok(Next::Gap(gap)),
            Err(error) => return Err(FeedError::Journal(error.to_string())),
        }
        if let Some(event) = self.event() {
            let (seq, received_at) = (event.seq, event.received_at);
            each(ChatEvent { seq, received_at, source: event.source, format: event.format, line: event.line });
        }
        self.advance();
        Ok(Next::Event)
    }

    fn position(&self) -> u64 {
        JournalReader::position(self)
    }

    fn seek(&mut self, seq: u64) {
        JournalReader::seek(self, seq);
    }

    fn rest(&mut self) {
        JournalReader::rest(self);
    }
}

/// Makes one item of each chat that was a scam.
pub struct SessionFeed {
    events: Box<dyn Events>,
    lines: SessionLines,
    assess: Assess,
    memory: Box<dyn DeliveredSessions>,
    settings: SessionSettings,
    /// Name of the format whose lines are chat messages.
    format: &'static str,
    open: Table,
    /// Over, and not yet concluded.
    due: VecDeque<Due>,
    /// Taken and not yet settled.
    under_way: HashMap<EventId, (Arc<str>, u64)>,
    /// Settled, and not yet remembered.
    unsaved: Vec<(Arc<str>, u64)>,
    /// Time of the newest event read.
    read_until: Micros,
    /// Asked for again: chats whose last message is not behind this are sent whether they were delivered or not.
    again_through_seq: u64,
    /// Results sent since.
    replayed: HashSet<EventId>,
    /// Highest sequence number read.
    seen_seq: u64,
}

/// The chats that are going on.
#[derive(Default)]
struct Table {
    chats: HashMap<Arc<str>, Chat>,
    /// By their last message: the first is silent longest.
    by_last: BTreeMap<u64, Arc<str>>,
    by_first: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Chat {
    first_seq: u64,
    last_seq: u64,
    first_received: Micros,
    last_received: Micros,
    source: Arc<str>,
    format: Format,
}

struct Due {
    session: Arc<str>,
    chat: Chat,
    early: bool,
}

impl SessionFeed {
    /// `format` names the format of chat messages; talks are assessed by the rules unless [`SessionFeed::with_assess`] says otherwise.
    pub fn new(
        events: Box<dyn Events>,
        format: &'static str,
        lines: SessionLines,
        memory: Box<dyn DeliveredSessions>,
        settings: SessionSettings,
    ) -> SessionFeed {
        SessionFeed {
            events,
            lines,
            assess: Box::new(|talks| talks.iter().map(|talk| assess(talk.messages)).collect()),
            memory,
            settings,
            format,
            open: Table::default(),
            due: VecDeque::new(),
            under_way: HashMap::new(),
            unsaved: Vec::new(),
            read_until: Micros::MIN,
            again_through_seq: 0,
            replayed: HashSet::new(),
            seen_seq: 0,
        }
    }

    /// With a model's judgement.
    pub fn with_assess(self, assess: Assess) -> SessionFeed {
        SessionFeed { assess, ..self }
    }

    /// Chats in the table.
    pub fn open_sessions(&self) -> usize {
        self.open.chats.len()
    }

    /// Reads on; true when the journal's end was reached.
    fn read(&mut self, taken: &mut Taken) -> Result<bool, FeedError> {
        let (mut events, mut bytes) = (0, 0);
        while events < SCANNED_EVENTS_MAX && bytes < SCANNED_BYTES_MAX {
            let (format, open, due, sessions_max) = (self.format, &mut self.open, &mut self.due, self.settings.sessions_max.max(1));
            let (read_until, seen_seq, quiet) = (&mut self.read_until, &mut self.seen_seq, self.settings.quiet.as_micros() as i64);
            let next = self.events.next(&mut |event| {
                bytes += event.line.len();
                *seen_seq = (*seen_seq).max(event.seq);
                *read_until = (*read_until).max(event.received_at);
                // Before the event is noted: it may be of a chat that was over by then.
                open.take_quiet(read_until.saturating_sub(quiet), due);
                if event.format.name() == format {
                    open.note(event, due);
                }
                while open.chats.len() > sessions_max {
                    open.take_silent_longest(due);
                }
            })?;
            match next {
                Next::Event => events += 1,
                Next::Gap(gap) => taken.lost.push(gap),
                Next::End => return Ok(true),
            }
        }
        Ok(false)
    }

    /// The item of a chat that is over; `None` when there is nothing to tell, or it has been told.
    fn conclude(&mut self, due: &Due) -> Result<Option<(Item, Vec<u8>)>, FeedError> {
        let lines = (self.lines)(&due.session, MESSAGES_MAX).map_err(FeedError::Journal)?;
        let mut messages = Vec::with_capacity(lines.len().min(MESSAGES_MAX));
        let mut exchanged = 0;
        for line in lines.iter().take(MESSAGES_MAX) {
            if let Some(message) = Message::parse(line).filter(|message| *message.session == *due.session) {
                messages.push(message);
                exchanged = exchanged.max(history(line) + 1);
            }
        }
        let count = messages.len() as u64;
        let remembered = self.memory.messages(&due.session).map_err(FeedError::Journal)?;
        let asked_again = due.chat.last_seq <= self.again_through_seq;
        let news = remembered.is_none_or(|before| self.settings.again && before < count);
        if count == 0 || !(news || asked_again) {
            return Ok(None);
        }
        let talk = Talk { session: &due.session, messages: &messages };
        let id = EventId::of_line(format!("{}\n{count}", due.session).as_bytes());
        // One on its way is not yet remembered; and a replay that meets a chat twice, because it was quiet in between, has it whole
        // the first time.
        let on_its_way =
            self.under_way.iter().any(|(other, (session, _))| *other == id || (!self.settings.again && *session == due.session));
        if on_its_way || (asked_again && self.replayed.contains(&id)) {
            return Ok(None);
        }
        let Some(assessment) = (self.assess)(&[talk]).into_iter().next().filter(Assessment::confirmed) else { return Ok(None) };
        let spans = [(assessment.began, assessment.last), (Some(due.chat.first_received), Some(due.chat.last_received))];
        let duration = spans.into_iter().find_map(|(began, last)| Some(last?.saturating_sub(began?))).unwrap_or(0).max(0);
        let payload = final_result(
            &Concluded {
                session: &due.session,
                messages: &messages,
                assessment: &assessment,
                messages_exchanged: exchanged.max(count),
                duration_seconds: (duration / 1_000_000) as u64,
                early: due.early,
            },
            &self.settings,
        );
        self.under_way.insert(id, (due.session.clone(), count));
        if asked_again && self.replayed.len() < REPLAYED_MAX {
            self.replayed.insert(id);
        }
        let Chat { last_seq, last_received, source, format, .. } = due.chat.clone();
        let item = Item {
            seq: last_seq,
            id,
            time: assessment.last.unwrap_or(last_received),
            received_at: last_received,
            source,
            format,
            payload: 0..0,
        };
        Ok(Some((item, payload)))
    }

    fn save(&mut self) -> Result<(), FeedError> {
        while let Some((session, messages)) = self.unsaved.last() {
            self.memory.delivered(session, *messages).map_err(FeedError::Journal)?;
            self.unsaved.pop();
        }
        Ok(())
    }

    fn cursor(&self) -> u64 {
        let due = self.due.iter().map(|due| due.chat.first_seq).min();
        let open = self.open.by_first.first().copied();
        // What could not be remembered is found to be delivered only as long as this process lives.
        [due, open].into_iter().flatten().fold(self.events.position(), u64::min)
    }
}

impl Feed for SessionFeed {
    /// One item at most: the convention knows no batches.
    fn take(&mut self, _limits: BatchLimits, now: Micros) -> Result<Taken, FeedError> {
        self.save()?;
        let mut taken = Taken::default();
        let mut at_end = false;
        if self.due.is_empty() {
            at_end = self.read(&mut taken)?;
            if at_end {
                self.open.take_quiet(now.saturating_sub(self.settings.quiet.as_micros() as i64), &mut self.due);
            }
        }
        let mut batch = Batch::default();
        for _ in 0..CONCLUDED_MAX {
            let Some(due) = self.due.pop_front() else { break };
            match self.conclude(&due) {
                Ok(None) => {}
                Ok(Some((item, payload))) => {
                    batch.push(item, &payload);
                    break;
                }
                Err(error) => {
                    self.due.push_front(due);
                    return Err(error);
                }
            }
        }
        taken.more = !at_end || !self.due.is_empty();
        if !taken.more {
            self.events.rest();
        }
        taken.batch = batch;
        taken.cursor = self.cursor();
        Ok(taken)
    }

    fn settled(&mut self, items: &[Item]) {
        for item in items {
            if let Some(delivered) = self.under_way.remove(&item.id) {
                self.unsaved.push(delivered);
            }
        }
        // Tried again by the next take, which can say so.
        let _ = self.save();
    }

    fn seek(&mut self, seq: u64) {
        self.again_through_seq = self.seen_seq.max(self.events.position().saturating_sub(1));
        self.replayed.clear();
        self.open = Table::default();
        self.due.clear();
        self.read_until = Micros::MIN;
        self.events.seek(seq);
    }
}

impl Table {
    fn note(&mut self, event: ChatEvent<'_>, due: &mut VecDeque<Due>) {
        let Some(message) = Message::parse(event.line) else { return };
        if message.session.is_empty() || message.session.len() > SESSION_BYTES_MAX {
            return;
        }
        let session: Arc<str> = message.session.as_str().into();
        let chat = match self.remove(&session) {
            Some(chat) => Chat { last_seq: event.seq, last_received: event.received_at.max(chat.last_received), ..chat },
            None => Chat {
                first_seq: event.seq,
                last_seq: event.seq,
                first_received: event.received_at,
                last_received: event.received_at,
                source: event.source.clone(),
                format: event.format,
            },
        };
        if is_goodbye(&message.text) {
            due.push_back(Due { session, chat, early: false });
            return;
        }
        self.by_first.insert(chat.first_seq);
        self.by_last.insert(chat.last_seq, session.clone());
        self.chats.insert(session, chat);
    }

    fn remove(&mut self, session: &str) -> Option<Chat> {
        let chat = self.chats.remove(session)?;
        self.by_first.remove(&chat.first_seq);
        self.by_last.remove(&chat.last_seq);
        Some(chat)
    }

    /// Moves those whose last message came no later than `until`.
    fn take_quiet(&mut self, until: Micros, due: &mut VecDeque<Due>) {
        // Events are received in their order, so the first that is not quiet ends the search.
        while let Some(session) = self.by_last.first_key_value().map(|(_, session)| session.clone()) {
            match self.chats.get(&session) {
                Some(chat) if chat.last_received > until => break,
                _ => {}
            }
            let Some(chat) = self.remove(&session) else { break };
            due.push_back(Due { session, chat, early: false });
        }
    }

    fn take_silent_longest(&mut self, due: &mut VecDeque<Due>) {
        if let Some(session) = self.by_last.first_key_value().map(|(_, session)| session.clone())
            && let Some(chat) = self.remove(&session)
        {
            due.push_back(Due { session, chat, early: true });
        }
    }
}

/// How many earlier messages a line repeats: those of both sides, which is how the sender counts.
fn history(line: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Repeated {
        #[serde(rename = "conversationHistory", default)]
        history: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Repeated>(line).map_or(0, |line| line.history.len() as u64)
}
