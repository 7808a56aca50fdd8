//! Logs and metrics.
pub mod printable;
