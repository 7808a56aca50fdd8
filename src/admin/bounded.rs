//! What a connection may take of those who answer it: so many at once for each address, a body that comes in time, an answer that is read.
//!
//! Listeners call [`Doors::enter`] when a connection was made; requests' bodies are read through [`in_time`].
use super::problem::Problem;
use crate::access::places::{Place, Places};
use crate::access::rates;
use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::{JsonPayloadError, PayloadError, UrlencodedError};
use actix_web::http::Method;
use actix_web::web::Bytes;
use futures_util::Stream;
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use prometheus::{IntCounter, IntGauge};
use std::any::Any;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until};

/// A client that takes nothing of what was sent for so long is hung up on, by the kernel.
pub(crate) const UNREAD_MAX: Duration = Duration::from_secs(60);
/// How long a body may take to begin with…
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// …and the bytes a second that give it more time.
const BODY_BYTES_PER_SECOND: u32 = 128 << 10;

/// Counts a connection for as long as it lasts.
pub(crate) struct Open {
    open: IntGauge,
    _place: Option<Place<u128>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The connections of one listener.
#[derive(Clone)]
pub(crate) struct Doors {
    pub places: Places<u128>,
    pub open: IntGauge,
    pub refused: IntCounter,
    pub unread_max: Duration,
}

impl Doors {
    /// Looks at a connection that was just made: by whom, its address says on TCP, and `whose` on a Unix socket. One too many is hung up on:
    /// whoever has that many needs no answer.
    pub fn enter(&self, connection: &dyn Any, whose: Option<u128>) -> Option<Open> {
        let stream = tcp(connection);
        let whose = match stream {
            Some(stream) => Some(stream.peer_addr().map_or(0, |peer| rates::network(peer.ip()))),
            None => whose,
        };
        if let Some(stream) = stream {
            let millis = u32::try_from(self.unread_max.as_millis()).unwrap_or(u32::MAX);
            // Without it the connection is bounded by all the other limits.
            let _ = setsockopt(stream, sockopt::TcpUserTimeout, &millis);
        }
        let Some(whose) = whose else { return Some(self.opened(None)) };
        let place = self.places.take(whose);
        if place.is_none() {
            self.refused.inc();
            let unix = connection.downcast_ref::<UnixStream>().map(AsRawFd::as_raw_fd);
            if let Some(fd) = stream.map(AsRawFd::as_raw_fd).or(unix) {
                // It reads as the end of what is sent: nothing of a request is looked at.
                let _ = shutdown(fd, Shutdown::Both);
            }
            return None;
        }
        Some(self.opened(place))
    }

    fn opened(&self, place: Option<Place<u128>>) -> Open {
        self.open.inc();
        Open { open: self.open.clone(), _place: place }
    }
}

/// The stream below, with TLS or without.
fn tcp(connection: &dyn Any) -> Option<&TcpStream> {
    type Tls = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;
    connection.downcast_ref::<TcpStream>().or_else(|| connection.downcast_ref::<Tls>().map(|tls| tls.get_ref().0))
}

/// The body of a request that may have one comes in time, or breaks off. Not what follows an upgrade, which has no end.
pub(crate) fn in_time(request: &mut ServiceRequest) {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let payload = InTime::new(request.take_payload(), BODY_PATIENCE, BODY_BYTES_PER_SECOND);
        request.set_payload(Payload::Stream { payload: Box::pin(payload) });
    }
}

/// A body that ends with an error when it comes too slowly.
struct InTime<S> {
    payload: S,
    until: Pin<Box<Sleep>>,
    bytes_per_second: u32,
}

impl<S> InTime<S> {
    fn new(payload: S, patience: Duration, bytes_per_second: u32) -> InTime<S> {
        InTime { payload, until: Box::pin(sleep_until(Instant::now() + patience)), bytes_per_second }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for InTime<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(Some(Ok(bytes))) => {
                let gained = Duration::from_secs_f64(bytes.len() as f64 / f64::from(self.bytes_per_second));
                let until = self.until.deadline() + gained;
                self.until.as_mut().reset(until);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Pending if self.until.as_mut().poll(context).is_ready() => {
                let slow = io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly");
                Poll::Ready(Some(Err(PayloadError::Io(slow))))
            }
            polled => polled,
        }
    }
}

/// Why a body cannot be taken, as it was told by what reads it.
pub(crate) trait BodyFault: std::fmt::Display {
    fn payload(&self) -> Option<&PayloadError>;
    fn is_too_large(&self) -> bool;
}

impl BodyFault for PayloadError {
    fn payload(&self) -> Option<&PayloadError> {
        Some(self)
    }
    fn is_too_large(&self) -> bool {
        matches!(self, PayloadError::Overflow)
    }
}

impl BodyFault for JsonPayloadError {
    fn payload(&self) -> Option<&PayloadError> {
        if let JsonPayloadError::Payload(error) = self { Some(error) } else { None }
    }
    fn is_too_large(&self) -> bool {
        matches!(self, JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. })
    }
}

impl BodyFault for UrlencodedError {
    fn payload(&self) -> Option<&PayloadError> {
        if let UrlencodedError::Payload(error) = self { Some(error) } else { None }
    }
    fn is_too_large(&self) -> bool {
        matches!(self, UrlencodedError::Overflow { .. })
    }
}

/// The problem with a body.
pub(crate) fn body_problem(fault: &impl BodyFault) -> Problem {
    match fault.payload() {
        Some(PayloadError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => Problem::timeout(format!(
            "the body came too slowly: it has {} s, and a second more for each {} KiB",
            BODY_PATIENCE.as_secs(),
            BODY_BYTES_PER_SECOND >> 10
        )),
        Some(PayloadError::Overflow) => Problem::too_large(fault.to_string()),
        Some(_) => Problem::bad_request(&format!("the body broke off: {fault}")),
        None if fault.is_too_large() => Problem::too_large(fault.to_string()),
        None => Problem::bad_request(&fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn doors(each_max: usize, unread_max: Duration) -> Doors {
        Doors {
            places: Places::new(each_max),
            open: IntGauge::new("open", "open").expect("a gauge"),
            refused: IntCounter::new("refused", "refused").expect("a counter"),
            unread_max,
        }
    }

    /// A connection from this address of the machine's own, as both sides have it.
    async fn connected(listener: &TcpListener, from: u8) -> (TcpStream, TcpStream) {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0).into()).expect("bound");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(socket.connect(address), listener.accept());
        (client.expect("connected"), accepted.expect("accepted").0)
    }

    #[tokio::test]
    async fn one_address_leaves_connections_to_others() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let doors = doors(2, UNREAD_MAX);
        let mut held = Vec::new();
        for _ in 0..2 {
            let (client, server) = connected(&listener, 1).await;
            let open = doors.enter(&server, None).expect("a place");
            held.push((client, server, open));
        }
        let (mut client, server) = connected(&listener, 1).await;
        assert!(doors.enter(&server, None).is_none());
        assert_eq!(client.read(&mut [0]).await.expect("an end"), 0, "hung up on, although the server's side is still held");
        assert_eq!((doors.open.get(), doors.refused.get()), (2, 1));
        let (_other, server) = connected(&listener, 2).await;
        assert!(doors.enter(&server, None).is_some());
        held.pop();
        let (_client, server) = connected(&listener, 1).await;
        let _open = doors.enter(&server, None).expect("the place that was given back");
        assert_eq!(doors.open.get(), 2);
    }

    #[tokio::test]
    async fn users_on_the_socket_leave_connections_to_its_owner() {
        let doors = doors(1, UNREAD_MAX);
        let pair = || UnixStream::pair().expect("a pair");
        let (_client, server) = pair();
        let _open = doors.enter(&server, Some(1000)).expect("a place");
        let (mut client, server) = pair();
        assert!(doors.enter(&server, Some(1000)).is_none());
        assert_eq!(client.read(&mut [0]).await.expect("an end"), 0);
        let (_client, server) = pair();
        assert!(doors.enter(&server, None).is_some(), "whom nothing is counted of");
    }

    #[tokio::test]
    async fn the_kernel_hangs_up_on_who_reads_nothing() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let (_client, mut server) = connected(&listener, 1).await;
        let _open = doors(1, Duration::from_millis(300)).enter(&server, None).expect("a place");
        let error = loop {
            if let Err(error) = server.write_all(&[0; 64 << 10]).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_ends_and_a_long_one_that_flows_does_not() {
        let every = |pause: Duration, bytes: usize, parts: usize| {
            stream::iter(0..parts).then(move |_| async move {
                tokio::time::sleep(pause).await;
                Ok(Bytes::from(vec![b'x'; bytes]))
            })
        };
        let read = |payload| async {
            let body = InTime::new(Box::pin(payload), BODY_PATIENCE, BODY_BYTES_PER_SECOND);
            body.fold((0, false), |(bytes, failed), part: Result<Bytes, PayloadError>| async move {
                match part {
                    Ok(part) => (bytes + part.len(), failed),
                    Err(_) => (bytes, true),
                }
            })
            .await
        };
        // A byte a second, which is what slow attackers send.
        let begun = Instant::now();
        let dripping = InTime::new(Box::pin(every(Duration::from_secs(1), 1, 1_000)), BODY_PATIENCE, BODY_BYTES_PER_SECOND);
        let parts: Vec<_> = dripping.take(11).collect().await;
        let problem = body_problem(parts.last().and_then(|part| part.as_ref().err()).expect("it breaks off"));
        assert_eq!((problem.status, problem.code.as_ref()), (408, "timeout"));
        assert_eq!(begun.elapsed().as_secs(), 10);
        // 8 MiB over a minute.
        assert_eq!(read(every(Duration::from_millis(480), 64 << 10, 128)).await, (8 << 20, false));
        assert_eq!(read(every(Duration::ZERO, 1, 5)).await, (5, false));
    }
}
