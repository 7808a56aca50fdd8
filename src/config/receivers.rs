//! `[[receiver]]`: listeners of their own for what honeypots push.
use super::file::{Given, Values};
use super::groups::Receiver;
use super::key::{Origin, Place};
use super::settings::{Check, SourceName, SourceSettings, default_of};
use crate::network::Network;
use crate::sinks::guard::Guard;
use crate::sources::Format;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Its events have this source.
    pub name: SourceName,
    pub listen: SocketAddr,
    /// One key a line.
    pub keys_file: PathBuf,
    /// Of `POST /api/v1/events`.
    pub format: Format,
    pub reply: ReplySettings,
    /// Of one address, and of one key.
    pub rate_per_second: NonZeroU32,
    pub connections_max: usize,
}

/// What a chat message is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplySettings {
    None,
    /// `None`: the table that is compiled in.
    Persona(Option<PathBuf>),
    Hook {
        url: url::Url,
        timeout: Duration,
        allow_private: Vec<Network>,
        /// Where the hook has no answer.
        persona: Option<PathBuf>,
    },
}

impl ReplySettings {
    /// The file of the table, if it is not the one compiled in.
    pub fn persona_file(&self) -> Option<&PathBuf> {
        match self {
            ReplySettings::None => None,
            ReplySettings::Persona(file) | ReplySettings::Hook { persona: file, .. } => file.as_ref(),
        }
    }
}

impl Check<'_> {
    pub(super) fn receivers(
        &mut self,
        tables: &[(Place, Values)],
        formats: &[Format],
        sources: &[SourceSettings],
    ) -> Vec<ReceiverSettings> {
        let mut receivers: Vec<ReceiverSettings> = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            let value = |key: &'static str| values.get(key).map_or_else(|| default_of(&Receiver::GROUP, key), |given| given.value.clone());
            let table = Receiver::from_values(value);
            // What a required key shows as its default is an example, and that it is missing is told already.
            if ["name", "listen", "keys_file"].iter().any(|key| !values.contains_key(*key)) {
                continue;
            }
            let name = match SourceName::parse(&table.name) {
                Ok(name) => name,
                Err(message) => {
                    self.complain(&given("name"), message);
                    continue;
                }
            };
            if receivers.iter().any(|other| other.name == name) || sources.iter().any(|source| source.name == name) {
                let message = format!("a source or receiver called `{name}` stands above: its events have this name, so give each its own");
                self.complain(&given("name"), message);
                continue;
            }
            let Some(listen) = self.receiver_address(&table, &given("listen")) else { continue };
            let format = match Format::named(&table.format, formats) {
                Ok(format) => format,
                Err(message) => {
                    self.complain(&given("format"), message);
                    continue;
                }
            };
            let keys_file = self.path(&table.keys_file, &given("keys_file"));
            let Some(reply) = self.reply(&table, &given) else { continue };
            let rate = u32::try_from(table.rate_per_second).ok().and_then(NonZeroU32::new);
            receivers.push(ReceiverSettings {
                name,
                listen,
                keys_file,
                format,
                reply,
                rate_per_second: rate.unwrap_or(NonZeroU32::MIN),
                connections_max: table.connections_max,
            });
        }
        receivers
    }

    fn receiver_address(&mut self, table: &Receiver, origin: &Origin) -> Option<SocketAddr> {
        match table.listen.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() || table.insecure_listen => Some(address),
            Ok(address) => {
                let instead = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port());
                self.complain(
                    origin,
                    format!(
                        "`listen` is {address}, which is not loopback, and keys and events would cross the network as they are: use \
                         \"{instead}\" behind a proxy that speaks TLS, or a tunnel; `insecure_listen = true` insists"
                    ),
                );
                None
            }
            Err(_) => {
                self.complain(origin, "`listen` must be an IP address and a port, such as \"127.0.0.1:8788\"".into());
                None
            }
        }
    }

    fn reply(&mut self, table: &Receiver, given: &dyn Fn(&str) -> Origin) -> Option<ReplySettings> {
        let persona = table.persona_file.as_ref().map(|file| self.path(file, &given("persona_file")));
        if table.reply != "hook" && table.hook_url.is_some() {
            self.complain(&given("hook_url"), "`hook_url` is asked only with reply = \"hook\": set that, or remove it".into());
            return None;
        }
        match table.reply.as_str() {
            "persona" => Some(ReplySettings::Persona(persona)),
            "hook" => {
                let Some(text) = &table.hook_url else {
                    self.complain(&given("reply"), "reply = \"hook\" needs `hook_url`: add hook_url = \"https://replies.example/\"".into());
                    return None;
                };
                let allow_private = self.networks(&table.allow_private, &given("allow_private"));
                match url::Url::parse(text) {
                    Ok(url) if matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none() => {
                        if allow_private.len() == table.allow_private.len()
                            && let Err(forbidden) = Guard::new(allow_private.clone()).check_url(&url)
                        {
                            self.complain(&given("hook_url"), format!("`hook_url` can never be asked: {forbidden}"));
                            return None;
                        }
                        let timeout = Duration::from_millis(table.hook_timeout_ms);
                        Some(ReplySettings::Hook { url, timeout, allow_private, persona })
                    }
                    _ => {
                        self.complain(
                            &given("hook_url"),
                            "`hook_url` must begin with http:// or https://, without user or password".into(),
                        );
                        None
                    }
                }
            }
            _ if persona.is_some() => {
                self.complain(&given("persona_file"), "`persona_file` is used only with reply = \"persona\" or \"hook\": set one".into());
                None
            }
            _ => Some(ReplySettings::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::of_text as settings;

    const TABLE: &str = "[[receiver]]\nname = \"chat\"\nlisten = \"127.0.0.1:8788\"\nkeys_file = \"keys\"\n";

    #[test]
    fn a_receiver_is_what_its_table_says() {
        let text =
            format!("{TABLE}format = \"chat\"\nreply = \"hook\"\nhook_url = \"http://10.0.0.7/r\"\nallow_private = [\"10.0.0.7\"]\n");
        let receivers = settings(&text).expect("valid").receivers;
        let [receiver] = &receivers[..] else { panic!("one") };
        assert_eq!(receiver.format, Format::CHAT);
        assert_eq!(receiver.keys_file, std::path::Path::new("/etc/h/keys"));
        assert!(matches!(&receiver.reply, ReplySettings::Hook { timeout, persona: None, .. } if timeout.as_millis() == 2000));
        let open = format!("{}insecure_listen = true\n", TABLE.replace("127.0.0.1", "0.0.0.0"));
        assert_eq!(settings(&open).expect("valid").receivers[0].reply, ReplySettings::None);
    }

    #[test]
    fn what_cannot_work_or_is_unsafe_is_refused_with_a_remedy() {
        let source = "[[source]]\nname = \"chat\"\npaths = [\"/a\"]\n";
        let cases = [
            (TABLE.replace("127.0.0.1", "0.0.0.0"), "`listen` is 0.0.0.0:8788, which is not loopback"),
            (TABLE.replace("127.0.0.1:8788", "8788"), "`listen` must be an IP address and a port"),
            (format!("{TABLE}{TABLE}"), "a source or receiver called `chat` stands above"),
            (format!("{source}{TABLE}"), "a source or receiver called `chat` stands above"),
            (format!("{TABLE}reply = \"hook\""), "reply = \"hook\" needs `hook_url`"),
            (format!("{TABLE}hook_url = \"http://a.example\""), "`hook_url` is asked only with"),
            (format!("{TABLE}persona_file = \"p.toml\""), "`persona_file` is used only with"),
            (
                format!("{TABLE}reply = \"hook\"\nhook_url = \"http://127.0.0.1:9/\""),
                "`hook_url` can never be asked: 127.0.0.1 is loopback",
            ),
            (format!("{TABLE}reply = \"hook\"\nhook_url = \"ftp://a.example\""), "`hook_url` must begin with http://"),
            (format!("{TABLE}format = \"cowri\""), "did you mean"),
            (TABLE.replace("keys_file = \"keys\"\n", ""), "keys_file"),
        ];
        for (text, expected) in cases {
            let problems = settings(&text).expect_err(&text);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{expected}\n{problems:?}");
        }
    }
}
