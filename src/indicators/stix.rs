//! Indicators as a STIX 2.1 bundle: an identity, and an indicator with a pattern for each value that STIX has a word for.
//!
//! The same value has the same id in every bundle of every Honeyguide, so that whoever imports one every day has each value once.
use super::Indicator;
use super::export::{domain_name, is_hash_of, is_tellable};
use super::lists::is_hash;
use crate::events::{Field, Micros, time};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::IpAddr;
use uuid::Uuid;

/// STIX's own namespace for ids that come out the same each time (STIX 2.1, 2.9).
pub const NAMESPACE: Uuid = Uuid::from_u128(0x00abedb4_aa42_466c_9c01_fed23315a9b7);
/// When the identity came to be; it never changes.
const IDENTITY_CREATED: &str = "2026-01-01T00:00:00.000Z";

fn id(object: &str, name: &str) -> String {
    format!("{object}--{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// Writes the bundle. Answers how many indicators are of kinds, or have values, that no pattern can tell.
pub fn write(indicators: &[Indicator], now: Micros, out: &mut dyn Write) -> io::Result<u64> {
    let mut left_out = 0;
    let identity = id("identity", "honeyguide");
    // Object by object: a bundle of all there is would be large twice.
    write!(out, r#"{{"type":"bundle","id":"{}","objects":["#, id("bundle", &format!("honeyguide {now}")))?;
    let about = json!({
        "type": "identity", "spec_version": "2.1", "id": identity, "created": IDENTITY_CREATED, "modified": IDENTITY_CREATED,
        "name": "Honeyguide", "identity_class": "system", "description": "Keeps what honeypots caught as evidence.",
    });
    write!(out, "{about}")?;
    let mut patterns = std::collections::HashSet::new();
    for row in indicators {
        match pattern(row) {
            // An address that attacked may also stand in a text: the better one of the two came first.
            Some(pattern) if !patterns.insert(pattern.clone()) => {}
            Some(pattern) => write!(out, ",\n{}", object(row, &pattern, &identity))?,
            None => left_out += 1,
        }
    }
    writeln!(out, "]}}")?;
    Ok(left_out)
}

fn object(row: &Indicator, pattern: &str, identity: &str) -> Value {
    let mut object = json!({
        "type": "indicator",
        "spec_version": "2.1",
        "id": id("indicator", pattern),
        "created_by_ref": identity,
        "created": stamp(row.first_seen),
        "modified": stamp(row.last_seen),
        "name": format!("{} {}", name(row.kind), row.value),
        "description": format!("{} events at honeypots. {}", row.count, row.reasons.join("; ")),
        "indicator_types": [if is_hash(row.kind) || row.kind == Field::SrcIp { "malicious-activity" } else { "anomalous-activity" }],
        "pattern": pattern,
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": stamp(row.first_seen),
        "confidence": row.score,
        "labels": [row.kind.name().replace('_', "-")],
    });
    // It must lie behind valid_from, at a millisecond's precision too.
    if let Some(until) = row.valid_until.filter(|until| until / 1_000 > row.first_seen / 1_000) {
        object["valid_until"] = stamp(until).into();
    }
    object
}

/// With the three digits that STIX asks for.
fn stamp(time: Micros) -> String {
    let mut text = time::format(time);
    // `….123456Z`
    text.truncate(text.len() - 4);
    text.push('Z');
    text
}

fn name(kind: Field) -> &'static str {
    match kind {
        Field::SrcIp => "attacker",
        Field::Shasum => "file",
        kind => kind.name(),
    }
}

fn pattern(row: &Indicator) -> Option<String> {
    let equals = |path: &str| is_tellable(&row.value).then(|| format!("[{path} = {}]", literal(&row.value)));
    let hash = |path: &str, digits: usize| is_hash_of(row, digits).then(|| format!("[file:hashes.{path} = {}]", literal(&row.value)));
    match row.kind {
        Field::SrcIp | Field::Ipv4 | Field::Ipv6 => {
            let address = row.value.parse::<IpAddr>().ok()?.to_canonical();
            let kind = if address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
            Some(format!("[{kind}:value = '{address}']"))
        }
        Field::Url => equals("url:value"),
        Field::Domain => domain_name(row).and_then(|_| equals("domain-name:value")),
        Field::Email => equals("email-addr:value"),
        Field::Md5 => hash("MD5", 32),
        Field::Sha1 => hash("'SHA-1'", 40),
        Field::Sha256 | Field::Shasum => hash("'SHA-256'", 64),
        Field::Sha512 => hash("'SHA-512'", 128),
        _ => None,
    }
}

/// A string of the pattern language: in single quotes, these and backslashes behind a backslash (STIX 2.1, 9.3).
fn literal(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('\'');
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::super::export::tests::{NOW, hostile};
    use super::*;

    fn bundle(now: Micros) -> (Value, u64) {
        let mut out = Vec::new();
        let left_out = write(&hostile(), now, &mut out).unwrap();
        (serde_json::from_slice(&out).unwrap(), left_out)
    }

    #[test]
    fn values_stay_within_their_quotes() {
        assert_eq!(literal("it's\\a' OR 'x"), r"'it\'s\\a\' OR \'x'");
        let (bundle, left_out) = bundle(NOW);
        let patterns: Vec<&str> = bundle["objects"].as_array().unwrap().iter().filter_map(|object| object["pattern"].as_str()).collect();
        for pattern in &patterns {
            // Take escaped characters away: what is left has one string and one comparison.
            let bare = pattern.replace(r"\\", "").replace(r"\'", "");
            let strings = if bare.contains("hashes.'") { 4 } else { 2 };
            assert_eq!(bare.matches('\'').count(), strings, "{pattern}");
        }
        let expected = [
            "[ipv4-addr:value = '185.1.2.3']",
            "[ipv6-addr:value = '2a01:4f8::1']",
            "[domain-name:value = 'evil.top']",
            r"[url:value = 'http://evil.top/it\'s\\a\' OR [ipv4-addr:value = \'8.8.8.8\'] AND \'/x']",
            r"[url:value = '=cmd|\' /C calc\'!A0']",
            "[email-addr:value = 'a@evil.top']",
            "[file:hashes.'SHA-256' = 'a3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']",
            "[file:hashes.MD5 = 'a41d8cd98f00b204e9800998ecf8427e']",
            "[file:hashes.'SHA-1' = 'aa39a3ee5e6b4b0d3255bfef95601890afd80709']",
        ];
        assert_eq!(patterns, expected);
        // Two are told already.
        assert_eq!(left_out as usize + patterns.len() + 2, hostile().len());
    }

    #[test]
    fn the_same_value_has_the_same_id_whenever_it_is_exported() {
        let ids = |now: Micros| -> Vec<String> {
            bundle(now).0["objects"].as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(NOW), ids(NOW + 1));
        // Made by another implementation of UUIDs: uuid.uuid5(NAMESPACE, "[ipv4-addr:value = '185.1.2.3']") in Python.
        assert_eq!(ids(NOW)[1], "indicator--57d22cc6-31a6-5717-8aa2-ada642b99b40");
    }
}
