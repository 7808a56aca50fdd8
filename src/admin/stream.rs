//! Answers of many lines, from a thread that may block to a client that may be slow or gone, at bounded memory.
use super::Admin;
use super::problem::Problem;
use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::stream;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub const NDJSON: &str = "application/x-ndjson";

/// Lines are sent together in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 4;
/// A client that takes nothing for so long is given up: it holds one of few places.
const STALL: Duration = Duration::from_secs(300);
/// How long a request waits for a place.
const TURN: Duration = Duration::from_secs(30);

enum Piece {
    Bytes(Bytes),
    Failed(Problem),
    /// The answer is complete: without it the client must not take what it got for all there is.
    End,
}

/// Where the lines of an answer go.
pub struct Lines {
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    buffer: Vec<u8>,
}

impl Lines {
    /// Adds a line. Break: nobody listens any more.
    pub fn push(&mut self, line: &[u8]) -> ControlFlow<()> {
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { ControlFlow::Continue(()) }
    }

    /// Adds bytes as they are. Break: nobody listens any more.
    pub fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { ControlFlow::Continue(()) }
    }

    /// Adds one value as a line and sends it at once.
    pub fn tell(&mut self, value: &impl Serialize) -> ControlFlow<()> {
        match serde_json::to_vec(value) {
            Ok(line) => match self.push(&line) {
                ControlFlow::Continue(()) => self.flush(),
                gone => gone,
            },
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn flush(&mut self) -> ControlFlow<()> {
        if self.buffer.is_empty() {
            return ControlFlow::Continue(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.send(Piece::Bytes(piece))
    }

    fn send(&self, piece: Piece) -> ControlFlow<()> {
        match self.runtime.block_on(self.pieces.send_timeout(piece, STALL)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Waits for a place among the slow requests.
pub async fn turn(admin: &Admin) -> Result<OwnedSemaphorePermit, Problem> {
    match tokio::time::timeout(TURN, admin.slow.clone().acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::busy()),
    }
}

/// Runs `work` on a thread that may block and answers with its lines. An error before the first line is the answer; one after it breaks
/// the answer off.
pub async fn lines(admin: &Admin, work: impl FnOnce(&mut Lines) -> Result<(), Problem> + Send + 'static) -> Result<HttpResponse, Problem> {
    let permit = turn(admin).await?;
    let (pieces, mut receiver) = mpsc::channel(PIECES_MAX);
    let mut lines = Lines { pieces, runtime: Handle::current(), buffer: Vec::new() };
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let last = match work(&mut lines) {
            Ok(()) => match lines.flush() {
                ControlFlow::Continue(()) => Piece::End,
                ControlFlow::Break(()) => return,
            },
            Err(problem) => Piece::Failed(problem),
        };
        let _ = lines.send(last);
    });
    let first = match receiver.recv().await {
        Some(Piece::Failed(problem)) => return Err(problem),
        None => return Err(Problem::failed(&"the answer could not be made: the daemon's log says why")),
        Some(first) => first,
    };
    let rest = stream::unfold(Some((Some(first), receiver)), |state| async move {
        let (first, mut receiver) = state?;
        let piece = match first {
            Some(first) => Some(first),
            None => receiver.recv().await,
        };
        match piece {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some((None, receiver)))),
            Some(Piece::End) => None,
            Some(Piece::Failed(problem)) => Some((Err(problem), None)),
            None => Some((Err(Problem::failed(&"the answer broke off")), None)),
        }
    });
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(rest))
}

/// Runs `work` on a thread that may block, in its turn, to its end even if the client goes away.
pub async fn one<T: Send + 'static>(admin: &Admin, work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let permit = turn(admin).await?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or_else(|panic| Err(Problem::failed(&panic)))
}
