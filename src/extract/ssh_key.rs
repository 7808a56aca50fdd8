//! SSH public keys, with the fingerprints made of them, and fingerprints written out.
//!
//! A key's own bytes name its kind and end where its last number ends: what was cut off or is made up is no key. The value is the
//! kind and the base64 text without the comment, so that the same key with another comment is the same indicator.
//! MD5 fingerprints are noted as Cowrie notes them: sixteen bytes with colons, without `MD5:`.
use super::runs::{HEX, glued_after, glued_before};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use sha2::{Digest, Sha256};

/// SSH public keys and fingerprints; one entry of the registry.
pub struct SshKey;

/// Longest key that is read, characters of base64: four times the longest that OpenSSH makes.
const KEY_BYTES_MAX: usize = 12 << 10;
/// Characters of a SHA-256 fingerprint, and bytes of an MD5 one with its colons.
const SHA256_LEN: usize = 43;
const MD5_LEN: usize = 47;

/// With or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_encode_padding(false),
);

/// Kinds of keys, and how many strings or numbers follow the kind inside.
const KINDS: &[(&str, usize)] = &[
    ("ssh-rsa", 2),
    ("ssh-ed25519", 1),
    ("ssh-ed448", 1),
    ("ssh-dss", 4),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519@openssh.com", 2),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
];

impl Extractor for SshKey {
    fn fields(&self) -> &'static [Field] {
        &[Field::SshKey, Field::Fingerprint]
    }

    fn needs(&self) -> &'static Needs {
        // A key has a blank behind its kind, a fingerprint colons.
        const NEEDS: Needs = Needs::NOTHING.one_of(b" \t:").one_of(b"A:").digits(1);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        keys(text, found);
        sha256_fingerprints(text, found);
        md5_fingerprints(text, found);
    }
}

fn keys(text: &Text<'_>, found: &mut Found) {
    let bytes = text.plain.as_bytes();
    let mut free = 0;
    // Every key starts with the length of its kind, three zero bytes: `AAAA`.
    for at in memmem::find_iter(bytes, b"AAAA") {
        let Some(kind) = kind_before(text.plain, at).filter(|_| at >= free) else { continue };
        let length = bytes[at..].iter().take(KEY_BYTES_MAX + 1).take_while(|&&byte| is_base64(byte)).count();
        if length > KEY_BYTES_MAX {
            continue;
        }
        free = at + length;
        let Some(key) = BASE64.decode(&bytes[at..free]).ok().filter(|key| is_key(key, kind)) else { continue };
        // `=` at the end belongs to it.
        let end = free + bytes[free..].iter().take(2).take_while(|&&byte| byte == b'=').count();
        let start = at - 1 - kind.len();
        let padding = &"=="[..(4 - length % 4) % 4];
        let value = format!("{kind} {}{padding}", &text.plain[at..free]);
        found.add(Field::SshKey, &value, text, start..end);
        let fingerprint = format!("SHA256:{}", BASE64.encode(Sha256::digest(&key)));
        // Made, not written: there is no text that it stands in.
        found.add(Field::Fingerprint, &fingerprint, &Text::plain(text.context, &fingerprint), 0..fingerprint.len());
    }
}

/// The kind that stands before `at`, with one blank between.
fn kind_before(plain: &str, at: usize) -> Option<&'static str> {
    let head = plain[..at].strip_suffix([' ', '\t'])?;
    let kind = KINDS.iter().map(|kind| kind.0).filter(|kind| head.ends_with(kind)).max_by_key(|kind| kind.len())?;
    let start = head.len() - kind.len();
    (!glued_before(plain, start) && !plain[..start].ends_with('-')).then_some(kind)
}

/// Whether the bytes are a key of that kind, whole and with nothing behind it.
fn is_key(key: &[u8], kind: &str) -> bool {
    let Some((named, mut rest)) = string(key) else { return false };
    let Some((_, count)) = KINDS.iter().find(|known| known.0 == kind).filter(|_| named == kind.as_bytes()) else { return false };
    let mut first = &[][..];
    for place in 0..*count {
        let Some((value, next)) = string(rest).filter(|(value, _)| !value.is_empty()) else { return false };
        if place == 0 {
            first = value;
        }
        rest = next;
    }
    let is_right_length = match kind {
        "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => first.len() == 32,
        "ssh-ed448" => first.len() == 57,
        "ssh-rsa" | "ssh-dss" => true,
        // The name of the curve is the end of the kind's.
        _ => kind.split('@').next().is_some_and(|kind| kind.as_bytes().ends_with(first)),
    };
    rest.is_empty() && is_right_length
}

/// A string with its length in front, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn sha256_fingerprints(text: &Text<'_>, found: &mut Found) {
    const NAME: &str = "SHA256:";
    for start in memmem::find_iter(text.plain.as_bytes(), NAME.as_bytes()) {
        let from = start + NAME.len();
        let end = from + SHA256_LEN;
        let Some(written) = text.plain.get(from..end).filter(|written| written.bytes().all(is_base64)) else { continue };
        let is_whole = !text.plain.as_bytes().get(end).is_some_and(|&next| is_base64(next) && next != b'/');
        // The last character has two bits to spare; they are zero, and of 32 random bytes some are not letters and digits of hex.
        if is_whole && !glued_before(text.plain, start) && BASE64.decode(written).is_ok_and(|bytes| bytes.len() == 32) && is_varied(written)
        {
            found.add(Field::Fingerprint, &text.plain[start..end], text, start..end);
        }
    }
}

/// Whether the characters are not all of one or two kinds.
fn is_varied(written: &str) -> bool {
    let mut seen = [false; 128];
    written.bytes().for_each(|byte| seen[usize::from(byte & 127)] = true);
    seen.iter().filter(|&&seen| seen).count() >= 10
}

fn md5_fingerprints(text: &Text<'_>, found: &mut Found) {
    let bytes = text.plain.as_bytes();
    let mut free = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        let Some(start) = colon.checked_sub(2).filter(|&start| start >= free) else { continue };
        // Not at the `D5:` of `MD5:`, and nowhere else inside a word.
        if !text.plain.is_char_boundary(start) || glued_before(text.plain, start) {
            continue;
        }
        let Some(written) = bytes.get(start..start + MD5_LEN) else { return };
        // Where it stops being one, the next begins behind that.
        if let Some(odd) = written.iter().enumerate().position(|(at, &byte)| if at % 3 == 2 { byte != b':' } else { !HEX.has(byte) }) {
            free = if odd > 2 { start + odd - 2 } else { free };
            continue;
        }
        let end = start + MD5_LEN;
        free = end;
        let mut before = start;
        let is_named = bytes[..start].last_chunk::<4>().is_some_and(|name| name.eq_ignore_ascii_case(b"MD5:"));
        if is_named {
            before -= 4;
        }
        let is_joined =
            (!is_named && bytes[..start].ends_with(b":") && bytes.get(start.wrapping_sub(2)).is_some_and(|&byte| HEX.has(byte)))
                || matches!(bytes[end..], [b':', next, ..] if HEX.has(next));
        let value = text.plain[start..end].to_ascii_lowercase();
        let is_pattern = value.as_bytes().chunks(3).all(|chunk| chunk[..2] == value.as_bytes()[..2]);
        if !is_joined && !is_pattern && !glued_before(text.plain, before) && !glued_after(text.plain, end) {
            found.add(Field::Fingerprint, &value, text, before..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Context::{Chat, Command, Hash, Other};
    use super::super::table::{Row, check};
    use super::*;

    /// A key of `kind` with these strings inside, in base64 without padding.
    fn key(kind: &str, parts: &[&[u8]]) -> String {
        let mut bytes = Vec::new();
        for part in [kind.as_bytes()].iter().chain(parts) {
            bytes.extend((part.len() as u32).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        BASE64.encode(bytes)
    }

    /// In these texts `{r}`, `{e}`, `{c}`, `{s}` and so on stand for keys (see the test), `{f}` and `{m}` for fingerprints.
    const TEXTS: &[(super::super::Context, &str, &[&str])] = &[
        (Other, "ssh-rsa {r}", &["{R}", "{RF}"]),
        (Other, "ssh-rsa {r} mdrfckr", &["{R}", "{RF}"]),
        (Other, "ssh-rsa {r}= user@host", &["{R}", "{RF}"]),
        (Other, "ssh-ed25519 {e}", &["{E}", "{EF}"]),
        (Other, "ecdsa-sha2-nistp256 {c} x", &["{C}", "{CF}"]),
        (Other, "sk-ssh-ed25519@openssh.com {s} x", &["{S}", "{SF}"]),
        (Other, "ssh-dss {d}", &["{D}", "{DF}"]),
        (Command, "echo \"ssh-rsa {r} mdrfckr\">>.ssh/authorized_keys", &["{R}", "{RF}"]),
        (Command, "echo 'ssh-rsa {r}'>>a", &["{R}", "{RF}"]),
        (Command, "echo ssh-rsa {r}>>a", &["{R}", "{RF}"]),
        (Command, "cd ~&&echo ssh-ed25519 {e};ls", &["{E}", "{EF}"]),
        (Command, "echo ssh-rsa {r}\\n>>a", &["{R}", "{RF}"]),
        (Command, "echo \\nssh-rsa {r} x", &["{R}", "{RF}"]),
        (Other, "command=\"x\" ssh-rsa {r}", &["{R}", "{RF}"]),
        (Other, "(ssh-rsa {r})", &["{R}", "{RF}"]),
        (Other, "{\"key\":\"ssh-rsa {r}\"}", &["{R}", "{RF}"]),
        (Other, "<pre>ssh-rsa {r}</pre>", &["{R}", "{RF}"]),
        (Other, "host.example ssh-rsa {r}", &["{R}", "{RF}"]),
        (Other, "ssh-rsa\t{r}", &["{R}", "{RF}"]),
        (Other, "ssh-rsa {r}\nssh-ed25519 {e}", &["{R}", "{RF}", "{E}", "{EF}"]),
        (Other, "ssh-rsa {r} a\nssh-rsa {r} b", &["{R}", "{RF}"]),
        (Other, "AAAA ssh-rsa {r}", &["{R}", "{RF}"]),
        (Other, "是ssh-rsa {r}", &["{R}", "{RF}"]),
        // No keys.
        (Other, "ssh-rsa {rcut}", &[]),
        (Other, "ssh-rsa {rcut4}", &[]),
        (Other, "ssh-rsa {r}AAAA", &[]),
        (Other, "ssh-rsa {e}", &[]),
        (Other, "ssh-ed25519 {r}", &[]),
        (Other, "ecdsa-sha2-nistp384 {c}", &[]),
        (Other, "ecdsa-sha2-nistp256 {curve}", &[]),
        (Other, "ssh-ed25519 {eshort}", &[]),
        (Other, "ssh-ed25519@openssh.com {s}", &[]),
        (Other, "ssh-rsa {empty}", &[]),
        (Other, "ssh-rsa {r7}", &[]),
        (Other, "ssh-rsa  {r}", &[]),
        (Other, "ssh-rsa\n{r}", &[]),
        (Other, "ssh-rsa{r}", &[]),
        (Other, "ssh-rsa-{r}", &[]),
        (Other, "xssh-rsa {r}", &[]),
        (Other, "x-ssh-rsa {r}", &[]),
        (Other, "SSH-RSA {r}", &[]),
        (Other, "{r}", &[]),
        (Other, "rsa {r}", &[]),
        (Other, "ssh-rsa AAAA", &[]),
        (Other, "ssh-rsa AAAAB3NzaC1yc2E", &[]),
        (Other, "ssh-rsa AAAAAAAAAAAAAAAAAAAAAAAA", &[]),
        (Other, "ssh-rsa {long}", &[]),
        (Other, "ssh-rsa", &[]),
        (Other, "", &[]),
        // Fingerprints.
        (Other, "SHA256:{f}", &["{F}"]),
        (Other, "2048 SHA256:{f} root@a (RSA)", &["{F}"]),
        (Other, "\"SHA256:{f}\"", &["{F}"]),
        (Other, "SHA256:{f}=", &["{F}"]),
        (Other, "SHA256:{f}.", &["{F}"]),
        (Chat, "key is SHA256:{f}, MD5:{m}", &["{F}", "{M}"]),
        (Other, "SHA256:{f} SHA256:{f}", &["{F}"]),
        (Other, "SHA256:SHA256:{f}", &["{F}"]),
        (Other, "MD5:{m}", &["{M}"]),
        (Other, "md5:{m}", &["{M}"]),
        (Other, "{m}", &["{M}"]),
        (Other, "{MU}", &["{M}"]),
        (Hash, "{m}", &["{M}"]),
        (Other, "2048 {m} root@a (RSA)", &["{M}"]),
        (Other, "'{m}',", &["{M}"]),
        (Other, "key:{m}.", &["{M}"]),
        (Other, "ab:{m}", &[]),
        (Other, "{m}:ab", &[]),
        (Other, "x{m}", &[]),
        (Other, "{m}a", &[]),
        (Other, "{m47}", &[]),
        (Other, "{mdash}", &[]),
        (Other, "{mdash} {m}", &["{M}"]),
        (Other, "aa:bb:c:{m}", &[]),
        (Other, "aa:bb:c {m}", &["{M}"]),
        (Other, "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00", &[]),
        (Other, "08:00:27:aa:bb:cc", &[]),
        (Other, "fe80:0000:0000:0000:0202:b3ff:fe1e:8329", &[]),
        (Other, "12:34:56", &[]),
        (Other, "SHA256:{f}x", &[]),
        (Other, "SHA256:{fcut}", &[]),
        (Other, "SHA256: {f}", &[]),
        (Other, "sha256:{f}", &[]),
        (Other, "xSHA256:{f}", &[]),
        (Other, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[]),
        (Other, "SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", &[]),
        (Other, "SHA256:", &[]),
        (Other, ":", &[]),
    ];

    #[test]
    fn a_table_of_tricky_texts() {
        let number: Vec<u8> = (0..129u32).map(|at| (at * 41 % 251) as u8).collect();
        let rsa = key("ssh-rsa", &[&[1, 0, 1], &number]);
        let rsa_padded = format!("{rsa}{}", &"=="[..(4 - rsa.len() % 4) % 4]);
        let ed = key("ssh-ed25519", &[&number[..32]]);
        let ec = key("ecdsa-sha2-nistp256", &[b"nistp256", &number[..65]]);
        let sk = key("sk-ssh-ed25519@openssh.com", &[&number[..32], b"ssh:"]);
        let dss = key("ssh-dss", &[&number, &number[..21], &number, &number]);
        let fingerprint = |key: &str| format!("fingerprint=SHA256:{}", BASE64.encode(Sha256::digest(BASE64.decode(key).unwrap())));
        let value = |kind: &str, key: &str| format!("ssh_key={kind} {key}{}", &"=="[..(4 - key.len() % 4) % 4]);
        let sha = "1jr8YzU+5Am7DsS9CsQcI4urP3eZ0ESGpGH+NC9lkTE";
        let md5 = "7e:86:af:18:f4:20:46:b5:7c:4e:ef:e2:a2:60:9c:bb";
        let with = |text: &str| {
            text.replace("{r}=", &rsa_padded)
                .replace("{r}", &rsa)
                .replace("{e}", &ed)
                .replace("{c}", &ec)
                .replace("{s}", &sk)
                .replace("{d}", &dss)
                .replace("{rcut}", &rsa[..rsa.len() - 1])
                .replace("{rcut4}", &rsa[..rsa.len() - 4])
                .replace("{curve}", &key("ecdsa-sha2-nistp256", &[b"nistp384", &number[..65]]))
                .replace("{eshort}", &key("ssh-ed25519", &[&number[..31]]))
                .replace("{empty}", &key("ssh-rsa", &[&[], &number]))
                .replace("{r7}", &key("ssh-rsa", &[&[1, 0, 1], &number, &number]))
                .replace("{long}", &key("ssh-rsa", &[&[1, 0, 1], &vec![7; KEY_BYTES_MAX]]))
                .replace("{f}", sha)
                .replace("{fcut}", &sha[1..])
                .replace("{m}", md5)
                .replace("{MU}", &md5.to_uppercase())
                .replace("{m47}", &md5[..46])
                .replace("{mdash}", &md5.replace(':', "-"))
                .replace("{RF}", &fingerprint(&rsa))
                .replace("{EF}", &fingerprint(&ed))
                .replace("{CF}", &fingerprint(&ec))
                .replace("{SF}", &fingerprint(&sk))
                .replace("{DF}", &fingerprint(&dss))
                .replace("{R}", &value("ssh-rsa", &rsa))
                .replace("{E}", &value("ssh-ed25519", &ed))
                .replace("{C}", &value("ecdsa-sha2-nistp256", &ec))
                .replace("{S}", &value("sk-ssh-ed25519@openssh.com", &sk))
                .replace("{D}", &value("ssh-dss", &dss))
                .replace("{F}", &format!("fingerprint=SHA256:{sha}"))
                .replace("{M}", &format!("fingerprint={md5}"))
        };
        let texts: Vec<String> = TEXTS.iter().map(|row| with(row.1)).collect();
        let values: Vec<Vec<String>> = TEXTS.iter().map(|row| row.2.iter().map(|value| with(value)).collect()).collect();
        let values: Vec<Vec<&str>> = values.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let rows: Vec<Row> = TEXTS.iter().enumerate().map(|(at, row)| (row.0, texts[at].as_str(), values[at].as_slice())).collect();
        check(&SshKey, 60, &rows);
    }
}
