//! `honeyguide explain`: takes a line through everything that would happen to it, and stores nothing.
use super::context::{Context, Exit, Usage};
use super::terminal::{Colour, Output, escape};
use super::{args, format, print};
use crate::config::{Receiver, SinkSettings};
use crate::events::batch::{Batcher, Explained, Explanation, Refusal};
use crate::events::decoder::Identity;
use crate::events::{DOCUMENT_BYTES_MAX, Field, Micros, time};
use crate::geoip;
use crate::index::query::Query;
use crate::journal::fs::RealFs;
use crate::redact::{Policy, Redactor, Stage, Subject};
use crate::sources::{Format, Reason};
use crate::store::Layout;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read};

pub fn run(args: &args::Explain, context: &Context) -> anyhow::Result<Exit> {
    // For the formats and the sinks it describes. A configuration that cannot be read is in the way only of who asks for them.
    let settings = match context.settings() {
        Err(error) if args.format.is_some() || context.global.config.is_some() => return Err(error),
        settings => settings.ok(),
    };
    let sinks = settings.as_ref().map_or(&[][..], |settings| &settings.sinks);
    let named = context.format(args.format.as_deref())?;
    // Where addresses are, tells the data directory, if there is one and it may be looked into.
    let dir = settings.as_ref().map(|settings| Layout::new(&settings.data_dir).geoip);
    let places = dir.map(|dir| geoip::Handle::open(&RealFs, &dir).0).unwrap_or_default();
    let mut batcher = Batcher::with_places(places);
    // Which source the line is of, is not known: rules for some count.
    let policy = settings.as_ref().filter(|settings| !settings.privacy.rules.is_empty()).map(|settings| settings.privacy.policy());
    let policy = policy.transpose().map_err(anyhow::Error::msg)?.map(Policy::of_any_source);
    let (mut lines, mut refused) = (0u64, 0u64);
    let mut tell = |line: &[u8]| -> anyhow::Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let format = named.or_else(|| Format::recognise(line)).unwrap_or(Format::COWRIE);
        for mut explanation in batcher.explain(format, line, time::now()) {
            lines += 1;
            let stored_as = policy.as_ref().and_then(|policy| {
                let original = explanation.unwrapped.take().unwrap_or_else(|| line[explanation.range.clone()].to_vec());
                stored_as(&mut explanation, policy, &original, format, &mut batcher)
            });
            refused += u64::from(explanation.event.is_err());
            let answer = Answer { stored_as, ..Answer::of(&explanation, format, sinks) };
            if context.global.json {
                print::text(format::json(&answer, &context.output)? + "\n")?;
            } else {
                let gap = if lines > 1 { "\n" } else { "" };
                print::text(gap.to_owned() + &answer.render(&context.output))?;
            }
        }
        Ok(())
    };
    if args.line == "-" {
        each_line(&mut io::stdin().lock(), &mut tell)?;
    } else {
        args.line.lines().try_for_each(|line| tell(line.as_bytes()))?;
    }
    if lines == 0 {
        return Err(Usage("there is no line to explain: give one, or `-` and lines on standard input".into()).into());
    }
    Ok(if refused > 0 { Exit::Findings } else { Exit::Done })
}

/// The line as it would be stored, where a policy makes that another, and then told of as that; of one that it makes no event of, why.
fn stored_as(explanation: &mut Explanation, policy: &Policy, line: &[u8], format: Format, batcher: &mut Batcher) -> Option<String> {
    if explanation.event.is_err() {
        return None;
    }
    match Redactor::default().redact(policy, Stage::Store, Subject { source: "", format }, line) {
        Ok(None) => None,
        Ok(Some(redacted)) => {
            let plain = explanation.event.as_ref().ok().and_then(|event| event.id);
            explanation.event = batcher.explain_one(format, &redacted, time::now());
            if let Ok(event) = &mut explanation.event {
                event.id = plain.map(|id| policy.key.as_ref().map_or(id, |key| key.id(id)));
            }
            Some(String::from_utf8_lossy(&redacted).into_owned())
        }
        Err(why) => {
            let detail = format!("it cannot be redacted for certain: {why}");
            explanation.event = Err(Refusal { reason: Reason::Unredactable, detail });
            None
        }
    }
}

/// Calls `tell` with each line without its newline; of one over the limit, with as much as shows that it is too long.
fn each_line(input: &mut impl BufRead, tell: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(DOCUMENT_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 == DOCUMENT_BYTES_MAX {
            skip_line(input)?;
        }
        tell(&line)?;
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (len, found) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(len);
        if found {
            return Ok(());
        }
    }
}

/// One explanation as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer {
    accepted: bool,
    format: &'static str,
    /// Where the event lies in the line, bytes.
    from: usize,
    to: usize,
    /// The line as redaction leaves it, where it changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_as: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Accepted {
        id: Option<String>,
        identity: &'static str,
        time: Option<String>,
        indexed_by: String,
        because: &'static str,
        terms: Vec<Term>,
        indicators: Vec<Term>,
        sinks: Vec<Sends>,
    },
    Refused {
        reason: &'static str,
        detail: String,
    },
}

#[derive(Debug, Serialize)]
struct Term {
    field: &'static str,
    value: String,
    /// As it stood in the text, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    verbatim: Option<String>,
}

/// What a configured sink would do with the event.
#[derive(Debug, Serialize)]
struct Sends {
    sink: String,
    r#type: &'static str,
    sends: bool,
    because: String,
}

impl Sends {
    fn of(sink: &SinkSettings, event: &Explained, format: Format) -> Sends {
        let matches = |query: &Query| {
            let own = event.terms.iter().map(|(field, value)| (*field, &value[..]));
            let found = event.indicators.iter().flat_map(|found| {
                let written = found.verbatim.as_ref().filter(|_| found.field == Field::Phone);
                [Some(&found.value), written].into_iter().flatten().map(|value| (found.field, value.as_bytes()))
            });
            query.condition.holds(own.chain(found).fold(0, |bits, (field, value)| bits | query.matches(field, value)))
        };
        let (sends, because) = match (&sink.receiver, &sink.filter) {
            (Receiver::Guvi { .. }, _) if format == Format::CHAT => {
                (true, "as part of its chat's result, once that is confirmed and over".into())
            }
            (Receiver::Guvi { .. }, _) => (false, "it sends the results of chats only".into()),
            (_, None) => (true, "it has no filter".into()),
            (_, Some((text, query))) => match matches(query) {
                true => (true, format!("its filter {text} matches")),
                false => (false, format!("its filter {text} does not match")),
            },
        };
        Sends { sink: sink.name.to_string(), r#type: sink.receiver.kind(), sends, because }
    }
}

impl Answer {
    fn of(explanation: &Explanation, format: Format, sinks: &[SinkSettings]) -> Answer {
        let outcome = match &explanation.event {
            Ok(event) => accepted(event, sinks.iter().map(|sink| Sends::of(sink, event, format)).collect()),
            Err(refusal) => Outcome::Refused { reason: refusal.reason.name(), detail: refusal.detail.clone() },
        };
        let range = explanation.range.clone();
        Answer { accepted: explanation.event.is_ok(), format: format.name(), from: range.start, to: range.end, stored_as: None, outcome }
    }

    fn render(&self, output: &Output) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            let name = output.paint(Colour::Quiet, &format!("{name:<9}"));
            let _ = writeln!(text, "{name} {value}");
        };
        match &self.outcome {
            Outcome::Refused { reason, detail } => {
                row("refused", &output.paint(Colour::Bad, &format!("{reason}: {}", escape(detail))));
                row("bytes", &format!("{} to {} of the line; the daemon would put them into quarantine", self.from, self.to));
            }
            Outcome::Accepted { id, identity, time, indexed_by, because, terms, indicators, sinks } => {
                row(
                    "decoded",
                    &output.paint(Colour::Good, &format!("an event of {}, bytes {} to {} of the line", self.format, self.from, self.to)),
                );
                row("id", &format!("{}: {identity}", id.as_deref().unwrap_or("none yet")));
                if let Some(line) = &self.stored_as {
                    row("stored as", &escape(line));
                }
                row("time", time.as_deref().unwrap_or("none that can be read"));
                row("indexed", &format!("{indexed_by}: {because}"));
                let width = terms.iter().chain(indicators).map(|term| term.field.len()).max().unwrap_or_default();
                let mut list = |name: &str, terms: &[Term]| {
                    for (at, term) in terms.iter().enumerate() {
                        let field = output.paint(Colour::Strong, &format!("{:<width$}", term.field));
                        let written =
                            term.verbatim.as_ref().map(|verbatim| format!("  (written {})", escape(verbatim))).unwrap_or_default();
                        row(if at == 0 { name } else { "" }, &format!("{field}  {}{written}", escape(&term.value)));
                    }
                };
                list("terms", terms);
                list("found", indicators);
                for (at, sends) in sinks.iter().enumerate() {
                    let (verb, colour) = if sends.sends { ("sends it", Colour::Good) } else { ("does not", Colour::Quiet) };
                    let name = output.paint(Colour::Strong, &sends.sink);
                    row(
                        if at == 0 { "sinks" } else { "" },
                        &format!("{name} ({}) {}: {}", sends.r#type, output.paint(colour, verb), escape(&sends.because)),
                    );
                }
                if terms.is_empty() {
                    row("terms", "none: kept, but only its time finds it");
                }
            }
        }
        text
    }
}

fn accepted(event: &Explained, sinks: Vec<Sends>) -> Outcome {
    let stamp = |time: Micros| time::format(time);
    let because = match event.time {
        Some(own) if own == event.indexed_by => "its own time",
        Some(_) => "when it was received, because its own time is before 2000 or more than a day ahead",
        None => "when it was received, because it has no time of its own",
    };
    let identity = match event.identity {
        Identity::Line => "the first 128 bits of BLAKE3 over its bytes",
        Identity::Fields => "BLAKE3 over the fields that tell the format's events apart",
        Identity::Position => "made of its place in its input: equal lines are different events",
    };
    let terms = event.terms.iter().map(|(field, value)| Term {
        field: field.name(),
        value: String::from_utf8_lossy(value).into_owned(),
        verbatim: None,
    });
    let indicators = event.indicators.iter().map(|found| Term {
        field: found.field.name(),
        value: found.value.clone(),
        verbatim: found.verbatim.clone(),
    });
    Outcome::Accepted {
        id: event.id.map(|id| id.to_string()),
        identity,
        time: event.time.map(stamp),
        indexed_by: stamp(event.indexed_by),
        because,
        terms: terms.collect(),
        indicators: indicators.collect(),
        sinks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        each_line(&mut &input[..], &mut |line| {
            lines.push(line.to_vec());
            Ok(())
        })
        .expect("memory can be read");
        lines
    }

    #[test]
    fn lines_end_at_newlines_and_at_the_end() {
        assert_eq!(lines(b"a\nbc\n\nd"), [&b"a"[..], b"bc", b"", b"d"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn nothing_of_a_hostile_value_reaches_the_terminal_raw() {
        let line =
            b"{\"eventid\":\"cowrie.login.failed\",\"username\":\"\\u001b]0;owned\\u0007\",\"timestamp\":\"2026-03-22T00:00:00.000001Z\"}";
        let explanation = &Batcher::new().explain(Format::COWRIE, line, 0)[0];
        let text = Answer::of(explanation, Format::COWRIE, &[]).render(&Output::plain());
        assert!(text.contains("\\x1b]0;owned\\x07") && !text.contains('\x1b'), "{text}");
    }
}
