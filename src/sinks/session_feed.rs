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
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
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
/// Of a longer chat only its beginning is assessed: so many messages, and so many bytes of what they say.
pub const MESSAGES_MAX: usize = 5_000;
pub const CHAT_BYTES_MAX: usize = 8 << 20;

/// Which results were delivered; outlives the process.
pub trait DeliveredSessions: Send {
    /// How many messages the chat had when its result was delivered last.
    fn messages(&mut self, session: &str) -> Result<Option<u64>, String>;

    /// Notes it; durable when it returns.
    fn delivered(&mut self, session: &str, messages: u64) -> Result<(), String>;
}

/// Hands over the lines of a chat, in the order of their times, until there is no use for more.
pub type SessionLines = Box<dyn FnMut(&str, &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), String> + Send>;

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
    /// Those in which somebody said goodbye and that were looked at then. Going on, they are over when they are quiet: who says goodbye
    /// a thousand times costs no thousand readings.
    parted: HashSet<Arc<str>>,
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
                    open.note(event, sessions_max, due);
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
        let remembered = self.memory.messages(&due.session).map_err(FeedError::Journal)?;
        let asked_again = due.chat.last_seq <= self.again_through_seq;
        if remembered.is_some() && !self.settings.again && !asked_again {
            return Ok(None);
        }
        let (messages, exchanged) = self.messages_of(&due.session).map_err(FeedError::Journal)?;
        let count = messages.len() as u64;
        let news = remembered.is_none_or(|before| self.settings.again && before < count);
        if count == 0 || !(news || asked_again) {
            return Ok(None);
        }
        let talk = Talk { session: &due.session, messages: &messages };
        // The key under which it is sent: the same whenever the same result is sent again, though the chat may have grown.
        let id = match self.settings.again {
            true => EventId::of_line(format!("{}\n{count}", due.session).as_bytes()),
            false => EventId::of_line(due.session.as_bytes()),
        };
        // One on its way is not yet remembered; and a replay that meets a chat twice, because it was quiet in between, has it whole
        // the first time.
        if self.under_way.contains_key(&id) || (asked_again && self.replayed.contains(&id)) {
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

    /// The beginning of a chat, and how many messages both sides had exchanged, as the sender counts them.
    fn messages_of(&mut self, session: &str) -> Result<(Vec<Message>, u64), String> {
        let (mut messages, mut bytes, mut exchanged) = (Vec::new(), 0, 0);
        (self.lines)(session, &mut |line| {
            if let Some(message) = Message::parse(line).filter(|message| message.session == session) {
                let rest = [&message.channel, &message.language, &message.locale];
                bytes += message.text.len() + message.sender.len();
                bytes += rest.into_iter().flatten().map(String::len).sum::<usize>();
                exchanged = exchanged.max(message.repeated + 1);
                messages.push(message);
            }
            if messages.len() < MESSAGES_MAX && bytes < CHAT_BYTES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok((messages, exchanged))
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
        // What was on its way was called back.
        self.under_way.clear();
        self.open = Table::default();
        self.due.clear();
        self.read_until = Micros::MIN;
        self.events.seek(seq);
    }
}

impl Table {
    fn note(&mut self, event: ChatEvent<'_>, sessions_max: usize, due: &mut VecDeque<Due>) {
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
        if is_goodbye(&message.text) && !self.parted.contains(&session) {
            if self.parted.len() >= sessions_max {
                self.parted.clear();
            }
            self.parted.insert(session.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time::MICROS_PER_SECOND;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const SCAM: &str = "URGENT: your SBI account will be blocked. Share your OTP and pay Rs 500 to refund@ybl now, call +91 98765-43210";
    const HONEST: &str = "Hi, are we still meeting for lunch?";
    const QUIET: Micros = 300 * MICROS_PER_SECOND;
    const LIMITS: BatchLimits = BatchLimits { items: 100, bytes: 1 << 20 };

    /// What outlives a feed: a journal, and the memory of results.
    #[derive(Clone, Default)]
    struct World {
        journal: Arc<Mutex<Vec<Stored>>>,
        results: Arc<Mutex<HashMap<String, u64>>>,
        /// How often a whole chat was read.
        readings: Arc<AtomicUsize>,
    }

    #[derive(Clone)]
    struct Stored {
        received_at: Micros,
        format: Format,
        line: Vec<u8>,
        session: String,
    }

    struct Place(World, u64, Arc<str>);

    impl Events for Place {
        fn next(&mut self, each: &mut dyn FnMut(ChatEvent<'_>)) -> Result<Next, FeedError> {
            let journal = self.0.journal.lock().unwrap();
            let Some(stored) = journal.get(self.1 as usize - 1) else { return Ok(Next::End) };
            let Stored { received_at, format, ref line, .. } = *stored;
            each(ChatEvent { seq: self.1, received_at, source: &self.2, format, line });
            self.1 += 1;
            Ok(Next::Event)
        }

        fn position(&self) -> u64 {
            self.1
        }

        fn seek(&mut self, seq: u64) {
            self.1 = seq.max(1);
        }

        fn rest(&mut self) {}
    }

    struct Remembered(World);

    impl DeliveredSessions for Remembered {
        fn messages(&mut self, session: &str) -> Result<Option<u64>, String> {
            Ok(self.0.results.lock().unwrap().get(session).copied())
        }

        fn delivered(&mut self, session: &str, messages: u64) -> Result<(), String> {
            self.0.results.lock().unwrap().insert(session.into(), messages);
            Ok(())
        }
    }

    fn said(session: &str, sender: &str, text: &str) -> Vec<u8> {
        serde_json::json!({"sessionId": session, "message": {"sender": sender, "text": text}}).to_string().into_bytes()
    }

    impl World {
        fn line(&self, seconds: i64, session: &str, format: Format, line: Vec<u8>) {
            let stored = Stored { received_at: seconds * MICROS_PER_SECOND, format, line, session: session.into() };
            self.journal.lock().unwrap().push(stored);
        }

        fn say(&self, seconds: i64, session: &str, text: &str) {
            self.line(seconds, session, Format::CHAT, said(session, "scammer", text));
        }

        fn feed(&self, from: u64, settings: SessionSettings) -> SessionFeed {
            let world = self.clone();
            let lines: SessionLines = Box::new(move |session, each| {
                world.readings.fetch_add(1, Ordering::Relaxed);
                let of_session: Vec<Vec<u8>> = {
                    let journal = world.journal.lock().unwrap();
                    journal.iter().filter(|stored| stored.session == session).map(|stored| stored.line.clone()).collect()
                };
                let _ = of_session.iter().try_for_each(|line| each(line));
                Ok(())
            });
            let place = Box::new(Place(self.clone(), from, "chat".into()));
            SessionFeed::new(place, Format::CHAT.name(), lines, Box::new(Remembered(self.clone())), settings)
        }
    }

    fn quiet() -> SessionSettings {
        SessionSettings { quiet: Duration::from_micros(QUIET as u64), ..SessionSettings::default() }
    }

    /// Everything there is at this time, settled at once: (session, messages, id), and where a restart would begin.
    fn drain(feed: &mut SessionFeed, seconds: i64) -> (Vec<(String, u64, EventId)>, u64) {
        let mut results = Vec::new();
        loop {
            let taken = feed.take(LIMITS, seconds * MICROS_PER_SECOND).unwrap();
            for item in &taken.batch.items {
                let result: serde_json::Value = serde_json::from_slice(taken.batch.payload(item)).unwrap();
                let messages = result["totalMessagesExchanged"].as_u64().unwrap();
                assert_eq!(result["scamDetected"], true);
                results.push((result["sessionId"].as_str().unwrap().to_owned(), messages, item.id));
            }
            feed.settled(&taken.batch.items);
            if !taken.more && taken.batch.items.is_empty() {
                return (results, taken.cursor);
            }
        }
    }

    fn sessions(results: &[(String, u64, EventId)]) -> Vec<&str> {
        results.iter().map(|(session, ..)| session.as_str()).collect()
    }

    #[test]
    fn a_chat_is_told_once_it_is_quiet_and_the_cursor_waits_for_its_first_message() {
        let world = World::default();
        world.line(0, "x", Format::COWRIE, b"{}".to_vec());
        world.say(1, "s", SCAM);
        world.say(100, "s", "hurry");
        let mut feed = world.feed(1, quiet());
        assert_eq!(drain(&mut feed, 399), (vec![], 2), "not yet quiet");
        let (results, cursor) = drain(&mut feed, 400);
        assert_eq!((sessions(&results), results[0].1, cursor), (vec!["s"], 2, 4));
        assert_eq!(drain(&mut feed, 9_999), (vec![], 4), "once");
    }

    #[test]
    fn a_chat_that_ends_is_told_at_once_and_an_honest_one_never() {
        let world = World::default();
        world.say(1, "scam", SCAM);
        world.say(1, "honest", HONEST);
        world.line(2, "scam", Format::CHAT, said("scam", "user", "No. Goodbye!"));
        world.say(2, "honest", "bye");
        let mut feed = world.feed(1, quiet());
        assert_eq!(sessions(&drain(&mut feed, 2).0), ["scam"]);
        assert_eq!(drain(&mut feed, 100_000), (vec![], 5));
    }

    #[test]
    fn what_was_not_confirmed_is_judged_again_with_all_its_messages_when_it_grows() {
        let world = World::default();
        world.say(1, "s", "Your SBI account will be blocked today");
        let mut feed = world.feed(1, quiet());
        assert_eq!(drain(&mut feed, 1_000), (vec![], 2));
        world.say(2_000, "s", "Share your OTP immediately and pay Rs 500 to refund@ybl");
        let (results, _) = drain(&mut feed, 3_000);
        assert_eq!((sessions(&results), results[0].1), (vec!["s"], 2));
    }

    #[test]
    fn a_chat_that_grew_is_told_again_only_when_so_configured() {
        for again in [false, true] {
            let world = World::default();
            let mut feed = world.feed(1, SessionSettings { again, ..quiet() });
            world.say(1, "s", SCAM);
            let (first, _) = drain(&mut feed, 1_000);
            world.say(2_000, "s", "pay now");
            let (second, cursor) = drain(&mut feed, 3_000);
            let counts: Vec<u64> = first.iter().chain(&second).map(|(_, messages, _)| *messages).collect();
            assert_eq!(counts, if again { vec![1, 2] } else { vec![1] });
            assert!(second.iter().all(|(_, _, id)| *id != first[0].2), "another result has another key");
            // A process that reads all of it once more has nothing to add.
            assert_eq!(drain(&mut world.feed(1, SessionSettings { again, ..quiet() }), 9_000), (vec![], cursor));
        }
    }

    #[test]
    fn a_restart_after_any_step_loses_nothing_and_tells_nothing_twice() {
        for crash_before_settled in [false, true] {
            for steps_a_life in 1..12 {
                let world = World::default();
                for n in 0..60 {
                    let session = format!("s{}", n % 7);
                    world.say(n, &session, if n % 3 == 0 { SCAM } else { HONEST });
                    world.line(n, "", Format::COWRIE, b"{}".to_vec());
                }
                let (mut cursor, mut told) = (1, Vec::new());
                let mut tried: HashMap<String, EventId> = HashMap::new();
                // While it reads, the clock goes on: some are over, some are not.
                for life in 0..40 {
                    let mut feed = world.feed(cursor, quiet());
                    for step in 0..steps_a_life {
                        let taken = feed.take(LIMITS, (250 + life * 10) * MICROS_PER_SECOND).unwrap();
                        for item in &taken.batch.items {
                            let result: serde_json::Value = serde_json::from_slice(taken.batch.payload(item)).unwrap();
                            let session = result["sessionId"].as_str().unwrap().to_owned();
                            assert_eq!(*tried.entry(session.clone()).or_insert(item.id), item.id, "repeated with its key");
                            if !(crash_before_settled && step + 1 == steps_a_life && life % 2 == 0) {
                                told.push(session);
                            }
                        }
                        if crash_before_settled && step + 1 == steps_a_life && life % 2 == 0 {
                            break;
                        }
                        feed.settled(&taken.batch.items);
                        assert!(taken.cursor >= cursor, "the cursor never goes back");
                        cursor = taken.cursor;
                    }
                }
                told.sort();
                assert_eq!(told, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"], "{steps_a_life} {crash_before_settled}");
                assert_eq!(cursor, 121);
            }
        }
    }

    #[test]
    fn a_full_table_concludes_the_chat_that_is_silent_longest_and_says_so() {
        let world = World::default();
        for (second, session) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
            world.say(second as i64, session, SCAM);
        }
        let mut feed = world.feed(1, SessionSettings { sessions_max: 3, ..quiet() });
        let taken = feed.take(LIMITS, 5 * MICROS_PER_SECOND).unwrap();
        let result = String::from_utf8(taken.batch.payload(&taken.batch.items[0]).to_vec()).unwrap();
        assert!(result.contains("\"sessionId\":\"b\"") && result.contains("concluded before it was over"), "{result}");
        assert_eq!((feed.open_sessions(), taken.cursor), (3, 1));
    }

    #[test]
    fn a_hundred_thousand_chats_take_bounded_room_and_every_scam_is_told() {
        let world = World::default();
        // Looking a chat up in this test's journal takes time in proportion to it, so that few are looked up.
        let lines: SessionLines = Box::new(|session, each| {
            let _ = each(&said(session, "scammer", if session.ends_with("99") { SCAM } else { "hi" }));
            Ok(())
        });
        for n in 0..100_000 {
            world.say(n / 1_000, &format!("s{n}"), "hi");
        }
        let place = Box::new(Place(world.clone(), 1, "chat".into()));
        let mut feed = SessionFeed::new(place, Format::CHAT.name(), lines, Box::new(Remembered(world)), quiet());
        let (mut told, mut most_open, mut most_due) = (0, 0, 0);
        loop {
            let taken = feed.take(LIMITS, 500 * MICROS_PER_SECOND).unwrap();
            most_open = most_open.max(feed.open_sessions());
            most_due = most_due.max(feed.due.len());
            told += taken.batch.items.len();
            feed.settled(&taken.batch.items);
            if !taken.more && taken.batch.items.is_empty() {
                break;
            }
        }
        assert_eq!((told, feed.open_sessions(), feed.due.len(), feed.under_way.len()), (1_000, 0, 0, 0));
        assert!(most_open <= 10_000 && most_due <= SCANNED_EVENTS_MAX + 10_000, "{most_open} open, {most_due} due");
    }

    #[test]
    fn hostile_messages_break_nothing_and_results_are_one_line_each() {
        let world = World::default();
        let ids = ["quote\" \\ *", "new\nline\u{2028}\u{202e}", "\u{0}", "emoji 🙂", "' OR 1=1 --"];
        for id in ids {
            world.say(1, id, &format!("{SCAM}\u{1b}]0;x\u{7}\u{202e} https://evil.example/\u{0} {}", "pay otp ".repeat(20_000)));
        }
        world.line(1, "number", Format::CHAT, format!("{{\"sessionId\":7,\"message\":{{\"text\":{:?}}}}}", SCAM).into_bytes());
        for line in [&b"\xff\xfe"[..], b"", b"null", b"{\"sessionId\":\"\",\"message\":{\"text\":\"t\"}}", b"[[[[[["] {
            world.line(1, "", Format::CHAT, line.to_vec());
        }
        world.say(1, &"long".repeat(SESSION_BYTES_MAX), SCAM);
        world.journal.lock().unwrap().iter_mut().filter(|stored| stored.session == "number").for_each(|stored| stored.session = "7".into());
        let mut feed = world.feed(1, SessionSettings { extended: true, ..quiet() });
        let mut told = Vec::new();
        loop {
            let taken = feed.take(LIMITS, 1_000 * MICROS_PER_SECOND).unwrap();
            for item in &taken.batch.items {
                let payload = taken.batch.payload(item);
                assert!(!payload.contains(&b'\n') && payload.len() < 64 << 10, "{} bytes", payload.len());
                let result: serde_json::Value = serde_json::from_slice(payload).unwrap();
                assert!(!result["agentNotes"].as_str().unwrap().contains(char::is_control));
                told.push(result["sessionId"].as_str().unwrap().to_owned());
            }
            feed.settled(&taken.batch.items);
            if !taken.more {
                break;
            }
        }
        let mut expected: Vec<String> = ids.iter().map(|id| id.to_string()).chain(["7".to_owned()]).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
    }

    #[test]
    fn goodbyes_without_end_cost_no_reading_once_the_result_is_delivered() {
        let world = World::default();
        world.say(1, "s", SCAM);
        let mut feed = world.feed(1, quiet());
        assert_eq!(drain(&mut feed, 1_000).0.len(), 1);
        for second in 1_001..1_500 {
            world.say(second, "s", "bye");
        }
        let before = world.readings.load(Ordering::Relaxed);
        assert_eq!(drain(&mut feed, 9_000).0.len(), 0);
        assert_eq!(world.readings.load(Ordering::Relaxed), before);
    }

    #[test]
    fn goodbyes_without_end_in_an_honest_chat_are_looked_at_once_and_a_scam_behind_them_is_found() {
        let world = World::default();
        for second in 0..500 {
            world.say(second, "s", if second % 2 == 0 { HONEST } else { "bye" });
        }
        let mut feed = world.feed(1, quiet());
        assert_eq!(drain(&mut feed, 500).0.len(), 0);
        assert_eq!(world.readings.load(Ordering::Relaxed), 1);
        world.say(501, "s", SCAM);
        world.say(502, "s", "bye");
        assert_eq!(sessions(&drain(&mut feed, 1_000).0), ["s"]);
        assert_eq!(world.readings.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_result_that_may_have_arrived_comes_again_with_its_key_though_the_chat_grew() {
        let world = World::default();
        world.say(1, "s", SCAM);
        let taken = world.feed(1, quiet()).take(LIMITS, 1_000 * MICROS_PER_SECOND).unwrap();
        world.say(1_001, "s", "hello?");
        let (results, _) = drain(&mut world.feed(1, quiet()), 2_000);
        assert_eq!((results.len(), results[0].2), (1, taken.batch.items[0].id));
    }

    #[test]
    fn a_replay_calls_back_what_is_on_its_way_and_sends_it_again() {
        let world = World::default();
        world.say(1, "s", SCAM);
        let mut feed = world.feed(1, quiet());
        let taken = feed.take(LIMITS, 1_000 * MICROS_PER_SECOND).unwrap();
        assert_eq!(taken.batch.items.len(), 1);
        feed.seek(1);
        let (results, _) = drain(&mut feed, 1_000);
        assert_eq!((results.len(), results[0].2), (1, taken.batch.items[0].id));
    }

    #[test]
    fn of_a_chat_without_end_the_beginning_is_read() {
        let world = World::default();
        world.say(1, "s", SCAM);
        for _ in 0..200 {
            world.say(1, "s", &"x".repeat(60 << 10));
        }
        let mut feed = world.feed(1, quiet());
        let (results, _) = drain(&mut feed, 1_000);
        assert_eq!(results[0].1, CHAT_BYTES_MAX as u64 / (60 << 10) + 2);
    }

    #[test]
    fn a_replay_tells_everything_again_with_the_same_keys() {
        let world = World::default();
        world.say(1, "s", SCAM);
        world.say(1, "t", SCAM);
        let mut feed = world.feed(1, quiet());
        let (first, _) = drain(&mut feed, 1_000);
        feed.seek(1);
        let (again, _) = drain(&mut feed, 1_000);
        assert_eq!((first.len(), &first), (2, &again));
        assert_eq!(drain(&mut feed, 2_000).0.len(), 0);
    }
}
