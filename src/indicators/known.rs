//! Outside lists: what others have published, against which one's own indicators are held.
//!
//! A list is a file of sorted lines below the data directory, mapped and searched by halving: neither its size nor the number of
//! questions costs memory. It is written beside and renamed, so a daemon sees the new one at its next question.
use super::defang::refang;
use super::lists::host_of;
use crate::enrich::desk::Flagged;
use crate::events::Field;
use crate::journal::fs::{Fs, Mapped, RealFs};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest list taken in, bytes, and longest of its lines that is taken for a value.
pub const LIST_BYTES_MAX: u64 = 256 << 20;
const LINE_BYTES_MAX: usize = 4096;
/// Most lists.
const LISTS_MAX: usize = 32;
const SUFFIX: &str = "list";

/// Where the lists of a data directory are.
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("lists")
}

/// The lists, as they are at one moment.
#[derive(Clone, Default)]
pub struct Known {
    lists: Vec<(String, Arc<dyn Mapped>)>,
    flagged: Arc<Flagged>,
}

impl Known {
    /// Opens the lists of a directory, which need not be there.
    pub fn open(directory: &Path) -> io::Result<Known> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == SUFFIX)
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                paths.push((name.to_owned(), path));
            }
        }
        paths.sort();
        paths.truncate(LISTS_MAX);
        let open = |(name, path): (String, PathBuf)| Ok((name, RealFs.map(&path)?));
        Ok(Known { lists: paths.into_iter().map(open).collect::<io::Result<_>>()?, flagged: Arc::default() })
    }

    /// With what enrichers have said.
    pub fn with_flagged(self, flagged: Flagged) -> Known {
        Known { flagged: Arc::new(flagged), ..self }
    }

    /// Names of the enrichers whose kept answers call the value malicious.
    pub fn flagged_by(&self, kind: Field, value: &str) -> Vec<String> {
        self.flagged.by(kind, value)
    }

    /// Names of the lists that have the value of this kind, or the host it leads to.
    pub fn lists_of(&self, kind: Field, value: &str) -> Vec<String> {
        if self.lists.is_empty() {
            return Vec::new();
        }
        let (value, host) = (value.to_lowercase(), host_of(kind, value));
        let host = host.as_deref();
        let has = |list: &[u8]| has_line(list, value.as_bytes()) || host.is_some_and(|host| has_line(list, host.as_bytes()));
        self.lists.iter().filter(|(_, list)| has(list.bytes())).map(|(name, _)| name.clone()).collect()
    }
}

/// Whether a line of the sorted lines is this one.
fn has_line(lines: &[u8], wanted: &[u8]) -> bool {
    let (mut from, mut to) = (0, lines.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let start = memchr::memrchr(b'\n', &lines[from..middle]).map_or(from, |at| from + at + 1);
        let end = memchr::memchr(b'\n', &lines[middle..to]).map_or(to, |at| middle + at);
        match lines[start..end].cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => from = end + 1,
            std::cmp::Ordering::Greater => to = start,
        }
    }
    false
}

/// What became of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Different values.
    pub values: u64,
    /// Lines that are no value: networks, which are not looked up yet, and what is too long.
    pub skipped: u64,
}

/// Takes a list in under a name, in place of the one that had it: one value a line, defanged or not, `#` before comments. What is
/// not UTF-8 is no list.
pub fn import(directory: &Path, name: &str, text: &str) -> io::Result<Imported> {
    let (mut values, mut skipped) = (BTreeSet::new(), 0);
    for line in text.lines() {
        // In a URL, what stands behind # belongs to it; a comment has a blank before.
        let line = line.trim();
        let value = line.split([' ', '\t']).next().unwrap_or_default();
        if value.is_empty() || value.starts_with('#') || value.starts_with(';') {
            continue;
        }
        if value.len() > LINE_BYTES_MAX || value.split_once('/').is_some_and(|(address, _)| address.parse::<std::net::IpAddr>().is_ok()) {
            skipped += 1;
            continue;
        }
        values.insert(refang(value).to_lowercase());
    }
    std::fs::create_dir_all(directory)?;
    let (path, beside) = (directory.join(format!("{name}.{SUFFIX}")), directory.join(format!("{name}.{}.tmp", std::process::id())));
    let written = std::fs::File::create(&beside).and_then(|file| {
        let mut out = io::BufWriter::new(file);
        values.iter().try_for_each(|value| writeln!(out, "{value}"))?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, &path)
    });
    if let Err(error) = written {
        // It may never have been made.
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    Ok(Imported { values: values.len() as u64, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_looked_up_however_its_values_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# a comment\nhxxp://Evil[.]top/x#y # why\n185.1.2.3\t2026\n10.0.0.0/8\n\n;other\r\nevil.top\r\n185.1.2.3\n";
        assert_eq!(import(dir.path(), "feed", text).unwrap(), Imported { values: 3, skipped: 1 });
        import(dir.path(), "other", "evil.top").unwrap();
        std::fs::write(dir.path().join("feed.1.tmp"), "a.top").unwrap();
        let known = Known::open(dir.path()).unwrap();
        assert_eq!(known.lists_of(Field::Url, "http://evil.top/x#y"), ["feed", "other"]);
        assert_eq!(known.lists_of(Field::Url, "http://evil.top/z"), ["feed", "other"]);
        assert_eq!(known.lists_of(Field::SrcIp, "185.1.2.3"), ["feed"]);
        assert!(known.lists_of(Field::Domain, "a.top").is_empty() && known.lists_of(Field::Url, "").is_empty());
        import(dir.path(), "feed", "").unwrap();
        assert!(Known::open(dir.path()).unwrap().lists_of(Field::SrcIp, "185.1.2.3").is_empty());
        assert!(Known::open(&dir.path().join("nosuch")).unwrap().lists.is_empty());
    }

    proptest! {
        #[test]
        fn halving_finds_what_is_there_and_nothing_else(lines in proptest::collection::btree_set("[ab]{1,4}", 0..30), wanted in "[ab]{0,4}") {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(has_line(text.as_bytes(), wanted.as_bytes()), lines.contains(&wanted));
        }
    }
}
