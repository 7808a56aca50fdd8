//! A log file that starts anew at a size and keeps a number of old ones: `file`, `file.1` (newest old one), `file.2`, …
//!
//! Writing a log must never stop the daemon: when the file cannot be written the record is lost, counted, and opening is
//! tried again with the next record.
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub struct RollingFile {
    path: PathBuf,
    bytes_max: u64,
    keep: usize,
    open: Option<(File, u64)>,
}

impl RollingFile {
    /// Opens the file for appending, or says why that cannot be.
    pub fn open(path: &Path, bytes_max: u64, keep: usize) -> io::Result<RollingFile> {
        let mut file = RollingFile { path: path.into(), bytes_max, keep, open: None };
        file.reopen()?;
        Ok(file)
    }

    /// After someone else has moved the file away (logrotate, SIGHUP).
    pub fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        // Attackers' text lies in logs: not for every local user. O_NONBLOCK: a FIFO without a reader must not stop us.
        let options = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(options).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        self.open = Some((file, metadata.len()));
        Ok(())
    }

    /// Writes a whole record.
    pub fn write_record(&mut self, record: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, len)| *len > 0 && len + record.len() as u64 > self.bytes_max) {
            self.roll()?;
        }
        if self.open.is_none() {
            self.reopen()?;
        }
        let (file, len) = self.open.as_mut().expect("opened above");
        match file.write_all(record) {
            Ok(()) => {
                *len += record.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Part of the record may be there: take it back, so that the next one starts a line.
                let _ = file.set_len(*len);
                self.open = None;
                Err(error)
            }
        }
    }

    fn roll(&mut self) -> io::Result<()> {
        self.open = None;
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
            return self.reopen();
        }
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match std::fs::rename(&self.path, self.numbered(1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.reopen()
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .expect("readable")
            .map(|entry| {
                let path = entry.expect("readable").path();
                let name = path.file_name().expect("named").to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).expect("readable"))
            })
            .collect();
        all.sort();
        all
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|&(name, text)| (name.into(), text.into())).collect()
    }

    #[test]
    fn rolls_by_size_between_records_and_keeps_so_many() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut file = RollingFile::open(&dir.path().join("l"), 10, 2).expect("opened");
        for record in ["aaaaaa\n", "bb\n", "cccccc\n", "a record longer than all\n", "d\n", "e\n"] {
            file.write_record(record.as_bytes()).expect("written");
        }
        assert_eq!(contents(dir.path()), pairs(&[("l", "d\ne\n"), ("l.1", "a record longer than all\n"), ("l.2", "cccccc\n")]));
        let mut file = RollingFile::open(&dir.path().join("l"), 10, 0).expect("opened again");
        file.write_record(b"0123456789\n").expect("written");
        assert_eq!(contents(dir.path())[0].1, "0123456789\n");
    }

    #[test]
    fn goes_on_in_a_new_file_after_logrotate_and_after_the_directory_was_gone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).expect("created");
        let path = logs.join("l");
        let mut file = RollingFile::open(&path, 10, 2).expect("opened");
        file.write_record(b"one\n").expect("written");
        std::fs::rename(&path, logs.join("moved")).expect("moved");
        file.reopen().expect("reopened");
        file.write_record(b"two\n").expect("written");
        assert_eq!(contents(&logs), pairs(&[("l", "two\n"), ("moved", "one\n")]));
        std::fs::remove_dir_all(&logs).expect("removed");
        file.reopen().expect_err("no directory");
        file.write_record(b"lost\n").expect_err("no directory");
        std::fs::create_dir(&logs).expect("created");
        file.write_record(b"three\n").expect("written");
        assert_eq!(contents(&logs), pairs(&[("l", "three\n")]));
    }

    #[test]
    fn a_link_or_a_fifo_put_in_its_place_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (link, fifo) = (dir.path().join("link"), dir.path().join("fifo"));
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("linked");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(RollingFile::open(&link, 10, 2).is_err());
        assert!(RollingFile::open(&fifo, 10, 2).is_err());
    }
}
