//! Honeyguide keeps what honeypots caught as evidence and answers questions about it.
//!
//! Start with `ops/ARCHITECTURE.md`; `ops/FORMAT.md` describes the files.
pub mod access;
pub mod actors;
pub mod admin;
pub mod alerts;
pub mod archive;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod enrich;
pub mod events;
pub mod extract;
pub mod geoip;
pub mod index;
pub mod indicators;
pub mod journal;
pub mod live;
pub mod load;
pub mod network;
pub mod os;
pub mod page;
pub mod receiver;
pub mod redact;
pub mod report;
pub mod service;
pub mod simulate;
pub mod sinks;
pub mod sources;
pub mod state;
pub mod store;
pub mod telemetry;
