//! Follows growing logs through everything that rotates them.
//!
//! A file is what device and inode say, as long as what was read of it is still there (see `checkpoint`). Each file has its
//! own stream and checkpoint. The tail makes three kinds of decisions between files:
//!
//! - A file that left its path is read to its end; a line torn by the rotation is joined with its other half.
//! - A position whose bytes are gone (truncated, deleted, found replaced at the start) is *lost*: for a minute every file
//!   not known yet, also one that no pattern matches, plain or compressed, is tried for holding it, and reading goes on there.
//! - A file that repeats one being followed is a *copy* (logrotate's copytruncate makes one): it is read only from where
//!   the other was truncated.
//!
//! `poll` is synchronous, gets the time as a parameter and never fails: what cannot be read is told in a notice and tried
//! again. After a fault downstream the tail is dropped and opened anew with the committed checkpoints.
use super::archive::{Decoded, Expansion, Kind, MAGIC_BYTES};
use super::checkpoint::{Checkpoint, FileId, PREFIX_BYTES_MAX, REST_BYTES_MAX, Trail, hash_of, stream_name};
use super::finder::{Finder, Found, files_of};
use super::followed::{Followed, Input, Outcome, Place, Reading, container_of, ends_of, find_position, read_range};
use super::framing::{Framer, Limits, Piece, State, is_object};
use super::notice::TailNotice;
use super::{Chunk, Source, SourceError};
use crate::events::Micros;
use crate::events::time::MICROS_PER_SECOND;
use memchr::{memchr, memrchr};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The patterns are evaluated this often, and when [`Tail::rescan`] was called.
pub const SCAN_INTERVAL: Micros = MICROS_PER_SECOND;
/// How long the other half of a torn line is waited for after a rotation.
pub const TORN_WAIT: Micros = 5 * MICROS_PER_SECOND;
/// A compressed file is opened when it has not grown for this long.
pub const ARCHIVE_SETTLE: Micros = 5 * MICROS_PER_SECOND;
/// How long a deleted file that does not grow is kept, and a lost position looked for.
pub const GONE_WAIT: Micros = 60 * MICROS_PER_SECOND;
/// Most files held open; those that have not grown for longest are closed.
pub const OPEN_FILES_MAX: usize = 512;
/// Most files tried for lost positions in one scan.
const CANDIDATES_MAX: usize = 1024;

/// Where files without a checkpoint are begun that are there when the tail is opened for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Beginning,
    End,
}

#[derive(Clone, Debug)]
pub struct TailSettings {
    /// Absolute globs.
    pub patterns: Vec<String>,
    /// Directories into which links may lead, besides the patterns' own.
    pub allowed_roots: Vec<PathBuf>,
    pub start: Start,
    /// Goes into every chunk's origin.
    pub run: u64,
    pub limits: Limits,
    pub expansion: Expansion,
    pub open_files_max: usize,
}

impl TailSettings {
    pub fn new(patterns: Vec<String>) -> TailSettings {
        TailSettings {
            patterns,
            allowed_roots: Vec::new(),
            start: Start::default(),
            run: 0,
            limits: Limits::default(),
            expansion: Expansion::default(),
            open_files_max: OPEN_FILES_MAX,
        }
    }
}

/// What one [`Tail::poll`] yields.
#[derive(Debug, Default)]
pub struct Poll {
    /// To be committed in this order.
    pub chunks: Vec<Chunk>,
    pub notices: Vec<TailNotice>,
    /// Streams whose files are gone: their checkpoints may be dropped once the chunks so far are committed. Keeping one too
    /// long is harmless: it is told again at the next opening. Should such a stream come back (an inode used again), its chunks
    /// are numbered on.
    pub ended: Vec<Arc<str>>,
    /// There is more to do at once.
    pub more: bool,
}

/// How far behind the tail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    pub files: usize,
    pub files_open: usize,
    /// Written but not delivered, as of the last poll (of compressed files: compressed bytes).
    pub bytes_behind: u64,
}

pub struct Tail {
    source: Arc<Source>,
    settings: TailSettings,
    finder: Finder,
    files: BTreeMap<FileId, Followed>,
    /// Checkpoints whose files have not been looked for yet.
    unplaced: Vec<Checkpoint>,
    lost: Vec<Lost>,
    /// Of files whose content was replaced while nobody looked: the generation they begin with.
    generations: BTreeMap<FileId, u32>,
    /// Of files no longer followed: the number of their next chunk.
    ordinals: BTreeMap<FileId, u64>,
    /// Compressed files that may still be written: size, and since when it has not changed.
    settling: BTreeMap<FileId, (u64, Micros)>,
    conditions: BTreeSet<TailNotice>,
    /// Those of the scan before: told already.
    told: BTreeSet<TailNotice>,
    scanned_at: Option<Micros>,
    rescan: bool,
    first_scan: bool,
    early_notices: Vec<TailNotice>,
    turn: usize,
}

/// A position without its bytes.
struct Lost {
    position: Checkpoint,
    since: Micros,
    /// All bytes before it, when they are few.
    all_bytes: Option<Vec<u8>>,
    /// The file is gone with its stream; otherwise the stream lives on in a new generation.
    stream_ends: bool,
}

impl Lost {
    /// Whether the file is only a part of what was delivered before the position was lost.
    fn delivered_all_of(&self, file: &File, len: u64) -> bool {
        if len == 0 || len > self.position.offset {
            return false;
        }
        match &self.all_bytes {
            Some(all) => read_range(file, 0, len as usize).is_ok_and(|bytes| all.starts_with(&bytes)),
            None if len < PREFIX_BYTES_MAX as u64 => false,
            None => read_range(file, 0, PREFIX_BYTES_MAX).is_ok_and(|head| hash_of(&head) == self.position.prefix),
        }
    }
}

/// What came of trying a file.
enum Tried {
    /// It is followed now.
    Taken,
    /// Not to be decided yet.
    Later,
    Unknown,
}

impl Tail {
    /// Opens no file yet: that is done by the first poll. `checkpoints` are the committed ones of this source, by stream.
    pub fn open(source: Arc<Source>, settings: TailSettings, checkpoints: BTreeMap<String, Vec<u8>>) -> Result<Tail, SourceError> {
        let finder = Finder::new(&settings.patterns, &settings.allowed_roots)?;
        let mut early_notices = Vec::new();
        let first_scan = checkpoints.is_empty();
        let mut unplaced = Vec::new();
        for (stream, bytes) in checkpoints {
            match Checkpoint::decode(&bytes) {
                Ok(checkpoint) if *stream == *stream_name(&source.name, checkpoint.file) => unplaced.push(checkpoint),
                Ok(_) => {
                    let error = super::checkpoint::CheckpointError::Damaged.into();
                    early_notices.push(TailNotice::CheckpointUnusable { stream, error });
                }
                Err(error) => early_notices.push(TailNotice::CheckpointUnusable { stream, error: error.into() }),
            }
        }
        Ok(Tail {
            source,
            settings,
            finder,
            files: BTreeMap::new(),
            unplaced,
            lost: Vec::new(),
            generations: BTreeMap::new(),
            ordinals: BTreeMap::new(),
            settling: BTreeMap::new(),
            conditions: BTreeSet::new(),
            told: BTreeSet::new(),
            scanned_at: None,
            rescan: true,
            first_scan,
            early_notices,
            turn: 0,
        })
    }

    /// Directories worth watching: those of the patterns and of the files.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.values().filter_map(|file| file.path.parent());
        self.finder.bases().chain(parents).map(Path::to_path_buf).collect()
    }

    /// Something was created, renamed or deleted: evaluate the patterns at the next poll.
    pub fn rescan(&mut self) {
        self.rescan = true;
    }

    /// Sizes the chunks from now on.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.settings.limits.chunk_bytes = bytes;
        self.files.values_mut().for_each(|file| file.framer.set_chunk_bytes(bytes));
    }

    /// What stands in the way at present.
    pub fn conditions(&self) -> &BTreeSet<TailNotice> {
        &self.conditions
    }

    pub fn lag(&self) -> Lag {
        Lag {
            files: self.files.len(),
            files_open: self.files.values().filter(|file| !matches!(file.input, Input::Closed)).count(),
            bytes_behind: self.files.values().filter(|file| file.copy_of.is_none()).map(Followed::behind_bytes).sum(),
        }
    }

    /// Looks for changes and reads at most about `budget_bytes`.
    pub fn poll(&mut self, now: Micros, budget_bytes: usize) -> Poll {
        let mut poll = Poll { notices: std::mem::take(&mut self.early_notices), ..Poll::default() };
        let due = self.scanned_at.is_none_or(|at| now < at || now - at >= SCAN_INTERVAL);
        if self.rescan || due {
            self.rescan = false;
            self.scanned_at = Some(now);
            self.scan(now, &mut poll);
        }
        let mut budget = budget_bytes;
        let mut order: Vec<(bool, &Path, FileId)> =
            self.files.values().map(|file| (file.rotated_from.is_none(), file.path.as_path(), file.id)).collect();
        order.sort();
        // What was rotated comes before what follows it; the others take turns.
        let rotated = order.partition_point(|(current, ..)| !current);
        let current = &mut order[rotated..];
        if !current.is_empty() {
            let turn = self.turn % current.len();
            current.rotate_left(turn);
        }
        let order: Vec<(bool, FileId)> = order.into_iter().map(|(current, _, id)| (current, id)).collect();
        for (current, id) in order {
            if budget == 0 {
                poll.more = true;
                break;
            }
            let Some(read) = self.read(id, now, budget, &mut poll) else { continue };
            budget = budget.saturating_sub(read);
            if self.files.get(&id).is_some_and(|file| !file.is_drained() && !matches!(file.input, Input::Closed)) {
                poll.more = true;
                if !current {
                    // Its successor waits for it.
                    break;
                }
                self.turn += 1;
            }
        }
        self.close_surplus();
        // An inode given to a new file brings its stream back to life.
        poll.ended.retain(|stream| !self.files.values().any(|file| file.stream == *stream));
        poll
    }

    fn reading<'a>(source: &'a Arc<Source>, settings: &TailSettings, now: Micros) -> Reading<'a> {
        Reading { source, run: settings.run, limits: settings.limits, now }
    }

    /// Stops following a file; should it be taken up again, its chunks are numbered on.
    fn forget(&mut self, id: &FileId) -> Option<Followed> {
        let file = self.files.remove(id)?;
        self.ordinals.insert(*id, file.ordinal);
        Some(file)
    }

    // Reading one file.

    /// Reads from one file; none when there is nothing to be read from it at present.
    fn read(&mut self, id: FileId, now: Micros, budget: usize, poll: &mut Poll) -> Option<usize> {
        if self.is_held_back(id, now) || !self.ensure_open(id, now, poll) {
            return None;
        }
        let reading = Self::reading(&self.source, &self.settings, now);
        let file = self.files.get_mut(&id)?;
        let archive = file.is_archive();
        let result = if archive {
            file.read_archive(&reading, budget, &mut poll.chunks)
        } else {
            file.read_plain(&reading, budget, &mut poll.chunks)
        };
        let path = file.path.clone();
        let read = match result {
            Ok((Outcome::Read, read)) => read,
            Ok((Outcome::Truncated, read)) => {
                self.truncated(id, now, poll);
                return Some(read);
            }
            Ok((Outcome::NotTheSame { len }, read)) => {
                self.not_the_same(id, len, now, poll);
                return Some(read);
            }
            Err(error) => {
                file.input = Input::Closed;
                self.condition(TailNotice::Unreadable { path, kind: error.kind() }, poll);
                return None;
            }
        };
        let skipped = file.framer.skipped_bytes();
        if skipped > 0 && !file.skipped_told && file.framer.position().0 != State::Start {
            file.skipped_told = true;
            poll.notices.push(TailNotice::FrontSkipped { path, bytes: skipped });
        }
        if !archive {
            self.settle_torn_end(id, now, poll);
        }
        Some(read)
    }

    /// A copy waits for what it copies. A new generation waits until the compressed files around it were tried for the end
    /// of the old one: its first checkpoint replaces the position that they are tried for.
    fn is_held_back(&self, id: FileId, now: Micros) -> bool {
        let Some(file) = self.files.get(&id) else { return true };
        if file.copy_of.is_some() {
            return true;
        }
        self.is_position_wanted(id, now)
    }

    /// The checkpoint of this file's stream is one that compressed files are still being tried for.
    fn is_position_wanted(&self, id: FileId, now: Micros) -> bool {
        let tried = |position: &Checkpoint| self.files.values().any(|other| other.id != id && other.verify.as_ref() == Some(position));
        let mut wanted = self.lost.iter().filter(|lost| lost.position.file == id);
        wanted.any(|lost| (!self.settling.is_empty() && now - lost.since <= 2 * ARCHIVE_SETTLE) || tried(&lost.position))
    }

    /// Opens the file if it is to be read; false when it cannot be, or need not.
    fn ensure_open(&mut self, id: FileId, now: Micros, poll: &mut Poll) -> bool {
        let Some(file) = self.files.get_mut(&id) else { return false };
        if !matches!(file.input, Input::Closed) {
            return true;
        }
        let torn = file.is_torn() && file.rotated_from.is_some();
        if file.finished || file.place == Place::Gone || !(file.unread || torn || file.is_archive()) {
            return false;
        }
        let opened = match self.finder.open(&file.path) {
            Ok((opened, metadata)) if FileId::of(&metadata) == id => opened,
            Ok(_) => {
                // Renamed meanwhile.
                self.rescan = true;
                return false;
            }
            Err(notice) => {
                self.condition(notice, poll);
                return false;
            }
        };
        if file.is_archive() {
            let position = file.archive_position();
            if let Err(error) = file.open_archive(opened, self.settings.expansion, self.settings.limits, Some(position)) {
                let notice = TailNotice::Unreadable { path: file.path.clone(), kind: error.kind() };
                self.condition(notice, poll);
                return false;
            }
            return true;
        }
        file.input = Input::Plain(opened);
        match file.still_holds() {
            Ok(true) => true,
            _ => {
                self.truncated(id, now, poll);
                true
            }
        }
    }

    /// The content was replaced: the position is lost, and the file read anew.
    fn truncated(&mut self, id: FileId, now: Micros, poll: &mut Poll) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let position = file.checkpoint();
        let all_bytes = file.framer.position().1.all_bytes().map(<[u8]>::to_vec);
        let bytes_at_risk = file.size.saturating_sub(position.offset);
        file.begin_generation(self.settings.limits, now);
        let (path, generation) = (file.path.clone(), file.generation);
        poll.notices.push(TailNotice::Truncated { path, generation, bytes_at_risk });
        self.lose(position, all_bytes, false, now);
        // The position is looked for before the new generation is read: its copy must be known first.
        self.rescan = true;
        poll.more = true;
    }

    fn lose(&mut self, position: Checkpoint, all_bytes: Option<Vec<u8>>, stream_ends: bool, now: Micros) {
        // So short a one is never found again.
        if position.offset > REST_BYTES_MAX as u64 {
            self.lost.push(Lost { position, since: now, all_bytes, stream_ends });
        }
    }

    /// An archive taken for a known log is another, or a part of it.
    fn not_the_same(&mut self, id: FileId, len: Option<u64>, now: Micros, poll: &mut Poll) {
        let Some(file) = self.files.get(&id) else { return };
        let (path, place) = (file.path.clone(), file.place);
        let Some(position) = file.verify.clone() else { return };
        if let (Some(len), Some(original)) = (len, self.files.get(&position.file))
            && let Input::Plain(opened) = &original.input
        {
            // An earlier state of a log that has grown since: nothing in it is new.
            let reading = Self::reading(&self.source, &self.settings, now);
            if let Ok((head, behind)) = ends_of(opened, len)
                && let Ok((archived, _)) = self.finder.open(&path)
                && ends_of_archive(archived, self.settings.expansion, len).is_some_and(|ends| ends == (head.clone(), behind.clone()))
                && let Some(file) = self.files.get_mut(&id)
            {
                file.verify = None;
                file.resume_at(reading.limits, State::Lines, Trail::resume(len, &head, &behind));
                file.end_archive(None, &reading, &mut poll.chunks);
                return;
            }
        }
        // Back to where it was lost from; the archive is read from its beginning if it is one of ours.
        self.forget(&id);
        if place == Place::Listed {
            self.follow_archive(id, &path, Place::Listed, None, now, poll);
        }
    }

    /// Decides about the torn end of a file that was rotated.
    fn settle_torn_end(&mut self, id: FileId, now: Micros, poll: &mut Poll) {
        let Some(file) = self.files.get(&id) else { return };
        if !file.is_drained() || !file.is_torn() {
            return;
        }
        let Some(from) = file.rotated_from.clone() else { return };
        let waited = now - file.rotated_at.max(file.active_at) >= TORN_WAIT;
        let gone = file.place == Place::Gone;
        let successor = self.files.values().find(|other| other.path == from && other.id != id).map(|other| other.id);
        if successor.is_none() && !gone && !from.exists() {
            // Renamed, but nothing took its place: its writer goes on.
            return;
        }
        if let Some(next) = successor
            && self.join_torn_line(id, next, now, poll)
        {
            return;
        }
        if waited {
            let reading = Self::reading(&self.source, &self.settings, now);
            if let Some(file) = self.files.get_mut(&id)
                && let Err(error) = file.finish(&reading, &mut poll.chunks)
            {
                let notice = TailNotice::Unreadable { path: file.path.clone(), kind: error.kind() };
                self.condition(notice, poll);
            }
        }
    }

    /// Old Cowrie tore a line in two when it rotated: one half at the end of the old file, the other at the beginning of
    /// the new. Joined only when neither the halves but the whole is an object.
    fn join_torn_line(&mut self, id: FileId, next: FileId, now: Micros, poll: &mut Poll) -> bool {
        if !self.ensure_open(next, now, poll) {
            return false;
        }
        let limits = self.settings.limits;
        let reading = Self::reading(&self.source, &self.settings, now);
        let Some(file) = self.files.get_mut(&id) else { return false };
        let Ok(Some(half)) = file.torn_end() else { return false };
        let from = file.path.clone();
        let Some(other) = self.files.get_mut(&next) else { return false };
        let Input::Plain(opened) = &other.input else { return false };
        if other.offset() > 0 || is_object(&half) {
            return false;
        }
        let Ok(first) = read_range(opened, 0, limits.line_bytes_max + 1) else { return false };
        let Some(newline) = memchr(b'\n', &first) else { return false };
        let first = &first[..newline + 1];
        let whole = [&half[..], first].concat();
        if is_object(first) || !is_object(&whole) || whole.len() > limits.line_bytes_max + 1 {
            return false;
        }
        let mut trail = Trail::default();
        trail.pass(first);
        // Having its half of the line, it is the successor and no copy, however alike they begin.
        other.copy_of = None;
        other.resume_at(limits, State::Lines, trail);
        let end = first.len() as u64;
        let piece = Piece { data: whole, places: Vec::new(), refused: Vec::new(), start: 0, end, reflowed: true };
        let chunk = other.chunk(piece, &reading);
        poll.notices.push(TailNotice::TornLineJoined { from, to: other.path.clone() });
        poll.chunks.push(chunk);
        if let Some(file) = self.files.get_mut(&id) {
            file.skip_torn_end(limits, &reading, &mut poll.chunks);
        }
        true
    }

    /// Keeps the number of open files bounded; a closed one is opened again when it has grown.
    fn close_surplus(&mut self) {
        let mut open: Vec<(Micros, FileId)> = Vec::new();
        let mut kept = 0;
        for file in self.files.values() {
            match file.input {
                Input::Closed => {}
                Input::Plain(_) if file.place != Place::Gone && file.is_drained() => open.push((file.active_at, file.id)),
                _ => kept += 1,
            }
        }
        let surplus = (open.len() + kept).saturating_sub(self.settings.open_files_max);
        open.sort();
        for (_, id) in open.into_iter().take(surplus) {
            if let Some(file) = self.files.get_mut(&id) {
                file.input = Input::Closed;
                file.framer.forget_pending();
            }
        }
    }

    // Looking at the directories.

    fn scan(&mut self, now: Micros, poll: &mut Poll) {
        let listing = self.finder.list();
        self.told = std::mem::take(&mut self.conditions);
        for condition in listing.conditions {
            self.condition(condition, poll);
        }
        let mut listed: BTreeMap<FileId, Vec<&Found>> = BTreeMap::new();
        for found in &listing.files {
            listed.entry(found.id).or_default().push(found);
        }
        for id in self.files.keys().copied().collect::<Vec<_>>() {
            self.relocate(id, listed.get(&id).map(Vec::as_slice), now, poll);
        }
        for checkpoint in std::mem::take(&mut self.unplaced) {
            self.place(checkpoint, &listed, now, poll);
        }
        self.forget_found(poll);
        let copies: Vec<FileId> = self.files.values().filter(|file| file.copy_of.is_some()).map(|file| file.id).collect();
        for id in copies {
            self.review_copy(id, now, poll);
        }
        let mut unknown: Vec<&Found> = listing.files.iter().filter(|found| !self.files.contains_key(&found.id)).collect();
        if !unknown.is_empty() {
            self.notice_truncations(now, poll);
        }
        // Larger ones first among those that may be copies of each other: a copy is never longer than what it copies.
        // Compressed ones before all, as others may have to wait for what is found in them.
        let compressed =
            |found: &Found| found.path.extension().is_some_and(|name| ["gz", "bz2", "zst", "xz"].iter().any(|known| name == *known));
        unknown.sort_by(|a, b| compressed(b).cmp(&compressed(a)).then(b.len.cmp(&a.len)).then_with(|| a.path.cmp(&b.path)));
        for found in unknown {
            if self.files.contains_key(&found.id) || self.is_position_wanted(found.id, now) {
                continue;
            }
            if let Tried::Unknown = self.try_lost(found, Place::Listed, now, poll) {
                self.discover(found, now, poll);
            }
        }
        self.search_unlisted(&listed, now, poll);
        self.settling.retain(|_, (_, since)| now - *since < GONE_WAIT);
        self.drop_gone(now, poll);
        self.first_scan = false;
    }

    /// A position lost before a restart was found then, if a file with a checkpoint of its own holds it.
    fn forget_found(&mut self, poll: &mut Poll) {
        let (files, source) = (&self.files, &self.source);
        self.lost.retain(|lost| {
            let found = files.values().any(|file| match &file.input {
                Input::Plain(opened) => file.offset() >= lost.position.offset && find_lost(opened, &lost.position).is_some(),
                _ => false,
            });
            if found && lost.stream_ends && !files.contains_key(&lost.position.file) {
                poll.ended.push(stream_name(&source.name, lost.position.file));
            }
            !found
        });
    }

    /// New files may be copies of what was truncated: that has to be known before they are judged.
    fn notice_truncations(&mut self, now: Micros, poll: &mut Poll) {
        for id in self.files.keys().copied().collect::<Vec<_>>() {
            let Some(file) = self.files.get_mut(&id).filter(|file| !file.is_archive()) else { continue };
            if matches!(file.input, Input::Closed) {
                // Opening looks for itself.
                self.ensure_open(id, now, poll);
            } else if !file.still_holds().unwrap_or(true) {
                // What cannot be read now is noticed when it is read.
                self.truncated(id, now, poll);
            }
        }
    }

    fn condition(&mut self, notice: TailNotice, poll: &mut Poll) {
        // A file that vanished is no condition: the next scan says where it went.
        if let TailNotice::Unreadable { kind: std::io::ErrorKind::NotFound, .. } = notice {
            self.rescan = true;
            return;
        }
        if self.conditions.insert(notice.clone()) && !self.told.contains(&notice) {
            poll.notices.push(notice);
        }
    }

    /// Finds out where a followed file is now, and whether it changed.
    fn relocate(&mut self, id: FileId, listed: Option<&[&Found]>, now: Micros, poll: &mut Poll) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let mut len = None;
        match listed {
            Some(found) => {
                if !found.iter().any(|found| found.path == file.path) {
                    file.moved(found[0].path.clone(), Place::Listed, now);
                }
                file.place = Place::Listed;
                len = Some(found[0].len);
            }
            None if file.place == Place::Gone => {}
            None => match std::fs::metadata(&file.path) {
                Ok(metadata) if FileId::of(&metadata) == id => {
                    file.place = Place::Elsewhere;
                    len = Some(metadata.len());
                }
                _ => match files_of(file.path.parent().unwrap_or(Path::new("/"))) {
                    Ok(files) => match files.into_iter().find(|found| found.id == id) {
                        Some(found) => {
                            len = Some(found.len);
                            file.moved(found.path, Place::Elsewhere, now);
                        }
                        None => {
                            file.place = Place::Gone;
                            file.rotated(file.path.clone(), now);
                        }
                    },
                    // Cannot be told: the directory is gone or closed to us. What is open is still read.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        file.place = Place::Gone;
                        file.rotated(file.path.clone(), now);
                    }
                    Err(_) => {}
                },
            },
        }
        let Some(len) = len else { return };
        if let Some(container) = file.container {
            if file.finished && container.len != len {
                // Was still being written after all: goes on behind what was read.
                let (found, place) = (Found { path: file.path.clone(), id, len }, file.place);
                if self.is_settled(&found, now)
                    && let Some(file) = self.forget(&id)
                {
                    self.follow_archive(id, &found.path, place, Some(file.archive_position()), now, poll);
                }
            }
        } else if matches!(file.input, Input::Closed) && len != file.size {
            file.unread = true;
        }
    }

    /// Takes up a committed position.
    fn place(&mut self, checkpoint: Checkpoint, listed: &BTreeMap<FileId, Vec<&Found>>, now: Micros, poll: &mut Poll) {
        let id = checkpoint.file;
        let found = match listed.get(&id) {
            Some(found) => {
                found.iter().find(|found| found.path == checkpoint.path).or(found.first()).map(|found| (found.path.clone(), Place::Listed))
            }
            None => match files_of(checkpoint.path.parent().unwrap_or(Path::new("/"))) {
                Ok(files) => files.into_iter().find(|found| found.id == id).map(|found| (found.path, Place::Elsewhere)),
                // The directory may come back (a mount, a permission).
                Err(_) => return self.unplaced.push(checkpoint),
            },
        };
        let Some((path, place)) = found else {
            if checkpoint.finished || checkpoint.offset <= REST_BYTES_MAX as u64 {
                poll.ended.push(stream_name(&self.source.name, id));
            } else {
                self.lose(checkpoint, None, true, now);
            }
            return;
        };
        let opened = match self.finder.open(&path) {
            Ok((opened, metadata)) if FileId::of(&metadata) == id => opened,
            Ok(_) => return self.unplaced.push(checkpoint),
            Err(notice) => {
                self.condition(notice, poll);
                return self.unplaced.push(checkpoint);
            }
        };
        let limits = self.settings.limits;
        let mut file = Followed::new(&self.source, id, path, checkpoint.generation, Framer::new(limits), now);
        file.first_seen = checkpoint.first_seen;
        file.ordinal = self.ordinals.get(&id).copied().unwrap_or(0);
        file.place = place;
        if file.path != checkpoint.path {
            file.rotated(checkpoint.path.clone(), now);
        }
        if let Some(container) = checkpoint.container {
            if container_of(&opened).is_ok_and(|now| now == container) {
                file.container = Some(container);
                file.finished = checkpoint.finished;
                file.size = container.len;
                // The framer only has to repeat the position.
                file.verify = Some(checkpoint);
                self.files.insert(id, file);
            } else {
                // Another archive under the same inode.
                self.lose(checkpoint, None, true, now);
            }
            return;
        }
        // The beginning of a torn line under another name is as likely a new file that got the inode: it is read anew.
        let moved = file.path != checkpoint.path;
        let believed = |trail: &Trail| !moved || trail.is_distinctive() || trail.behind().last().is_none_or(|last| *last == b'\n');
        match find_position(&opened, &checkpoint).map(|trail| trail.filter(believed)) {
            Ok(Some(trail)) => {
                file.resume_at(limits, checkpoint.framing, trail);
                file.size = opened.metadata().map_or(0, |metadata| metadata.len());
                file.input = Input::Plain(opened);
                self.files.insert(id, file);
            }
            Ok(None) => {
                // Truncated, or the inode was given to another file: it is judged like one not known yet.
                let generation = checkpoint.generation.saturating_add(1);
                poll.notices.push(TailNotice::Truncated { path: file.path, generation, bytes_at_risk: 0 });
                self.generations.insert(id, generation);
                self.lose(checkpoint, None, place == Place::Elsewhere, now);
            }
            Err(error) => {
                self.condition(TailNotice::Unreadable { path: file.path.clone(), kind: error.kind() }, poll);
                self.unplaced.push(checkpoint);
            }
        }
    }

    /// Tries whether an unknown file holds a position that was lost, or that of a file that is gone.
    fn try_lost(&mut self, found: &Found, place: Place, now: Micros, poll: &mut Poll) -> Tried {
        let gone = |file: &&Followed| file.place == Place::Gone && !file.is_archive() && file.offset() > 0;
        if self.lost.is_empty() && !self.files.values().any(|file| gone(&file)) {
            return Tried::Unknown;
        }
        let Ok((opened, _)) = self.finder.open(&found.path) else { return Tried::Unknown };
        let Ok(head) = read_range(&opened, 0, MAGIC_BYTES) else { return Tried::Unknown };
        if Kind::of(&head) != Kind::Plain {
            // Compressed files are matched where they are taken up.
            return if place == Place::Listed { Tried::Unknown } else { self.discover_archive(found, place, now, poll) };
        }
        let holder = self.lost.iter().position(|lost| find_lost(&opened, &lost.position).is_some());
        if let Some(at) = holder {
            let lost = self.lost.swap_remove(at);
            self.continue_in(found, place, &lost.position, opened, now, poll);
            if lost.stream_ends {
                poll.ended.push(stream_name(&self.source.name, lost.position.file));
            }
            return Tried::Taken;
        }
        if self.lost.iter().any(|lost| lost.delivered_all_of(&opened, found.len)) {
            // Copied from a log that had been read further when it was truncated.
            let Ok((head, behind)) = ends_of(&opened, found.len) else { return Tried::Later };
            let limits = self.settings.limits;
            let trail = Trail::resume(found.len, &head, &behind);
            if !trail.is_distinctive() {
                return Tried::Unknown;
            }
            let mut file = self.begin(found.id, found.path.clone(), now);
            file.resume_at(limits, State::Lines, trail);
            file.place = place;
            file.size = found.len;
            file.input = Input::Plain(opened);
            let reading = Self::reading(&self.source, &self.settings, now);
            poll.chunks.push(file.position_chunk(&reading));
            self.files.insert(found.id, file);
            return Tried::Taken;
        }
        let holder = self.files.values().filter(gone).find(|file| find_lost(&opened, &file.checkpoint()).is_some());
        if let Some(original) = holder {
            if !original.is_up_to_date() {
                return Tried::Later;
            }
            let position = original.checkpoint();
            self.continue_in(found, place, &position, opened, now, poll);
            self.forget(&position.file);
            poll.ended.push(stream_name(&self.source.name, position.file));
            return Tried::Taken;
        }
        Tried::Unknown
    }

    fn continue_in(&mut self, found: &Found, place: Place, position: &Checkpoint, opened: File, now: Micros, poll: &mut Poll) {
        let Some(trail) = find_lost(&opened, position) else { return };
        let mut file = self.begin(found.id, found.path.clone(), now);
        file.generation = file.generation.max(position.generation);
        file.resume_at(self.settings.limits, position.framing, trail);
        file.place = place;
        file.size = found.len;
        file.input = Input::Plain(opened);
        file.rotated(position.path.clone(), now);
        let notice = TailNotice::ContinuedIn { path: position.path.clone(), found: found.path.clone(), offset: position.offset };
        poll.notices.push(notice);
        // Before anything else of the old stream is replaced, the new one must know where to go on.
        let reading = Self::reading(&self.source, &self.settings, now);
        poll.chunks.push(file.position_chunk(&reading));
        self.files.insert(found.id, file);
    }

    fn begin(&mut self, id: FileId, path: PathBuf, now: Micros) -> Followed {
        let generation = self.generations.remove(&id).unwrap_or(0);
        let mut file = Followed::new(&self.source, id, path, generation, Framer::new(self.settings.limits), now);
        file.ordinal = self.ordinals.get(&id).copied().unwrap_or(0);
        file
    }

    /// A listed file that nothing is known of.
    fn discover(&mut self, found: &Found, now: Micros, poll: &mut Poll) {
        let opened = match self.finder.open(&found.path) {
            Ok((opened, metadata)) if FileId::of(&metadata) == found.id => opened,
            Ok(_) => return,
            Err(notice) => return self.condition(notice, poll),
        };
        let head = match read_range(&opened, 0, MAGIC_BYTES) {
            Ok(head) => head,
            Err(error) => return self.condition(TailNotice::Unreadable { path: found.path.clone(), kind: error.kind() }, poll),
        };
        // Too short to tell: it will grow, or matters to nobody.
        if head.is_empty() || (head.len() < MAGIC_BYTES && matches!(head[0], 0x1f | b'B' | 0x28 | 0x50..=0x5f | 0xfd)) {
            return;
        }
        if Kind::of(&head) != Kind::Plain {
            self.discover_archive(found, Place::Listed, now, poll);
            return;
        }
        let limits = self.settings.limits;
        let mut file = self.begin(found.id, found.path.clone(), now);
        file.size = found.len;
        file.input = Input::Plain(opened);
        if self.first_scan && self.settings.start == Start::End {
            if let Input::Plain(opened) = &file.input
                && let Ok(trail) = last_line_of(opened, found.len, limits.line_bytes_max)
            {
                file.resume_at(limits, State::Lines, trail);
            }
        } else {
            if let Some((original, generation)) = self.original_of(&mut file) {
                file.copy_of = Some(original);
                file.copied_generation = generation;
            }
        }
        self.files.insert(found.id, file);
        self.review_copy(found.id, now, poll);
    }

    /// The followed file that this one repeats, if any.
    fn original_of(&mut self, copy: &mut Followed) -> Option<(FileId, u32)> {
        let first = copy.first_bytes().to_vec();
        let Input::Plain(opened) = &copy.input else { return None };
        self.files.values_mut().find_map(|file| {
            let possible = !file.is_archive() && file.copy_of.is_none() && file.size >= copy.size && file.first_bytes().starts_with(&first);
            let Input::Plain(original) = &file.input else { return None };
            (possible && repeats(opened, original)).then_some((file.id, file.generation))
        })
    }

    /// Decides anew whether a file is a copy, and what of it remains to be read.
    fn review_copy(&mut self, id: FileId, now: Micros, poll: &mut Poll) {
        let Some(original_id) = self.files.get(&id).and_then(|file| file.copy_of) else { return };
        // A truncation not noticed yet would make the copy look like another file.
        let original = self.files.get_mut(&original_id);
        let holds = match original {
            Some(original) if matches!(original.input, Input::Closed) => return,
            Some(original) => original.still_holds().unwrap_or(false),
            None => true,
        };
        if !holds {
            self.truncated(original_id, now, poll);
        }
        let limits = self.settings.limits;
        let reading = Self::reading(&self.source, &self.settings, now);
        let Some(mut copy) = self.files.remove(&id) else { return };
        self.ordinals.insert(id, copy.ordinal);
        let Input::Plain(opened) = &copy.input else { return };
        let len = opened.metadata().map_or(0, |metadata| metadata.len());
        let ends = ends_of(opened, len).ok();
        let mut cover = |copy: &mut Followed| {
            // What the original has delivered of it is done.
            let trail = ends.as_ref().map(|(head, behind)| Trail::resume(len, head, behind));
            if let Some(trail) = trail.filter(|trail| copy.offset() < len && trail.is_distinctive()) {
                copy.resume_at(limits, State::Lines, trail);
                poll.chunks.push(copy.position_chunk(&reading));
            }
        };
        if let Some(original) = self.files.get(&original_id).filter(|original| holds && original.generation == copy.copied_generation)
            && let Input::Plain(other) = &original.input
            && repeats(opened, other)
        {
            if original.offset() >= len {
                cover(&mut copy);
            }
            copy.size = len;
            self.files.insert(id, copy);
            return;
        }
        copy.copy_of = None;
        let lost = self.lost.iter().find(|lost| lost.position.file == original_id && lost.position.generation == copy.copied_generation);
        match lost.map(|lost| lost.position.clone()) {
            Some(position) if find_lost(opened, &position).is_some() => {
                let (found, place) = (Found { path: copy.path.clone(), id, len }, copy.place);
                let Input::Plain(opened) = copy.input else { return };
                self.continue_in(&found, place, &position, opened, now, poll);
                self.lost.retain(|lost| lost.position != position);
                return;
            }
            // A copy of a part that was delivered: it was one when last looked at, and has not changed since.
            Some(position) if len <= position.offset && copy.size == len => cover(&mut copy),
            // Nothing is known against what was found before.
            None if !self.files.contains_key(&original_id) => {}
            // Another file after all, however alike it began: nothing of it may be missing.
            _ if copy.offset() > 0 => copy.begin_generation(limits, now),
            _ => {}
        }
        copy.size = len;
        self.files.insert(id, copy);
    }

    fn is_settled(&mut self, found: &Found, now: Micros) -> bool {
        let (len, since) = self.settling.entry(found.id).or_insert((found.len, now));
        if *len != found.len {
            (*len, *since) = (found.len, now);
        }
        let settled = now - *since >= ARCHIVE_SETTLE;
        if settled {
            self.settling.remove(&found.id);
        }
        settled
    }

    /// A compressed file: the same log as one that was lost, or as one that is followed, or a new one.
    fn discover_archive(&mut self, found: &Found, place: Place, now: Micros, poll: &mut Poll) -> Tried {
        if !self.is_settled(found, now) {
            return Tried::Later;
        }
        let Ok((opened, _)) = self.finder.open(&found.path) else { return Tried::Later };
        let head = archive_head(opened, self.settings.expansion);
        let same = |position: &Checkpoint| {
            let len = position.offset.min(PREFIX_BYTES_MAX as u64) as usize;
            len > 0 && head.len() >= len && hash_of(&head[..len]) == position.prefix
        };
        let unread = |file: &&mut Followed| !file.is_archive() && file.copy_of.is_none() && file.offset() == 0 && !file.is_up_to_date();
        let unread_twin = self.files.values_mut().filter(unread).any(|file| {
            let first = file.first_bytes();
            !first.is_empty() && (head.starts_with(first) || first.starts_with(&head))
        });
        if unread_twin {
            return Tried::Later;
        }
        // The furthest position wins: a log may have been lost, found in a copy, and read on there.
        let lost = self.lost.iter().map(|lost| (true, lost.position.clone()));
        let followed = self.files.values().filter(|file| !file.is_archive() && file.copy_of.is_none());
        let followed = followed.filter(|_| place == Place::Listed).map(|file| (file.is_up_to_date(), file.checkpoint()));
        let twin = lost.chain(followed).filter(|(_, position)| same(position)).max_by_key(|(_, position)| position.offset);
        let position = match twin {
            // First the plain file, then what the archive may have beyond it.
            Some((false, _)) => return Tried::Later,
            Some((true, position)) => Some(position),
            None if place == Place::Listed => None,
            None => return Tried::Unknown,
        };
        self.follow_archive(found.id, &found.path, place, position, now, poll);
        Tried::Taken
    }

    fn follow_archive(&mut self, id: FileId, path: &Path, place: Place, position: Option<Checkpoint>, now: Micros, poll: &mut Poll) {
        let (opened, metadata) = match self.finder.open(path) {
            Ok(opened) => opened,
            Err(notice) => return self.condition(notice, poll),
        };
        if FileId::of(&metadata) != id {
            return;
        }
        let limits = self.settings.limits;
        let mut file = self.begin(id, path.to_path_buf(), now);
        file.place = place;
        file.size = metadata.len();
        if let Some(position) = &position {
            if position.file != id {
                file.rotated(position.path.clone(), now);
            }
            file.generation = file.generation.max(position.generation);
        }
        if let Err(error) = file.open_archive(opened, self.settings.expansion, limits, position) {
            return self.condition(TailNotice::Unreadable { path: path.to_path_buf(), kind: error.kind() }, poll);
        }
        if self.first_scan && self.settings.start == Start::End {
            let reading = Self::reading(&self.source, &self.settings, now);
            file.end_archive(None, &reading, &mut poll.chunks);
        }
        self.files.insert(id, file);
    }

    /// Looks for lost positions in files that no pattern matches.
    fn search_unlisted(&mut self, listed: &BTreeMap<FileId, Vec<&Found>>, now: Micros, poll: &mut Poll) {
        let directories: BTreeSet<PathBuf> =
            self.lost.iter().filter_map(|lost| lost.position.path.parent()).map(Path::to_path_buf).collect();
        let candidates = directories.iter().filter_map(|directory| files_of(directory).ok()).flatten();
        let unknown = |found: &Found| !listed.contains_key(&found.id);
        for found in candidates.filter(unknown).take(CANDIDATES_MAX) {
            if self.lost.is_empty() {
                return;
            }
            if !self.files.contains_key(&found.id) {
                self.try_lost(&found, Place::Elsewhere, now, poll);
            }
        }
    }

    /// Ends what is over: archives that took over a position, files deleted and read, positions not found again.
    fn drop_gone(&mut self, now: Micros, poll: &mut Poll) {
        let taken_over: Vec<(Checkpoint, PathBuf)> = self
            .files
            .values_mut()
            .filter(|file| file.is_archive() && file.verify.is_none())
            .filter_map(|file| file.taken_over.take().map(|position| (position, file.path.clone())))
            .collect();
        for (position, found) in taken_over {
            let offset = position.offset;
            if let Some(at) = self.lost.iter().position(|lost| lost.position == position) {
                if self.lost.swap_remove(at).stream_ends {
                    poll.ended.push(stream_name(&self.source.name, position.file));
                }
            } else if self.files.get(&position.file).is_some_and(|file| file.place == Place::Gone) {
                self.forget(&position.file);
                poll.ended.push(stream_name(&self.source.name, position.file));
            } else {
                continue;
            }
            poll.notices.push(TailNotice::ContinuedIn { path: position.path, found, offset });
        }
        let over: Vec<FileId> = self
            .files
            .values()
            .filter(|file| file.place == Place::Gone && now - file.active_at.max(file.rotated_at) >= GONE_WAIT)
            .filter(|file| (file.is_drained() && !file.is_torn()) || matches!(file.input, Input::Closed))
            .map(|file| file.id)
            .collect();
        for id in over {
            let Some(file) = self.forget(&id) else { continue };
            if !file.is_drained() || file.is_torn() {
                poll.notices.push(TailNotice::Vanished { path: file.path.clone(), offset: file.offset() });
            }
            poll.ended.push(Arc::clone(&file.stream));
        }
        let trying: Vec<Checkpoint> = self.files.values().filter_map(|file| file.verify.clone()).collect();
        let source = &self.source;
        self.lost.retain(|lost| {
            let keep = now - lost.since < GONE_WAIT || trying.contains(&lost.position);
            if !keep && lost.stream_ends {
                poll.notices.push(TailNotice::Vanished { path: lost.position.path.clone(), offset: lost.position.offset });
                poll.ended.push(stream_name(&source.name, lost.position.file));
            }
            keep
        });
    }
}

/// Finds the position of another file in this one.
fn find_lost(file: &File, position: &Checkpoint) -> Option<Trail> {
    find_position(file, position).ok().flatten().filter(Trail::is_distinctive)
}

/// Whether all of `copy` is found at the beginning of `original`, as far as its ends tell.
fn repeats(copy: &File, original: &File) -> bool {
    let Ok(len) = copy.metadata().map(|metadata| metadata.len()) else { return false };
    let long_enough = original.metadata().is_ok_and(|metadata| metadata.len() >= len);
    len > 0 && long_enough && matches!((ends_of(copy, len), ends_of(original, len)), (Ok(a), Ok(b)) if a == b)
}

/// The position behind the last newline.
fn last_line_of(file: &File, len: u64, line_bytes_max: usize) -> std::io::Result<Trail> {
    let from = len.saturating_sub(line_bytes_max as u64 + 1);
    let end = read_range(file, from, (len - from) as usize)?;
    let offset = memrchr(b'\n', &end).map_or(0, |newline| from + newline as u64 + 1);
    let (head, behind) = ends_of(file, offset)?;
    Ok(Trail::resume(offset, &head, &behind))
}

/// The first decompressed bytes, as many as a prefix covers; fewer when there are not more, or the archive is damaged.
fn archive_head(file: File, expansion: Expansion) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(decoded) = Decoded::new(file, expansion) {
        // What came before an error is kept.
        let _ = decoded.take(PREFIX_BYTES_MAX as u64).read_to_end(&mut head);
    }
    head
}

/// The bytes that identify the first `len` decompressed bytes.
fn ends_of_archive(file: File, expansion: Expansion, len: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut decoded = Decoded::new(file, expansion).ok()?;
    let (mut head, mut trail, mut buffer) = (Vec::new(), Trail::default(), [0; 32 << 10]);
    while trail.offset() < len {
        let wanted = usize::try_from(len - trail.offset()).unwrap_or(usize::MAX).min(buffer.len());
        let got = decoded.read(&mut buffer[..wanted]).ok().filter(|got| *got > 0)?;
        let missing = PREFIX_BYTES_MAX.saturating_sub(head.len()).min(got);
        head.extend_from_slice(&buffer[..missing]);
        trail.pass(&buffer[..got]);
    }
    Some((head, trail.behind().to_vec()))
}
