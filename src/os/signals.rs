//! The signals a daemon answers, as a stream.
use futures_util::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::signal::unix::{Signal as Incoming, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: make durable what was read, then end. A second one: end now.
    Drain { name: &'static str },
    /// SIGHUP: read the configuration again and open log files anew.
    Reload,
}

/// Signals of this process from now on; several of one kind that come at once count as one.
#[derive(Debug)]
pub struct Signals {
    terminate: Incoming,
    interrupt: Incoming,
    hangup: Incoming,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP; must be called inside a tokio runtime. SIGPIPE is ignored: a reader that
    /// goes away is an error of one write, not the end.
    pub fn listen() -> io::Result<Signals> {
        // SAFETY: ignoring a signal installs no handler that could run at a bad moment.
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigIgn) }?;
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Signal>> {
        // Ending goes before reloading when both wait.
        if self.terminate.poll_recv(context).is_ready() {
            return Poll::Ready(Some(Signal::Drain { name: "SIGTERM" }));
        }
        if self.interrupt.poll_recv(context).is_ready() {
            return Poll::Ready(Some(Signal::Drain { name: "SIGINT" }));
        }
        self.hangup.poll_recv(context).map(|_| Some(Signal::Reload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use nix::sys::signal::{Signal as Raised, raise};

    #[tokio::test]
    async fn each_signal_arrives_as_what_it_asks_for() {
        let mut signals = Signals::listen().expect("in a runtime");
        for (raised, expected) in [
            (Raised::SIGHUP, Signal::Reload),
            (Raised::SIGTERM, Signal::Drain { name: "SIGTERM" }),
            (Raised::SIGINT, Signal::Drain { name: "SIGINT" }),
            (Raised::SIGHUP, Signal::Reload),
        ] {
            raise(raised).expect("raised");
            assert_eq!(signals.next().await, Some(expected));
        }
        // Would end the process if it were not ignored.
        raise(Raised::SIGPIPE).expect("raised");
    }
}
