//! Sources as the ingest actor sees them: something that reads on when asked, and waits when there is nothing.
use super::archive::{Archive, ArchiveSettings};
use super::notice::TailNotice;
use super::tail::{Poll, Tail};
use super::watch::Watch;
use super::{Chunk, Origin, Source, SourceError};
use crate::events::Micros;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a reader brings back from one go.
#[derive(Default)]
pub struct Read {
    pub chunks: Vec<Chunk>,
    /// There is more to read at once.
    pub more: bool,
    /// There will never be more.
    pub ended: bool,
}

/// How far a reader is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    pub files: u64,
    pub files_done: u64,
    /// Of those done: files that could not be read, or not to their end.
    #[serde(default)]
    pub files_failed: u64,
    /// Bytes of the inputs as they lie on disk, and how many of them have been read. Of a tail: how far it is behind.
    pub bytes_total: u64,
    pub bytes_read: u64,
    pub bytes_behind: u64,
    /// What cannot be read, and why.
    pub trouble: Vec<String>,
}

/// Runs on threads that may block.
pub trait Reader: Send {
    /// Reads about `budget_bytes`.
    fn read(&mut self, now: Micros, budget_bytes: usize) -> Read;

    /// Waits until something may have changed, at most so long. True: something has.
    fn wait(&mut self, at_most: Duration) -> bool;

    fn progress(&self) -> Progress;
}

/// Follows growing logs; tells its notices to whoever opened it.
pub struct TailReader {
    source: Arc<Source>,
    tail: Tail,
    watch: Option<Watch>,
    told: Box<dyn FnMut(&TailNotice) + Send>,
}

impl TailReader {
    pub fn new(source: Arc<Source>, tail: Tail, told: Box<dyn FnMut(&TailNotice) + Send>) -> TailReader {
        let directories = tail.directories();
        // Without inotify (no watches left, an odd file system) polling finds the same, a little later.
        let watch = Watch::new(directories.iter().map(PathBuf::as_path)).ok().map(|(watch, _)| watch);
        TailReader { source, tail, watch, told }
    }
}

impl Reader for TailReader {
    fn read(&mut self, now: Micros, budget_bytes: usize) -> Read {
        if let Some(watch) = &mut self.watch {
            if watch.drain().names {
                self.tail.rescan();
            }
            let directories = self.tail.directories();
            watch.follow(directories.iter().map(PathBuf::as_path));
        }
        let Poll { mut chunks, notices, ended, more } = self.tail.poll(now, budget_bytes);
        notices.iter().for_each(|notice| (self.told)(notice));
        chunks.extend(ended.into_iter().map(|stream| forget(self.source.clone(), stream, now)));
        Read { chunks, more, ended: false }
    }

    fn wait(&mut self, at_most: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let Some(watch) = &self.watch else {
            std::thread::sleep(at_most);
            return false;
        };
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        // An interrupted or failed wait is a short one.
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }

    fn progress(&self) -> Progress {
        let lag = self.tail.lag();
        Progress {
            files: lag.files as u64,
            bytes_behind: lag.bytes_behind,
            trouble: self.tail.conditions().iter().take(10).map(ToString::to_string).collect(),
            ..Progress::default()
        }
    }
}

/// A chunk of nothing that drops a stream's checkpoint, in its turn.
fn forget(source: Arc<Source>, stream: Arc<str>, now: Micros) -> Chunk {
    let origin = Origin {
        source,
        stream,
        run: 0,
        ordinal: 0,
        path: "".into(),
        offset: 0,
        generation: 0,
        first_seen: 0,
        input_bytes: 0,
        received_at: now,
        reflowed: false,
        checkpoint: Vec::new(),
        permit: None,
        only_sensors: None,
    };
    Chunk { origin, data: Vec::new(), places: Vec::new(), refused: Vec::new(), stored: None }
}

/// Reads files once, one after the other.
pub struct FilesReader {
    source: Arc<Source>,
    settings: ArchiveSettings,
    waiting: VecDeque<PathBuf>,
    current: Option<Archive>,
    progress: Progress,
    done_bytes: u64,
}

impl FilesReader {
    pub fn new(source: Arc<Source>, settings: ArchiveSettings, files: &[PathBuf]) -> FilesReader {
        let len = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let progress = Progress { files: files.len() as u64, bytes_total: files.iter().map(len).sum(), ..Progress::default() };
        FilesReader { source, settings, waiting: files.iter().cloned().collect(), current: None, progress, done_bytes: 0 }
    }

    fn open_next(&mut self) -> Option<&mut Archive> {
        while self.current.is_none() {
            let path = self.waiting.pop_front()?;
            match Archive::open(&path, self.source.clone(), self.settings) {
                Ok(archive) => self.current = Some(archive),
                Err(error) => self.fail(&error),
            }
        }
        self.current.as_mut()
    }

    fn fail(&mut self, error: &SourceError) {
        self.progress.files_done += 1;
        self.progress.files_failed += 1;
        if self.progress.trouble.len() < 100 {
            self.progress.trouble.push(error.to_string());
        }
    }

    fn close(&mut self) {
        if let Some(archive) = self.current.take() {
            self.done_bytes += archive.progress().1;
            self.progress.files_done += 1;
        }
    }
}

impl Reader for FilesReader {
    fn read(&mut self, _: Micros, budget_bytes: usize) -> Read {
        let mut read = Read { more: true, ..Read::default() };
        let mut bytes = 0;
        while bytes < budget_bytes {
            let Some(archive) = self.open_next() else {
                read.more = false;
                read.ended = true;
                break;
            };
            match archive.next_chunk() {
                Ok(Some(chunk)) => {
                    bytes += chunk.data.len().max(1);
                    read.chunks.push(chunk);
                }
                Ok(None) => self.close(),
                Err(error) => {
                    self.current = None;
                    self.fail(&error);
                }
            }
        }
        self.progress.bytes_read = self.done_bytes + self.current.as_ref().map_or(0, |archive| archive.progress().0);
        read
    }

    fn wait(&mut self, _: Duration) -> bool {
        true
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

/// Hands out the next chunks, about so many bytes of them: none when there are no more.
pub type ChunkSupply = Box<dyn FnMut(Micros, usize) -> Result<Vec<Chunk>, String> + Send>;

/// Reads what somebody else has cut into chunks already.
pub struct ChunksReader {
    supply: ChunkSupply,
    progress: Progress,
}

impl ChunksReader {
    pub fn new(supply: ChunkSupply) -> ChunksReader {
        ChunksReader { supply, progress: Progress::default() }
    }
}

impl Reader for ChunksReader {
    fn read(&mut self, now: Micros, budget_bytes: usize) -> Read {
        match (self.supply)(now, budget_bytes) {
            Ok(chunks) if !chunks.is_empty() => {
                self.progress.bytes_read += chunks.iter().map(|chunk| chunk.data.len() as u64).sum::<u64>();
                Read { chunks, more: true, ended: false }
            }
            Ok(_) => Read { ended: true, ..Read::default() },
            Err(error) => {
                self.progress.trouble.push(error);
                Read { ended: true, ..Read::default() }
            }
        }
    }

    fn wait(&mut self, _: Duration) -> bool {
        true
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

/// Lines looked at before a file counts as of no known format: its beginning may be torn or garbled.
const RECOGNISED_WITHIN_LINES: usize = 100;

/// Whether the first bytes of a file look like events of a format we read. `None`: nothing we know.
pub fn recognise(path: &Path) -> Result<Option<super::Format>, SourceError> {
    let source = Arc::new(Source { name: "recognise".into(), format: super::Format::COWRIE });
    let mut archive = Archive::open(path, source, ArchiveSettings::default())?;
    if archive.is_segment() {
        // It says itself what its events are, each of them.
        return Ok(Some(super::Format::COWRIE));
    }
    let Some(chunk) = archive.next_chunk()? else { return Ok(None) };
    let mut lines = chunk.data.split(|&byte| byte == b'\n').take(RECOGNISED_WITHIN_LINES);
    Ok(lines.find_map(super::Format::recognise))
}
