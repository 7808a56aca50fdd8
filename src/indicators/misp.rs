//! Indicators as a MISP feed: a directory with `manifest.json`, `hashes.csv`, and an event for each day in which values were first seen.
//!
//! Ids of events and attributes come out the same each time, and a value stays in the event of its first day; so a MISP that fetches
//! the feed again changes what changed and adds what is new.
use super::Indicator;
use super::export::{domain_name, is_hash_of, is_tellable};
use crate::events::time::{MICROS_PER_SECOND, day_of, format_day};
use crate::events::{Field, Micros, time};
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use uuid::Uuid;

/// Every name below is within this one.
const NAMESPACE: Uuid = super::stix::NAMESPACE;
const ORGANISATION: &str = "Honeyguide";
pub const MANIFEST: &str = "manifest.json";
const HASHES: &str = "hashes.csv";

fn id(what: &str, name: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("misp {what} {name}").as_bytes()).to_string()
}

/// Makes the feed: calls `put` with the name and the content of each file, the manifest last, so that whoever reads it finds what it
/// names. Of a value that stands there twice under one type, the first is taken. Answers how many indicators are of kinds, or have
/// values, that MISP has no type for.
pub fn write(indicators: &[Indicator], put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>) -> io::Result<u64> {
    let (mut days, mut seen, mut left_out) = (BTreeMap::<i32, Vec<&Indicator>>::new(), BTreeSet::new(), 0);
    for row in indicators {
        match attribute_of(row) {
            Some((_, type_, value)) => {
                if seen.insert((type_, value)) {
                    days.entry(day_of(row.first_seen)).or_default().push(row);
                }
            }
            None => left_out += 1,
        }
    }
    let (mut manifest, mut hashes) = (Map::new(), String::new());
    for (day, rows) in days {
        let day = format_day(day);
        let uuid = id("event", &day);
        let attributes: Vec<Value> = rows.iter().filter_map(|row| attribute(row)).collect();
        for attribute in &attributes {
            // How MISP looks whether a feed knows a value without fetching its events.
            let digest: String =
                Md5::digest(attribute["value"].as_str().unwrap_or_default()).iter().map(|byte| format!("{byte:02x}")).collect();
            hashes += &format!("{digest},{uuid}\n");
        }
        let last = rows.iter().map(|row| row.last_seen).max().unwrap_or_default();
        let about = json!({
            "info": format!("Seen at honeypots for the first time on {day}"),
            "date": day,
            "analysis": "2",
            "threat_level_id": "3",
            "timestamp": seconds(last),
            "Orgc": { "name": ORGANISATION, "uuid": id("organisation", ORGANISATION) },
            "Tag": [{ "name": "tlp:amber", "colour": "#ffc000" }],
        });
        let mut event = about.clone();
        event["uuid"] = uuid.clone().into();
        event["published"] = true.into();
        event["publish_timestamp"] = seconds(last).into();
        event["Attribute"] = attributes.into();
        put(&file_of(&uuid), json!({ "Event": event }).to_string().as_bytes())?;
        manifest.insert(uuid, about);
    }
    put(HASHES, hashes.as_bytes())?;
    put(MANIFEST, Value::from(manifest).to_string().as_bytes())?;
    Ok(left_out)
}

fn file_of(event: &str) -> String {
    format!("{event}.json")
}

/// The files of events that a manifest names, and nothing else that may stand in it.
pub fn files_of(manifest: &[u8]) -> BTreeSet<String> {
    let events: Map<String, Value> = serde_json::from_slice(manifest).unwrap_or_default();
    events.keys().filter(|uuid| Uuid::parse_str(uuid).is_ok_and(|parsed| parsed.to_string() == **uuid)).map(|uuid| file_of(uuid)).collect()
}

fn seconds(time: Micros) -> String {
    time.div_euclid(MICROS_PER_SECOND).to_string()
}

fn attribute(row: &Indicator) -> Option<Value> {
    let (category, type_, value) = attribute_of(row)?;
    Some(json!({
        "uuid": id("attribute", &format!("{type_} {value}")),
        "category": category,
        "type": type_,
        "value": value,
        // What machines block on sight: never what belongs to a person or is shared by many clients.
        "to_ids": matches!(category, "Network activity" | "Payload delivery") && !matches!(type_, "hassh-md5" | "ssh-fingerprint") && row.is_hostile(),
        "disable_correlation": false,
        "timestamp": seconds(row.last_seen),
        "first_seen": time::format(row.first_seen),
        "last_seen": time::format(row.last_seen),
        "comment": format!("score {}, {} events: {}", row.score, row.count, row.reasons.join("; ")),
    }))
}

/// Category, type and value in MISP's words.
fn attribute_of(row: &Indicator) -> Option<(&'static str, &'static str, String)> {
    const NETWORK: &str = "Network activity";
    const PAYLOAD: &str = "Payload delivery";
    const FRAUD: &str = "Financial fraud";
    let as_it_is = || is_tellable(&row.value).then(|| row.value.clone());
    let address = || Some(row.value.parse::<IpAddr>().ok()?.to_canonical().to_string());
    let hash = |digits: usize| is_hash_of(row, digits).then(|| row.value.clone());
    let (category, type_, value) = match row.kind {
        Field::SrcIp => (NETWORK, "ip-src", address()),
        Field::Ipv4 | Field::Ipv6 => (NETWORK, "ip-dst", address()),
        Field::Url => (NETWORK, "url", as_it_is()),
        Field::Domain => (NETWORK, "domain", domain_name(row).map(str::to_owned)),
        Field::Email => (PAYLOAD, "email-src", as_it_is()),
        Field::Md5 => (PAYLOAD, "md5", hash(32)),
        Field::Sha1 => (PAYLOAD, "sha1", hash(40)),
        Field::Sha256 | Field::Shasum => (PAYLOAD, "sha256", hash(64)),
        Field::Sha512 => (PAYLOAD, "sha512", hash(128)),
        Field::Hassh => (NETWORK, "hassh-md5", as_it_is().filter(|value| value.len() == 32)),
        Field::Fingerprint => (NETWORK, "ssh-fingerprint", as_it_is()),
        Field::Cve => ("External analysis", "vulnerability", as_it_is()),
        Field::Btc => (FRAUD, "btc", as_it_is()),
        Field::Xmr => (FRAUD, "xmr", as_it_is()),
        Field::Phone => (FRAUD, "phone-number", as_it_is()),
        Field::BankAccount => (FRAUD, "bank-account-nr", as_it_is()),
        Field::Eth | Field::Upi | Field::Ifsc => (FRAUD, "text", as_it_is()),
        _ => return None,
    };
    Some((category, type_, value?))
}

#[cfg(test)]
mod tests {
    use super::super::export::tests::hostile;
    use super::*;

    /// The files, and how many were left out.
    fn feed(rows: &[Indicator]) -> (Vec<(String, Vec<u8>)>, u64) {
        let mut files = Vec::new();
        let left_out = write(rows, &mut |name, bytes| {
            files.push((name.to_owned(), bytes.to_vec()));
            Ok(())
        });
        (files, left_out.unwrap())
    }

    #[test]
    fn a_feed_names_its_events_and_hashes_its_values() {
        let (files, left_out) = feed(&hostile());
        let file = |name: &str| files.iter().find(|file| file.0 == name).map(|file| &file.1[..]).unwrap();
        let manifest: Map<String, Value> = serde_json::from_slice(file("manifest.json")).unwrap();
        let hashes = std::str::from_utf8(file("hashes.csv")).unwrap();
        let mut attributes = 0;
        for (uuid, about) in &manifest {
            let event: Value = serde_json::from_slice(file(&format!("{uuid}.json"))).unwrap();
            assert_eq!((&event["Event"]["uuid"], &event["Event"]["info"]), (&Value::from(&uuid[..]), &about["info"]));
            attributes += event["Event"]["Attribute"].as_array().unwrap().len();
        }
        assert_eq!(files.len(), manifest.len() + 2);
        assert_eq!(files.last().unwrap().0, "manifest.json");
        assert_eq!(hashes.lines().count(), attributes);
        // Made by md5sum.
        assert!(hashes.contains("f3ac81b45d609bfa8cb9e05b73737de9,"), "{hashes}");
        // Two are told already under the same type: the address, and the file's hash.
        assert_eq!(attributes + left_out as usize + 2, hostile().len());
    }

    #[test]
    fn a_value_stays_in_the_event_of_its_first_day() {
        let mut rows = hostile();
        let before = feed(&rows);
        rows.iter_mut().for_each(|row| (row.count, row.last_seen) = (row.count + 5, row.last_seen + 1_000_000));
        let after = feed(&rows);
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&before.0), names(&after.0));
        let hashes = |files: &[(String, Vec<u8>)]| files.iter().find(|file| file.0 == HASHES).cloned();
        assert_eq!(hashes(&before.0), hashes(&after.0));
    }

    #[test]
    fn a_manifest_names_files_of_its_directory_only() {
        let manifest = br#"{"../../etc/passwd":{},"0BB37ABE-6A0D-5BE1-A0D5-D0DAB8F28CF9":{},"0bb37abe-6a0d-5be1-a0d5-d0dab8f28cf9":{}}"#;
        assert_eq!(files_of(manifest).into_iter().collect::<Vec<_>>(), ["0bb37abe-6a0d-5be1-a0d5-d0dab8f28cf9.json"]);
        assert!(files_of(b"[1").is_empty());
    }
}
