//! What others answered about values, and what was used of their quotas: a part of the state, and as losable. What is lost is asked
//! again.
//!
//! Bounded in number: a second tree has the answers in the order in which they were fetched, so that the oldest goes without a search.
//! A service's quota is written before it is asked, the answer behind it; both are durable when the call returns. Values are neither
//! kept nor shown, only their hashes.
use super::{State, StateError, codec};
use crate::enrich::quota::Standing;
use crate::enrich::{Opinion, Service, Subject, SubjectKind, Verdict};
use crate::events::Micros;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// Whose answer about what: the enricher's name, the shape of its service, the kind and a hash of the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnswerKey(Vec<u8>);

/// A hash of a value with its kind, as it stands in keys.
pub type SubjectHash = [u8; 16];

pub fn subject_hash(subject: &Subject) -> SubjectHash {
    let kind = match subject.kind() {
        SubjectKind::Hash => b'h',
        SubjectKind::Address => b'a',
        SubjectKind::Domain => b'd',
        SubjectKind::Url => b'u',
    };
    let hash = blake3::Hasher::new().update(&[kind]).update(subject.value().as_bytes()).finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

impl AnswerKey {
    pub fn new(enricher: &str, service: Service, subject: &Subject) -> AnswerKey {
        let mut key = AnswerKey::prefix(enricher, service);
        key.extend_from_slice(&subject_hash(subject));
        AnswerKey(key)
    }

    /// No name has a NUL in it.
    fn prefix(enricher: &str, service: Service) -> Vec<u8> {
        [enricher.as_bytes(), b"\0", service.name().as_bytes(), b"\0"].concat()
    }
}

/// An answer, and when it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub fetched_at: Micros,
    pub verdict: Verdict,
}

/// [`Kept`] as it is written: nothing that is left out, no enum.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    fetched_at: Micros,
    opinion: u8,
    score: Option<u8>,
    labels: Vec<String>,
    first_seen: Option<Micros>,
    last_seen: Option<Micros>,
    link: Option<String>,
    summary: Option<String>,
}

impl Record {
    fn of(kept: &Kept) -> Record {
        let Verdict { verdict, score, labels, first_seen, last_seen, link, summary } = kept.verdict.clone();
        let opinion = match verdict {
            Opinion::Unknown => 0,
            Opinion::Harmless => 1,
            Opinion::Suspicious => 2,
            Opinion::Malicious => 3,
        };
        Record { fetched_at: kept.fetched_at, opinion, score, labels, first_seen, last_seen, link, summary }
    }

    fn kept(self) -> Option<Kept> {
        let Record { fetched_at, opinion, score, labels, first_seen, last_seen, link, summary } = self;
        let verdict = *Opinion::ALL.get(usize::from(opinion))?;
        Some(Kept { fetched_at, verdict: Verdict { verdict, score, labels, first_seen, last_seen, link, summary } })
    }
}

/// Big-endian, so that they are in the order of time.
fn age_key(fetched_at: Micros, key: &[u8]) -> Vec<u8> {
    [&fetched_at.max(0).to_be_bytes()[..], key].concat()
}

impl State {
    /// What is kept of an answer.
    pub fn enrichment(&self, key: &AnswerKey) -> Result<Option<Kept>, StateError> {
        Ok(self.enrichments.get(&key.0)?.and_then(|bytes| codec::decode::<Record>(&bytes)?.kept()))
    }

    /// Keeps an answer, durably; of more than `answers_max` the oldest go.
    pub fn put_enrichment(&self, key: &AnswerKey, kept: &Kept, answers_max: u64) -> Result<(), StateError> {
        match self.enrichments.insert(&key.0[..], codec::encode(&Record::of(kept)))? {
            Some(before) => {
                if let Some(before) = codec::decode::<Record>(&before).filter(|before| before.fetched_at != kept.fetched_at) {
                    self.enrichment_ages.remove(age_key(before.fetched_at, &key.0))?;
                }
            }
            None => drop(self.enrichments_len.fetch_add(1, Ordering::Relaxed)),
        }
        self.enrichment_ages.insert(age_key(kept.fetched_at, &key.0), &[])?;
        while self.enrichments_len.load(Ordering::Relaxed) > answers_max.max(1) {
            let Some((oldest, _)) = self.enrichment_ages.pop_min()? else { break };
            if oldest.get(8..).is_some_and(|key| self.enrichments.remove(key).is_ok_and(|removed| removed.is_some())) {
                self.enrichments_len.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.flush()
    }

    /// How many answers are kept.
    pub fn enrichments_len(&self) -> u64 {
        self.enrichments_len.load(Ordering::Relaxed)
    }

    /// Calls `each` with the values about which an enricher's answer says that they are malicious, and with when that was.
    pub fn each_malicious(&self, enricher: &str, service: Service, each: &mut dyn FnMut(SubjectHash, Micros)) -> Result<(), StateError> {
        let prefix = AnswerKey::prefix(enricher, service);
        for record in self.enrichments.scan_prefix(&prefix) {
            let (key, bytes) = record?;
            if let Some(hash) = key.get(prefix.len()..).and_then(|hash| SubjectHash::try_from(hash).ok())
                && let Some(record) = codec::decode::<Record>(&bytes).and_then(Record::kept)
                && record.verdict.verdict == Opinion::Malicious
            {
                each(hash, record.fetched_at);
            }
        }
        Ok(())
    }

    /// Where an enricher stands; anew if nothing is kept.
    pub fn enricher(&self, name: &str) -> Standing {
        self.enrichers.get(name).ok().flatten().and_then(|bytes| codec::decode(&bytes)).unwrap_or_default()
    }

    /// Writes where an enricher stands, durably if that is wanted.
    pub fn put_enricher(&self, name: &str, standing: &Standing, durably: bool) -> Result<(), StateError> {
        self.enrichers.insert(name, codec::encode(standing))?;
        if durably { self.flush() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::quota::{PER_MINUTE_MAX, Quota};
    use crate::state::CACHE_BYTES;

    fn key(number: usize) -> AnswerKey {
        AnswerKey::new("vt", Service::VirusTotal, &subject(number))
    }

    fn subject(number: usize) -> Subject {
        Subject::recognise(&format!("host{number}.example")).unwrap()
    }

    fn kept(fetched_at: Micros) -> Kept {
        let verdict = Verdict { verdict: Opinion::Malicious, score: Some(87), ..Verdict::default() };
        Kept { fetched_at, verdict: verdict.label(["mirai", "elf"]).summed_up("12 of 70 engines").seen(Some(7), None) }
    }

    #[test]
    fn answers_and_quotas_are_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut standing = Standing::default();
        let quota = Quota { per_minute: PER_MINUTE_MAX, per_day: 1000 };
        (0..i64::from(PER_MINUTE_MAX)).for_each(|second| standing.admit(quota, 1_774_200_000_000_000 + second).unwrap());
        {
            let state = State::open(&path, CACHE_BYTES, 0).unwrap().state;
            state.put_enrichment(&key(1), &kept(5), 10).unwrap();
            state.put_enrichment(&key(1), &kept(6), 10).unwrap();
            state.put_enricher("vt", &standing, true).unwrap();
        }
        let state = State::open(&path, CACHE_BYTES, 0).unwrap().state;
        assert_eq!(state.enrichment(&key(1)).unwrap(), Some(kept(6)));
        assert_eq!((state.enrichment(&key(2)).unwrap(), state.enrichments_len()), (None, 1));
        assert_eq!((state.enricher("vt"), state.enricher("other")), (standing, Standing::default()));
        let of_other = AnswerKey::new("vt", Service::UrlHaus, &subject(1));
        assert_eq!(state.enrichment(&of_other).unwrap(), None, "another service under the same name answers anew");
    }

    #[test]
    fn of_too_many_the_oldest_go_and_one_that_was_fetched_again_is_young() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let state = State::open(&path, CACHE_BYTES, 0).unwrap().state;
        for number in 0..20 {
            state.put_enrichment(&key(number), &kept(number as Micros), 10).unwrap();
            state.put_enrichment(&key(0), &kept(100 + number as Micros), 10).unwrap();
        }
        let there = |state: &State| (0..20).filter(|number| state.enrichment(&key(*number)).unwrap().is_some()).collect::<Vec<_>>();
        assert_eq!(there(&state), [0, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!((state.enrichments_len(), state.enrichment_ages.len()), (10, 10));
        drop(state);
        let state = State::open(&path, CACHE_BYTES, 0).unwrap().state;
        state.put_enrichment(&key(20), &kept(200), 3).unwrap();
        assert_eq!(there(&state), [0, 19], "a smaller limit holds at the next answer");
        let mut malicious = Vec::new();
        state.each_malicious("vt", Service::VirusTotal, &mut |hash, at| malicious.push((hash, at))).unwrap();
        malicious.sort_by_key(|row| row.1);
        assert_eq!(malicious, [(subject_hash(&subject(19)), 19), (subject_hash(&subject(0)), 119), (subject_hash(&subject(20)), 200)]);
    }

    #[test]
    fn version_one_of_an_answer_keeps_its_bytes() {
        let verdict = Verdict { verdict: Opinion::Suspicious, score: Some(9), ..Verdict::default() };
        let bytes = codec::encode(&Record::of(&Kept { fetched_at: 7, verdict: verdict.label(["a"]) }));
        let golden = [&[1, 7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 9][..], &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a'], &[0; 4]].concat();
        assert_eq!(bytes[..bytes.len() - 4], golden);
    }

    #[test]
    fn version_one_of_a_standing_keeps_its_bytes() {
        let (mut standing, day) = (Standing::default(), 86_400_000_000_i64);
        standing.admit(Quota { per_minute: 1, per_day: 1 }, day).unwrap();
        let bytes = codec::encode(&standing);
        let (day_and_used, one) = ([1, 0, 0, 0, 1, 0, 0, 0], 1u64.to_le_bytes());
        let golden = [&[1][..], &day_and_used, &one, &day.to_le_bytes(), &[0; 16], &one, &[0; 8]].concat();
        assert_eq!(bytes[..bytes.len() - 4], golden);
    }

    #[test]
    fn the_longest_answer_there_can_be_is_no_blob() {
        let long = "\u{20ac}".repeat(10_000);
        let labels: Vec<String> = (0..100).map(|number| format!("{number}{long}")).collect();
        let verdict = Verdict::default().label(labels.iter().map(String::as_str)).summed_up(&long).linked(&"a".repeat(512), "a");
        assert!(codec::encode(&Record::of(&Kept { fetched_at: 1, verdict })).len() < 2048);
    }
}
