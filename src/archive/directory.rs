//! An archive in a directory: written aside, synced, read back and compared, and only then given its name.
use super::{ArchiveError, Destination, Held, Stop, Sums};
use crate::journal::fs::{File, Fs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is not complete has this behind its name.
pub const PART: &str = ".part";

pub struct Directory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Directory {
    pub fn new(fs: Arc<dyn Fs>, dir: &Path) -> Directory {
        Directory { fs, dir: dir.to_owned() }
    }

    fn failed(&self, action: &'static str, name: &str) -> impl Fn(io::Error) -> ArchiveError {
        let path = self.dir.join(name);
        move |source| ArchiveError::Directory { action, path: path.clone(), source }
    }
}

impl Destination for Directory {
    fn place(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }

    fn holds(&self, name: &str, sums: &Sums, stop: &Stop) -> Result<Held, ArchiveError> {
        let file = match self.fs.open(&self.dir.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
            Err(error) => return Err(self.failed("open", name)(error)),
        };
        if file.len().map_err(self.failed("read", name))? != sums.bytes {
            return Ok(Held::Other);
        }
        let found = Sums::of(&*file, stop).map_err(self.failed("read", name))?;
        if found != *sums {
            return Ok(Held::Other);
        }
        // It may have been renamed right before a crash, and be found before that was durable.
        self.fs.sync_dir(&self.dir).map_err(self.failed("sync the directory of", name))?;
        Ok(Held::Same)
    }

    fn put(&self, name: &str, source: &Arc<dyn File>, sums: &Sums, stop: &Stop) -> Result<(), ArchiveError> {
        let part = format!("{name}{PART}");
        let path = self.dir.join(&part);
        // Of an attempt before.
        match self.fs.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed("remove", &part)(error)),
            _ => {}
        }
        let written = self.write(&part, source, stop).and_then(|file| {
            let found = Sums::of(&*file, stop).map_err(self.failed("read back", &part))?;
            if found == *sums { Ok(()) } else { Err(ArchiveError::Mismatch { name: name.to_owned(), place: self.place() }) }
        });
        if let Err(error) = written {
            // A disk that is full is not to be kept so by half a file; if it cannot be removed, the next attempt does.
            let _ = self.fs.remove(&path);
            return Err(error);
        }
        self.fs.rename(&path, &self.dir.join(name)).map_err(self.failed("name", name))?;
        self.fs.sync_dir(&self.dir).map_err(self.failed("sync the directory of", name))
    }
}

impl Directory {
    fn write(&self, part: &str, source: &Arc<dyn File>, stop: &Stop) -> Result<Arc<dyn File>, ArchiveError> {
        let file = self.fs.create(&self.dir.join(part)).map_err(self.failed("create", part))?;
        let copied = super::pieces(&**source, stop, |piece, at| file.write_at(&[piece], at)).and_then(|()| file.sync_data());
        copied.map_err(self.failed("write", part))?;
        Ok(file)
    }
}
