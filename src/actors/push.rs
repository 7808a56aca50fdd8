//! Sends on what was pushed, and tells each request what became of it once that is durable.
//!
//! Owns: the requests under way. Talks to: journal (a run for each request), extraction (gets the chunks).
//! Lost on restart: who was waiting; they are told that nobody knows, and push again.
//! Invariants: no answer counts an event that is not durable. Of a request that was told to be not taken nothing was sent on. Nothing
//! is sent without a permit, and what waits for one has room as a body.
use super::answers_ping;
use super::extraction::{Extract, ExtractionActor};
use super::intake::Intake;
use super::journal::{CloseRun, JournalActor, OpenRun, REFUSED_TOLD_MAX, RunEvent};
use crate::service::push::Room;
use crate::sources::push::Pushed;
use crate::sources::{Chunk, Reason};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, Supervised, WrapFuture};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What became of a request's events, all of it durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PushOutcome {
    /// New events of the journal.
    pub stored: u64,
    /// Events that the journal, or the request, had already.
    pub duplicate: u64,
    /// Lines that are no events, and are in quarantine.
    pub refused: u64,
    /// The first of these, at most 100.
    pub refusals: Vec<Refusal>,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Refusal {
    /// Line of the body, or element of its array, from 1.
    pub line: u64,
    /// As in `honeyguide quarantine list`.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// In words, with nothing of the line in it.
    pub detail: String,
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOutcome {
    /// Nothing of the request was taken.
    #[error("nothing was taken: {0}; push it again")]
    NotTaken(&'static str),
    /// Some of it may be stored.
    #[error("some of it may be stored: {0}; push it again, equal events are stored once")]
    Unknown(&'static str),
}

/// Takes the chunks of one request; answers when they are durable.
#[derive(Message)]
#[rtype(result = "Result<PushOutcome, NoOutcome>")]
pub struct Push {
    pub pushed: Pushed,
    /// Of the body; given back when all chunks have permits of their own.
    pub room: Room,
}

/// Takes nothing more; answers when what was taken is durable, or had to be given up.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// How long a request waits until there is room for its first chunk.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// How long until what was sent on is durable.
const DURABLE_PATIENCE: Duration = Duration::from_secs(60);

const STOPPING: &str = "the daemon is stopping";
const NO_JOURNAL: &str = "the journal is not available";
const LOST: &str = "the journal had a fault while it was being stored";

struct Request {
    chunks: u64,
    acknowledged: u64,
    outcome: PushOutcome,
    /// Where refused lines stood in the input; numbers are looked up when the request is answered.
    refused_at: Vec<u64>,
    answer: oneshot::Sender<Result<(PushOutcome, Vec<u64>), NoOutcome>>,
}

pub struct PushActor {
    intake: Intake,
    journal: Addr<JournalActor>,
    extraction: Addr<ExtractionActor>,
    /// By their runs.
    requests: HashMap<u64, Request>,
    /// Requests that were taken in hand and have no run yet.
    opening: usize,
    stopping: bool,
    draining: Vec<oneshot::Sender<()>>,
}

impl PushActor {
    pub fn new(intake: Intake, journal: Addr<JournalActor>, extraction: Addr<ExtractionActor>) -> PushActor {
        PushActor { intake, journal, extraction, requests: HashMap::new(), opening: 0, stopping: false, draining: Vec::new() }
    }

    /// Ends a request: nothing of it is committed any more that is not yet.
    fn close(&mut self, run: u64) -> Option<Request> {
        let request = self.requests.remove(&run);
        if request.is_some() {
            self.journal.do_send(CloseRun(run));
        }
        self.tell_drained();
        request
    }

    fn tell_drained(&mut self) {
        if self.requests.is_empty() && self.opening == 0 {
            for drained in self.draining.drain(..) {
                // Whoever drains may have given up.
                let _ = drained.send(());
            }
        }
    }

    /// Begins a request whose first chunk has its permit.
    fn begin(&mut self, run: u64, chunks: Vec<Chunk>, first: OwnedSemaphorePermit, room: Room, ctx: &mut Context<Self>) -> Waiting {
        let (answer, answered) = oneshot::channel();
        let outcome = PushOutcome::default();
        let request = Request { chunks: chunks.len() as u64, acknowledged: 0, outcome, refused_at: Vec::new(), answer };
        self.requests.insert(run, request);
        let (intake, extraction) = (self.intake.clone(), self.extraction.clone());
        let mut permit = Some(first);
        let sent = async move {
            for (ordinal, mut chunk) in (0..).zip(chunks) {
                let permit = match permit.take() {
                    Some(permit) => permit,
                    None => intake.admit(chunk.data.len()).await,
                };
                chunk.origin.permit = Some(permit);
                chunk.origin.run = run;
                chunk.origin.ordinal = ordinal;
                extraction.do_send(Extract(chunk));
            }
            drop(room);
        };
        ctx.spawn(sent.into_actor(self));
        answered
    }
}

type Waiting = oneshot::Receiver<Result<(PushOutcome, Vec<u64>), NoOutcome>>;

impl Actor for PushActor {
    type Context = Context<Self>;
}

impl Supervised for PushActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        let runs: Vec<u64> = self.requests.keys().copied().collect();
        for run in runs {
            drop(self.close(run));
        }
        self.opening = 0;
        self.tell_drained();
    }
}

impl Handler<Push> for PushActor {
    type Result = ResponseActFuture<Self, Result<PushOutcome, NoOutcome>>;

    fn handle(&mut self, Push { pushed: Pushed { chunks, numbers }, room }: Push, ctx: &mut Self::Context) -> Self::Result {
        fail::fail_point!("push::handle");
        let refused = |why| Box::pin(std::future::ready(Err(NoOutcome::NotTaken(why))).into_actor(self)) as Self::Result;
        if self.stopping {
            return refused(STOPPING);
        }
        let Some(first) = chunks.first() else {
            return Box::pin(std::future::ready(Ok(PushOutcome::default())).into_actor(self));
        };
        self.opening += 1;
        let (intake, journal, bytes) = (self.intake.clone(), self.journal.clone(), first.data.len());
        let ask = OpenRun { prefix: String::new(), owner: ctx.address().recipient(), replaces: None, tells_refused: true };
        let opened = async move {
            let room = tokio::time::timeout(ROOM_PATIENCE, intake.admit(bytes)).await;
            let permit = room.map_err(|_| NoOutcome::NotTaken("what came before is not stored yet"))?;
            match journal.send(ask).await {
                Ok(Some(opened)) => Ok((permit, opened.run)),
                _ => Err(NoOutcome::NotTaken(NO_JOURNAL)),
            }
        };
        let answered = opened.into_actor(self).then(move |opened, actor, ctx| {
            actor.opening = actor.opening.saturating_sub(1);
            let (run, waiting) = match opened {
                Ok((permit, run)) => (run, Ok(actor.begin(run, chunks, permit, room, ctx))),
                Err(error) => {
                    actor.tell_drained();
                    (0, Err(error))
                }
            };
            let answered = async move {
                match tokio::time::timeout(DURABLE_PATIENCE, waiting?).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(NoOutcome::Unknown("the part of the daemon that takes it was restarted")),
                    Err(_) => Err(NoOutcome::Unknown("it is not stored after a minute")),
                }
            };
            answered.into_actor(actor).map(move |answer, actor, _| {
                drop(actor.close(run));
                let (mut outcome, refused_at) = answer?;
                outcome.refusals.iter_mut().zip(refused_at).for_each(|(refusal, offset)| refusal.line = numbers.of(offset));
                Ok(outcome)
            })
        });
        Box::pin(answered)
    }
}

impl Handler<RunEvent> for PushActor {
    type Result = ();

    fn handle(&mut self, event: RunEvent, _: &mut Self::Context) {
        match event {
            RunEvent::Refused { run, lines, first } => {
                let Some(request) = self.requests.get_mut(&run) else { return };
                request.outcome.refused += u64::from(lines);
                let room = REFUSED_TOLD_MAX - request.outcome.refusals.len();
                for line in first.into_iter().take(room) {
                    request.refused_at.push(line.offset);
                    request.outcome.refusals.push(Refusal { line: 0, reason: line.reason, detail: line.detail });
                }
            }
            RunEvent::Durable { run, chunks, committed, .. } => {
                let Some(request) = self.requests.get_mut(&run) else { return };
                request.acknowledged += chunks;
                request.outcome.stored += u64::from(committed.events);
                request.outcome.duplicate += u64::from(committed.duplicates);
                if request.acknowledged == request.chunks
                    && let Some(request) = self.close(run)
                {
                    // Whoever asked may be gone.
                    let _ = request.answer.send(Ok((request.outcome, request.refused_at)));
                }
            }
            RunEvent::Void { run } => {
                if let Some(request) = self.close(run) {
                    let _ = request.answer.send(Err(NoOutcome::Unknown(LOST)));
                }
            }
        }
    }
}

impl Handler<Drain> for PushActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let (sender, receiver) = oneshot::channel();
        self.draining.push(sender);
        self.tell_drained();
        Box::pin(receiver.into_actor(self).map(|_, _, _| ()))
    }
}

answers_ping!(PushActor);
