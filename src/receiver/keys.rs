//! The keys that honeypots show a receiver: read from a file, kept as hashes, compared in constant time.
use crate::telemetry::printable::printable;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Shorter ones could be tried out.
const KEY_BYTES_MIN: usize = 16;
const KEY_BYTES_MAX: usize = 512;
const KEYS_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file gives no keys. No message has a key in it.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("cannot read the keys in {}: {source}", printable(&path.to_string_lossy()))]
    Read { path: PathBuf, source: io::Error },
    #[error("every local user can read the keys in {}: chmod o= it", printable(&path.to_string_lossy()))]
    Open { path: PathBuf },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes: is it the right file?", printable(&path.to_string_lossy()))]
    TooLarge { path: PathBuf },
    #[error("there is no key in {}: write one a line, such as `openssl rand -hex 32` makes", printable(&path.to_string_lossy()))]
    None { path: PathBuf },
    #[error("more than {KEYS_MAX} keys are in {}: use fewer", printable(&path.to_string_lossy()))]
    TooMany { path: PathBuf },
    #[error(
        "line {line} of {} is no key: use {KEY_BYTES_MIN} to {KEY_BYTES_MAX} visible ASCII characters, such as `openssl rand -hex 32` makes",
        printable(&path.to_string_lossy())
    )]
    Key { path: PathBuf, line: usize },
}

/// Hashes of the keys, in the order of their lines.
pub struct Keys(Vec<blake3::Hash>);

impl Keys {
    /// Reads a file of one key a line; blank lines and those that begin with `#` are none.
    pub fn read(path: &Path) -> Result<Keys, KeysError> {
        let error = |source| KeysError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(error)?;
        if file.metadata().map_err(error)?.mode() & 0o007 != 0 {
            return Err(KeysError::Open { path: path.to_owned() });
        }
        let mut text = String::new();
        if file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(error)? as u64 > FILE_BYTES_MAX {
            return Err(KeysError::TooLarge { path: path.to_owned() });
        }
        let mut keys = Vec::new();
        for (line, key) in text.lines().map(str::trim).enumerate().filter(|(_, key)| !key.is_empty() && !key.starts_with('#')) {
            if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeysError::Key { path: path.to_owned(), line: line + 1 });
            }
            keys.push(blake3::hash(key.as_bytes()));
        }
        match keys.len() {
            0 => Err(KeysError::None { path: path.to_owned() }),
            1..=KEYS_MAX => Ok(Keys(keys)),
            _ => Err(KeysError::TooMany { path: path.to_owned() }),
        }
    }

    /// Which key this is. Takes as long for a wrong one as for a right one: hashes are compared in constant time, and all of them.
    pub fn find(&self, shown: &[u8]) -> Option<usize> {
        let shown = blake3::hash(&shown[..shown.len().min(KEY_BYTES_MAX + 1)]);
        let known = |found: Option<usize>, (at, key): (usize, &blake3::Hash)| if *key == shown { Some(at) } else { found };
        self.0.iter().enumerate().fold(None, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn read(text: &str, mode: u32) -> Result<Keys, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        Keys::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_found_and_others_are_not() {
        let keys = read("# for the cafe\n0123456789abcdef\n\n  fedcba9876543210  \n", 0o640).expect("keys");
        assert_eq!(keys.find(b"0123456789abcdef"), Some(0));
        assert_eq!(keys.find(b"fedcba9876543210"), Some(1));
        for wrong in ["", "0123456789abcde", "0123456789abcdef ", "# for the cafe"] {
            assert_eq!(keys.find(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(keys.find(&[b'x'; 100_000]), None);
    }

    #[test]
    fn a_file_that_cannot_protect_is_refused_and_no_key_is_told() {
        let table = [
            ("0123456789abcdef\n", 0o644, "every local user can read"),
            ("# none\n", 0o600, "there is no key"),
            ("0123456789abcdef\nsecret\n", 0o600, "line 2 of"),
            ("0123456789 abcdef\n", 0o600, "line 1 of"),
        ];
        for (text, mode, why) in table {
            let error = read(text, mode).err().expect(why);
            assert!(error.contains(why) && !error.contains("secret\n") && !error.contains("0123"), "{error}");
        }
        assert!(Keys::read(Path::new("/nonexistent/keys")).is_err_and(|error| error.to_string().starts_with("cannot read the keys")));
    }
}
