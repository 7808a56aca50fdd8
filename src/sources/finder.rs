//! Finds the files of a tail, and opens them without being led astray: whoever can write into a log directory must not be
//! able to make the daemon read another file, or hang on a pipe.
use super::SourceError;
use super::checkpoint::FileId;
use super::notice::TailNotice;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most files one tail follows.
pub const FILES_MAX: usize = 16_384;

/// A file as the directory shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub id: FileId,
    pub len: u64,
}

#[derive(Debug)]
pub struct Finder {
    patterns: Vec<Pattern>,
    allowed_roots: Vec<PathBuf>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// The directory above the first component with a wildcard.
    base: PathBuf,
}

/// What matched, sorted by path, and what stands in the way.
#[derive(Debug, Default)]
pub struct Listing {
    pub files: Vec<Found>,
    pub conditions: BTreeSet<TailNotice>,
}

impl Finder {
    /// Links may lead below `allowed_roots` and below the patterns' own directories.
    pub fn new(patterns: &[String], allowed_roots: &[PathBuf]) -> Result<Finder, SourceError> {
        let patterns = patterns.iter().map(|text| {
            let refused = |reason| SourceError::Pattern { pattern: text.clone(), reason };
            glob::Pattern::new(text).map_err(|error| refused(error.msg))?;
            let path = Path::new(text);
            if !path.is_absolute() {
                return Err(refused("the path must be absolute"));
            }
            let literal = path.components().take_while(|component| {
                let text = component.as_os_str().as_encoded_bytes();
                memchr::memchr3(b'*', b'?', b'[', text).is_none()
            });
            let mut base: PathBuf = literal.collect();
            if base == path {
                base.pop();
            }
            Ok(Pattern { text: text.clone(), base })
        });
        Ok(Finder { patterns: patterns.collect::<Result<_, _>>()?, allowed_roots: allowed_roots.to_vec() })
    }

    /// The directories above the wildcards, whether they exist or not.
    pub fn bases(&self) -> impl Iterator<Item = &Path> {
        self.patterns.iter().map(|pattern| pattern.base.as_path())
    }

    /// Evaluates the patterns.
    pub fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let mut paths = BTreeSet::new();
        for pattern in &self.patterns {
            if let Err(error) = std::fs::read_dir(&pattern.base) {
                listing.conditions.insert(TailNotice::DirectoryUnreadable { path: pattern.base.clone(), kind: error.kind() });
                continue;
            }
            let options = glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, case_sensitive: true };
            // Checked when the finder was made.
            let Ok(matches) = glob::glob_with(&pattern.text, options) else { continue };
            for matched in matches {
                match matched {
                    Ok(path) => drop(paths.insert(path)),
                    Err(error) => {
                        let kind = error.error().kind();
                        listing.conditions.insert(TailNotice::DirectoryUnreadable { path: error.path().to_path_buf(), kind });
                    }
                }
                if paths.len() > FILES_MAX {
                    paths.pop_last();
                    listing.conditions.insert(TailNotice::TooManyFiles { limit: FILES_MAX });
                }
            }
        }
        let roots = self.roots();
        for path in paths {
            match std::fs::symlink_metadata(&path).and_then(|metadata| {
                let link = metadata.is_symlink();
                if link { std::fs::metadata(&path).map(|target| (target, link)) } else { Ok((metadata, link)) }
            }) {
                Ok((metadata, link)) if metadata.is_file() => {
                    if link && !std::fs::canonicalize(&path).is_ok_and(|target| is_below(&target, &roots)) {
                        listing.conditions.insert(TailNotice::OutsideRoots { path });
                        continue;
                    }
                    listing.files.push(Found { path, id: FileId::of(&metadata), len: metadata.len() });
                }
                Ok((metadata, _)) if metadata.is_dir() => {}
                Ok(_) => drop(listing.conditions.insert(TailNotice::NotRegular { path })),
                // Gone between the listing and now, or a link to nothing: the next listing tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => drop(listing.conditions.insert(TailNotice::Unreadable { path, kind: error.kind() })),
            }
        }
        listing
    }

    /// Opens a regular file below the allowed roots for reading.
    pub fn open(&self, path: &Path) -> Result<(File, Metadata), TailNotice> {
        let unreadable = |error: io::Error| TailNotice::Unreadable { path: path.to_path_buf(), kind: error.kind() };
        let target = std::fs::canonicalize(path).map_err(unreadable)?;
        // A link put there after the path was resolved is not followed, and nothing is waited for.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(&target).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(TailNotice::NotRegular { path: path.to_path_buf() });
        }
        // Where the descriptor really leads, should a directory on the way have been exchanged.
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or(target);
        if !is_below(&real, &self.roots()) {
            return Err(TailNotice::OutsideRoots { path: path.to_path_buf() });
        }
        Ok((file, metadata))
    }

    fn roots(&self) -> Vec<PathBuf> {
        let bases = self.patterns.iter().map(|pattern| &pattern.base);
        bases.chain(&self.allowed_roots).filter_map(|root| std::fs::canonicalize(root).ok()).collect()
    }
}

fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// The regular files of a directory, links left out, sorted by name.
pub fn files_of(directory: &Path) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)?.take(FILES_MAX) {
        let entry = entry?;
        // What vanished meanwhile is no longer of interest.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push(Found { path: entry.path(), id: FileId::of(&metadata), len: metadata.len() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn finder(dir: &Path, pattern: &str, roots: &[PathBuf]) -> Finder {
        Finder::new(&[dir.join(pattern).to_str().unwrap().to_owned()], roots).unwrap()
    }

    #[test]
    fn patterns_are_checked_before_anything_runs() {
        for pattern in ["relative/*", "/log/[", "/log/a**b"] {
            assert!(matches!(Finder::new(&[pattern.to_owned()], &[]), Err(SourceError::Pattern { .. })), "{pattern}");
        }
        let finder = Finder::new(&["/var/log/c*/x.json".into(), "/var/log/x.json".into(), "/*".into()], &[]).unwrap();
        assert_eq!(finder.bases().collect::<Vec<_>>(), [Path::new("/var/log"), Path::new("/var/log"), Path::new("/")]);
    }

    #[test]
    fn symlink_is_resolved_and_a_target_outside_the_allowed_roots_refused() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("real"), b"{}\n").unwrap();
        std::fs::write(outside.path().join("secret"), b"{}\n").unwrap();
        symlink(dir.path().join("real"), dir.path().join("in.json")).unwrap();
        symlink(outside.path().join("secret"), dir.path().join("out.json")).unwrap();
        let listing = finder(dir.path(), "*.json", &[]).list();
        assert_eq!(listing.files.iter().map(|found| &found.path).collect::<Vec<_>>(), [&dir.path().join("in.json")]);
        let refused = TailNotice::OutsideRoots { path: dir.path().join("out.json") };
        assert_eq!(listing.conditions, BTreeSet::from([refused.clone()]));
        assert_eq!(finder(dir.path(), "*.json", &[]).open(&dir.path().join("out.json")).unwrap_err(), refused);
        let allowed = finder(dir.path(), "*.json", &[outside.path().to_path_buf()]);
        assert_eq!(allowed.list().files.len(), 2);
        assert!(allowed.open(&dir.path().join("out.json")).is_ok());
    }

    #[test]
    fn pipes_and_missing_directories_are_conditions_not_errors() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("p.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pipes = finder(dir.path(), "*.json", &[]);
        assert_eq!(pipes.list().conditions, BTreeSet::from([TailNotice::NotRegular { path: dir.path().join("p.json") }]));
        assert!(pipes.open(&dir.path().join("p.json")).is_err());
        let missing = finder(dir.path(), "none/*.json", &[]).list();
        assert!(matches!(missing.conditions.first(), Some(TailNotice::DirectoryUnreadable { .. })));
    }
}
