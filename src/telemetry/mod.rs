//! What the daemon says about itself: [`log`] lines and [`metrics`], tied together by typed [`events`].
pub mod events;
pub mod file;
pub mod log;
pub mod metrics;
pub mod notices;
pub mod printable;

pub use events::{Event, Telemetry};
pub use metrics::Metrics;
