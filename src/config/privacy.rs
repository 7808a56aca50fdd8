//! `[[redact]]` and `[privacy]`: rules of redaction, and the file with the key of its hashes.
use super::file::{Fragment, Given, Values};
use super::groups::{Privacy, Redact};
use super::key::{Origin, Place};
use super::receivers::ReceiverSettings;
use super::settings::{Check, SourceName, SourceSettings, default_of, origin_of};
use crate::events::Field;
use crate::redact::{Action, Key, Kind, Policy, Rule, Stage};
use crate::telemetry::printable::printable;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A policy without its key, which stands in a file of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivacySettings {
    pub rules: Vec<Rule>,
    pub key_file: Option<PathBuf>,
}

impl PrivacySettings {
    /// With the key, read from its file. Without it nothing may be stored that is to be redacted.
    pub fn policy(&self) -> Result<Policy, String> {
        let key = self.key_file.as_deref().map(read_key).transpose()?;
        Ok(Policy { rules: self.rules.clone(), key })
    }
}

/// Longest file that is looked at, bytes.
const KEY_FILE_BYTES_MAX: u64 = 1 << 10;

fn read_key(path: &Path) -> Result<Key, String> {
    let shown = || printable(&path.to_string_lossy()).into_owned();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read the key of privacy in {}: {error}", shown()))?;
    let made = "make one with `openssl rand -hex 32`, and keep it: with another, values and events of before are not recognised";
    Key::parse(&bytes).ok_or_else(|| format!("{} holds no key of privacy, which is 64 hexadecimal digits or 32 bytes: {made}", shown()))
}

impl Check<'_> {
    pub(super) fn privacy(
        &mut self,
        fragment: &Fragment,
        table: &Privacy,
        tables: &[(Place, Values)],
        sources: &[SourceSettings],
        receivers: &[ReceiverSettings],
    ) -> PrivacySettings {
        let key_file = table.key_file.as_ref().map(|file| self.file(file, &origin_of(fragment, "privacy", "key_file")));
        let mut rules = Vec::new();
        let mut naming_sensors = Vec::new();
        for (place, values) in tables {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            // A key that is missing is told of already.
            if !values.contains_key("action") {
                continue;
            }
            let table =
                Redact::from_values(|key| values.get(key).map_or_else(|| default_of(&Redact::GROUP, key), |given| given.value.clone()));
            if table.fields.is_empty() && table.kinds.is_empty() {
                let remedy = "add for example fields = [\"password\"], or kinds = [\"email\", \"phone\", \"card\"]";
                self.complain(&given("action"), format!("this [[redact]] names nothing to redact: {remedy}"));
            }
            let mut fields = Vec::new();
            for name in &table.fields {
                match field(name) {
                    Ok(field) => fields.push(field),
                    Err(message) => self.complain(&given("fields"), message),
                }
            }
            let mut kinds = Vec::new();
            for name in &table.kinds {
                match Kind::parse(name) {
                    Some(kind) => kinds.push(kind),
                    None => {
                        let message = format!("`{}` in `kinds` is none of \"email\", \"phone\", \"card\"", printable(name));
                        self.complain(&given("kinds"), message);
                    }
                }
            }
            let loaded = SourceName::load();
            for name in &table.sources {
                let known = sources.iter().map(|source| &source.name).chain(receivers.iter().map(|receiver| &receiver.name));
                if !known.chain([&loaded]).any(|known| known.as_str() == name) {
                    let remedy = "name a [[source]] or a [[receiver]], or \"load\" for what `honeyguide load` reads";
                    self.complain(&given("sources"), format!("there is no source called `{}`: {remedy}", printable(name)));
                }
            }
            let action = match table.action.as_str() {
                "hash" => Action::Hash,
                "drop" => Action::Drop,
                _ => Action::Mask,
            };
            if action == Action::Hash && key_file.is_none() {
                let remedy = "make one with `openssl rand -hex 32 > FILE` and name it as `key_file` in [privacy]";
                self.complain(&given("action"), format!("`action` \"hash\" needs a key: {remedy}"));
            }
            let stage = if table.when == "export" { Stage::Export } else { Stage::Store };
            if !table.sensors.is_empty() {
                naming_sensors.push(given("sensors"));
            }
            rules.push(Rule { fields, kinds, action, stage, sources: table.sources, sensors: table.sensors });
        }
        if rules.iter().any(|rule: &Rule| rule.stage == Stage::Store && rule.fields.contains(&Field::Sensor)) {
            let ages = fragment.tables("retention").iter().filter_map(|(_, values)| values.get("sensor"));
            naming_sensors.extend(ages.map(|given| given.origin.clone()));
            for origin in naming_sensors {
                let remedy = "take `sensor` out of the `fields` there, or name no sensors here";
                self.complain(&origin, format!("a [[redact]] leaves no names of sensors in what is stored: {remedy}"));
            }
        }
        PrivacySettings { rules, key_file }
    }
}

/// A field whose values are members of lines.
fn field(name: &str) -> Result<Field, String> {
    let shown = printable(name);
    let Some(field) = Field::parse(name) else {
        let nearest = Field::ALL.iter().map(|field| field.name()).min_by_key(|known| strsim::damerau_levenshtein(known, name));
        return Err(match nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= 3) {
            Some(known) => format!("`{shown}` in `fields` is no field; did you mean `{known}`?"),
            None => format!("`{shown}` in `fields` is no field: `honeyguide search --help` lists them"),
        });
    };
    let of_members = [Field::Url, Field::Cve, Field::Hassh, Field::Fingerprint, Field::Ja4, Field::Ja4h];
    match field {
        Field::Email | Field::Phone => Err(format!("`{shown}` is found in texts: write kinds = [\"{shown}\"]")),
        Field::Country | Field::Asn => Err(format!("`{shown}` is looked up by `src_ip`: name that")),
        field if field.is_joined() => Err(format!("`{shown}` is made of other fields (see `honeyguide search --help`): name those")),
        field if field.is_indicator() && !of_members.contains(&field) => Err(format!(
            "`{shown}` is found in texts, and only e-mail addresses, phone and card numbers can be redacted there: name the fields that the texts are, such as \"command\""
        )),
        field => Ok(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::of_text as settings;

    #[test]
    fn rules_are_read_in_their_order() {
        let text = "[[source]]\nname = \"chat\"\npaths = [\"/x\"]\n[[redact]]\nfields = [\"password\", \"url\"]\naction = \"mask\"\n\
                    [[redact]]\nkinds = [\"email\", \"card\"]\naction = \"hash\"\nwhen = \"export\"\nsources = [\"chat\", \"load\"]\nsensors = [\"hp1\"]\n\
                    [privacy]\nkey_file = \"privacy.key\"\n";
        let privacy = settings(text).expect("valid").privacy;
        assert_eq!(privacy.key_file.as_deref(), Some(Path::new("/etc/h/privacy.key")));
        let lines: Vec<String> = privacy.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "password, url: masked before they are stored",
                "e-mail addresses, card numbers: replaced by a keyed hash before they leave; of the source chat, load; of the sensor hp1"
            ]
        );
        assert!(privacy.policy().expect_err("no such file").starts_with("cannot read the key of privacy in /etc/h/privacy.key"));
    }

    #[test]
    fn what_would_redact_nothing_is_refused_with_its_line_and_a_remedy() {
        for (text, expected) in [
            ("[[redact]]\naction = \"mask\"", "/etc/h/h.toml:2:10: this [[redact]] names nothing to redact"),
            (
                "[[redact]]\nfields = [\"pasword\"]\naction = \"mask\"",
                "/etc/h/h.toml:2:10: `pasword` in `fields` is no field; did you mean `password`?",
            ),
            (
                "[[redact]]\nfields = [\"email\"]\naction = \"mask\"",
                "/etc/h/h.toml:2:10: `email` is found in texts: write kinds = [\"email\"]",
            ),
            ("[[redact]]\nfields = [\"domain\"]\naction = \"drop\"", "/etc/h/h.toml:2:10: `domain` is found in texts, and only"),
            ("[[redact]]\nfields = [\"credential\"]\naction = \"drop\"", "/etc/h/h.toml:2:10: `credential` is made of other fields"),
            ("[[redact]]\nfields = [\"asn\"]\naction = \"drop\"", "/etc/h/h.toml:2:10: `asn` is looked up by `src_ip`"),
            ("[[redact]]\nkinds = [\"iban\"]\naction = \"mask\"", "/etc/h/h.toml:2:9: `iban` in `kinds` is none of"),
            ("[[redact]]\nkinds = [\"card\"]\naction = \"hash\"", "/etc/h/h.toml:3:10: `action` \"hash\" needs a key"),
            ("[[redact]]\nkinds = [\"card\"]\naction = \"mask\"\nsources = [\"x\"]", "/etc/h/h.toml:4:11: there is no source called `x`"),
            (
                "[[redact]]\nfields = [\"sensor\"]\naction = \"mask\"\n[[redact]]\nkinds = [\"card\"]\naction = \"mask\"\nsensors = [\"hp1\"]",
                "/etc/h/h.toml:7:11: a [[redact]] leaves no names of sensors in what is stored",
            ),
            (
                "[[redact]]\nfields = [\"sensor\"]\naction = \"drop\"\n[[retention]]\nsensor = \"chat-*\"\ndays = 9",
                "/etc/h/h.toml:5:10: a [[redact]] leaves no names of sensors in what is stored",
            ),
            ("[[redact]]\nkinds = [\"card\"]\naction = \"erase\"", "/etc/h/h.toml:3:10: `action` must be one of"),
        ] {
            let problems = settings(text).expect_err(text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}\n{problems:?}");
        }
    }

    #[test]
    fn a_key_is_read_from_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "ab".repeat(32) + "\n").expect("written");
        assert_eq!(read_key(&path), Ok(Key::new(&[0xAB; 32])));
        std::fs::write(&path, "short").expect("written");
        assert!(read_key(&path).expect_err("no key").contains("openssl rand -hex 32"));
    }
}
