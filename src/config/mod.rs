//! Configuration: built-in defaults, then a TOML file, then the command line; merged, then validated into [`Settings`].
//!
//! [`groups`] holds every option once. A file is checked as a whole before anything is opened: unknown keys, wrong types
//! and values that cannot work are all told at once, each with its line and what to write instead.
pub mod admin;
pub mod alerts;
pub mod archive;
pub mod bytes;
pub mod disclosed;
pub mod enrichers;
pub mod file;
pub mod groups;
pub mod issuers;
pub mod key;
pub mod privacy;
pub mod receivers;
pub mod reload;
pub mod settings;
pub mod sinks;
pub mod template;

pub use admin::{AdminSettings, TlsFiles};
pub use alerts::AlertSettings;
pub use archive::ArchiveOptions;
pub use enrichers::EnricherSettings;
pub use file::{Fragment, Problem};
pub use groups::{GROUPS, Journal, Limits, Supervision};
pub use issuers::IssuerSettings;
pub use key::{Origin, Place};
pub use privacy::PrivacySettings;
pub use receivers::{ReceiverSettings, ReplySettings};
pub use reload::{Change, Changes};
pub use settings::{AnomalySettings, LogFormat, LogSettings, ModelEndpoint, Settings, SourceName, SourceSettings, Start, Surroundings};
pub use sinks::{Compression, Credential, HttpReceiver, Receiver, SinkSettings};

use crate::events::Format;
use crate::telemetry::printable::printable;
use file::{FILE_BYTES_MAX, Given};
use key::Value;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The file read when `--config` is not given, if it exists.
pub const DEFAULT_FILE: &str = "/etc/honeyguide/honeyguide.toml";

/// Why there are no settings. All of these are the operator's to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration {}: {error}", printable(&path.to_string_lossy()))]
    Read { path: PathBuf, error: io::Error },
    #[error("the configuration {} is larger than {FILE_BYTES_MAX} bytes: is it the right file?", printable(&path.to_string_lossy()))]
    TooLarge { path: PathBuf },
    #[error("the configuration {} is not UTF-8 (line {line}): is it the right file?", printable(&path.to_string_lossy()))]
    NotText { path: PathBuf, line: usize },
    #[error("cannot tell the current directory: {0}")]
    CurrentDir(io::Error),
    /// One line for each problem.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused { problems: Vec<Problem> },
}

/// Settings from `--config FILE` (default [`DEFAULT_FILE`] if it exists) and `--data DIR`.
pub fn load(config: Option<&Path>, data: Option<&Path>) -> Result<Settings, Error> {
    let default = Path::new(DEFAULT_FILE);
    let file = match config {
        Some(path) => Some(path),
        None => default.try_exists().unwrap_or(true).then_some(default),
    };
    load_from(file, data, &Surroundings::of_process().map_err(Error::CurrentDir)?)
}

/// The same with everything given.
pub fn load_from(file: Option<&Path>, data: Option<&Path>, surroundings: &Surroundings) -> Result<Settings, Error> {
    let mut fragment = Fragment::default();
    if let Some(path) = file {
        let text = read(path)?;
        fragment = file::parse(path, &text).map_err(|problems| Error::Refused { problems })?;
    }
    if let Some(data) = data {
        fragment = fragment.merged_with(command_line(data)?);
    }
    let file = file.map(|file| surroundings.current_dir.join(file));
    let settings = Settings::validate(fragment, file, surroundings).map_err(|problems| Error::Refused { problems })?;
    // Whoever meets a format's name from now on (in a block, in a request) means these.
    Format::configure(settings.formats.clone());
    Ok(settings)
}

fn command_line(data: &Path) -> Result<Fragment, Error> {
    let origin = Origin::CommandLine("--data");
    let refused = |message: &str| Error::Refused { problems: vec![Problem { origin: origin.clone(), message: message.into() }] };
    let text = data.to_str().ok_or_else(|| refused("must be UTF-8: choose another directory"))?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(refused("must name a directory, without control characters"));
    }
    // A shell has expanded what there was to expand; `./` keeps a directory that is really called `~` reachable.
    let text = if text.starts_with(['~', '$']) { format!("./{text}") } else { text.to_string() };
    let mut fragment = Fragment::default();
    fragment.groups.entry("").or_default().insert("data_dir", Given { value: Value::Text(text), origin });
    Ok(fragment)
}

fn read(path: &Path) -> Result<String, Error> {
    let refused = |error| Error::Read { path: path.into(), error };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refused)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Error::NotText { path: path.into(), line: valid.iter().filter(|&&byte| byte == b'\n').count() + 1 }
    })
}
