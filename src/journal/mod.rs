//! The journal: segments of blocks, appended once, chained by digests. `ops/FORMAT.md` is its specification.
//!
//! It knows nothing of terms, decoders, sources or actors: events are lines with an id, checkpoints are bytes under a name.
pub mod fs;
