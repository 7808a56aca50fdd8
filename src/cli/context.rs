//! What every subcommand is given, and how a subcommand ends.
use super::args::Global;
use super::terminal::Output;
use crate::config::{self, Settings};
use crate::events::Format;

/// How a command ended; the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Done,
    /// 1
    Failed,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: done, but something was refused or found damaged.
    Findings,
    /// The daemon's own code, such as 70 for a spent restart budget.
    Code(i32),
}

impl Exit {
    pub fn code(self) -> i32 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Findings => 3,
            Exit::Code(code) => code,
        }
    }
}

/// An error that is the user's to mend: exit code 2 instead of 1. Wrap it into the `anyhow` chain.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Who gives an order that this process carries out itself.
pub fn us() -> String {
    format!("uid {}", nix::unistd::Uid::current())
}

/// The global options, and what stdout is.
pub struct Context {
    pub global: Global,
    pub output: Output,
}

impl Context {
    /// Writes an answer: as JSON, or as `render` shows it to people.
    pub fn tell<Answer: serde::Serialize>(
        &self,
        answer: &Answer,
        render: impl FnOnce(&Output) -> String,
        out: &mut dyn std::io::Write,
    ) -> anyhow::Result<()> {
        if self.global.json {
            writeln!(out, "{}", super::format::json(answer, &self.output)?)?;
        } else {
            write!(out, "{}", render(&self.output))?;
        }
        Ok(())
    }

    /// The configuration with the global options laid over it; wrong ones are usage errors.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(config::load(self.global.config.as_deref(), self.global.data.as_deref()).map_err(|error| Usage(error.to_string()))?)
    }

    /// The format that `--format` names; the configuration's own are known once [`Context::settings`] has read them.
    pub fn format(&self, name: Option<&str>) -> anyhow::Result<Option<Format>> {
        let Some(name) = name else { return Ok(None) };
        let named = |name: &str| Format::parse(name).ok_or_else(|| Format::named(name, &Format::all()).err().unwrap_or_default());
        Ok(Some(named(name).map_err(|error| Usage(format!("--format: {error}")))?))
    }
}
