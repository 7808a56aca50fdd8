//! The schema registry: per format, event id and sensor the members ever seen and their types, in the order of their appearance.
//!
//! It is what the ledger says: `schema_learned` for new members, `schema_drift` for a new type of a member known with another. So
//! it is kept nowhere else, and is read from there at opening. What a batch teaches is written when the batch is durable; until
//! then, and after a failure to write it, every batch with such an event tells of it again.
use super::Shared;
use crate::events::shape::{NAME_BYTES_MAX, Shape};
use crate::events::{Micros, json::Type, time};
use crate::journal::log::{LogError, Record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::{PoisonError, RwLock};

/// Most (format, event id, sensor), and most members of one of them.
pub const SCHEMAS_MAX: usize = 4096;
pub const FIELDS_MAX: usize = 256;
/// Most members of all of them: some 8 MiB.
const FIELDS_TOTAL_MAX: usize = 1 << 16;
/// Shapes remembered; beyond, they are learnt anew.
const SHAPES_MAX: usize = 1 << 16;

const LEARNED: &str = "schema_learned";
const DRIFT: &str = "schema_drift";

/// Whose schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub format: String,
    pub eventid: String,
    pub sensor: String,
}

/// What is known of one kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// 1 with the first event; one more with each event that brought something new.
    pub version: u32,
    pub first_seen: Micros,
    pub changed_at: Micros,
    pub fields: BTreeMap<String, Vec<Seen>>,
}

/// A type of a member, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub kind: Type,
    pub version: u32,
    pub at: Micros,
}

/// A new type for a known member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub key: Key,
    pub field: String,
    pub known: Vec<Type>,
    pub kind: Type,
}

/// What the ledger says of a change.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    format: String,
    eventid: String,
    sensor: String,
    version: u32,
    /// Names and the types that are new.
    fields: BTreeMap<String, Vec<String>>,
    /// Of drift: what was known before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    known: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
pub struct Schemas(RwLock<Known>);

#[derive(Default)]
struct Known {
    shapes: HashSet<u64>,
    schemas: BTreeMap<Key, Schema>,
    /// How many schemas and members there are.
    count: usize,
    fields: usize,
    /// Members, and kinds of events, that are beyond the limits.
    left_out: u64,
}

impl Schemas {
    /// What the records of a ledger say.
    pub(super) fn read(ledger: &crate::journal::log::Log) -> Result<Schemas, LogError> {
        #[derive(Deserialize)]
        struct Line {
            #[serde(rename = "@timestamp")]
            timestamp: String,
            event: String,
            details: serde_json::Value,
        }
        let mut known = Known::default();
        ledger.for_each(0, |_, line| {
            if memchr::memmem::find(line, b"\"schema_").is_some()
                && let Ok(line) = serde_json::from_slice::<Line>(line)
                && matches!(line.event.as_str(), LEARNED | DRIFT)
                && let (Ok(change), Some(at)) = (serde_json::from_value::<Change>(line.details), time::parse(line.timestamp.as_bytes()))
            {
                known.apply(&change, at);
            }
            true
        })?;
        Ok(Schemas(RwLock::new(known)))
    }

    /// Whether nothing is to be learnt of this shape.
    pub fn knows(&self, shape: u64) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).shapes.contains(&shape)
    }

    /// All schemas that `wanted` takes, in the order of their keys.
    pub fn list(&self, mut wanted: impl FnMut(&Key) -> bool) -> Vec<(Key, Schema)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.schemas.iter().filter(|(key, _)| wanted(key)).map(|(key, schema)| (key.clone(), schema.clone())).collect()
    }

    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).schemas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kinds of events and members left out because there are too many.
    pub fn left_out(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).left_out
    }
}

impl Known {
    fn apply(&mut self, change: &Change, at: Micros) {
        let key = Key { format: change.format.clone(), eventid: change.eventid.clone(), sensor: change.sensor.clone() };
        if !self.schemas.contains_key(&key) {
            if self.count >= SCHEMAS_MAX {
                return;
            }
            self.count += 1;
        }
        let schema = self.schemas.entry(key).or_insert_with(|| Schema { first_seen: at, ..Schema::default() });
        schema.version = schema.version.max(change.version);
        schema.changed_at = at;
        for (name, kinds) in &change.fields {
            if !schema.fields.contains_key(name) {
                if schema.fields.len() >= FIELDS_MAX || self.fields >= FIELDS_TOTAL_MAX {
                    continue;
                }
                self.fields += 1;
            }
            let seen = schema.fields.entry(name.clone()).or_default();
            for kind in kinds.iter().filter_map(|kind| Type::parse(kind)) {
                if seen.iter().all(|known| known.kind != kind) {
                    seen.push(Seen { kind, version: change.version, at });
                }
            }
        }
    }

    /// What a shape has that is new: members, and new types of known ones.
    fn news(&mut self, shape: &Shape) -> (Option<Change>, Option<Change>) {
        let key = key_of(shape);
        let schema = self.schemas.get(&key);
        if schema.is_none() && self.count >= SCHEMAS_MAX {
            self.left_out += 1;
            return (None, None);
        }
        let change = || Change {
            format: key.format.clone(),
            eventid: key.eventid.clone(),
            sensor: key.sensor.clone(),
            version: schema.map_or(0, |schema| schema.version) + 1,
            fields: BTreeMap::new(),
            known: BTreeMap::new(),
        };
        let (mut learned, mut drift) = (change(), change());
        let room =
            FIELDS_MAX.saturating_sub(schema.map_or(0, |schema| schema.fields.len())).min(FIELDS_TOTAL_MAX.saturating_sub(self.fields));
        for (name, kind) in &shape.members {
            match schema.and_then(|schema| schema.fields.get(name)) {
                Some(seen) if seen.iter().any(|seen| seen.kind == *kind) => {}
                Some(seen) => {
                    drift.fields.entry(name.clone()).or_default().push(kind.name().into());
                    drift.known.insert(name.clone(), seen.iter().map(|seen| seen.kind.name().into()).collect());
                }
                None if name.len() > NAME_BYTES_MAX || learned.fields.len() >= room && !learned.fields.contains_key(name) => {
                    self.left_out += 1
                }
                None => {
                    let kinds = learned.fields.entry(name.clone()).or_default();
                    if !kinds.iter().any(|known| known == kind.name()) {
                        kinds.push(kind.name().into());
                    }
                }
            }
        }
        let begins = schema.is_none();
        ((begins || !learned.fields.is_empty()).then_some(learned), (!drift.fields.is_empty()).then_some(drift))
    }
}

fn key_of(shape: &Shape) -> Key {
    Key { format: shape.format.name().into(), eventid: shape.eventid.clone(), sensor: shape.sensor.clone() }
}

impl Shared {
    /// Learns what durable batches brought: first in the ledger, then in memory. Only the writer's thread calls this.
    pub(super) fn learn(&self, shapes: &[Shape], now: Micros) -> Result<Vec<Drift>, LogError> {
        let schemas = &self.schemas.0;
        let fresh: Vec<&Shape> = {
            let known = schemas.read().unwrap_or_else(PoisonError::into_inner);
            shapes.iter().filter(|shape| !known.shapes.contains(&shape.hash)).collect()
        };
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        // Changes are made to copies of the schemas concerned, and are everybody's once they are written.
        let mut after = {
            let known = schemas.read().unwrap_or_else(PoisonError::into_inner);
            let keys = fresh.iter().map(|shape| key_of(shape)).filter_map(|key| known.schemas.get_key_value(&key));
            let schemas = keys.map(|(key, schema)| (key.clone(), schema.clone())).collect();
            Known { shapes: HashSet::new(), schemas, count: known.count, fields: known.fields, left_out: 0 }
        };
        let (mut records, mut drifts) = (Vec::new(), Vec::new());
        for shape in fresh {
            let (learned, drift) = after.news(shape);
            after.shapes.insert(shape.hash);
            for (event, change) in [(LEARNED, learned), (DRIFT, drift)] {
                let Some(change) = change else { continue };
                let line = serde_json::json!({ "@timestamp": time::format(now), "event": event, "details": change });
                records.push(Record { time: now, line: line.to_string().into_bytes() });
                after.apply(&change, now);
                drifts.extend(change.known.iter().map(|(field, known)| Drift {
                    key: Key { format: change.format.clone(), eventid: change.eventid.clone(), sensor: change.sensor.clone() },
                    field: field.clone(),
                    known: known.iter().filter_map(|kind| Type::parse(kind)).collect(),
                    kind: change.fields[field].last().and_then(|kind| Type::parse(kind)).unwrap_or(Type::Null),
                }));
            }
        }
        if !records.is_empty() {
            let mut ledger = self.ledger();
            ledger.append(&records, now)?;
            ledger.enforce_limit()?;
        }
        let mut known = schemas.write().unwrap_or_else(PoisonError::into_inner);
        if known.shapes.len() >= SHAPES_MAX {
            known.shapes.clear();
        }
        known.shapes.extend(after.shapes);
        known.schemas.extend(after.schemas);
        (known.count, known.fields) = (after.count, after.fields);
        known.left_out += after.left_out;
        Ok(drifts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Format;

    fn shape(hash: u64, eventid: &str, members: &[(&str, Type)]) -> Shape {
        let members = members.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Shape { hash, format: Format::COWRIE, eventid: eventid.into(), sensor: "s".into(), members }
    }

    fn taught(known: &mut Known, shape: &Shape, at: Micros) -> (bool, bool) {
        let (learned, drift) = known.news(shape);
        let told = (learned.is_some(), drift.is_some());
        learned.iter().chain(&drift).for_each(|change| known.apply(change, at));
        told
    }

    #[test]
    fn a_new_member_is_learnt_and_a_new_type_is_drift() {
        let mut known = Known::default();
        let steps = [
            (shape(1, "closed", &[("duration", Type::String), ("a", Type::Null)]), (true, false), 1),
            (shape(2, "closed", &[("a", Type::Null)]), (false, false), 1),
            (shape(3, "closed", &[("duration", Type::Float)]), (false, true), 2),
            (shape(4, "closed", &[("duration", Type::Integer), ("b", Type::Array)]), (true, true), 3),
            (shape(5, "closed", &[("duration", Type::String), ("b", Type::Array)]), (false, false), 3),
        ];
        for (at, (shape, told, version)) in (10..).zip(steps) {
            assert_eq!(taught(&mut known, &shape, at), told, "{shape:?}");
            assert_eq!(known.schemas.values().next().unwrap().version, version);
        }
        let schema = known.schemas.values().next().unwrap();
        let kinds: Vec<_> = schema.fields["duration"].iter().map(|seen| (seen.kind, seen.version, seen.at)).collect();
        assert_eq!(kinds, [(Type::String, 1, 10), (Type::Float, 2, 12), (Type::Integer, 3, 13)]);
        assert_eq!((schema.first_seen, schema.changed_at), (10, 13));
    }

    #[test]
    fn what_is_too_much_is_counted_and_left_out() {
        let mut known = Known::default();
        for n in 0..SCHEMAS_MAX + 5 {
            taught(&mut known, &shape(n as u64, &format!("e{n}"), &[]), 1);
        }
        assert_eq!((known.schemas.len(), known.left_out), (SCHEMAS_MAX, 5));
        let names: Vec<String> = (0..FIELDS_MAX + 3).map(|n| format!("f{n}")).collect();
        let members: Vec<(&str, Type)> = names.iter().map(|name| (name.as_str(), Type::Null)).collect();
        taught(&mut known, &shape(0, "e0", &members), 1);
        taught(&mut known, &shape(0, "e0", &members[FIELDS_MAX..]), 1);
        assert_eq!(known.schemas.values().map(|schema| schema.fields.len()).max(), Some(FIELDS_MAX));
        assert_eq!(known.left_out, 5 + 3 + 3);
    }
}
