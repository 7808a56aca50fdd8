//! The configuration as strangers may see it: numbers, switches and choices as they are, of texts only what is the default.
//!
//! Nothing is listed as secret: a text is shown only when it cannot be one, so that a key that is added later is hidden too.
use super::groups::GROUPS;
use super::key::{Group, Key, Kind, Value};
use super::settings::{Settings, default_of};
use std::fmt::Write as _;

/// Stands for what is hidden.
pub const HIDDEN: &str = "<hidden>";
/// Keys whose texts are names that label metrics, and words of the program's own.
const NAMES: [(&str, &str); 6] =
    [("source", "name"), ("source", "format"), ("sink", "name"), ("enricher", "name"), ("alert", "name"), ("alert", "to")];

impl Settings {
    /// What is configured, as TOML; what is not at its default says so. With `sensors` also names of honeypots.
    pub fn disclosed(&self, sensors: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for group in GROUPS.iter().filter(|group| !group.repeated) {
            let _ = writeln!(text, "\n[{}]", if group.name.is_empty() { "(root)" } else { group.name });
            for key in group.keys {
                let value =
                    self.fragment.get(group.name, key.name).map_or_else(|| default_of(group, key.name), |given| given.value.clone());
                line(&mut text, group, key, &value, sensors);
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
        let value = self.fragment.get(group.name, key.name).map_or_else(|| default_of(group, key.name), |given| given.value.clone());
        Some(shown(group, key, &value, false))
    }
}

fn line(text: &mut String, group: &Group, key: &Key, value: &Value, sensors: bool) {
    let is_default = *value == default_of(group, key.name);
    let _ = writeln!(text, "{} = {}{}", key.name, shown(group, key, value, sensors), if is_default { "  # default" } else { "" });
}

fn shown(group: &Group, key: &Key, value: &Value, sensors: bool) -> String {
    match (value, key.kind) {
        _ if *value == default_of(group, key.name) => value.literal(key.kind),
        (Value::None | Value::Number(_) | Value::Flag(_), _) | (Value::Text(_), Kind::Choice(_)) => value.literal(key.kind),
        _ if NAMES.contains(&(group.name, key.name)) => value.literal(key.kind),
        _ if sensors && matches!(key.name, "sensor" | "sensors") => value.literal(key.kind),
        (Value::List(list), _) => format!("[]  # {} {HIDDEN}", list.len()),
        (Value::Map(map), _) => format!("{{}}  # {} {HIDDEN}", map.len()),
        (Value::Text(text), _) => match text.split_once("://") {
            Some((scheme @ ("http" | "https" | "unix"), _)) => format!("\"{scheme}://{HIDDEN}\""),
            _ => format!("\"{HIDDEN}\""),
        },
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
    }
}
