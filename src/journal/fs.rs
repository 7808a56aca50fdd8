//! The few file operations the journal and its sidecars need, behind a trait, so that tests can run them on a file
//! system that forgets whatever was not synced.
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A file opened for appending and for reading at offsets.
pub trait File: Send + Sync {
    /// Writes the pieces, in order, at offset `at`, which is the file's end as the caller knows it.
    fn write_at(&self, pieces: &[&[u8]], at: u64) -> io::Result<()>;
    /// Fills `buffer` from `offset`; an early end is `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Makes data and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Contents of an immutable file.
pub trait Mapped: Send + Sync {
    fn bytes(&self) -> &[u8];
    /// The range is about to be read as a whole: worth one read instead of many page faults.
    fn will_need(&self, _range: std::ops::Range<usize>) {}
}

impl Mapped for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// What an entry of a directory is called and how long it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub len: u64,
}

/// Removes a file that an attempt before this one, or a process that was killed, may have removed or never made.
pub fn remove_if_there(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

pub trait Fs: Send + Sync {
    /// Creates a new file; it exists durably only after [`Fs::sync_dir`].
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Maps an existing file for reading.
    fn map(&self, path: &Path) -> io::Result<Arc<dyn Mapped>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The regular files of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged writer may still write.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Keeps few of many files open: sealed segments are many, and read seldom.
pub struct Pool {
    fs: Arc<dyn Fs>,
    open_max: usize,
    /// Most recently used last.
    open: Mutex<VecDeque<(PathBuf, Arc<dyn File>)>>,
    /// Those handed out, for [`Pool::retire`].
    handles: Mutex<HashMap<PathBuf, Vec<Weak<PooledFile>>>>,
}

impl Pool {
    pub fn new(fs: Arc<dyn Fs>, open_max: usize) -> Arc<Pool> {
        Arc::new(Pool { fs, open_max: open_max.max(1), open: Mutex::default(), handles: Mutex::default() })
    }

    /// A file that is opened when it is read, and closed when others are read more. It must exist.
    pub fn file(self: &Arc<Pool>, path: PathBuf) -> Arc<dyn File> {
        let file = Arc::new(PooledFile { pool: self.clone(), path: path.clone(), retired: OnceLock::new() });
        let mut handles = self.handles.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of_path = handles.entry(path).or_default();
        of_path.retain(|known| known.strong_count() > 0);
        of_path.push(Arc::downgrade(&file));
        file
    }

    /// The file at this path is about to be replaced, or removed: whoever has it now keeps it, open, for as long as he reads it.
    pub fn retire(&self, path: &Path) -> io::Result<()> {
        let mut handles = self.handles.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let still_read: Vec<Arc<PooledFile>> = handles.get(path).into_iter().flatten().filter_map(Weak::upgrade).collect();
        let of_now: Vec<_> = still_read.iter().filter(|file| file.retired.get().is_none()).collect();
        if !of_now.is_empty() {
            let file = self.fs.open(path)?;
            of_now.iter().for_each(|handle| drop(handle.retired.set(file.clone())));
        }
        handles.remove(path);
        Ok(())
    }

    fn with(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut open = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(at) = open.iter().position(|(known, _)| known == path)
            && let Some(entry) = open.remove(at)
        {
            open.push_back(entry);
        } else {
            // Opening is quick next to the read it is for; and two threads may not both open the last free place.
            let file = self.fs.open(path)?;
            if open.len() == self.open_max {
                open.pop_front();
            }
            open.push_back((path.to_owned(), file));
        }
        Ok(open.back().expect("pushed in both branches").1.clone())
    }

    /// The file at this path is another one now, or gone.
    pub fn forget(&self, path: &Path) {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).retain(|(known, _)| known != path);
    }
}

struct PooledFile {
    pool: Arc<Pool>,
    path: PathBuf,
    /// What stood at the path before it was replaced.
    retired: OnceLock<Arc<dyn File>>,
}

impl PooledFile {
    fn file(&self) -> io::Result<Arc<dyn File>> {
        self.retired.get().map_or_else(|| self.pool.with(&self.path), |file| Ok(file.clone()))
    }
}

impl File for PooledFile {
    fn write_at(&self, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        self.file()?.write_at(pieces, at)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read_exact_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }
}

/// The real thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

struct RealFile(std::fs::File);

/// A file that somebody else wrote, for reading.
pub fn reading(file: std::fs::File) -> Arc<dyn File> {
    Arc::new(RealFile(file))
}

struct RealMap(memmap2::Mmap);

impl Mapped for RealMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn will_need(&self, range: std::ops::Range<usize>) {
        // Advice only: a refusal changes nothing but speed.
        let _ = self.0.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
    }
}

impl File for RealFile {
    fn write_at(&self, pieces: &[&[u8]], at: u64) -> io::Result<()> {
        fail::fail_point!("fs::write", |_| Err(io::Error::from_raw_os_error(nix::libc::EIO)));
        let mut offset = at;
        let mut slices: Vec<io::IoSlice<'_>> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
        let mut rest = &mut slices[..];
        while rest.iter().any(|slice| !slice.is_empty()) {
            let batch = rest.len().min(1024);
            let written = match nix::sys::uio::pwritev(&self.0, &rest[..batch], offset as i64) {
                Err(nix::errno::Errno::EINTR) => continue,
                written => written.map_err(io::Error::from)?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            io::IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fail::fail_point!("fs::sync", |_| Err(io::Error::from_raw_os_error(nix::libc::EIO)));
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Fs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(std::fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn map(&self, path: &Path) -> io::Result<Arc<dyn Mapped>> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Arc::new(Vec::new()));
        }
        // SAFETY: the files mapped are sidecars and imported databases, written once under a temporary name and never changed afterwards.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        map.advise(memmap2::Advice::Random)?;
        Ok(Arc::new(RealMap(map)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(Entry { name, len: metadata.len() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_few_files_open_and_reads_many() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::new(Arc::new(RealFs), 3);
        let files: Vec<Arc<dyn File>> = (0..10u8)
            .map(|n| {
                let path = dir.path().join(n.to_string());
                std::fs::write(&path, [n]).unwrap();
                pool.file(path)
            })
            .collect();
        for round in 0..3 {
            for (n, file) in files.iter().enumerate() {
                let mut byte = [0];
                file.read_exact_at(&mut byte, 0).unwrap();
                assert_eq!(byte, [n as u8], "round {round}");
                assert!(pool.open.lock().unwrap().len() <= 3);
            }
        }
        pool.retire(&dir.path().join("8")).unwrap();
        std::fs::write(dir.path().join("new"), b"n").unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("8")).unwrap();
        pool.forget(&dir.path().join("8"));
        let mut bytes = [[0], [0]];
        files[8].read_exact_at(&mut bytes[0], 0).unwrap();
        pool.file(dir.path().join("8")).read_exact_at(&mut bytes[1], 0).unwrap();
        assert_eq!(bytes, [[8], [b'n']], "who had the old one goes on with it");
        std::fs::remove_file(dir.path().join("9")).unwrap();
        pool.forget(&dir.path().join("9"));
        assert_eq!(files[9].len().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
