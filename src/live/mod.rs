//! Events as they become durable, for whoever watches.
//!
//! Knows the journal and the query language, and nothing of HTTP.
pub mod queue;
