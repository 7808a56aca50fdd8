//! One process per data directory: an advisory lock on `<data>/lock`, which the kernel gives back however the holder ends.
use crate::telemetry::printable::printable;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data directory {} is in use: is another honeyguide running?", printable(&dir.to_string_lossy()))]
    InUse { dir: PathBuf },
    #[error("cannot lock the data directory {}: {error}", printable(&dir.to_string_lossy()))]
    Io { dir: PathBuf, error: io::Error },
}

/// Held as long as this lives.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock, waiting for whoever has it for a moment only: a command that answers a question holds it for less than
    /// a second, and must not keep a daemon from starting.
    pub fn acquire_within(dir: &Path, patience: Duration) -> Result<DataDirLock, Error> {
        let deadline = Instant::now() + patience;
        loop {
            match DataDirLock::acquire(dir) {
                Err(Error::InUse { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                taken_or_not => return taken_or_not,
            }
        }
    }

    /// Takes the lock of an existing directory, or says at once that it is taken.
    pub fn acquire(dir: &Path) -> Result<DataDirLock, Error> {
        let io = |error| Error::Io { dir: dir.into(), error };
        let path = dir.join("lock");
        let options = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(options)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { dir: dir.into() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // For people only; the file stays when the lock goes, because removing it would let two processes lock two files.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        match written {
            // A full disk must not keep the daemon from starting: it is what makes room.
            Ok(()) | Err(_) => Ok(DataDirLock { _file: file }),
        }
    }
}

/// Who holds the lock of the directory now: its process id, 0 if that cannot be told; `None` when nobody does.
///
/// Only for telling people: it may be otherwise a moment later.
pub fn holder(dir: &Path) -> Option<u32> {
    let options = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(options).open(dir.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // A process id has few digits; whoever may write the file must not make us read without end.
            let _ = file.take(16).read_to_string(&mut text);
            Some(text.trim().parse().unwrap_or(0))
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = DataDirLock::acquire(dir.path()).expect("free");
        let error = DataDirLock::acquire(dir.path()).expect_err("taken");
        assert_eq!(error.to_string(), format!("data directory {} is in use: is another honeyguide running?", dir.path().display()));
        assert_eq!(std::fs::read_to_string(dir.path().join("lock")).expect("readable"), format!("{}\n", std::process::id()));
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(holder(dir.path()), None);
        DataDirLock::acquire(dir.path()).expect("free again");
    }

    #[test]
    fn a_holder_of_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let waited = DataDirLock::acquire(dir.path()).expect("free");
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(waited);
        });
        drop(DataDirLock::acquire_within(dir.path(), Duration::from_secs(30)).expect("free in a moment"));
        letting_go.join().expect("no panic");
    }

    #[test]
    fn what_is_no_directory_or_no_file_is_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = DataDirLock::acquire(&dir.path().join("nosuch")).expect_err("missing").to_string();
        assert!(missing.starts_with("cannot lock the data directory ") && missing.contains("nosuch: No such file"), "{missing}");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("lock")).expect("linked");
        assert!(matches!(DataDirLock::acquire(dir.path()), Err(Error::Io { .. })), "a link is not followed");
    }
}
