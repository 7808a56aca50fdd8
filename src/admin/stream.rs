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
use tokio::sync::mpsc;

pub const NDJSON: &str = "application/x-ndjson";

/// Lines are sent together in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 4;
/// A client that takes nothing for so long is given up: it holds one of few places.
const STALL: Duration = Duration::from_secs(60);

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
    /// How long a piece may wait for the client.
    stall: Duration,
}

impl Lines {
    fn new(pieces: mpsc::Sender<Piece>, stall: Duration) -> Lines {
        Lines { pieces, runtime: Handle::current(), buffer: Vec::new(), stall }
    }

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
        match self.runtime.block_on(self.pieces.send_timeout(piece, self.stall)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Runs `work` on a thread that may block and answers with its lines. An error before the first line is the answer; one after it breaks
/// the answer off.
pub async fn lines(admin: &Admin, work: impl FnOnce(&mut Lines) -> Result<(), Problem> + Send + 'static) -> Result<HttpResponse, Problem> {
    let permit = admin.slow.wait().await?;
    let (pieces, mut receiver) = mpsc::channel(PIECES_MAX);
    let mut lines = Lines::new(pieces, STALL);
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
    let permit = admin.slow.wait().await?;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or_else(|panic| Err(Problem::failed(&panic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_nothing_is_given_up_and_holds_so_much_and_no_more() {
        let (pieces, mut receiver) = mpsc::channel(PIECES_MAX);
        let mut lines = Lines::new(pieces, Duration::from_millis(50));
        let pushed = tokio::task::spawn_blocking(move || {
            let line = [b'x'; PIECE_BYTES];
            (0..100).take_while(|_| lines.push(&line).is_continue()).count()
        });
        assert_eq!(pushed.await.expect("pushed"), PIECES_MAX);
        receiver.close();
        let mut held = 0;
        while receiver.recv().await.is_some() {
            held += 1;
        }
        assert_eq!(held, PIECES_MAX);
    }
}
