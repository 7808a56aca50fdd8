//! The journal: segments of blocks, appended once, chained by digests. `ops/FORMAT.md` is its specification.
//!
//! It knows nothing of terms, decoders or actors: events are lines with a hash, checkpoints are bytes under a name.
pub mod block;
pub mod fs;
pub mod head;
pub mod log;
pub mod segment;
pub mod simulated;
pub mod verify;
