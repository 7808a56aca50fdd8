//! The text of an API key: `hg_ID_SECRET`, letters and digits only, so that a double click selects it and nothing has to be escaped.
//!
//! The secret is 43 characters of 62 (256 bits), the six behind it a checksum of all before, so that a key that was copied in part is
//! told from one that is not known, without a look-up. `hg_` is what scanners of repositories look for.
use super::Denied;
use crate::sinks::http::Secret;
use rand::TryRng;
use rand::rngs::{SysError, SysRng};

pub const PREFIX: &str = "hg_";
pub const ID_CHARS: usize = 10;
const SECRET_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Of a whole key.
pub const KEY_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECK_CHARS;

/// Of the secret: what is kept instead of it. The secret has 256 bits from the system, so nothing slow is needed; the id is in it, so
/// that a hash fits one key only.
pub type SecretHash = blake3::Hash;

/// A new secret for the key `id`: the whole text, which is shown once, and its hash.
pub fn generate(id: &str) -> Result<(Secret, SecretHash), SysError> {
    let secret = random_text(SECRET_CHARS)?;
    let body = format!("{PREFIX}{id}_{secret}");
    let check = checksum(&body);
    let hash = hash(id, &secret);
    Ok((Secret::new(format!("{body}{check}")), hash))
}

/// A new id.
pub fn generate_id() -> Result<String, SysError> {
    random_text(ID_CHARS)
}

/// Id and secret of a whole key whose checksum fits.
pub fn parse(key: &str) -> Result<(&str, &str), Denied> {
    let mistyped = || Denied::KeyMistyped;
    if key.len() != KEY_CHARS || !key.is_ascii() {
        return Err(mistyped());
    }
    let (body, check) = key.split_at(KEY_CHARS - CHECK_CHARS);
    let (id, secret) = body.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or_else(mistyped)?;
    let is_text = |text: &str, chars| text.len() == chars && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_text(id, ID_CHARS) || !is_text(secret, SECRET_CHARS) || checksum(body) != check {
        return Err(mistyped());
    }
    Ok((id, secret))
}

pub fn hash(id: &str, secret: &str) -> SecretHash {
    let mut hasher = blake3::Hasher::new_derive_key("honeyguide 2026 secret of an API key");
    hasher.update(id.as_bytes()).update(b"_").update(secret.as_bytes());
    hasher.finalize()
}

fn random_text(chars: usize) -> Result<String, SysError> {
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        let mut bytes = [0; 64];
        SysRng.try_fill_bytes(&mut bytes)?;
        // Bytes beyond the last whole multiple of 62 would favour the first characters.
        let fair = bytes.iter().filter(|&&byte| byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(fair.take(chars - text.len()));
    }
    Ok(text)
}

fn checksum(body: &str) -> String {
    let mut crc = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[crc % 62];
        crc /= 62;
    }
    digits.iter().map(|&digit| char::from(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_generated_is_read_again_and_never_twice_the_same() {
        let id = generate_id().unwrap();
        let (first, first_hash) = generate(&id).unwrap();
        let (second, second_hash) = generate(&id).unwrap();
        let (read, secret) = parse(first.expose()).unwrap();
        assert_eq!((read, hash(&id, secret)), (&*id, first_hash));
        assert!(first != second && first_hash != second_hash);
        assert_eq!(format!("{first:?}"), "Secret");
        assert_eq!(first.expose().len(), KEY_CHARS);
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let body = format!("hg_{}_{}", "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ");
        let key = format!("{body}{}", checksum(&body));
        assert_eq!(&key[key.len() - CHECK_CHARS..], "0HXooh");
        let (id, secret) = parse(&key).unwrap();
        assert_eq!(hash(id, secret).to_hex().as_str()[..16], *"8b60d1e5da8b466c");
    }

    #[test]
    fn a_key_with_one_character_changed_or_missing_is_mistyped() {
        let (key, _) = generate("abcdefghij").unwrap();
        let key = key.expose();
        for at in 0..key.len() {
            for other in ["0", "z", "_", "-", "é", ""] {
                let changed = format!("{}{other}{}", &key[..at], &key[at + 1..]);
                if changed != key {
                    assert_eq!(parse(&changed), Err(Denied::KeyMistyped), "{changed}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,80}", key in "hg_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}") {
            let _ = parse(&text);
            // One in four thousand million fits by chance.
            prop_assert_eq!(parse(&key), Err(Denied::KeyMistyped));
        }
    }
}
