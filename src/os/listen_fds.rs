//! Listening sockets that systemd opened and hands over: the protocol of sd_listen_fds(3), a few lines.
//!
//! Such a socket stays open while the daemon is stopped and started again: who connects meanwhile waits instead of being refused.
//! The variables of the protocol are taken out of the environment once, before there are threads ([`adopt`]); listeners then ask for
//! theirs by the name the socket unit gives (`FileDescriptorName=`), and what nobody asked for is an error ([`leftover`]): clients
//! of a socket that nobody accepts on would hang.
use crate::telemetry::printable::{prefix, printable};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};

/// The first descriptor that is handed over; the others follow.
const FIRST: RawFd = 3;
/// Most descriptors taken.
const SOCKETS_MAX: usize = 64;
/// Longest name kept, bytes; systemd allows 255.
const NAME_BYTES_MAX: usize = 255;
/// What systemd calls a socket whose unit gives no name.
const NO_NAME: &str = "unknown";
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What was handed over and not asked for yet.
static ADOPTED: Mutex<Option<Result<Handed, Error>>> = Mutex::new(None);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("systemd hands over sockets in a way that cannot be understood: {0}")]
    Protocol(&'static str),
    #[error("cannot take over socket {number} ({}) from systemd: {source}", printable(name))]
    Take { number: usize, name: String, source: io::Error },
    #[error("systemd hands over a socket ({}) that is not one to listen on: ListenStream= in the socket unit opens one", printable(name))]
    NotListening { name: String },
    #[error(
        "systemd hands over {count} {kind} sockets called {}: one is enough, remove a ListenStream= of the socket unit",
        printable(name)
    )]
    TooMany { name: String, kind: &'static str, count: usize },
    #[error(
        "systemd hands over sockets that nothing here serves: {names}; FileDescriptorName= in the socket unit names what a socket is for"
    )]
    Leftover { names: String },
}

/// The sockets of one name.
#[derive(Debug, Default)]
pub struct Listeners {
    pub unix: Option<UnixListener>,
    pub tcp: Option<TcpListener>,
}

/// Takes what systemd hands over to this process, and the variables that say so, for nothing that is started later may believe
/// them. To be called once and first.
pub fn adopt() {
    let [pid, fds, names] = VARIABLES.map(std::env::var_os);
    for name in VARIABLES {
        // SAFETY: called before there are threads, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    let handed = announced(pid.as_deref(), fds.as_deref(), names, std::process::id()).and_then(|names| {
        // SAFETY: systemd opened these descriptors for this process, as its id says; nobody else knows of them.
        let fds = names.into_iter().zip(FIRST..).map(|(name, fd)| (name, unsafe { OwnedFd::from_raw_fd(fd) }));
        Handed::new(fds.collect())
    });
    *ADOPTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(handed);
}

/// The sockets called `name`, which from now on are the caller's. None, if systemd handed over none.
pub fn take(name: &str) -> Result<Listeners, Error> {
    match &mut *ADOPTED.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(handed)) => handed.take(name),
        failed @ Some(Err(_)) => failed.take().and_then(Result::err).map_or_else(|| Ok(Listeners::default()), Err),
        None => Ok(Listeners::default()),
    }
}

/// Whether every socket was asked for.
pub fn leftover() -> Result<(), Error> {
    match &*ADOPTED.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(handed)) => handed.leftover(),
        _ => Ok(()),
    }
}

/// Names of the descriptors from [`FIRST`] on that are meant for process `own`.
fn announced(pid: Option<&OsStr>, fds: Option<&OsStr>, names: Option<OsString>, own: u32) -> Result<Vec<String>, Error> {
    let number = |text: &OsStr| text.to_str()?.parse::<u32>().ok();
    // Without a process id, or with that of a parent that forgot to take the variables out, they are not for us.
    if pid.and_then(number) != Some(own) {
        return Ok(Vec::new());
    }
    let Some(fds) = fds else { return Ok(Vec::new()) };
    let count = number(fds).ok_or(Error::Protocol("LISTEN_FDS is not a number"))? as usize;
    if count > SOCKETS_MAX {
        return Err(Error::Protocol("LISTEN_FDS is larger than 64"));
    }
    let names = names.unwrap_or_default();
    let mut given = names.as_bytes().split(|&byte| byte == b':').filter(|name| !name.is_empty());
    Ok((0..count)
        .map(|_| given.next().map_or(NO_NAME.into(), |name| prefix(&String::from_utf8_lossy(name), NAME_BYTES_MAX).to_owned()))
        .collect())
}

#[derive(Debug)]
struct Handed(Vec<(String, OwnedFd)>);

impl Handed {
    fn new(sockets: Vec<(String, OwnedFd)>) -> Result<Handed, Error> {
        for (number, (name, fd)) in sockets.iter().enumerate() {
            let prepared = prepare(fd);
            prepared.map_err(|source| Error::Take { number, name: name.clone(), source })?;
        }
        Ok(Handed(sockets))
    }

    fn take(&mut self, name: &str) -> Result<Listeners, Error> {
        let (ours, others) = std::mem::take(&mut self.0).into_iter().partition::<Vec<_>, _>(|(called, _)| called == name);
        self.0 = others;
        let (mut unix, mut tcp) = (Vec::new(), Vec::new());
        for (number, (name, fd)) in ours.into_iter().enumerate() {
            let io_error = |errno: nix::Error| Error::Take { number, name: name.clone(), source: errno.into() };
            let listens = getsockopt(&fd, sockopt::SockType).map_err(io_error)? == SockType::Stream
                && getsockopt(&fd, sockopt::AcceptConn).map_err(io_error)?;
            let address: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(io_error)?;
            match address.family().filter(|_| listens) {
                Some(AddressFamily::Unix) => unix.push(UnixListener::from(fd)),
                Some(AddressFamily::Inet | AddressFamily::Inet6) => tcp.push(TcpListener::from(fd)),
                _ => return Err(Error::NotListening { name }),
            }
        }
        let too_many = |kind, count| Err(Error::TooMany { name: name.into(), kind, count });
        match (unix.len(), tcp.len()) {
            (count @ 2.., _) => too_many("Unix", count),
            (_, count @ 2..) => too_many("TCP", count),
            _ => Ok(Listeners { unix: unix.pop(), tcp: tcp.pop() }),
        }
    }

    fn leftover(&self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.0.iter().map(|(name, _)| printable(name)).collect();
        Err(Error::Leftover { names: names.join(", ") })
    }
}

/// Not for programs that are started by us (systemd leaves it open across `exec`), and never to be waited on.
fn prepare(fd: &OwnedFd) -> io::Result<()> {
    let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD)?);
    fcntl(fd, FcntlArg::F_SETFD(flags | FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn names(pid: &str, fds: &str, names: Option<&str>) -> Result<Vec<String>, String> {
        let names = names.map(OsString::from);
        announced(Some(OsStr::new(pid)), Some(OsStr::new(fds)), names, 42).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_meant_for_another_process_is_not_taken() {
        assert_eq!(names("42", "2", Some("admin:push")), Ok(vec!["admin".into(), "push".into()]));
        for (pid, fds) in [("41", "2"), ("", "2"), ("x", "2"), ("-42", "2"), ("42", "0"), ("4294967338", "1")] {
            assert_eq!(names(pid, fds, Some("admin")), Ok(vec![]), "{pid} {fds}");
        }
        assert_eq!(announced(None, Some(OsStr::new("1")), None, 42).expect("understood"), Vec::<String>::new());
        assert_eq!(announced(Some(OsStr::new("42")), None, None, 42).expect("understood"), Vec::<String>::new());
    }

    #[test]
    fn odd_announcements_are_refused_or_bounded() {
        for fds in ["", "x", "-1", "65", "4294967296"] {
            let error = names("42", fds, None).expect_err("refused");
            assert!(error.contains("LISTEN_FDS"), "{fds}: {error}");
        }
        assert_eq!(names("42", "3", Some("a")), Ok(vec!["a".into(), "unknown".into(), "unknown".into()]));
        assert_eq!(names("42", "1", Some("a:b:c")), Ok(vec!["a".into()]));
        let long = names("42", "1", Some(&"é".repeat(1000))).expect("understood");
        assert!(long[0].len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn sockets_come_by_name_and_kind_and_are_closed_to_children() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("admin.sock");
        let unix = UnixListener::bind(&path).expect("bound");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let (address, push) =
            (tcp.local_addr().expect("an address"), TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")));
        let mut handed =
            Handed::new(vec![("admin".into(), unix.into()), ("push".into(), push.expect("bound").into()), ("admin".into(), tcp.into())])
                .expect("taken over");
        let admin = handed.take("admin").expect("two kinds");
        let (unix, tcp) = (admin.unix.expect("there"), admin.tcp.expect("there"));
        assert_eq!(unix.local_addr().expect("an address").as_pathname(), Some(path.as_path()));
        assert_eq!(tcp.local_addr().expect("an address"), address);
        for fd in [unix.as_raw_fd(), tcp.as_raw_fd()] {
            // SAFETY: both are open until the end of the test.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            assert_eq!(fcntl(fd, FcntlArg::F_GETFD).expect("flags") & FdFlag::FD_CLOEXEC.bits(), FdFlag::FD_CLOEXEC.bits());
        }
        assert_eq!(unix.accept().expect_err("nobody").kind(), io::ErrorKind::WouldBlock);
        let error = handed.leftover().expect_err("push is not served").to_string();
        assert!(error.contains("nothing here serves: push"), "{error}");
        assert!(handed.take("admin").expect("nothing").unix.is_none());
        assert!(handed.take("push").expect("there").tcp.is_some() && handed.leftover().is_ok());
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused() {
        let (pair, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        for fd in [OwnedFd::from(pair), OwnedFd::from(udp)] {
            let mut handed = Handed::new(vec![("admin".into(), fd)]).expect("sockets");
            assert!(matches!(handed.take("admin"), Err(Error::NotListening { .. })));
        }
        let file = std::fs::File::open("/dev/null").expect("opened");
        let mut handed = Handed::new(vec![("admin\x1b".into(), file.into())]).expect("a descriptor");
        let error = handed.take("admin\x1b").expect_err("no socket").to_string();
        assert!(error.starts_with("cannot take over socket 0 (admin\\u{1b})"), "{error}");
        let two = || TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut handed = Handed::new(vec![("admin".into(), two().into()), ("admin".into(), two().into())]).expect("sockets");
        assert!(matches!(handed.take("admin"), Err(Error::TooMany { kind: "TCP", count: 2, .. })));
    }
}
