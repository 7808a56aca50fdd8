//! Telling systemd how we are: the datagrams of sd_notify(3), a protocol of a few lines.
//!
//! Without systemd (no `NOTIFY_SOCKET`) everything here does nothing. A datagram that cannot be sent is dropped: the
//! daemon never waits for its supervisor.
use crate::telemetry::printable::{prefix, printable};
use nix::time::{ClockId, clock_gettime};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longest status line, bytes.
const STATUS_BYTES_MAX: usize = 512;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    pub fn from_env() -> io::Result<Notifier> {
        let variable = |name| std::env::var_os(name);
        Notifier::new(variable("NOTIFY_SOCKET"), variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id())
    }

    /// `socket`: a path, or a name in the abstract namespace with `@` before it. Other kinds (vsock) are not for us.
    pub fn new(
        socket: Option<OsString>,
        watchdog_usec: Option<OsString>,
        watchdog_pid: Option<OsString>,
        pid: u32,
    ) -> io::Result<Notifier> {
        let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
        let for_us = watchdog_pid.is_none_or(|text| number(&text) == Some(u64::from(pid)));
        let watchdog = watchdog_usec.and_then(|text| number(&text)).filter(|&usec| for_us && usec > 0).map(Duration::from_micros);
        let address = match socket.as_deref().map(OsStr::as_bytes) {
            None => return Ok(Notifier { to: None, watchdog: None }),
            Some([b'@', name @ ..]) => SocketAddr::from_abstract_name(name)?,
            Some(path @ [b'/', ..]) => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier { to: Some((socket, address)), watchdog })
    }

    /// How often [`Notifier::watchdog`] must be called: half of what the unit allows.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|allowed| allowed / 2)
    }

    /// The daemon serves (again, after [`Notifier::reloading`]).
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        // The manager orders this against its own SIGHUP by the clock.
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1_000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
    }

    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// A sign of life; the caller has checked that every part gave one.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.to {
            // The manager may be restarting; the next datagram finds it.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// One line, whatever the text: a newline in it would be another assignment.
fn status_line(status: &str) -> String {
    let status = printable(status);
    format!("STATUS={}\n", prefix(&status, STATUS_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }

    #[test]
    fn speaks_the_protocol_over_a_real_socket() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let notifier = Notifier::new(Some(path.into()), None, None, 1).expect("usable");
        notifier.ready("serving");
        assert_eq!(received(&manager), "READY=1\nSTATUS=serving\n");
        notifier.status("evil\nREADY=0\n\x1b[2J");
        assert_eq!(received(&manager), "STATUS=evil\\u{a}READY=0\\u{a}\\u{1b}[2J\n");
        notifier.reloading();
        let reloading = received(&manager);
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.trim_end().parse::<u64>().ok());
        assert!(usec.is_some_and(|usec| usec > 0), "{reloading}");
        notifier.watchdog();
        assert_eq!(received(&manager), "WATCHDOG=1\n");
        notifier.stopping(&"é".repeat(1000));
        let stopping = received(&manager);
        assert!(stopping.starts_with("STOPPING=1\nSTATUS=é") && stopping.len() < 600);
        drop(manager);
        notifier.watchdog();
    }

    #[test]
    fn reaches_an_abstract_socket() {
        let name = format!("honeyguide-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("bound");
        Notifier::new(Some(format!("@{name}").into()), None, None, 1).expect("usable").status("x");
        assert_eq!(received(&manager), "STATUS=x\n");
    }

    #[test]
    fn without_systemd_nothing_happens_and_odd_variables_are_told() {
        let none = Notifier::new(None, Some("1000000".into()), None, 1).expect("fine");
        none.ready("x");
        assert_eq!(none.watchdog_interval(), None);
        assert!(Notifier::new(Some("vsock:2:1".into()), None, None, 1).is_err());
        assert!(Notifier::new(Some(format!("/{}", "x".repeat(200)).into()), None, None, 1).is_err());
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_asked_and_only_if_it_is_ours() {
        let interval = |usec: &str, pid: Option<&str>| {
            let notifier = Notifier::new(Some("/nosuch".into()), Some(usec.into()), pid.map(Into::into), 7).expect("usable");
            notifier.watchdog_interval()
        };
        assert_eq!(interval("30000000", None), Some(Duration::from_secs(15)));
        assert_eq!(interval("30000000", Some("7")), Some(Duration::from_secs(15)));
        assert_eq!(interval("30000000", Some("8")), None);
        assert_eq!(interval("0", None), None);
        assert_eq!(interval("x", None), None);
    }
}
