//! Learns from the kernel that something changed in the directories of the logs, so that nobody need ask many times a second.
//!
//! Only a hint: the tail finds out by itself what changed, and keeps polling where the hint cannot be had (inotify
//! exhausted, network file systems).
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Most directories watched by one source.
pub const WATCHED_DIRECTORIES_MAX: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("inotify cannot be used ({0}): raise fs.inotify.max_user_instances; polling meanwhile")]
    Init(nix::errno::Errno),
    #[error("directory {path} cannot be watched ({errno}): does it exist, is it readable, is fs.inotify.max_user_watches spent? polling meanwhile", path = super::checkpoint::display_path(.path))]
    Add { path: PathBuf, errno: nix::errno::Errno },
    #[error("more than {WATCHED_DIRECTORIES_MAX} directories: the rest is polled")]
    TooMany,
}

/// What happened since the last [`Watch::drain`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A file grew or was truncated.
    pub data: bool,
    /// Files appeared, vanished or were renamed, or events were lost: the directories are worth a look.
    pub names: bool,
}

impl Changes {
    pub fn any(self) -> bool {
        self.data || self.names
    }
}

/// Watches directories. Readable (for `AsyncFd` and poll) when there is something to drain.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    directories: BTreeMap<PathBuf, WatchDescriptor>,
}

impl Watch {
    /// Watches what can be watched; the second value says which directories have to be polled, and why.
    pub fn new<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<(Watch, Vec<WatchError>), WatchError> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(WatchError::Init)?;
        let mut watch = Watch { inotify, directories: BTreeMap::new() };
        let failed = watch.follow(directories);
        Ok((watch, failed))
    }

    /// Makes `directories` the ones watched: to be called again after directories appeared.
    pub fn follow<'a>(&mut self, directories: impl IntoIterator<Item = &'a Path>) -> Vec<WatchError> {
        let wanted: BTreeSet<&Path> = directories.into_iter().collect();
        let gone: Vec<PathBuf> = self.directories.keys().filter(|known| !wanted.contains(known.as_path())).cloned().collect();
        for path in gone {
            if let Some(descriptor) = self.directories.remove(&path) {
                // Fails only when the kernel dropped it already.
                let _ = self.inotify.rm_watch(descriptor);
            }
        }
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        let mut failed = Vec::new();
        for path in wanted {
            if self.directories.contains_key(path) {
                continue;
            }
            if self.directories.len() >= WATCHED_DIRECTORIES_MAX {
                failed.push(WatchError::TooMany);
                break;
            }
            match self.inotify.add_watch(path, flags) {
                Ok(descriptor) => drop(self.directories.insert(path.to_path_buf(), descriptor)),
                Err(errno) => failed.push(WatchError::Add { path: path.to_path_buf(), errno }),
            }
        }
        failed
    }

    /// Reads all waiting events; never blocks.
    pub fn drain(&mut self) -> Changes {
        let mut changes = Changes::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) if events.is_empty() => return changes,
                Ok(events) => {
                    for event in events {
                        changes.data |= event.mask.contains(AddWatchFlags::IN_MODIFY);
                        changes.names |= event.mask.intersects(!AddWatchFlags::IN_MODIFY);
                        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                            // The directory is gone; it is watched again when it comes back and `follow` is called.
                            self.directories.retain(|_, descriptor| *descriptor != event.wd);
                        }
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => return changes,
                // Cannot tell what happened: have a look.
                Err(_) => return Changes { data: true, names: true },
            }
        }
    }

    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.keys().map(PathBuf::as_path)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn tells_growth_from_new_names() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("cowrie.json");
        let mut file = std::fs::File::create(&log).unwrap();
        let (mut watch, failed) = Watch::new([dir.path()]).unwrap();
        assert!(failed.is_empty());
        assert_eq!(watch.drain(), Changes::default());
        file.write_all(b"{}\n").unwrap();
        assert_eq!(watch.drain(), Changes { data: true, names: false });
        std::fs::rename(&log, dir.path().join("cowrie.json.1")).unwrap();
        assert_eq!(watch.drain(), Changes { data: false, names: true });
        assert!(!watch.drain().any());
    }

    #[test]
    fn missing_directory_is_reported_and_followed_once_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let (mut watch, failed) = Watch::new([late.as_path()]).unwrap();
        assert!(matches!(failed[..], [WatchError::Add { .. }]));
        std::fs::create_dir(&late).unwrap();
        assert!(watch.follow([late.as_path()]).is_empty());
        std::fs::write(late.join("x"), b"1").unwrap();
        assert!(watch.drain().names);
        std::fs::remove_dir_all(&late).unwrap();
        assert!(watch.drain().names);
        assert_eq!(watch.directories().count(), 0);
    }
}
