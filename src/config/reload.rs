//! What a changed configuration means for a running daemon.
use super::key::Apply;
use super::settings::{Settings, SourceName};

/// Differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sources to start, to stop, and to stop and start again with their new settings.
    pub sources_added: Vec<SourceName>,
    pub sources_removed: Vec<SourceName>,
    pub sources_changed: Vec<SourceName>,
    /// Sinks, likewise.
    pub sinks_added: Vec<SourceName>,
    pub sinks_removed: Vec<SourceName>,
    pub sinks_changed: Vec<SourceName>,
    /// Ages of sensors, all of which are taken over.
    pub retention_changed: bool,
    /// Values that the running daemon takes over.
    pub in_place: Vec<Change>,
    /// Values that wait for the next start.
    pub needs_restart: Vec<Change>,
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
        for source in &new.sources {
            match self.sources.iter().find(|old| old.name == source.name) {
                None => changes.sources_added.push(source.name.clone()),
                Some(old) if old != source => changes.sources_changed.push(source.name.clone()),
                Some(_) => {}
            }
        }
        let gone = self.sources.iter().filter(|old| !new.sources.iter().any(|source| source.name == old.name));
        changes.sources_removed = gone.map(|source| source.name.clone()).collect();
        for sink in &new.sinks {
            match self.sinks.iter().find(|old| old.name == sink.name) {
                None => changes.sinks_added.push(sink.name.clone()),
                Some(old) if old != sink => changes.sinks_changed.push(sink.name.clone()),
                Some(_) => {}
            }
        }
        let gone = self.sinks.iter().filter(|old| !new.sinks.iter().any(|sink| sink.name == old.name));
        changes.sinks_removed = gone.map(|sink| sink.name.clone()).collect();
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
        let names = |names: &[SourceName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&changes.sources_added), ["c"]);
        assert_eq!(names(&changes.sources_removed), ["a"]);
        assert_eq!(names(&changes.sources_changed), ["b"]);
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
        assert!(left.in_place.is_empty() && left.sources_changed.is_empty() && left.sources_added.is_empty());
        assert_eq!(left.needs_restart, changes.needs_restart);
        assert_eq!(old.changes(&reloaded).needs_restart, []);
        assert_eq!((reloaded.anomalies.rules.threshold, reloaded.lists.own.len()), (8.0, 1));
    }

    #[test]
    fn writing_the_same_differently_is_no_change() {
        let old = settings("[journal]\nsegment_bytes = 67108864\n");
        let new = settings("data_dir = \"/var/./lib//honeyguide\"\n[log]\nlevel = \"info\"\n");
        assert!(old.changes(&new).is_empty());
        assert!(old.changes(&old).is_empty());
    }
}
