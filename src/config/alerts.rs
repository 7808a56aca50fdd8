//! `[[alert]]`: what each kind of rule needs, what it has no use for, and names that must be of something that is there.
use super::file::{Fragment, Given, Values, nearest};
use super::groups::{Alert, Alerts};
use super::key::{Origin, Place};
use super::settings::{Check, SourceName, default_of};
use super::sinks::{Receiver, SinkSettings};
use crate::alerts::{RULES_MAX, Rule, When};
use crate::index::query::Query;
use crate::indicators;
use crate::report::anomaly::Measure;
use crate::telemetry::printable::printable;
use std::time::Duration;

/// Rules, and how they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    pub rules: Vec<Rule>,
    pub every: Duration,
    /// So many requests of a sink that failed in a row are told.
    pub failures: u64,
}

/// Keys that only these rules have.
const OF_RULES: [(&[&str], &[&str]); 9] = [
    (&["query", "above", "below"], &["count"]),
    (&["window_seconds"], &["count", "silence", "sink", "indicator"]),
    (&["sensor"], &["anomaly", "silence"]),
    (&["measure"], &["anomaly"]),
    (&["kind"], &["indicator"]),
    (&["min_score"], &["indicator"]),
    (&["listed"], &["indicator"]),
    (&["sinks"], &["sink"]),
    (&["free_bytes"], &["disk"]),
];

/// Longest name of a sensor that is asked for, bytes.
const SENSOR_BYTES_MAX: usize = 256;

impl Check<'_> {
    pub(super) fn alerts(&mut self, fragment: &Fragment, table: &Alerts, sinks: &[SinkSettings], min_free_bytes: u64) -> AlertSettings {
        let mut rules: Vec<Rule> = Vec::new();
        for (place, values) in fragment.tables("alert") {
            let given = |key: &str| values.get(key).map_or(Origin::File(place.clone()), |Given { origin, .. }| origin.clone());
            // What a required key shows as its default is an example.
            if !values.contains_key("name") || !values.contains_key("when") {
                continue;
            }
            let alert =
                Alert::from_values(|key| values.get(key).map_or_else(|| default_of(&Alert::GROUP, key), |given| given.value.clone()));
            let name = match SourceName::parse(&alert.name) {
                Ok(name) => name,
                Err(message) => {
                    self.complain(&given("name"), message);
                    continue;
                }
            };
            if rules.iter().any(|other| other.name == name) {
                self.complain(&given("name"), format!("a rule called `{name}` stands above: give each its own name"));
                continue;
            }
            if rules.len() == RULES_MAX {
                self.complain(&given("name"), format!("there are more than {RULES_MAX} rules: remove some"));
                break;
            }
            self.foreign_keys(&alert.when, values, &given);
            let to = self.named_sinks("to", &alert.to, sinks, &given("to"));
            for sink in sinks.iter().filter(|sink| to.contains(&sink.name) && matches!(sink.receiver, Receiver::Guvi { .. })) {
                let message = format!("the sink `{}` takes results of chats and nothing else: name another", sink.name);
                self.complain(&given("to"), message);
            }
            let Some(when) = self.when(&alert, &to, sinks, min_free_bytes, place, &given) else { continue };
            rules.push(Rule { name, when, to, cooldown: Duration::from_secs(alert.cooldown_seconds) });
        }
        let Alerts { every_seconds, worker_alert_failure_threshold } = *table;
        AlertSettings { rules, every: Duration::from_secs(every_seconds), failures: worker_alert_failure_threshold }
    }

    /// Saying what holds anyway does no harm.
    fn foreign_keys(&mut self, when: &str, values: &Values, given: &dyn Fn(&str) -> Origin) {
        let is_set = |key: &str| values.get_key_value(key).is_some_and(|(key, given)| given.value != default_of(&Alert::GROUP, key));
        for (keys, rules) in OF_RULES.iter().filter(|(_, rules)| !rules.contains(&when)) {
            for key in keys.iter().filter(|key| is_set(key)) {
                let rules: Vec<String> = rules.iter().map(|name| format!("\"{name}\"")).collect();
                let message = format!("a rule of \"{when}\" has no `{key}`, only {} has: remove it", rules.join(", "));
                self.complain(&given(key), message);
            }
        }
    }

    fn named_sinks(&mut self, key: &str, names: &[String], sinks: &[SinkSettings], origin: &Origin) -> Vec<SourceName> {
        let mut found: Vec<SourceName> = Vec::new();
        for name in names {
            match sinks.iter().find(|sink| sink.name.as_str() == name) {
                Some(sink) if !found.contains(&sink.name) => found.push(sink.name.clone()),
                Some(_) => {}
                None => {
                    let advice = match nearest(name, sinks.iter().map(|sink| sink.name.as_str())) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if sinks.is_empty() => "add a [[sink]] first".to_owned(),
                        None => {
                            let names: Vec<String> = sinks.iter().take(10).map(|sink| format!("`{}`", sink.name)).collect();
                            format!("there are {}", names.join(", "))
                        }
                    };
                    self.complain(origin, format!("`{}` in `{key}` is no sink: {advice}", printable(name)));
                }
            }
        }
        found
    }

    fn when(
        &mut self,
        alert: &Alert,
        to: &[SourceName],
        sinks: &[SinkSettings],
        min_free_bytes: u64,
        place: &Place,
        given: &dyn Fn(&str) -> Origin,
    ) -> Option<When> {
        let window = Duration::from_secs(alert.window_seconds);
        if let Some(sensor) = &alert.sensor
            && (sensor.is_empty() || sensor.len() > SENSOR_BYTES_MAX)
        {
            self.complain(&given("sensor"), format!("`sensor` must be the name of a honeypot, of at most {SENSOR_BYTES_MAX} bytes"));
        }
        Some(match alert.when.as_str() {
            "count" => {
                let query = match &alert.query {
                    Some(text) => Some((text.clone(), self.counted(text, &given("query"))?)),
                    None => None,
                };
                let wide = |number: usize| number as u64;
                match (alert.above, alert.below) {
                    (None, None) => {
                        let remedy = "add above = 100 for too many events, or below = 1 for too few";
                        self.complain(&Origin::File(place.clone()), format!("a rule of \"count\" needs a bound: {remedy}"));
                        return None;
                    }
                    (Some(above), Some(below)) if below > above => {
                        let remedy = "swap them, or make two rules";
                        self.complain(&given("below"), format!("`below` must not be more than `above`, or it always holds: {remedy}"));
                    }
                    _ => {}
                }
                When::Count { query, window, above: alert.above.map(wide), below: alert.below.map(wide) }
            }
            "anomaly" => {
                let measure = match alert.measure.as_deref() {
                    None => None,
                    Some(name) => match Measure::parse(name) {
                        Some(measure) => Some(measure),
                        None => {
                            let advice = advice(name, Measure::ALL.iter().map(|measure| measure.name()));
                            self.complain(&given("measure"), format!("`{}` is no measure: {advice}", printable(name)));
                            return None;
                        }
                    },
                };
                When::Anomaly { sensor: alert.sensor.clone(), measure }
            }
            "indicator" => {
                let kinds: Vec<&str> = indicators::kinds().map(|kind| kind.name()).collect();
                let Some(name) = alert.kind.as_deref() else {
                    let message = "a rule of \"indicator\" needs `kind`: add for example kind = \"url\"";
                    self.complain(&Origin::File(place.clone()), message.into());
                    return None;
                };
                let Some(kind) = indicators::kinds().find(|kind| kind.name() == name) else {
                    self.complain(
                        &given("kind"),
                        format!("`{}` is no kind of indicators: {}", printable(name), advice(name, kinds.into_iter())),
                    );
                    return None;
                };
                // The key's limits keep it small.
                When::Indicator { kind, min_score: alert.min_score.min(100) as u8, listed: alert.listed, window }
            }
            "sink" => {
                let watched = self.named_sinks("sinks", &alert.sinks, sinks, &given("sinks"));
                if let ([only], [told]) = (&watched[..], to)
                    && only == told
                {
                    let message = format!("the sink `{only}` cannot tell that it delivers nothing: name another in `to`");
                    self.complain(&given("to"), message);
                }
                When::Sink { sinks: watched, window }
            }
            "disk" => {
                if alert.free_bytes.is_some_and(|free| free < min_free_bytes) {
                    let remedy = "give more, so that there is time to act, or leave it out";
                    let message = format!("`free_bytes` is less than `min_free_bytes` in [journal], at which reading pauses: {remedy}");
                    self.complain(&given("free_bytes"), message);
                }
                When::Disk { free_bytes: alert.free_bytes }
            }
            _ => When::Silence { sensor: alert.sensor.clone(), window },
        })
    }

    fn counted(&mut self, text: &str, origin: &Origin) -> Option<Query> {
        match Query::parse(text, 0) {
            Ok(query) if query.since.is_some() || query.until.is_some() => {
                self.complain(origin, "a rule's `query` cannot have since: or until:; `window_seconds` says over how long".into());
                None
            }
            Ok(query) => Some(query),
            Err(error) => {
                self.complain(origin, format!("`query` is no query: {error}"));
                None
            }
        }
    }
}

fn advice<'n>(wrong: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match nearest(wrong, names.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Field;

    fn alerts(text: &str) -> Result<AlertSettings, Vec<String>> {
        let sinks = "[[sink]]\nname = \"pager\"\ntype = \"webhook\"\nurl = \"https://p.example\"\n\
                     [[sink]]\nname = \"archive\"\ntype = \"file\"\npath = \"/x\"\n\
                     [[sink]]\nname = \"police\"\ntype = \"guvi\"\nurl = \"https://g.example\"\n";
        crate::config::settings::of_text(&format!("{text}{sinks}")).map(|settings| settings.alerts)
    }

    #[test]
    fn each_rule_gets_what_it_needs() {
        let text = "[alerts]\nevery_seconds = 5\n\
            [[alert]]\nname = \"brute\"\nwhen = \"count\"\nquery = 'eventid:cowrie.login.*'\nabove = 100\nwindow_seconds = 60\nto = [\"pager\", \"pager\"]\n\
            [[alert]]\nname = \"odd\"\nwhen = \"anomaly\"\nmeasure = \"silence\"\nsensor = \"ssh-1\"\n\
            [[alert]]\nname = \"hash\"\nwhen = \"indicator\"\nkind = \"shasum\"\nmin_score = 70\nlisted = true\n\
            [[alert]]\nname = \"stuck\"\nwhen = \"sink\"\nsinks = [\"archive\"]\nto = [\"pager\"]\n\
            [[alert]]\nname = \"room\"\nwhen = \"disk\"\nfree_bytes = \"20 GiB\"\n\
            [[alert]]\nname = \"quiet\"\nwhen = \"silence\"\ncooldown_seconds = 5\n";
        let AlertSettings { rules, every, failures } = alerts(text).expect("valid");
        assert_eq!((every, failures), (Duration::from_secs(5), 5));
        let When::Count { query: Some((query, _)), window, above: Some(100), below: None } = &rules[0].when else { panic!("{rules:?}") };
        assert_eq!((query.as_str(), window.as_secs(), rules[0].to.len()), ("eventid:cowrie.login.*", 60, 1));
        assert_eq!(rules[1].when, When::Anomaly { sensor: Some("ssh-1".into()), measure: Some(Measure::Silence) });
        let window = Duration::from_secs(3600);
        assert_eq!(rules[2].when, When::Indicator { kind: Field::Shasum, min_score: 70, listed: true, window });
        assert!(matches!(&rules[3].when, When::Sink { sinks, .. } if sinks[0].as_str() == "archive"));
        assert_eq!(rules[4].when, When::Disk { free_bytes: Some(20 << 30) });
        assert_eq!((rules[5].when.clone(), rules[5].cooldown.as_secs()), (When::Silence { sensor: None, window }, 5));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_line_and_the_nearest_name() {
        let rule = |when: &str, rest: &str| format!("[[alert]]\nname = \"a\"\nwhen = \"{when}\"\n{rest}\n");
        let cases: &[(String, &str)] = &[
            (rule("count", ""), "/etc/h/h.toml:1:1: a rule of \"count\" needs a bound"),
            (rule("count", "above = 1\nbelow = 2"), "/etc/h/h.toml:5:9: `below` must not be more than `above`"),
            (rule("count", "above = 1\nquery = 'nosuch:1'"), "/etc/h/h.toml:5:9: `query` is no query: column 1: there is no field"),
            (rule("count", "above = 1\nquery = 'since:1h'"), "/etc/h/h.toml:5:9: a rule's `query` cannot have since:"),
            (rule("cuont", ""), "/etc/h/h.toml:3:8: `when` must be one of"),
            (rule("disk", "above = 1"), "/etc/h/h.toml:4:9: a rule of \"disk\" has no `above`, only \"count\" has"),
            (rule("disk", "free_bytes = \"1 MiB\""), "/etc/h/h.toml:4:14: `free_bytes` is less than `min_free_bytes`"),
            (rule("disk", "to = [\"pagr\"]"), "/etc/h/h.toml:4:6: `pagr` in `to` is no sink: did you mean `pager`?"),
            (rule("disk", "to = [\"police\"]"), "/etc/h/h.toml:4:6: the sink `police` takes results of chats"),
            (rule("sink", "sinks = [\"x\"]"), "/etc/h/h.toml:4:9: `x` in `sinks` is no sink: there are `pager`, `archive`, `police`"),
            (rule("sink", "sinks = [\"pager\"]\nto = [\"pager\"]"), "/etc/h/h.toml:5:6: the sink `pager` cannot tell"),
            (rule("indicator", ""), "/etc/h/h.toml:1:1: a rule of \"indicator\" needs `kind`"),
            (rule("indicator", "kind = \"shasums\""), "/etc/h/h.toml:4:8: `shasums` is no kind of indicators: did you mean \"shasum\"?"),
            (rule("anomaly", "measure = \"event\""), "/etc/h/h.toml:4:11: `event` is no measure: did you mean \"events\"?"),
            (rule("disk", "") + &rule("disk", ""), "/etc/h/h.toml:6:8: a rule called `a` stands above"),
        ];
        for (text, expected) in cases {
            let problems = alerts(text).expect_err(text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}\n{problems:?}");
        }
    }
}
