//! The command line: what may be typed ([`args`]), its manual ([`pages`]), one module for each command, what answers are filled
//! from ([`answers`], or [`client`] when a daemon runs), and how they look ([`terminal`], [`format`], [`transcript`],
//! [`conversation`]).
pub mod alerts;
pub mod anomalies;
pub mod answers;
pub mod archive;
pub mod args;
pub mod check;
pub mod checking;
pub mod client;
pub mod clusters;
pub mod completions;
pub mod config;
pub mod context;
pub mod conversation;
pub mod count;
pub mod counted;
pub mod demo;
pub mod distinct;
pub mod enrich;
pub mod erase;
pub mod explain;
pub mod format;
pub mod geoip;
pub mod in_process;
pub mod indicators;
pub mod ingested;
pub mod keys;
pub mod load;
pub mod man;
pub mod new;
pub mod pages;
pub mod peers;
pub mod print;
mod private;
pub mod quarantine;
pub mod rebuild;
mod redacting;
pub mod report;
pub mod run;
pub mod schema;
pub mod search;
pub mod session;
pub mod simulate;
pub mod sinks;
pub mod status;
pub mod support;
pub mod tap;
pub mod terminal;
pub mod top;
pub mod transcript;
pub mod verify;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use context::{Context, Exit, Usage};
use std::io::{self, Write};
use std::process::ExitCode;
use terminal::{Output, escape};

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit_code(refuse(&error)),
    };
    let context = Context { global: cli.global, output: Output::stdout() };
    exit_code(match run(&cli.command, &context) {
        Ok(exit) => exit,
        Err(error) if print::is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            complain(&one_line(&error));
            if error.chain().any(|cause| cause.is::<Usage>()) { Exit::Usage } else { Exit::Failed }
        }
    })
}

fn run(command: &Command, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Run => run::run(context),
        Command::Demo(args) => demo::run(args, context),
        Command::Check => check::run(context),
        Command::Peers => peers::run(context),
        Command::Config => config::run(context),
        Command::Load(args) => load::run(args, context),
        Command::Search(args) => search::run(args, context),
        Command::Tap(args) => tap::run(args, context),
        Command::Top(args) => top::run(args, context),
        Command::Report(args) => report::run(args, context),
        Command::Alerts(args) => alerts::run(args, context),
        Command::Anomalies(args) => anomalies::run(args, context),
        Command::Count(args) => count::run(args, context),
        Command::Distinct(args) => distinct::run(args, context),
        Command::New(args) => new::run(args, context),
        Command::Indicators(args) => indicators::run(args, context),
        Command::Enrich(args) => enrich::run(args, context),
        Command::Enrichers => enrich::list(context),
        Command::Schema(args) => schema::run(args, context),
        Command::Session(args) => session::run(args, context),
        Command::Clusters(args) => clusters::run(args, context),
        Command::Explain(args) => explain::run(args, context),
        Command::Status => status::run(context),
        Command::Archive(args) => archive::run(args, context),
        Command::Verify => verify::run(context),
        Command::Ingested(args) => ingested::run(args, context),
        Command::Quarantine(args) => quarantine::run(args, context),
        Command::Geoip(args) => geoip::run(args, context),
        Command::Sinks(args) => sinks::run(args, context),
        Command::Keys(args) => keys::run(args, context),
        Command::Support(args) => support::run(args, context),
        Command::Simulate(args) => simulate::run(args, context),
        Command::Erase(args) => erase::run(args, context),
        Command::Rebuild => rebuild::run(context),
        Command::Man(args) => man::run(args, context),
        Command::Completions(args) => completions::run(args, context),
    }
}

fn exit_code(exit: Exit) -> ExitCode {
    // Codes are one byte to the system; one that is none still must not look like success.
    ExitCode::from(u8::try_from(exit.code()).unwrap_or(1))
}

/// Help and version are answers; anything else clap says is about a wrong command line.
fn refuse(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody reads it any more: nothing to tell.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage
        }
        _ => {
            complain(&usage_line(&error.to_string()));
            Exit::Usage
        }
    }
}

/// clap's paragraphs as one line: what is wrong, its tips, and where to read on.
fn usage_line(text: &str) -> String {
    let (said, usage) = text.split_once("\nUsage: ").unwrap_or((text, ""));
    let said = said.trim().trim_start_matches("error: ");
    let words: Vec<&str> =
        said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    let mut line = String::new();
    for word in words {
        let glue = match line.as_str() {
            "" => "",
            before if before.ends_with(':') => " ",
            _ => "; ",
        };
        line.push_str(glue);
        line.push_str(word);
    }
    // `Usage: honeyguide quarantine list [OPTIONS]`: the command is what stands before the first option or value.
    let command: Vec<&str> = usage.split_whitespace().take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
    let command = if command.is_empty() { "honeyguide".to_owned() } else { command.join(" ") };
    format!("{line} (see `{command} --help`)")
}

/// Errors go to standard error, one line each, and whatever attackers or paths put into them does nothing there.
fn complain(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        // Without standard error there is nobody to tell.
        let _ = writeln!(err, "honeyguide: {}", escape(line));
    }
}

/// An error with its causes, but for those whose text it already contains.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let cases = [
            (
                "honeyguide searhc x",
                "unrecognized subcommand 'searhc'; tip: a similar subcommand exists: 'search' (see `honeyguide --help`)",
            ),
            ("honeyguide search", "the following required arguments were not provided: <QUERY>... (see `honeyguide search --help`)"),
            (
                "honeyguide quarantine list --limit x",
                "invalid value 'x' for '--limit <N>': invalid digit found in string (see `honeyguide --help`)",
            ),
        ];
        for (line, expected) in cases {
            let error = Cli::command().try_get_matches_from(line.split(' ')).expect_err(line);
            assert_eq!(usage_line(&error.to_string()), expected);
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open /x: {source}")]
        struct Open {
            source: io::Error,
        }
        let error = anyhow::Error::from(Open { source: io::Error::other("gone") }).context("cannot begin");
        assert_eq!(one_line(&error), "cannot begin: cannot open /x: gone");
    }
}
