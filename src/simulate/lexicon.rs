//! The vocabulary as bytes ready to be copied, and the distributions things are drawn from.
use super::event::put;
use super::random::Weighted;
use super::vocabulary as words;
use super::vocabulary::Escaped;
use super::{Simulation, hostile};

/// User names and passwords are drawn from this many ranks, by Zipf's law.
const USERNAME_RANKS: u32 = 600;
const PASSWORD_RANKS: u32 = 12_000;
/// Marks an index as one into the hostile values.
pub(super) const HOSTILE: u32 = 1 << 31;

pub(super) struct Lexicon {
    pub(super) usernames: Escaped,
    pub(super) passwords: Escaped,
    pub(super) versions: Escaped,
    pub(super) aliens: Escaped,
    pub(super) commands: Escaped,
    pub(super) droppers: Escaped,
    pub(super) tunnel_data: Escaped,
    pub(super) hostile: Vec<Box<[u8]>>,
    /// Rendered once: `"hassh":…,"langCS":[""],` and the two algorithm lists of 2017, per client.
    pub(super) kex: Vec<Box<[u8]>>,
    pub(super) algorithms_2017: Vec<Box<[u8]>>,
    pub(super) hassh: Vec<[u8; 32]>,
    /// First command and number of commands of each robot script, in `commands`.
    pub(super) robots: Vec<(u32, u32)>,
    pub(super) typed: (u32, u32),
    pub(super) unlock: u32,
    pub(super) loader: Vec<(u32, Vec<u32>)>,
    pub(super) username_ranks: Weighted,
    pub(super) password_ranks: Weighted,
    pub(super) attackers: Weighted,
    pub(super) clients: Weighted,
    pub(super) habits: Weighted,
}

impl Lexicon {
    pub(super) fn new(options: &Simulation) -> Lexicon {
        let mut commands: Vec<&str> = Vec::new();
        let robots = words::ROBOT_SCRIPTS
            .iter()
            .map(|script| {
                let first = commands.len() as u32;
                commands.extend_from_slice(script);
                (first, script.len() as u32)
            })
            .collect();
        let typed = (commands.len() as u32, words::TYPED.len() as u32);
        commands.extend_from_slice(words::TYPED);
        let unlock = commands.len() as u32;
        commands.extend([words::KEY_INSTALL_UNLOCK, words::KEY_INSTALL_UNKNOWN, words::KEY_INSTALL]);
        let mut loader = Vec::new();
        for (line, found) in words::LOADER_2017 {
            let input = commands.len() as u32;
            commands.push(line);
            loader.push((input, (input + 1..=input + found.len() as u32).collect()));
            commands.extend_from_slice(found);
        }
        let (mut kex, mut hassh, mut algorithms_2017) = (Vec::new(), Vec::new(), Vec::new());
        for client in words::CLIENTS {
            let algorithms = [client.kex, client.ciphers, client.macs, client.compression].map(|list| list.join(",")).join(";");
            // Not the MD5 that a real hassh is: a simulated fingerprint must not be taken for a real client's.
            let digest = blake3::hash(algorithms.as_bytes()).to_hex();
            let mut fingerprint = [0; 32];
            fingerprint.copy_from_slice(&digest.as_bytes()[..32]);
            hassh.push(fingerprint);
            let list = |list: &[&str]| serde_json::to_string(list).expect("a list of strings is always JSON");
            kex.push(
                format!(
                    "\"hassh\":\"{}\",\"hasshAlgorithms\":\"{algorithms}\",\"kexAlgs\":{},\"keyAlgs\":{},\"encCS\":{},\"macCS\":{},\
                     \"compCS\":{},\"langCS\":[\"\"],",
                    &digest[..32],
                    list(client.kex),
                    list(client.keys),
                    list(client.ciphers),
                    list(client.macs),
                    list(client.compression)
                )
                .into_bytes()
                .into(),
            );
            let spaced = |values: &[&str]| list(values).replace("\",\"", "\", \"");
            algorithms_2017.push(
                format!(
                    "\"macCS\": {}, \"kexAlgs\": {}, \"keyAlgs\": {}, \"compCS\": {}, \"encCS\": {}, ",
                    spaced(client.macs),
                    spaced(client.kex),
                    spaced(client.keys),
                    spaced(client.compression),
                    spaced(client.ciphers)
                )
                .into_bytes()
                .into(),
            );
        }
        Lexicon {
            usernames: Escaped::new(words::USERNAMES.iter().copied()),
            passwords: Escaped::new(words::PASSWORDS.iter().copied()),
            versions: Escaped::new(words::CLIENTS.iter().map(|client| client.version)),
            aliens: Escaped::new(words::ALIEN_VERSIONS.iter().copied()),
            commands: Escaped::new(commands),
            droppers: Escaped::new(words::DROPPER_SCRIPTS.iter().copied()),
            tunnel_data: Escaped::new(words::TUNNELS.iter().map(|&(_, _, data)| data)),
            hostile: if options.hostile { hostile::values() } else { Vec::new() },
            kex,
            algorithms_2017,
            hassh,
            robots,
            typed,
            unlock,
            loader,
            username_ranks: Weighted::zipf(USERNAME_RANKS, 1.0),
            password_ranks: Weighted::zipf(PASSWORD_RANKS, 8.0),
            attackers: Weighted::zipf(options.attackers, 1.0),
            clients: Weighted::new(&words::CLIENTS.iter().map(|client| client.weight).collect::<Vec<_>>()),
            habits: super::plan::habits(options.shape),
        }
    }

    pub(super) fn username(&self, out: &mut Vec<u8>, index: u32) {
        match self.hostile_value(index) {
            Some(value) => out.extend_from_slice(value),
            None => words::push_username(out, &self.usernames, index),
        }
    }

    pub(super) fn password(&self, out: &mut Vec<u8>, index: u32) {
        match self.hostile_value(index) {
            Some(value) => out.extend_from_slice(value),
            None => words::push_password(out, &self.passwords, index),
        }
    }

    /// A command; `{host}` and `{file}` stand for the session's download.
    pub(super) fn command(&self, out: &mut Vec<u8>, index: u32, drop: (u32, u32)) {
        if let Some(value) = self.hostile_value(index) {
            return out.extend_from_slice(value);
        }
        let mut rest = match index.checked_sub(self.commands.len()) {
            None => self.commands.get(index),
            Some(dropper) => self.droppers.get(dropper),
        };
        while let Some(brace) = memchr::memchr(b'{', rest) {
            out.extend_from_slice(&rest[..brace]);
            rest = &rest[brace..];
            if let Some(after) = rest.strip_prefix(b"{host}") {
                put!(out, words::DROP_HOSTS[drop.0 as usize % words::DROP_HOSTS.len()]);
                rest = after;
            } else if let Some(after) = rest.strip_prefix(b"{file}") {
                put!(out, words::DROP_FILES[drop.1 as usize % words::DROP_FILES.len()]);
                rest = after;
            } else {
                out.push(b'{');
                rest = &rest[1..];
            }
        }
        out.extend_from_slice(rest);
    }

    pub(super) fn hostile_value(&self, index: u32) -> Option<&[u8]> {
        let index = (index & HOSTILE != 0).then_some(index & !HOSTILE)?;
        self.hostile.get(index as usize).map(|value| &value[..])
    }
}
