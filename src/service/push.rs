//! What is pushed over HTTP, from a body to the counts of what became of it: the same for the admin's socket and for receivers.
use crate::access::places::{Share, Shares};
use crate::actors::push::{NoOutcome, Push, PushActor, PushOutcome};
use crate::daemon::Engine;
use crate::events::time;
use crate::sources::push::{BODY_BYTES_MAX, BodyError, Cutting, Form};
use crate::sources::{CHUNK_BYTES, Source};
use actix::Addr;
use std::sync::Arc;
use std::time::Duration;

/// Of all bodies that are being received or stored, KiB: as many as two of the largest.
const BODIES_KIB: u32 = 2 * (BODY_BYTES_MAX >> 10) as u32;
/// How long a request waits until there is room for its body.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// A smaller body is cut at once, without a thread.
const CUT_AT_ONCE_BYTES: usize = 64 << 10;

/// The way in for what is pushed.
pub struct Entrance {
    actor: Addr<PushActor>,
    bodies: Shares<Arc<str>>,
}

/// Why nothing is told of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    NoOutcome(#[from] NoOutcome),
}

/// Room for a body, for as long as it is held.
pub struct Room(#[expect(dead_code, reason = "held, not read")] Share);

impl Entrance {
    pub fn new(actor: Addr<PushActor>) -> Entrance {
        Entrance { actor, bodies: Shares::new(BODIES_KIB, BODIES_KIB / 2, ROOM_PATIENCE) }
    }

    /// Waits for room for a body of so many bytes, before any of it is read. One who pushes has half of the room at most.
    pub async fn room(&self, whose: &Arc<str>, bytes: usize) -> Result<Room, PushError> {
        let kib = (bytes.min(BODY_BYTES_MAX) >> 10) as u32 + 1;
        let share = self.bodies.take(whose.clone(), kib).await;
        Ok(Room(share.ok_or(NoOutcome::NotTaken("as much as may be is on its way already"))?))
    }
}

/// A body, and what it holds.
pub struct PushRequest {
    pub source: Arc<Source>,
    pub form: Form,
    /// Who pushes may push events of these honeypots only.
    pub only_sensors: Option<Arc<[String]>>,
    pub body: actix_web::web::Bytes,
    pub room: Room,
}

/// Stores the events of a body; answers when all of them are durable.
pub async fn push(engine: &Engine, request: PushRequest) -> Result<PushOutcome, PushError> {
    taking(engine)?;
    let PushRequest { source, form, only_sensors, body, room } = request;
    let chunk_bytes = (engine.settings.borrow().limits.in_flight_bytes / 8).clamp(64 << 10, CHUNK_BYTES);
    let cutting = Cutting { source, chunk_bytes, received_at: time::now(), only_sensors, request: rand::random() };
    let pushed = if body.len() <= CUT_AT_ONCE_BYTES {
        cutting.cut(&body, form)?
    } else {
        let cut = tokio::task::spawn_blocking(move || cutting.cut(&body, form)).await;
        cut.map_err(|_| NoOutcome::NotTaken("the body could not be looked through"))??
    };
    let outcome = engine.push.actor.send(Push { pushed, room }).await;
    Ok(outcome.map_err(|_| NoOutcome::Unknown("the part of the daemon that takes it was restarted"))??)
}

/// Whether anything is taken now.
pub fn taking(engine: &Engine) -> Result<(), PushError> {
    if !engine.observed.journal.borrow().available {
        return Err(NoOutcome::NotTaken("the journal is not available").into());
    }
    if engine.observed.intake.is_paused() {
        return Err(NoOutcome::NotTaken("the disk is nearly full").into());
    }
    Ok(())
}
