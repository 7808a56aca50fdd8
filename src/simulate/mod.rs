//! Logs that look like Cowrie's, made from a seed: for `honeyguide demo`, for `honeyguide simulate`, for tests and benches.
//!
//! The repository ships no real attack data (addresses are personal data, payloads are live); what its tests and demo need is made here.
//! [`Generator`] makes the lines, [`LogWriter`] writes them to a growing, rotating `cowrie.json` as Cowrie would.
mod event;
mod generator;
pub mod hostile;
mod lexicon;
mod log_writer;
mod plan;
mod random;
mod session;
mod vocabulary;

pub use generator::Generator;
pub use log_writer::{LogWriter, Rotation, Torn};
pub use random::Random;

use crate::events::Micros;

/// Which years' logs to imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(usize)]
pub enum Shape {
    /// Cowrie of 2026: two thirds of the sensors as in spring 2026, one third as Cowrie 3.1 writes.
    #[default]
    Modern = 0,
    /// Cowrie of 2017: telnet loaders, `system` and `isError`, float durations.
    Legacy = 1,
}

/// What to simulate. The same options give the same bytes, always.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    pub seed: u64,
    /// Time of the first event.
    pub start: Micros,
    /// Events per second of simulated time: how dense the log is, not how fast it is made. 0.0001 to 1,000,000.
    pub events_per_second: f64,
    /// How many honeypots, 1 to 1,000.
    pub sensors: u32,
    /// How many addresses come back day after day, 1 to 1,000,000; as many again are new each day, and rarer.
    pub attackers: u32,
    pub shape: Shape,
    /// Mix in strings and lines meant to break readers ([`hostile`]).
    pub hostile: bool,
    /// Begin no more than this many sessions; without it the log never ends.
    pub sessions: Option<u64>,
}

/// 2026-01-01T00:00:00Z, where simulated logs start unless told otherwise: a fixed time, so that a seed alone names the bytes.
pub const START: Micros = 1_767_225_600_000_000;

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation {
            seed: 1,
            start: START,
            events_per_second: 1.0,
            sensors: 3,
            attackers: 4_000,
            shape: Shape::Modern,
            hostile: false,
            sessions: None,
        }
    }
}
