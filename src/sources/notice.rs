//! What the tail has to tell the operator. A closed list, each one line of text, with the paths made harmless.
use super::checkpoint::{CheckpointError, display_path};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TailNotice {
    /// The event `input_truncated`.
    #[error("{path} was truncated or rewritten: reading its generation {generation} from the beginning; {bytes_at_risk} bytes had not been read and are lost unless a copy of the log is found", path = display_path(.path))]
    Truncated { path: PathBuf, generation: u32, bytes_at_risk: u64 },
    #[error("{path} was rotated: going on at byte {offset} of {found}", path = display_path(.path), found = display_path(.found))]
    ContinuedIn { path: PathBuf, found: PathBuf, offset: u64 },
    #[error("{path} is gone, and no rotated or compressed copy of it is found: what was written behind byte {offset} is lost, if anything was", path = display_path(.path))]
    Vanished { path: PathBuf, offset: u64 },
    #[error("a line torn by the rotation of {from} was joined with its other half in {to}", from = display_path(.from), to = display_path(.to))]
    TornLineJoined { from: PathBuf, to: PathBuf },
    #[error("{path} begins with {bytes} bytes that were skipped (NUL run or byte order mark)", path = display_path(.path))]
    FrontSkipped { path: PathBuf, bytes: u64 },
    #[error("{path} cannot be read ({kind}): is the daemon's user in the group that may read it? trying again", path = display_path(.path))]
    Unreadable { path: PathBuf, kind: std::io::ErrorKind },
    #[error("directory {path} cannot be listed ({kind}): nothing below it is followed; trying again", path = display_path(.path))]
    DirectoryUnreadable { path: PathBuf, kind: std::io::ErrorKind },
    #[error("{path} is not a regular file: not followed", path = display_path(.path))]
    NotRegular { path: PathBuf },
    #[error("{path} leads outside the directories allowed for this source: not followed; add its target to the allowed roots if it is meant", path = display_path(.path))]
    OutsideRoots { path: PathBuf },
    #[error("more than {limit} files match: the rest is not followed; narrow the patterns or archive old logs")]
    TooManyFiles { limit: usize },
    #[error("checkpoint of stream {stream:?} cannot be used: {error}")]
    CheckpointUnusable { stream: String, error: CheckpointErrorText },
}

/// A [`CheckpointError`] as text, so that notices can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointErrorText(String);

impl From<CheckpointError> for CheckpointErrorText {
    fn from(error: CheckpointError) -> Self {
        CheckpointErrorText(error.to_string())
    }
}

impl std::fmt::Display for CheckpointErrorText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TailNotice {
    /// Says that something does not work until someone or something changes it: shown as degraded, told once.
    pub fn is_condition(&self) -> bool {
        matches!(
            self,
            TailNotice::Unreadable { .. }
                | TailNotice::DirectoryUnreadable { .. }
                | TailNotice::NotRegular { .. }
                | TailNotice::OutsideRoots { .. }
                | TailNotice::TooManyFiles { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_one_harmless_line() {
        let path = PathBuf::from("/log/\u{1b}[2J\nx");
        let notices = [
            TailNotice::Truncated { path: path.clone(), generation: 2, bytes_at_risk: 7 },
            TailNotice::ContinuedIn { path: path.clone(), found: path.clone(), offset: 3 },
            TailNotice::OutsideRoots { path },
            TailNotice::CheckpointUnusable { stream: "a\nb".into(), error: CheckpointError::Damaged.into() },
        ];
        for notice in notices {
            assert!(!notice.to_string().contains(char::is_control), "{notice}");
        }
    }
}
