//! API keys as the ledger's records leave them: a view, so that starting does not read the whole ledger, and keys outlive the records
//! that the ledger's limit took.
use super::{State, StateError, codec};
use crate::events::Micros;
use serde::{Deserialize, Serialize};

/// A key, as it is written: nothing that is left out, no enum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub name: String,
    /// Names of roles, for their order may change.
    pub roles: Vec<String>,
    /// None: all.
    pub sensors: Vec<String>,
    pub created_at: Micros,
    pub created_by: String,
    /// How long a secret is good for; `None`: for ever.
    pub lifetime: Option<Micros>,
    pub expires_at: Option<Micros>,
    /// Of the secret.
    pub hash: [u8; 32],
    /// 1 with the first secret, one more with each rotation.
    pub generation: u32,
    pub rotated_at: Option<Micros>,
    /// The secret before, and until when it is taken as well.
    pub previous: Option<([u8; 32], Micros)>,
    pub revoked_at: Option<Micros>,
    pub revoked_by: Option<String>,
}

/// Under which name the ledger's sequence number stands from which on records are not in the view yet.
const LEDGER_SEQ: &str = "keys_ledger_seq";

impl State {
    /// All keys, by id, and whether these are all: a record that cannot be read is left out.
    pub fn keys(&self) -> (Vec<(String, KeyRecord)>, bool) {
        let mut whole = true;
        let mut records = Vec::new();
        for record in self.keys.iter() {
            let read = record.ok().and_then(|(id, value)| Some((String::from_utf8(id.to_vec()).ok()?, codec::decode(&value)?)));
            whole &= read.is_some();
            records.extend(read);
        }
        (records, whole)
    }

    pub fn put_key(&self, id: &str, record: &KeyRecord) -> Result<(), StateError> {
        self.keys.insert(id, codec::encode(record))?;
        Ok(())
    }

    pub fn remove_key(&self, id: &str) -> Result<(), StateError> {
        self.keys.remove(id)?;
        self.key_uses.remove(id)?;
        Ok(())
    }

    /// The first record of the ledger that the view does not have; 0 when nothing is known.
    pub fn keys_ledger_seq(&self) -> u64 {
        self.db.get(LEDGER_SEQ).ok().flatten().and_then(|value| codec::decode(&value)).unwrap_or(0)
    }

    /// Says up to where the view has the ledger, and makes the view durable.
    pub fn save_keys(&self, ledger_seq: u64) -> Result<(), StateError> {
        self.db.insert(LEDGER_SEQ, codec::encode(&ledger_seq))?;
        self.flush()
    }

    /// When a key was used last, as far as it was written.
    pub fn key_used_at(&self, id: &str) -> Option<Micros> {
        codec::decode(&self.key_uses.get(id).ok()??)
    }

    /// Not durable before the next flush: that a key was used is worth no wait for the disk.
    pub fn put_key_used_at(&self, id: &str, at: Micros) -> Result<(), StateError> {
        self.key_uses.insert(id, codec::encode(&at))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_of_a_key_keeps_its_bytes() {
        let record = KeyRecord {
            name: "n".into(),
            roles: vec!["r".into()],
            sensors: vec!["s".into()],
            created_at: 1,
            created_by: "b".into(),
            lifetime: Some(2),
            expires_at: Some(3),
            hash: [4; 32],
            generation: 5,
            rotated_at: Some(6),
            previous: Some(([7; 32], 8)),
            revoked_at: Some(9),
            revoked_by: Some("c".into()),
        };
        let (text, list) = (|text: &str| [&1u64.to_le_bytes()[..], text.as_bytes()].concat(), 1u64.to_le_bytes());
        let number = |number: u64| number.to_le_bytes().to_vec();
        let some = |number: u64| [&[1][..], &number.to_le_bytes()].concat();
        let golden: Vec<u8> = [
            vec![1],
            text("n"),
            list.to_vec(),
            text("r"),
            list.to_vec(),
            text("s"),
            number(1),
            text("b"),
            some(2),
            some(3),
            vec![4; 32],
            vec![5, 0, 0, 0],
            some(6),
            vec![1],
            vec![7; 32],
            number(8),
            some(9),
            vec![1],
            text("c"),
        ]
        .concat();
        let bytes = codec::encode(&record);
        assert_eq!(bytes[..bytes.len() - 4], golden);
        assert_eq!(codec::decode::<KeyRecord>(&bytes), Some(record));
    }
}
