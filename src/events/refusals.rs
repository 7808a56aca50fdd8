//! What a chunk's lines were refused for, on its way to quarantine, at bounded memory.
//!
//! Each refusal is a record of its own until a chunk has many: then further lines are gathered, nothing of them lost, into
//! records of many lines. A binary file given by mistake must not become a hundred thousand records.
use super::json::{Flaw, FlawKind};
use crate::redact::Key;
use crate::sources::{REFUSED_BYTES_MAX, Reason, Refused};

/// Refused lines of one chunk that get a record each.
pub(super) const SINGLE_RECORDS_MAX: usize = 256;

/// Collects the refusals of one chunk.
pub(super) struct Refusals {
    records: Vec<Refused>,
    /// Records that came with the chunk.
    given: usize,
    /// Lines that were refused, whatever records they are gathered in.
    lines: u32,
    /// Lines in the last record, while it may take more.
    gathering: Option<(u64, String)>,
    /// Nothing of the text is kept, under this key if there is one.
    withheld: Option<Option<Key>>,
}

impl Refusals {
    pub fn new(given: Vec<Refused>) -> Refusals {
        Refusals { given: given.len(), lines: given.len() as u32, records: given, gathering: None, withheld: None }
    }

    /// Keeps nothing of what was refused but its length, and its hash under the key: a redaction policy cannot look into what is no
    /// event, and a short text could be guessed by its plain hash.
    pub fn withholding(self, key: Option<Key>) -> Refusals {
        Refusals { withheld: Some(key), ..self }
    }

    /// Refuses `bytes`, which lie at `offset` of the input.
    pub fn add(&mut self, reason: Reason, offset: u64, bytes: &[u8], detail: String) {
        self.lines += 1;
        let full = self.records.len() - self.given >= SINGLE_RECORDS_MAX;
        if full && let Some((lines, _)) = &mut self.gathering {
            let record = self.records.last_mut().expect("a record is being gathered");
            if record.reason == reason && record.bytes.len() + 1 + bytes.len() <= REFUSED_BYTES_MAX {
                record.bytes.push(b'\n');
                record.bytes.extend_from_slice(bytes);
                *lines += 1;
                return;
            }
        }
        self.close();
        if full && bytes.len() <= REFUSED_BYTES_MAX {
            self.gathering = Some((1, detail.clone()));
        }
        self.records.push(Refused {
            reason,
            offset,
            len: bytes.len() as u64,
            hash: *blake3::hash(bytes).as_bytes(),
            bytes: bytes[..bytes.len().min(REFUSED_BYTES_MAX)].to_vec(),
            detail,
        });
    }

    /// How many lines were refused so far.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// Ends the record being gathered.
    fn close(&mut self) {
        if let Some((lines @ 2.., first)) = self.gathering.take() {
            let record = self.records.last_mut().expect("a record is being gathered");
            record.len = record.bytes.len() as u64;
            record.hash = *blake3::hash(&record.bytes).as_bytes();
            record.detail = format!("{lines} lines, the first: {first}");
        }
    }

    /// All records, in the order of their offsets.
    pub fn finish(mut self) -> Vec<Refused> {
        self.close();
        if let Some(key) = &self.withheld {
            for record in self.records.iter_mut().filter(|record| record.len > 0) {
                record.bytes = Vec::new();
                record.hash = key.as_ref().map_or([0; 32], |key| key.refused(&record.hash));
                record.detail.push_str("; its text is withheld, because a redaction policy is in force");
            }
        }
        self.records.sort_by_key(|record| record.offset);
        self.records
    }
}

/// The reason a flaw is filed under.
pub(super) fn reason(flaw: &Flaw) -> Reason {
    match flaw.kind {
        FlawKind::NotAnObject => Reason::NotAnObject,
        FlawKind::Malformed => Reason::Malformed,
        FlawKind::TooDeep => Reason::TooDeep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refused_lines_become_few_records_that_lose_nothing() {
        let mut refusals = Refusals::new(Vec::new());
        let lines: Vec<String> = (0..100_000).map(|line| format!("line {line}")).collect();
        let mut at = 1_000;
        for line in &lines {
            refusals.add(Reason::NotAnObject, at, line.as_bytes(), "bad".into());
            at += line.len() as u64 + 1;
        }
        let records = refusals.finish();
        assert!(records.len() < SINGLE_RECORDS_MAX + 40, "{}", records.len());
        let kept: Vec<u8> = records.iter().map(|record| record.bytes.clone()).collect::<Vec<_>>().join(&b'\n');
        assert_eq!(kept, lines.join("\n").into_bytes());
        for record in &records {
            assert_eq!((record.len, record.hash), (record.bytes.len() as u64, *blake3::hash(&record.bytes).as_bytes()));
            assert!(record.bytes.len() <= REFUSED_BYTES_MAX);
        }
        assert_eq!(records[0].offset, 1_000);
        let gathered: u64 = records[SINGLE_RECORDS_MAX..]
            .iter()
            .map(|record| record.detail.split_once(" lines, the first: bad").unwrap().0.parse::<u64>().unwrap())
            .sum();
        assert_eq!(gathered, (lines.len() - SINGLE_RECORDS_MAX) as u64);
    }

    #[test]
    fn an_enormous_line_is_kept_by_its_beginning_and_its_hash() {
        let mut refusals = Refusals::new(Vec::new());
        let line = vec![b'x'; 10 << 20];
        refusals.add(Reason::LineTooLong, 7, &line, "too long".into());
        let [record] = &refusals.finish()[..] else { panic!("one record") };
        assert_eq!((record.offset, record.len, record.bytes.len()), (7, 10 << 20, REFUSED_BYTES_MAX));
        assert_eq!(record.hash, *blake3::hash(&line).as_bytes());
    }
}
