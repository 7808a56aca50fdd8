//! The actors: they own mailboxes, timers and lifecycles, and hand every decision to plain functions elsewhere.
//!
//! [`ingest`] reads chunks → [`extraction`] makes batches of them → [`journal`] commits them in order; an [`exporter`] for each
//! sink delivers what is durable; [`supervisor`] starts, watches and drains them, [`metrics`] publishes their figures,
//! [`anomalies`] looks for what is unusual, [`alerts`] for what somebody wants to be told. Nothing
//! waits in a mailbox without a permit of the [`intake`].
pub mod alerts;
pub mod anomalies;
pub mod exporter;
pub mod extraction;
pub mod ingest;
pub mod intake;
pub mod journal;
pub mod metrics;
pub mod push;
pub mod supervised;
pub mod supervisor;

use actix::Message;

/// Asks for a sign of life.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct Ping;

/// Implements the answer to [`Ping`].
macro_rules! answers_ping {
    ($actor:ty) => {
        impl actix::Handler<$crate::actors::Ping> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::actors::Ping, _: &mut Self::Context) {}
        }
    };
}
pub(crate) use answers_ping;
