//! The configuration as strangers may see it: numbers, switches and choices as they are, of texts only what is the default.
//!
//! Nothing is listed as secret: a text is shown only when it cannot be one, so that a key that is added later is hidden too.
use super::groups::GROUPS;
use super::key::{Group, Key, Kind, Value};
use super::settings::{Settings, default_of, value_of};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Stands for what is hidden.
pub const HIDDEN: &str = "<hidden>";
/// Keys whose texts are names that label metrics, and words of the program's own.
const NAMES: [(&str, &str); 6] =
    [("source", "name"), ("source", "format"), ("sink", "name"), ("enricher", "name"), ("alert", "name"), ("alert", "to")];

/// A table of the configuration, as strangers may see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ConfigurationTable)]
pub struct Shown {
    /// Empty for what stands before all tables.
    pub table: String,
    /// One of several of that name.
    pub repeated: bool,
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Setting {
    pub name: String,
    /// Null when it is hidden, or there is none.
    #[schema(value_type = Value)]
    pub value: serde_json::Value,
    /// It is not shown: a text that may be a secret.
    pub hidden: bool,
    /// Nobody set it.
    pub default: bool,
}

impl Shown {
    /// The tables as TOML.
    pub fn text(tables: &[Shown]) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for Shown { table, repeated, settings } in tables {
            let _ = match (repeated, table.as_str()) {
                (true, name) => writeln!(text, "\n[[{name}]]"),
                (false, "") => Ok(()),
                (false, name) => writeln!(text, "\n[{name}]"),
            };
            for Setting { name, value, hidden, default } in settings {
                let _ = match (hidden, value) {
                    (true, _) => writeln!(text, "# {name} = {HIDDEN}"),
                    (false, serde_json::Value::Null) => writeln!(text, "# {name} is not set"),
                    (false, value) => {
                        // JSON's texts, numbers, switches and lists are TOML's; of tables the sign differs.
                        let literal = match value {
                            serde_json::Value::Object(members) => {
                                let members =
                                    members.iter().map(|(name, value)| format!("{} = {value}", serde_json::Value::from(name.as_str())));
                                format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
                            }
                            value => value.to_string(),
                        };
                        writeln!(text, "{name} = {literal}{}", if *default { "  # default" } else { "" })
                    }
                };
            }
        }
        text
    }
}

impl Settings {
    /// What is configured, by tables. Texts are shown by the same rule as by [`Settings::disclosed`], names of honeypots among them.
    pub fn shown(&self) -> Vec<Shown> {
        let setting = |group: &Group, key: &Key, value: &Value| {
            let default = *value == default_of(group, key.name);
            let hidden = !may_be_seen(group, key, value, true);
            let value = if hidden { serde_json::Value::Null } else { json(value) };
            Setting { name: key.name.to_owned(), value, hidden, default }
        };
        let table = |group: &Group, settings| Shown { table: group.name.to_owned(), repeated: group.repeated, settings };
        let once = GROUPS.iter().filter(|group| !group.repeated).map(|group| {
            table(group, group.keys.iter().map(|key| setting(group, key, &value_of(&self.fragment, group, key.name))).collect())
        });
        let repeated = GROUPS.iter().filter(|group| group.repeated).flat_map(|group| {
            self.fragment.tables(group.name).iter().map(move |(_, values)| {
                let known = values.iter().filter_map(|(name, given)| Some(setting(group, group.key(name)?, &given.value)));
                table(group, known.collect())
            })
        });
        once.chain(repeated).collect()
    }

    /// What is configured, as TOML; what is not at its default says so. With `sensors` also names of honeypots.
    pub fn disclosed(&self, sensors: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for group in GROUPS.iter().filter(|group| !group.repeated) {
            let _ = writeln!(text, "\n[{}]", if group.name.is_empty() { "(root)" } else { group.name });
            for key in group.keys {
                line(&mut text, group, key, &value_of(&self.fragment, group, key.name), sensors);
            }
        }
        for group in GROUPS.iter().filter(|group| group.repeated) {
            for (_, values) in self.fragment.tables(group.name) {
                let _ = writeln!(text, "\n[[{}]]", group.name);
                for (name, given) in values {
                    if let Some(key) = group.key(name) {
                        line(&mut text, group, key, &given.value, sensors);
                    }
                }
            }
        }
        text
    }

    /// The same of one value, named as `journal.min_free_bytes`.
    pub fn disclosed_value(&self, name: &str) -> Option<String> {
        let (group, key) = name.rsplit_once('.').unwrap_or(("", name));
        let group = GROUPS.iter().find(|known| known.name == group && !known.repeated)?;
        let key = group.key(key)?;
        Some(shown(group, key, &value_of(&self.fragment, group, key.name), false))
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Number(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::List(list) => list.iter().map(String::as_str).collect(),
        Value::Map(map) => map.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
    }
}

/// Whether it cannot be a secret.
fn may_be_seen(group: &Group, key: &Key, value: &Value, sensors: bool) -> bool {
    *value == default_of(group, key.name)
        || matches!((value, key.kind), (Value::None | Value::Number(_) | Value::Flag(_), _) | (Value::Text(_), Kind::Choice(_)))
        || NAMES.contains(&(group.name, key.name))
        || sensors && matches!(key.name, "sensor" | "sensors")
}

fn line(text: &mut String, group: &Group, key: &Key, value: &Value, sensors: bool) {
    let is_default = *value == default_of(group, key.name);
    let _ = writeln!(text, "{} = {}{}", key.name, shown(group, key, value, sensors), if is_default { "  # default" } else { "" });
}

fn shown(group: &Group, key: &Key, value: &Value, sensors: bool) -> String {
    match value {
        value if may_be_seen(group, key, value, sensors) => value.literal(key.kind),
        Value::List(list) => format!("[]  # {} {HIDDEN}", list.len()),
        Value::Map(map) => format!("{{}}  # {} {HIDDEN}", map.len()),
        Value::Text(text) => match text.split_once("://") {
            Some((scheme @ ("http" | "https" | "unix"), _)) => format!("\"{scheme}://{HIDDEN}\""),
            _ => format!("\"{HIDDEN}\""),
        },
        Value::None | Value::Number(_) | Value::Flag(_) => value.literal(key.kind),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_hidden_unless_they_are_defaults_names_or_choices() {
        let text = "data_dir = \"/srv/hunter2\"\n[log]\nlevel = \"debug\"\n[indicators]\nown = [\"198.51.100.7\"]\n\
            [[sink]]\nname = \"pager\"\ntype = \"webhook\"\nurl = \"https://h.example/t0ken?k=s3cret\"\nheaders = { X-Key = \"s3cret\" }\n\
            filter = 'src_ip:198.51.100.8'\nbatch_events = 7\n[[alert]]\nname = \"quiet\"\nwhen = \"silence\"\nsensor = \"bank-dmz\"\nto = [\"pager\"]\n";
        let settings = crate::config::settings::of_text(text).expect("valid");
        let shown = settings.disclosed(false);
        for hidden in ["hunter2", "s3cret", "t0ken", "example", "198.51", "bank-dmz", "X-Key"] {
            assert!(!shown.contains(hidden), "{hidden} in\n{shown}");
        }
        for there in [
            "level = \"debug\"",
            "name = \"pager\"",
            "batch_events = 7",
            "url = \"https://<hidden>\"",
            "when = \"silence\"",
            "to = [\"pager\"]",
        ] {
            assert!(shown.contains(there), "{there} not in\n{shown}");
        }
        assert!(settings.disclosed(true).contains("sensor = \"bank-dmz\""));

        let tables = settings.shown();
        let (json, text) = (serde_json::to_string(&tables).expect("JSON"), super::Shown::text(&tables));
        for hidden in ["hunter2", "s3cret", "t0ken", "example", "198.51", "X-Key"] {
            assert!(!json.contains(hidden) && !text.contains(hidden), "{hidden} in\n{json}\n{text}");
        }
        let read: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read["log"]["level"].as_str(), Some("debug"));
        assert_eq!(read["sink"][0]["batch_events"].as_integer(), Some(7));
        assert_eq!(read["alert"][0]["sensor"].as_str(), Some("bank-dmz"));
        let pager = tables.iter().find(|shown| shown.table == "sink").expect("a sink");
        let url = pager.settings.iter().find(|setting| setting.name == "url").expect("a URL");
        assert!(url.hidden && !url.default && url.value.is_null());
    }
}
