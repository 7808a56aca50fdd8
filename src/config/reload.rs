//! What a changed configuration means for a running daemon.
use super::key::Apply;
use super::settings::Settings;
use serde_json::{Map, Value, json};

/// Differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tables that have names, by the name of the table; those in which nothing changes are left out.
    pub tables: Vec<(&'static str, Tables)>,
    /// Ages of sensors, all of which are taken over.
    pub retention_changed: bool,
    /// Values that the running daemon takes over.
    pub in_place: Vec<Change>,
    /// Values that wait for the next start.
    pub needs_restart: Vec<Change>,
}

/// Tables of one kind to take up, to drop, and to do both with: their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

impl Tables {
    fn between<T: PartialEq>(old: &[T], new: &[T], name: impl Fn(&T) -> &str) -> Tables {
        let named = |tables: &mut dyn Iterator<Item = &T>| tables.map(|table| name(table).to_owned()).collect();
        let before = |table: &&T| old.iter().find(|old| name(old) == name(table));
        Tables {
            added: named(&mut new.iter().filter(|table| before(table).is_none())),
            removed: named(&mut old.iter().filter(|table| !new.iter().any(|new| name(new) == name(table)))),
            changed: named(&mut new.iter().filter(|table| before(table).is_some_and(|before| before != *table))),
        }
    }
}

/// One value, before and after, as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `journal.min_free_bytes`
    pub key: String,
    pub old: String,
    pub new: String,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Of the tables called so: `source`, `sink`, `alert`, …
    pub fn of(&self, table: &str) -> Tables {
        self.tables.iter().find(|(name, _)| *name == table).map(|(_, tables)| tables.clone()).unwrap_or_default()
    }

    /// `added alert quiet, changed sink siem`
    pub fn tables_told(&self) -> String {
        let told = |what: &'static str, of: fn(&Tables) -> &Vec<String>| {
            self.tables.iter().flat_map(move |(table, tables)| of(tables).iter().map(move |name| format!("{what} {table} {name}")))
        };
        let all = told("added", |tables| &tables.added)
            .chain(told("removed", |tables| &tables.removed))
            .chain(told("changed", |tables| &tables.changed));
        all.collect::<Vec<_>>().join(", ")
    }

    /// What the ledger says of a reload from `old` to `new`: texts that may be secret are hidden, as in [`Settings::disclosed`].
    pub fn recorded(&self, old: &Settings, new: &Settings) -> Value {
        let named = |of: fn(&Tables) -> &Vec<String>| -> Vec<String> {
            self.tables.iter().flat_map(|(table, tables)| of(tables).iter().map(move |name| format!("{table} {name}"))).collect()
        };
        let values = |settings: &Settings| -> Map<String, Value> {
            let shown = |change: &Change| Some((change.key.clone(), settings.disclosed_value(&change.key)?.into()));
            self.in_place.iter().chain(&self.needs_restart).filter_map(shown).collect()
        };
        let waiting: Vec<&str> = self.needs_restart.iter().map(|change| change.key.as_str()).collect();
        json!({
            "before": values(old),
            "after": values(new),
            "added": named(|tables| &tables.added),
            "removed": named(|tables| &tables.removed),
            "changed": named(|tables| &tables.changed),
            "retention_changed": self.retention_changed,
            "needs_restart": waiting,
        })
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} instead of {}", self.key, self.new, self.old)
    }
}

impl Settings {
    /// What a reload with `new` changes, and what of it can be applied in place.
    pub fn changes(&self, new: &Settings) -> Changes {
        let mut changes = Changes::default();
        for ((group, key, old_value, _), (.., new_value, _)) in self.values().zip(new.values()) {
            // What counts is the directory meant, not the text it was written as.
            let same = match (group.name, key.name) {
                ("", "data_dir") => self.data_dir == new.data_dir,
                ("admin", "socket") => self.admin.socket == new.admin.socket,
                ("log", "file") => self.log.file == new.log.file,
                _ => old_value == new_value,
            };
            if same {
                continue;
            }
            let name = if group.name.is_empty() { key.name.into() } else { format!("{}.{}", group.name, key.name) };
            let change = Change { key: name, old: old_value, new: new_value };
            match key.apply {
                Apply::Reload => changes.in_place.push(change),
                Apply::Restart => changes.needs_restart.push(change),
            }
        }
        if self.receivers != new.receivers {
            let names = |settings: &Settings| {
                let names: Vec<&str> = settings.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
                format!("[{}]", names.join(", "))
            };
            changes.needs_restart.push(Change { key: "receiver".into(), old: names(self), new: names(new) });
        }
        changes.retention_changed = self.retention != new.retention;
        let tables = [
            ("source", Tables::between(&self.sources, &new.sources, |source| source.name.as_str())),
            ("sink", Tables::between(&self.sinks, &new.sinks, |sink| sink.name.as_str())),
            ("enricher", Tables::between(&self.enrichers, &new.enrichers, |enricher| enricher.name.as_str())),
            ("alert", Tables::between(&self.alerts.rules, &new.alerts.rules, |rule| rule.name.as_str())),
            ("issuer", Tables::between(&self.issuers, &new.issuers, |issuer| issuer.issuer.as_str())),
        ];
        changes.tables = tables.into_iter().filter(|(_, tables)| *tables != Tables::default()).collect();
        changes
    }

    /// The settings after a reload: `new` where it applies in place, these elsewhere.
    pub fn reloaded(&self, new: &Settings) -> Settings {
        let journal = super::Journal { segment_bytes: self.journal.segment_bytes, ..new.journal.clone() };
        let limits = super::Limits {
            quarantine_bytes: new.limits.quarantine_bytes,
            enrichment_entries: new.limits.enrichment_entries,
            ..self.limits.clone()
        };
        let log = super::LogSettings { level: new.log.level, ..self.log.clone() };
        let mut fragment = self.fragment.clone();
        fragment.repeated = new.fragment.repeated.clone();
        for (group, key, ..) in new.values().filter(|(_, key, ..)| key.apply == Apply::Reload) {
            let values = fragment.groups.entry(group.name).or_default();
            match new.fragment.get(group.name, key.name) {
                Some(given) => values.insert(key.name, given.clone()),
                None => values.remove(key.name),
            };
        }
        let (formats, sources, sinks) = (new.formats.clone(), new.sources.clone(), new.sinks.clone());
        let (privacy, archive, retention) = (new.privacy.clone(), new.archive.clone(), new.retention.clone());
        let (enrichers, lists, anomalies) = (new.enrichers.clone(), new.lists.clone(), new.anomalies);
        let alerts = new.alerts.clone();
        Settings {
            issuers: new.issuers.clone(),
            formats,
            sources,
            sinks,
            enrichers,
            lists,
            anomalies,
            alerts,
            privacy,
            archive,
            retention,
            journal,
            limits,
            log,
            fragment,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Surroundings, file};
    use super::*;
    use std::path::Path;

    fn settings(text: &str) -> Settings {
        let fragment = file::parse(Path::new("/etc/h.toml"), text).expect("valid");
        Settings::validate(fragment, None, &Surroundings { current_dir: "/".into(), ..Surroundings::default() }).expect("valid")
    }

    #[test]
    fn a_reload_knows_what_it_can_apply_and_what_must_wait() {
        let old =
            settings("[[source]]\nname = \"a\"\npaths = [\"/a\"]\n[[source]]\nname = \"b\"\npaths = [\"/b\"]\n[log]\nlevel = \"debug\"");
        let text = "data_dir = \"/other\"\n[[source]]\nname = \"b\"\npaths = [\"/b\", \"/bb\"]\n[[source]]\nname = \"c\"\npaths = [\"/c\"]\n\
                    [journal]\nevidence_days = 30\nsegment_bytes = \"8 MiB\"\n[anomalies]\nthreshold = 8\n[indicators]\nown = [\"192.0.2.1\"]";
        let new = settings(text);
        let changes = old.changes(&new);
        let Tables { added, removed, changed } = changes.of("source");
        assert_eq!((added, removed, changed), (vec!["c".to_owned()], vec!["a".to_owned()], vec!["b".to_owned()]));
        let lines = |changes: &[Change]| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines(&changes.in_place),
            [
                "indicators.own: [\"192.0.2.1\"] instead of []",
                "anomalies.threshold: 8 instead of 6",
                "journal.evidence_days: 30 instead of \"forever\"",
                "log.level: \"info\" instead of \"debug\""
            ]
        );
        assert_eq!(
            lines(&changes.needs_restart),
            [
                "data_dir: \"/other\" instead of \"/var/lib/honeyguide\"",
                "admin.socket: \"auto\" instead of \"auto\"",
                "journal.segment_bytes: \"8 MiB\" instead of \"64 MiB\""
            ]
        );
        let reloaded = old.reloaded(&new);
        let left = reloaded.changes(&new);
        assert!(left.in_place.is_empty() && left.tables.is_empty());
        assert_eq!(left.needs_restart, changes.needs_restart);
        assert_eq!(old.changes(&reloaded).needs_restart, []);
        assert_eq!((reloaded.anomalies.rules.threshold, reloaded.lists.own.len()), (8.0, 1));
    }

    #[test]
    fn a_reload_knows_which_rules_sinks_and_enrichers_change() {
        let sink = "[[sink]]\nname = \"pager\"\ntype = \"webhook\"\nurl = \"https://h.example/t0ken\"\n";
        let rule =
            |name: &str, free: &str| format!("[[alert]]\nname = \"{name}\"\nwhen = \"disk\"\nfree_bytes = \"{free}\"\nto = [\"pager\"]\n");
        let old = settings(&[sink, &rule("full", "5 GiB"), &rule("gone", "1 GiB")].concat());
        let new = settings(
            &[
                &sink.replace("t0ken", "0ther"),
                &rule("full", "6 GiB") as &str,
                &rule("new", "1 GiB"),
                "[indicators]\nown = [\"192.0.2.1\"]\n[log]\nlevel = \"debug\"\n",
            ]
            .concat(),
        );
        let changes = old.changes(&new);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let Tables { added, removed, changed } = changes.of("alert");
        assert_eq!((added, removed, changed), (names(&["new"]), names(&["gone"]), names(&["full"])));
        assert_eq!(changes.of("sink").changed, ["pager"]);
        assert_eq!(changes.of("enricher"), Tables::default());
        assert_eq!(changes.tables_told(), "added alert new, removed alert gone, changed sink pager, changed alert full");
        let recorded = changes.recorded(&old, &new);
        assert_eq!((&recorded["added"], &recorded["changed"]), (&json!(["alert new"]), &json!(["sink pager", "alert full"])));
        assert_eq!((&recorded["before"]["log.level"], &recorded["after"]["log.level"]), (&json!("\"info\""), &json!("\"debug\"")));
        for secret in ["192.0.2.1", "t0ken", "0ther"] {
            assert!(!recorded.to_string().contains(secret), "{recorded}");
        }
        assert_eq!(old.reloaded(&new).changes(&new).tables, []);
    }

    #[test]
    fn writing_the_same_differently_is_no_change() {
        let old = settings("[journal]\nsegment_bytes = 67108864\n");
        let new = settings("data_dir = \"/var/./lib//honeyguide\"\n[log]\nlevel = \"info\"\n");
        assert!(old.changes(&new).is_empty());
        assert!(old.changes(&old).is_empty());
    }
}
