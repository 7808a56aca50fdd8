//! Makes sidecars anew from their segments, also while the store is in use.
use super::open::{Indexer, index_blocks};
use super::seal::{open_sidecar, sidecar_head, write_sidecar};
use super::view::Sealed;
use super::{Store, View};
use crate::index::sidecar;
use crate::journal::segment::{self, Damage};
use std::io;
use std::sync::Arc;

/// What became of one sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    Done,
    /// The segment is damaged and the sidecar is whole: it knows more than a new one would, and stays.
    Kept(Vec<Damage>),
    /// The segment is damaged, and so was the sidecar: the new one knows what can still be read.
    Partly(Vec<Damage>),
    /// There is no such segment, or its evidence was removed by retention.
    NoEvidence,
}

impl Store {
    /// Reads a sealed segment and makes its sidecar anew; readers go on with the old one until the new one is there.
    pub fn rebuild_sidecar(&self, number: u64) -> io::Result<Rebuilt> {
        let shared = &self.0;
        // Retention must not remove the segment meanwhile: the new sidecar would answer for nothing.
        let _upkeep = shared.upkeep.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let view = self.view();
        let Some(sealed) = view.sealed.iter().find(|sealed| sealed.number == number) else { return Ok(Rebuilt::NoEvidence) };
        let Some(file) = sealed.file.clone() else { return Ok(Rebuilt::NoEvidence) };
        let scan = segment::scan(&*file, number, false)?;
        let mut damage = scan.damage;
        let mut indexer = Indexer::new(shared);
        index_blocks(&*file, &scan.blocks, number, &mut indexer, &mut damage);
        if !damage.is_empty() && sealed.sidecar.verify().is_ok() {
            return Ok(Rebuilt::Kept(damage));
        }
        let last_digest = scan.blocks.last().map(|block| block.header.digest);
        let digest = last_digest.or(scan.opening.as_ref().map(|opening| opening.previous_digest)).unwrap_or_default();
        let bytes = sidecar::build(&indexer.index, sidecar_head(number, &indexer.index, digest, file.len()?));
        let dir = &shared.layout.journal;
        write_sidecar(&*shared.fs, dir, number, &bytes)?;
        let sidecar = open_sidecar(shared, number)?.map_err(io::Error::other)?;
        shared.update_view(|view| {
            // A new generation: what was checked against the old sidecar is checked against this one at commit.
            let generation = view.generation + 1;
            let new = Arc::new(Sealed { number, generation, sidecar, file: Some(file) });
            let sealed = view.sealed.iter().map(|sealed| if sealed.number == number { new.clone() } else { sealed.clone() }).collect();
            View { generation, sealed, ..view.clone() }
        });
        Ok(if damage.is_empty() { Rebuilt::Done } else { Rebuilt::Partly(damage) })
    }
}
