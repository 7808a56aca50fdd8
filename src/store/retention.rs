//! Which segments go when they are too old or too many, and their removal.
//!
//! Whole segments only, oldest first, each with two ages: evidence (`.zst`) and answers (`.idx`, usually kept longer).
//! The segment that is written never goes, and none that a sink has yet to deliver from ([`Store::hold`]).
use super::view::Sealed;
use super::{Store, View};
use crate::events::Micros;
use crate::events::time::MICROS_PER_DAY;
use crate::journal::fs::remove_if_there;
use crate::journal::segment;
use std::io;
use std::sync::Arc;

/// What the operator allows to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// Bytes of segments and sidecars on disk.
    pub disk_budget_bytes: Option<u64>,
    pub evidence_days: Option<u32>,
    pub answers_days: Option<u32>,
}

/// One removal, for the ledger.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    pub segment: u64,
    pub evidence: bool,
    pub answers: bool,
    pub events: u64,
    /// Bytes of disk given back.
    pub bytes: u64,
    pub first_seq: u64,
    /// Running digest at its end, hexadecimal: what the next segment's chain begins with.
    pub digest: String,
    pub reason: &'static str,
}

/// A segment as the decision sees it.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    number: u64,
    time_max: Micros,
    /// Days its lines are kept, by the ages of its sensors; `None`: forever.
    evidence_days: Option<u32>,
    /// A sink has yet to deliver from it.
    needed: bool,
    evidence_bytes: u64,
    answers_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decision {
    number: u64,
    evidence: bool,
    answers: bool,
    bytes: u64,
    reason: &'static str,
}

/// Decides, oldest first. `other_bytes` is what is on disk besides the candidates.
fn decide(plan: RetentionPlan, candidates: &[Candidate], other_bytes: u64, now: Micros) -> Vec<Decision> {
    let expired = |time_max: Micros, days: Option<u32>| days.is_some_and(|days| time_max < now - i64::from(days) * MICROS_PER_DAY);
    let mut total: u64 = other_bytes + candidates.iter().map(|candidate| candidate.evidence_bytes + candidate.answers_bytes).sum::<u64>();
    let mut decisions = Vec::new();
    // Evidence goes from the beginning only: a gap in the chain would look like tampering.
    let mut kept_evidence = false;
    for candidate in candidates {
        let over_budget = plan.disk_budget_bytes.is_some_and(|budget| total > budget);
        let answers = over_budget || expired(candidate.time_max, plan.answers_days);
        let evidence = candidate.evidence_bytes > 0
            && !candidate.needed
            && !kept_evidence
            && (answers || expired(candidate.time_max, candidate.evidence_days));
        kept_evidence |= candidate.evidence_bytes > 0 && !evidence;
        // Answers never go before their evidence.
        let answers = answers && (evidence || candidate.evidence_bytes == 0);
        if evidence || answers {
            let reason = if over_budget { "disk budget" } else { "age" };
            let bytes = if evidence { candidate.evidence_bytes } else { 0 } + if answers { candidate.answers_bytes } else { 0 };
            decisions.push(Decision { number: candidate.number, evidence, answers, bytes, reason });
            total -= bytes;
        }
    }
    decisions
}

impl Store {
    /// What retention would remove now.
    fn plan_retention(&self, plan: RetentionPlan, now: Micros) -> io::Result<Vec<Decision>> {
        let view = self.view();
        let held_from = self.held_from().unwrap_or(u64::MAX);
        let entries = self.0.fs.list(&self.0.layout.journal)?;
        let len_of = |name: String| entries.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.len);
        let ages = self.aged().ages.clone();
        let candidates: Vec<Candidate> = view
            .sealed
            .iter()
            .map(|sealed| Candidate {
                number: sealed.number,
                time_max: sealed.sidecar.head().time_max,
                evidence_days: ages.of_segment(&sealed.sidecar, plan.evidence_days),
                needed: sealed.sidecar.head().first_seq + sealed.sidecar.head().events > held_from,
                evidence_bytes: len_of(segment::file_name(sealed.number)),
                answers_bytes: len_of(segment::sidecar_name(sealed.number)),
            })
            .collect();
        let all: u64 = entries.iter().map(|entry| entry.len).sum();
        let other = all - candidates.iter().map(|candidate| candidate.evidence_bytes + candidate.answers_bytes).sum::<u64>();
        Ok(decide(plan, &candidates, other, now))
    }

    /// Removes what the plan no longer allows. Each removal stands in the ledger before it happens.
    pub fn retain(&self, plan: RetentionPlan, now: Micros) -> io::Result<Vec<Removed>> {
        self.retain_if(plan, now, &|_| true)
    }

    /// Segments whose evidence the plan no longer allows, oldest first.
    pub fn evidence_to_go(&self, plan: RetentionPlan, now: Micros) -> io::Result<Vec<u64>> {
        let decisions = self.plan_retention(plan, now)?;
        Ok(decisions.iter().filter(|decision| decision.evidence).map(|decision| decision.number).collect())
    }

    /// The same, but evidence goes only where `may_go` lets it: it is asked while nobody else removes or replaces files.
    pub fn retain_if(&self, plan: RetentionPlan, now: Micros, may_go: &dyn Fn(&Sealed) -> bool) -> io::Result<Vec<Removed>> {
        let _upkeep = self.0.upkeep.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut removed = Vec::new();
        for decision in self.plan_retention(plan, now)? {
            let view = self.view();
            let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == decision.number) else { continue };
            // Nor anything behind it: evidence goes from the beginning only.
            if decision.evidence && !may_go(sealed) {
                break;
            }
            let head = sealed.sidecar.head();
            let record = Removed {
                segment: decision.number,
                evidence: decision.evidence,
                answers: decision.answers,
                events: head.events,
                bytes: decision.bytes,
                first_seq: head.first_seq,
                digest: crate::events::id::hex(&head.digest),
                reason: decision.reason,
            };
            let details = serde_json::to_value(&record).map_err(io::Error::other)?;
            // In the ledger first; but a disk so full that it takes no more must not keep retention from making room.
            let recorded = self.record("segment_removed", details.clone(), now);
            self.remove(&decision)?;
            if recorded.is_err() {
                self.record("segment_removed", details, now).map_err(io::Error::other)?;
            }
            removed.push(record);
        }
        Ok(removed)
    }

    fn remove(&self, decision: &Decision) -> io::Result<()> {
        let dir = &self.0.layout.journal;
        let mut reopened = None;
        if decision.evidence {
            let path = dir.join(segment::file_name(decision.number));
            remove_if_there(&*self.0.fs, &path)?;
            self.0.pool.forget(&path);
            if !decision.answers {
                let sidecar = super::seal::open_sidecar(&self.0, decision.number)?.map_err(io::Error::other)?;
                let before = self.view().sealed.iter().find(|sealed| sealed.number == decision.number).map(|sealed| sealed.generation);
                let generation = before.unwrap_or(View::FIRST_GENERATION);
                reopened = Some(Arc::new(Sealed { number: decision.number, generation, sidecar, file: None }));
            }
        }
        if decision.answers {
            let path = dir.join(segment::sidecar_name(decision.number));
            remove_if_there(&*self.0.fs, &path)?;
            self.0.pool.forget(&path);
        }
        self.0.fs.sync_dir(dir)?;
        self.0.update_view(|view| {
            let mut sealed: Vec<Arc<Sealed>> = view.sealed.iter().filter(|sealed| sealed.number != decision.number).cloned().collect();
            sealed.extend(reopened);
            sealed.sort_by_key(|sealed| sealed.number);
            View { sealed, ..view.clone() }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Micros = MICROS_PER_DAY;

    fn candidates(evidence_days: Option<u32>) -> Vec<Candidate> {
        let (needed, evidence_bytes, answers_bytes) = (false, 100, 50);
        (1..=4)
            .map(|number| Candidate { number, time_max: number as i64 * 10 * DAY, evidence_days, needed, evidence_bytes, answers_bytes })
            .collect()
    }

    #[test]
    fn segments_go_by_age_and_by_budget_oldest_first() {
        let all = |numbers: &[u64], evidence, answers, reason| -> Vec<Decision> {
            let bytes = if answers { 150 } else { 100 };
            numbers.iter().map(|&number| Decision { number, evidence, answers, bytes, reason }).collect()
        };
        let now = 41 * DAY;
        let plan = RetentionPlan::default();
        assert_eq!(decide(plan, &candidates(None), 10, now), vec![]);
        let by_evidence = RetentionPlan { evidence_days: Some(12), ..plan };
        assert_eq!(decide(by_evidence, &candidates(by_evidence.evidence_days), 10, now), all(&[1, 2], true, false, "age"));
        let by_answers = RetentionPlan { evidence_days: Some(12), answers_days: Some(25), ..plan };
        let mut expected = all(&[1], true, true, "age");
        expected.extend(all(&[2], true, false, "age"));
        assert_eq!(decide(by_answers, &candidates(by_answers.evidence_days), 10, now), expected);
        let by_budget = RetentionPlan { disk_budget_bytes: Some(320), ..plan };
        assert_eq!(decide(by_budget, &candidates(None), 10, now), all(&[1, 2], true, true, "disk budget"));
        let impossible = RetentionPlan { disk_budget_bytes: Some(0), ..plan };
        assert_eq!(decide(impossible, &candidates(None), 10, now).len(), 4);
    }

    #[test]
    fn what_a_sink_still_needs_stays_whatever_the_budget() {
        let mut candidates = candidates(Some(1));
        candidates[1].needed = true;
        let plan = RetentionPlan { disk_budget_bytes: Some(0), evidence_days: Some(1), answers_days: Some(1) };
        let gone: Vec<u64> = decide(plan, &candidates, 10, 100 * DAY).iter().map(|decision| decision.number).collect();
        assert_eq!(gone, [1], "nor does anything behind it: the chain has no gaps");
    }
}
