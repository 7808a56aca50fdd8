//! A file system in memory that forgets, at a crash, whatever was not synced: data and directory entries.
//!
//! For tests only; it is here, not under `tests/`, so that unit and whole-program tests share it.
use super::fs::{Entry, File, Fs, Mapped};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a crash leaves of what was written but not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing: neither data nor directory entries.
    Lost,
    /// All of it.
    Kept,
    /// Directory entries, and of each file's unsynced bytes a part that depends on the seed, with a hole of zeros in it.
    Torn(u64),
}

#[derive(Clone, Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    next_inode: u64,
    operations: u64,
    crash_at: Option<u64>,
    fail_at: Option<u64>,
    fail_next_sync: bool,
    fail_next_write: bool,
    free_bytes: u64,
}

/// The simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedFs(Arc<Mutex<Disk>>);

impl Default for SimulatedFs {
    fn default() -> Self {
        SimulatedFs(Arc::new(Mutex::new(Disk { free_bytes: 1 << 40, ..Disk::default() })))
    }
}

fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

impl SimulatedFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts an operation that changes something; fails from the crash on.
    fn operate(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk();
        disk.operations += 1;
        match disk.crash_at {
            Some(at) if disk.operations > at => Err(crashed()),
            _ if disk.fail_at == Some(disk.operations - 1) => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            _ => Ok(disk),
        }
    }

    /// Operations that changed something so far.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Lets `operations` of them succeed from the beginning of the disk's life, and none after.
    pub fn crash_after(&self, operations: u64) {
        self.disk().crash_at = Some(operations);
    }

    /// Lets the one operation behind `operations` fail.
    pub fn fail_operation(&self, operations: u64) {
        self.disk().fail_at = Some(operations);
    }

    pub fn fail_next_sync(&self) {
        self.disk().fail_next_sync = true;
    }

    pub fn fail_next_write(&self) {
        self.disk().fail_next_write = true;
    }

    pub fn set_free_bytes(&self, free: u64) {
        self.disk().free_bytes = free;
    }

    /// The disk as the machine finds it after the crash.
    pub fn after_crash(&self, unsynced: Unsynced) -> SimulatedFs {
        let disk = self.disk();
        let names = if unsynced == Unsynced::Lost { disk.durable_names.clone() } else { disk.names.clone() };
        let inodes = names
            .values()
            .filter_map(|number| Some((*number, disk.inodes.get(number)?)))
            .map(|(number, inode)| {
                let data = match unsynced {
                    Unsynced::Lost => inode.durable.clone(),
                    Unsynced::Kept => inode.data.clone(),
                    Unsynced::Torn(seed) => torn(inode, seed ^ number),
                };
                (number, Inode { durable: data.clone(), data })
            })
            .collect();
        SimulatedFs(Arc::new(Mutex::new(Disk {
            inodes,
            durable_names: names.clone(),
            names,
            next_inode: disk.next_inode,
            free_bytes: disk.free_bytes,
            ..Disk::default()
        })))
    }

    /// Flips one bit of a file, as a bad disk would.
    pub fn flip(&self, path: &Path, bit: u64) {
        let mut disk = self.disk();
        if let Some(inode) = disk.names.get(path).copied().and_then(|number| disk.inodes.get_mut(&number)) {
            inode.data[(bit / 8) as usize] ^= 1 << (bit % 8);
            inode.durable = inode.data.clone();
        }
    }
}

fn torn(inode: &Inode, seed: u64) -> Vec<u8> {
    let (old, new) = (inode.durable.len(), inode.data.len());
    if new <= old {
        return inode.data.clone();
    }
    let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let keep = old + (random as usize) % (new - old + 1);
    let mut data = inode.data[..keep].to_vec();
    // Pages reach the disk in any order: one that did not is zeros.
    if keep > old && random & (1 << 60) != 0 {
        let hole = old + (random >> 20) as usize % (keep - old);
        let end = (hole + 512).min(keep);
        data[hole..end].fill(0);
    }
    data
}

struct SimulatedFile {
    fs: SimulatedFs,
    inode: u64,
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl File for SimulatedFile {
    fn write_at(&self, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        let mut disk = self.fs.operate()?;
        if std::mem::take(&mut disk.fail_next_write) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        let total: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if total > disk.free_bytes {
            return Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        }
        disk.free_bytes -= total;
        let inode = disk.inodes.get_mut(&self.inode).ok_or_else(gone)?;
        let mut offset = at as usize;
        for piece in pieces {
            if inode.data.len() < offset + piece.len() {
                inode.data.resize(offset + piece.len(), 0);
            }
            inode.data[offset..offset + piece.len()].copy_from_slice(piece);
            offset += piece.len();
        }
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.fs.disk();
        let inode = disk.inodes.get(&self.inode).ok_or_else(gone)?;
        let range = offset as usize..offset as usize + buffer.len();
        buffer.copy_from_slice(inode.data.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.fs.operate()?;
        if std::mem::take(&mut disk.fail_next_sync) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        let inode = disk.inodes.get_mut(&self.inode).ok_or_else(gone)?;
        inode.durable = inode.data.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.fs.operate()?;
        disk.inodes.get_mut(&self.inode).ok_or_else(gone)?.data.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.fs.disk().inodes.get(&self.inode).ok_or_else(gone)?.data.len() as u64)
    }
}

impl Fs for SimulatedFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.operate()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.next_inode += 1;
        let inode = disk.next_inode;
        disk.inodes.insert(inode, Inode::default());
        disk.names.insert(path.to_owned(), inode);
        Ok(Arc::new(SimulatedFile { fs: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let inode = *self.disk().names.get(path).ok_or_else(gone)?;
        Ok(Arc::new(SimulatedFile { fs: self.clone(), inode }))
    }

    fn map(&self, path: &Path) -> io::Result<Arc<dyn Mapped>> {
        Ok(Arc::new(self.read(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.operate()?;
        let inode = disk.names.remove(from).ok_or_else(gone)?;
        disk.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate()?.names.remove(path).map(|_| ()).ok_or_else(gone)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        let in_dir = disk.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(in_dir
            .filter_map(|(path, inode)| {
                Some(Entry { name: path.file_name()?.to_str()?.to_owned(), len: disk.inodes.get(inode)?.data.len() as u64 })
            })
            .collect())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.operate()?;
        let current: Vec<_> =
            disk.names.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(path, inode)| (path.clone(), *inode)).collect();
        disk.durable_names.retain(|path, _| path.parent() != Some(dir));
        disk.durable_names.extend(current);
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.disk().free_bytes)
    }
}
