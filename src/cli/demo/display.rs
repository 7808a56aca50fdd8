//! What the demo shows: on a terminal a page that is refreshed, elsewhere a line a second (with `--json`, an object).
//!
//! Everything on it is asked of the store as any other command would ask, so it shows what is durable and nothing else.
use super::honeypots::Written;
use crate::actors::metrics::Observed;
use crate::cli::context::Context;
use crate::cli::format::{grouped, plural};
use crate::cli::terminal::{Colour, Output, bytes, escape, escape_bytes, truncate, width};
use crate::cli::transcript::{self, Action, Transcript};
use crate::cli::{format, print};
use crate::events::{Field, time};
use crate::index::top::TopRow;
use crate::service::{self, SearchRequest};
use crate::store::Store;
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How often the page is drawn, unless asking the store takes more than a tenth of the time.
const PAGE_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Events per second are those of this long.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Rows of the top lists.
const TOP_ROWS: usize = 5;
/// Lines of the page beside those of the sessions, and most sessions.
const FIXED_ROWS: usize = 20;
const SESSIONS_MAX: usize = 12;
/// Events looked through for the newest sessions.
const SESSION_EVENTS: u64 = 200;

pub struct Display {
    output: Output,
    json: bool,
    /// As to be typed: `./target/release/honeyguide`, `./honeyguide-demo`.
    program: String,
    data: String,
    follows: String,
    listen: Option<SocketAddr>,
    started: Instant,
    stored_at_start: u64,
    /// (when, events stored then) within the window.
    rates: VecDeque<(Instant, u64)>,
    next_at: Instant,
    screen: Option<Screen>,
}

/// The figures of one moment; what a line says, and `--json`.
#[derive(Clone, Debug, Default, Serialize)]
struct Figures {
    seconds: f64,
    /// Events in the journal, and how many of them came since the start.
    stored: u64,
    stored_now: u64,
    events_per_second: u64,
    duplicates: u64,
    refused: u64,
    files: u64,
    behind_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotations_followed: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trouble: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
}

/// What takes more than a look: answers of the store.
#[derive(Default)]
struct Answers {
    sessions: Vec<Transcript>,
    usernames: Vec<TopRow>,
    passwords: Vec<TopRow>,
    addresses: Vec<TopRow>,
}

impl Display {
    pub fn new(context: &Context, data: &Path, logs: Option<&Path>, listen: Option<SocketAddr>) -> Display {
        let program = std::env::args_os().next().map(|program| program.to_string_lossy().into_owned());
        let quoted = |path: &Path| shell_quoted(&path.to_string_lossy());
        Display {
            output: context.output,
            json: context.global.json,
            program: shell_quoted(program.as_deref().unwrap_or("honeyguide")),
            data: quoted(data),
            follows: match logs {
                Some(dir) => format!("the logs in {}", quoted(dir)),
                None => format!("the simulated log {}", quoted(&data.join("log/cowrie.json"))),
            },
            listen,
            started: Instant::now(),
            stored_at_start: 0,
            rates: VecDeque::new(),
            next_at: Instant::now(),
            screen: None,
        }
    }

    /// Takes the terminal, or writes the first line.
    pub fn begin(&mut self, observed: &Observed) {
        self.started = Instant::now();
        self.stored_at_start = observed.store.view().events();
        self.next_at = self.started + if self.page() { Duration::ZERO } else { LINE_EVERY };
        if self.page() {
            self.screen = Some(Screen::enter());
        } else if !self.json {
            // The first line that nobody reads is found out with the second.
            let _ = print(format!("{}\n", self.headline()));
        }
    }

    /// When [`Display::show`] is due.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    pub async fn show(&mut self, observed: &Observed, written: Option<Written>) -> io::Result<()> {
        let began = Instant::now();
        let figures = self.figures(observed, written);
        if self.page() {
            let (columns, rows) = size();
            self.output.columns = Some(columns);
            let sessions = rows.saturating_sub(FIXED_ROWS).clamp(2, SESSIONS_MAX);
            let answers = ask(observed.store.clone(), sessions).await;
            let page = self.draw(&figures, &answers);
            if let Some(screen) = &mut self.screen {
                screen.draw(&page, rows)?;
            }
            self.next_at = Instant::now() + PAGE_EVERY.max(began.elapsed() * 10);
        } else {
            self.next_at += LINE_EVERY;
            if self.next_at < began {
                self.next_at = began + LINE_EVERY;
            }
            self.line(&figures)?;
        }
        Ok(())
    }

    /// Gives the terminal back.
    pub fn stopping(&mut self) {
        if self.screen.take().is_some() {
            // The summary follows, and tells if nobody reads.
            let _ = print("making durable what was read …\n");
        }
    }

    /// The last words: what is stored, and how to look at it.
    pub async fn summary(&mut self, observed: &Observed, written: Option<Written>, complete: bool) -> io::Result<()> {
        self.screen = None;
        let mut figures = self.figures(observed, written);
        figures.complete = Some(complete);
        if self.json {
            return self.line(&figures);
        }
        let mut text = String::new();
        let now = plural(figures.stored_now, "event was", "events were");
        text.push_str(&match figures.written {
            Some(written) => format!("{now} stored of {} that the simulated honeypots wrote\n", grouped(written)),
            None => format!("{now} stored from {}\n", self.follows),
        });
        if let (Some(rotations), Some(followed)) = (figures.rotations, figures.rotations_followed)
            && rotations > 0
        {
            let times = plural(rotations, "time", "times");
            text.push_str(&format!("the log was rotated {times}; of {followed} rotated files every line is proven to be stored\n"));
        }
        if figures.refused > 0 {
            text.push_str(&format!("{} refused and kept in quarantine\n", plural(figures.refused, "line was", "lines were")));
        }
        if !complete {
            let warning = "not all that was written is stored yet: the next start goes on where this one ended";
            text.push_str(&format!("{}\n", self.output.paint(Colour::Warning, warning)));
        }
        let answers = ask(observed.store.clone(), 1).await;
        text.push_str(&format!("{} events are in {} now. To look at them:\n", grouped(figures.stored), self.data));
        self.commands(&answers, false).iter().for_each(|command| text.push_str(&format!("  {command}\n")));
        print(text)
    }

    fn page(&self) -> bool {
        self.output.terminal && !self.json
    }

    fn headline(&self) -> String {
        let listen = self.listen.map(|listen| format!(", answers on {listen}")).unwrap_or_default();
        escape(&format!("Honeyguide follows {}{listen}", self.follows)).into_owned()
    }

    fn figures(&mut self, observed: &Observed, written: Option<Written>) -> Figures {
        let now = Instant::now();
        let stored = observed.store.view().events();
        self.rates.push_back((now, stored));
        while self.rates.len() > 2 && self.rates.get(1).is_some_and(|(then, _)| now - *then >= RATE_WINDOW) {
            self.rates.pop_front();
        }
        let (then, before) = self.rates.front().copied().filter(|(then, _)| *then < now).unwrap_or((self.started, self.stored_at_start));
        let rate = stored.saturating_sub(before) as f64 / (now - then).as_secs_f64().max(1e-3);
        let ingests = observed.ingests();
        let sum = |of: fn(&crate::actors::ingest::IngestSnapshot) -> u64| ingests.iter().map(of).sum();
        let journal = observed.journal.borrow();
        let mut trouble: Vec<String> = journal.trouble.iter().cloned().collect();
        if journal.paused {
            trouble.push("reading waits until there is room on the disk".into());
        }
        trouble.extend(ingests.iter().flat_map(|ingest| ingest.progress.trouble.iter().cloned()));
        Figures {
            seconds: (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            stored,
            stored_now: stored.saturating_sub(self.stored_at_start),
            events_per_second: rate.round() as u64,
            duplicates: sum(|ingest| ingest.duplicates),
            refused: sum(|ingest| ingest.rejected),
            files: sum(|ingest| ingest.progress.files),
            behind_bytes: sum(|ingest| ingest.progress.bytes_behind),
            written: written.map(|written| written.events),
            rotations: written.map(|written| written.rotations),
            rotations_followed: written.map(|written| written.followed),
            trouble,
            complete: None,
        }
    }

    fn line(&self, figures: &Figures) -> io::Result<()> {
        if self.json {
            return print(format::json(figures, &self.output)? + "\n");
        }
        let input = match (figures.rotations, figures.rotations_followed) {
            (Some(rotations), Some(followed)) => format!("log rotated {rotations}, followed {followed}"),
            _ => plural(figures.files, "file", "files"),
        };
        let mut line = format!(
            "{:>5.0} s  {:>10} stored  {:>7}/s  {:>8} behind  {input}",
            figures.seconds,
            grouped(figures.stored),
            grouped(figures.events_per_second),
            bytes(figures.behind_bytes),
        );
        if figures.refused > 0 {
            line.push_str(&format!("  {} refused", grouped(figures.refused)));
        }
        figures.trouble.iter().take(1).for_each(|trouble| line.push_str(&format!("  {}", escape(trouble))));
        print(line + "\n")
    }

    /// The page's lines, none wider than the terminal.
    fn draw(&self, figures: &Figures, answers: &Answers) -> Vec<String> {
        let columns = self.output.columns.unwrap_or(100);
        let fit = |text: &str| truncate(text, columns).into_owned();
        let head = |text: &str| self.output.paint(Colour::Quiet, &fit(text));
        let mut page = vec![self.output.paint(Colour::Strong, &fit(&self.headline())), String::new()];
        let mut counts = format!("{} events stored   {} per second", grouped(figures.stored), grouped(figures.events_per_second));
        counts.push_str(&match (figures.rotations, figures.rotations_followed) {
            (Some(rotations), Some(followed)) => format!("   {} rotations followed", of(followed, rotations)),
            _ => format!("   {}", plural(figures.files, "file", "files")),
        });
        page.push(self.output.paint(Colour::Good, &fit(&counts)));
        let state = match figures.trouble.first() {
            Some(trouble) => self.output.paint(Colour::Warning, &fit(&escape(trouble))),
            None => {
                let refused = match figures.refused {
                    0 => String::new(),
                    refused => format!(", {} refused", grouped(refused)),
                };
                let duplicates = match figures.duplicates {
                    0 => String::new(),
                    duplicates => format!(", {} known already", grouped(duplicates)),
                };
                fit(&format!("{} behind{refused}{duplicates}", bytes(figures.behind_bytes)))
            }
        };
        page.extend([state, String::new(), head("newest sessions that got in")]);
        page.extend(answers.sessions.iter().map(|session| fit(&session_line(session))));
        page.push(String::new());
        page.extend(self.tops(answers, columns));
        page.extend([String::new(), head("what to type next, in another shell")]);
        page.extend(self.commands(answers, true).iter().map(|command| fit(&format!("  {command}"))));
        page.push(head("Ctrl-C stops; what is stored stays"));
        page
    }

    /// Three top lists side by side.
    fn tops(&self, answers: &Answers, columns: usize) -> Vec<String> {
        let lists = [("top usernames", &answers.usernames), ("top passwords", &answers.passwords), ("top addresses", &answers.addresses)];
        let wide = (columns / lists.len()).min(40);
        let cell = |text: &str| {
            let text = truncate(text, wide.saturating_sub(2));
            format!("{text}{:pad$}", "", pad = wide.saturating_sub(width(&text)))
        };
        let heads: String = lists.iter().map(|(head, _)| cell(head)).collect();
        let rows = (0..TOP_ROWS).map(|row| {
            let cells = lists.iter().map(|(_, rows)| match rows.get(row) {
                Some(top) if top.value.is_empty() => cell(&format!("{:>8}  (empty)", grouped(top.count))),
                Some(top) => cell(&format!("{:>8}  {}", grouped(top.count), escape_bytes(&top.value))),
                None => cell(""),
            });
            truncate(cells.collect::<String>().trim_end(), columns).into_owned()
        });
        std::iter::once(self.output.paint(Colour::Quiet, heads.trim_end())).chain(rows).collect()
    }

    /// What to type next; `running` while there is a daemon to ask.
    fn commands(&self, answers: &Answers, running: bool) -> Vec<String> {
        let command = |text: &str| format!("{} {text} --data {}", self.program, self.data);
        let mut commands = Vec::new();
        if running {
            commands.push(command("status"));
        }
        commands.push(command("top password"));
        commands.push(command("search 'command:*wget*'"));
        // An id is what the log says; only a plain one is offered for typing.
        let id = answers.sessions.first().map(|session| session.session.as_str());
        if let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            commands.push(command(&format!("session {id}")));
        }
        if !running {
            commands.push(command("verify"));
        }
        commands
    }
}

fn of(part: u64, whole: u64) -> String {
    if part == whole { grouped(whole) } else { format!("{} of {}", grouped(part), grouped(whole)) }
}

/// When, from where, as whom, and what they typed.
fn session_line(session: &Transcript) -> String {
    let at = session.started.as_deref().and_then(|stamp| stamp.get(11..19)).unwrap_or("--:--:--");
    let credential = session.entries.iter().find_map(|entry| match &entry.action {
        login @ Action::Login { success: true, .. } => Some(login.text()),
        _ => None,
    });
    let typed: Vec<&str> = session
        .entries
        .iter()
        .filter_map(|entry| match &entry.action {
            Action::Command { input } => Some(input.as_str()),
            _ => None,
        })
        .collect();
    let what = match (typed.is_empty(), session.urls.first()) {
        (false, _) => format!("$ {}", typed.join("; ")),
        (true, Some(url)) => url.clone(),
        (true, None) => session.version.clone().unwrap_or_default(),
    };
    let text = format!(
        "{at}  {:<15}  {:<24}  {what}",
        truncate(&escape(session.src_ip.as_deref().unwrap_or("-")), 39),
        truncate(&escape(credential.as_deref().unwrap_or("-")), 24),
    );
    escape(text.trim_end()).into_owned()
}

/// Asks the store in a thread that may block. What cannot be answered now stays empty.
async fn ask(store: Store, sessions: usize) -> Answers {
    let asked = tokio::task::spawn_blocking(move || Answers {
        sessions: newest_sessions(&store, sessions),
        usernames: service::top(&store, Field::Username, TOP_ROWS as u64).unwrap_or_default(),
        passwords: service::top(&store, Field::Password, TOP_ROWS as u64).unwrap_or_default(),
        addresses: service::top(&store, Field::SrcIp, TOP_ROWS as u64).unwrap_or_default(),
    });
    asked.await.unwrap_or_default()
}

/// The sessions of the newest successful logins; of the newest connections when nobody got in.
fn newest_sessions(store: &Store, most: usize) -> Vec<Transcript> {
    let mut sessions: Vec<Transcript> = Vec::new();
    for eventid in ["cowrie.login.success", "cowrie.session.connect"] {
        for id in newest_ids(store, eventid, most) {
            // A session may have grown beyond what a display should read; its newest events do.
            let lines = lines(store, &format!("session:{}", crate::index::query::quote(&id)), SESSION_EVENTS);
            sessions.extend(transcript::transcripts(&lines).into_iter().next());
        }
        if !sessions.is_empty() {
            break;
        }
    }
    sessions
}

fn newest_ids(store: &Store, eventid: &str, most: usize) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Event {
        session: Option<String>,
    }
    let mut ids: Vec<String> = Vec::new();
    for line in lines(store, &format!("eventid:{eventid}"), most as u64 * 2) {
        let event: Result<Event, _> = serde_json::from_slice(&line);
        if let Ok(Event { session: Some(id) }) = event
            && ids.len() < most
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    ids
}

fn lines(store: &Store, query: &str, limit: u64) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let request = SearchRequest { query: query.into(), limit, newest: true };
    // What cannot be read now is read at the next look; the daemon's log says why.
    let _ = service::search(store, &request, time::now(), &mut |line| {
        lines.push(line.to_vec());
        ControlFlow::Continue(())
    });
    lines
}

/// A word as a shell takes it.
fn shell_quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or((80, 24), |(columns, rows)| (usize::from(columns.0).clamp(20, 1_000), usize::from(rows.0).max(4)))
}

/// The terminal's other page, so that what stood there before comes back at the end, whatever ends us.
struct Screen;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl Screen {
    fn enter() -> Screen {
        // A terminal that cannot be written is found out with the first page.
        let _ = print(ENTER);
        Screen
    }

    fn draw(&mut self, page: &[String], rows: usize) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (at, line) in page.iter().take(rows).enumerate() {
            text.push_str(if at > 0 { "\r\n" } else { "" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        print(text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_one_harmless_line() {
        let lines = [
            r#"{"eventid":"cowrie.session.connect","session":"a1","src_ip":"198.51.100.7","timestamp":"2026-03-22T10:00:00.000001Z"}"#,
            r#"{"eventid":"cowrie.login.success","session":"a1","username":"root\u001b[2J","password":"x\ny","timestamp":"2026-03-22T10:00:01.000001Z"}"#,
            r#"{"eventid":"cowrie.command.input","session":"a1","input":"uname -a\u0007","timestamp":"2026-03-22T10:00:02.000001Z"}"#,
        ];
        let session = transcript::transcripts(&lines).remove(0);
        let line = session_line(&session);
        assert_eq!(line, "10:00:00  198.51.100.7     root\\x1b[2J / x\\ny         $ uname -a\\x07");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (text, quoted) in [("./honeyguide-demo", "./honeyguide-demo"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''")] {
            assert_eq!(shell_quoted(text), quoted);
        }
    }
}
