//! Checks a journal end to end: every checksum, every event's hash, the running digests and the chain of segments.
use super::block::{Digest, Opening};
use super::fs::{File, Fs};
use super::log::numbers;
use super::segment::{self, BlockReader, Damage};
use crate::events::EventId;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What a check found.
#[derive(Debug, Default)]
pub struct Verified {
    pub segments: u64,
    pub blocks: u64,
    pub events: u64,
    /// By segment: how many of them were erased and are [tombstones](crate::events::tombstone).
    pub tombstones: BTreeMap<u64, u64>,
    pub raw_bytes: u64,
    pub damage: Vec<Damage>,
    /// Running digest behind the last event.
    pub digest: Option<[u8; 32]>,
}

/// Verifies every segment of `dir`. A torn append at the end of the last one is not damage while someone writes
/// (`open_end`): `progress` is called with every segment done.
pub fn verify(fs: &dyn Fs, dir: &Path, open_end: bool, mut progress: impl FnMut(u64)) -> io::Result<Verified> {
    let mut verified = Verified::default();
    let all = numbers(fs, dir)?;
    let mut chain: Option<Link> = None;
    for (index, &number) in all.iter().enumerate() {
        let last = index + 1 == all.len();
        let file = fs.open(&dir.join(segment::file_name(number)))?;
        chain = Some(verify_file(&*file, number, chain, last && open_end, &mut verified)?);
        verified.segments += 1;
        progress(number);
    }
    verified.digest = chain.and_then(|link| link.digest);
    Ok(verified)
}

/// What a segment says to the next.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub segment: u64,
    pub next_seq: u64,
    pub digest: Option<[u8; 32]>,
}

/// Verifies one segment, as far as it is known also against the one before it.
pub(crate) fn verify_file(file: &dyn File, number: u64, before: Option<Link>, open_end: bool, verified: &mut Verified) -> io::Result<Link> {
    let scan = segment::scan(file, number, true)?;
    let found_before = verified.damage.len();
    verified.damage.extend(scan.damage);
    let mut report = |block, offset, what: &str| verified.damage.push(Damage { segment: number, block, offset, what: what.into() });
    if scan.file_len > scan.end && !open_end {
        report(Some(scan.blocks.len() as u32), scan.end, "bytes behind the last frame belong to none");
    }
    match (&scan.opening, &before) {
        (None, _) => report(None, 0, "the opening frame is missing"),
        (Some(opening), Some(before)) => check_chain(opening, before, number, &mut report),
        (Some(opening), None) if opening.segment != number => report(None, 0, "the segment's number is not its file's"),
        // Retention may have removed what came before: the first segment is taken at its word.
        (Some(_), None) => {}
    }
    let mut expected_seq = scan.opening.as_ref().map(|opening| opening.first_seq);
    let mut digest = scan.opening.as_ref().map(|opening| Digest::following(&opening.previous_digest));
    let mut reader = BlockReader::default();
    let (mut lines, mut hashes) = (Vec::new(), Vec::<EventId>::new());
    let mut last_digest = scan.opening.as_ref().map(|opening| opening.previous_digest);
    for (block_number, block) in scan.blocks.iter().enumerate() {
        let at = Some(block_number as u32);
        if expected_seq.is_some_and(|expected| expected != block.meta.first_seq) {
            report(at, block.meta.offset, "events are missing before this block");
            digest = None;
        }
        expected_seq = Some(block.meta.first_seq + u64::from(block.meta.events));
        last_digest = Some(block.header.digest);
        if let Err(error) = reader.read(file, &block.meta, &mut lines) {
            report(at, block.meta.offset, &error.to_string());
            digest = None;
            continue;
        }
        hashes.clear();
        match segment::line_hashes(&block.header, &lines, &mut hashes) {
            Ok(0) => {}
            Ok(tombstones) => *verified.tombstones.entry(number).or_default() += tombstones,
            Err(error) => {
                report(at, block.meta.offset, &error.to_string());
                digest = None;
                continue;
            }
        }
        if hashes.len() != block.meta.events as usize {
            report(at, block.meta.offset, "the number of lines is not the number of events");
        }
        if let Some(digest) = &mut digest {
            digest.update(&hashes);
            if digest.value() != block.header.digest {
                report(at, block.meta.offset, "the running digest does not match the events");
            }
        }
        verified.blocks += 1;
        verified.events += hashes.len() as u64;
        verified.raw_bytes += lines.len() as u64;
    }
    if let Some(seal) = &scan.seal
        && verified.damage.len() == found_before
        && (Some(seal.next_seq) != expected_seq || Some(seal.digest) != last_digest || seal.blocks as usize != scan.blocks.len())
    {
        verified.damage.push(Damage { segment: number, block: None, offset: scan.end, what: "the seal does not match the blocks".into() });
    }
    let next_seq = expected_seq.unwrap_or(0);
    Ok(Link { segment: number, next_seq, digest: last_digest })
}

fn check_chain(opening: &Opening, before: &Link, number: u64, report: &mut impl FnMut(Option<u32>, u64, &str)) {
    if opening.segment != number {
        report(None, 0, "the segment's number is not its file's");
    }
    if before.segment != opening.previous {
        report(None, 0, "the segment before this one is missing");
        return;
    }
    if opening.first_seq != before.next_seq {
        report(None, 0, "events are missing between the segment before and this one");
    }
    if before.digest != Some(opening.previous_digest) {
        report(None, 0, "the chain is broken: the digest of the segment before is another");
    }
}
