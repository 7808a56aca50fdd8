//! Who did what: records of the ledger, newest first, a page at a time.
use super::ServiceError;
use crate::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Records when nobody says how many, and most of one page.
pub const LIMIT_DEFAULT: usize = 50;
pub const LIMIT_MAX: usize = 1_000;
/// Bytes of one page's records: the rest is for the next.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The kind of those that tell of a request that changed something, or was refused.
pub const REQUEST: &str = "request";

/// What records of keys call the hash of a secret.
const SECRET_HASH: &str = "hash";

/// What every record has that somebody caused.
const BY: &[u8] = b"\"by\":";

/// Which are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Only this kind: `request`, `sink_ordered`, …
    pub kind: Option<String>,
    /// Without those that say of nobody that it was them: what the daemon did and learned by itself.
    #[serde(default)]
    #[param(inline)]
    pub people: Option<bool>,
    /// Only those with smaller numbers: where the page before ended.
    pub before: Option<u64>,
    pub limit: Option<usize>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Recorded {
    pub number: u64,
    pub time: String,
    pub kind: String,
    #[schema(value_type = Object)]
    pub details: Value,
}

/// A page of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Records {
    pub records: Vec<Recorded>,
    /// `before` of the next page, if there is one.
    pub next: Option<u64>,
}

/// As they stand in the ledger.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "@timestamp", default)]
    time: String,
    #[serde(rename = "event", default)]
    kind: String,
    #[serde(default)]
    details: Value,
}

/// The newest records, or those before a number. What cannot be read is left out: `verify` names it.
pub fn records(store: &Store, asked: &Asked) -> Result<Records, ServiceError> {
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let wanted = asked.kind.as_deref().filter(|kind| !kind.is_empty());
    let named = wanted.map(memchr::memmem::Finder::new);
    let by = memchr::memmem::Finder::new(BY);
    let (mut page, mut bytes) = (Records::default(), 0);
    store.recorded_backwards(asked.before.unwrap_or(u64::MAX), &mut |number, line| {
        if named.as_ref().is_some_and(|named| named.find(line).is_none()) {
            return true;
        }
        // Most records are the daemon's own, and not worth decoding for this.
        if asked.people == Some(true) && by.find(line).is_none() {
            return true;
        }
        let Ok(Line { time, kind, mut details }) = serde_json::from_slice(line) else { return true };
        if wanted.is_some_and(|wanted| wanted != kind) || (asked.people == Some(true) && !details["by"].is_string()) {
            return true;
        }
        // One more is looked for, to know whether there is one. One alone always fits.
        if page.records.len() == limit || (!page.records.is_empty() && bytes + line.len() > PAGE_BYTES_MAX) {
            page.next = page.records.last().map(|last| last.number);
            return false;
        }
        bytes += line.len();
        without_hash(&mut details);
        page.records.push(Recorded { number, time, kind, details });
        true
    })?;
    Ok(page)
}

/// Keys are made anew from the ledger, so it has the hashes of their secrets. Nobody else needs them.
fn without_hash(details: &mut Value) {
    if let Value::Object(members) = details {
        members.remove(SECRET_HASH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_secret_is_not_told() {
        let mut details = serde_json::json!({ "id": "a", "hash": "00ff", "by": "uid 0" });
        without_hash(&mut details);
        assert_eq!(details, serde_json::json!({ "id": "a", "by": "uid 0" }));
    }
}
