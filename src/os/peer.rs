//! Who is at the other end of a Unix socket, as the kernel knows.
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use std::io;
use std::os::fd::AsFd;

/// Credentials the peer had when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl PeerCredentials {
    pub fn of(socket: &impl AsFd) -> io::Result<PeerCredentials> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
        Ok(PeerCredentials { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() })
    }

    /// Whether the peer is root or runs as the same user as this process: it could do everything without asking.
    pub fn is_root_or_us(&self) -> bool {
        self.uid == 0 || self.uid == geteuid().as_raw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_at_the_other_end() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let peer = PeerCredentials::of(&one).expect("a Unix socket");
        assert_eq!((peer.pid as u32, peer.uid), (std::process::id(), geteuid().as_raw()));
        assert!(peer.is_root_or_us());
        assert!(!PeerCredentials { uid: geteuid().as_raw() + 1, ..peer }.is_root_or_us());
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        assert!(PeerCredentials::of(&tcp).is_err() || PeerCredentials::of(&tcp).is_ok_and(|peer| peer.pid == 0));
    }
}
