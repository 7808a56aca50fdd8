//! Run as root, commands act as the owner of the data directory.
//!
//! Otherwise `sudo honeyguide load …` would leave files that the daemon cannot write, and a parser of attackers' input
//! would run with all rights. The change is for good: nothing keeps the way back.
use crate::telemetry::printable::printable;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid};
use std::ffi::CString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot see whose the data directory {} is: {error}", printable(&dir.to_string_lossy()))]
    Stat { dir: PathBuf, error: io::Error },
    #[error("cannot act as user {uid}, the owner of the data directory {}: {error}", printable(&dir.to_string_lossy()))]
    Change { dir: PathBuf, uid: u32, error: io::Error },
}

/// Whom the process became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// When run as root: takes on user, group and supplementary groups of the directory's owner, for all threads.
///
/// `None`, and nothing changes: not root, owned by root, or not there yet. Call it before files of the directory are
/// opened. Input that only root may read cannot be read afterwards: open it before, or let the owner read it.
pub fn become_owner_of(dir: &Path) -> Result<Option<Owner>, Error> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Stat { dir: dir.into(), error }),
    };
    if metadata.uid() == 0 {
        return Ok(None);
    }
    let owner = Owner { uid: metadata.uid(), gid: metadata.gid() };
    change(owner).map_err(|error| Error::Change { dir: dir.into(), uid: owner.uid, error: error.into() })?;
    assert!(setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err(), "root's rights are gone for good");
    Ok(Some(owner))
}

fn change(owner: Owner) -> nix::Result<()> {
    let uid = Uid::from_raw(owner.uid);
    // The primary group is the user's own; the directory's group only for a user without an entry.
    let (gid, groups) = match User::from_uid(uid)? {
        Some(user) => match CString::new(user.name) {
            Ok(name) => (user.gid, getgrouplist(&name, user.gid)?),
            Err(_) => (user.gid, vec![user.gid]),
        },
        None => (Gid::from_raw(owner.gid), vec![Gid::from_raw(owner.gid)]),
    };
    // In this order: the right to change groups goes with the user.
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}
