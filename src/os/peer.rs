//! Who is at the other end of a Unix socket, as the kernel knows.
use nix::libc;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// As many as Linux allows a process to have.
const GROUPS_MAX: usize = 65_536;

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

/// Supplementary groups the peer had when it connected.
///
/// Inside the user namespace of a unit with `PrivateUsers=yes` users other than root and our own are all "nobody", so that no
/// database knows their groups; our own group stays what it is, and is recognised here.
pub fn supplementary_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; GROUPS_MAX];
    let mut len = libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
    // SAFETY: `len` is the size in bytes of what `groups` points to, and lives as long as the call.
    let result = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, groups.as_mut_ptr().cast(), &raw mut len)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    groups.truncate(len as usize / size_of::<u32>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_groups_at_the_other_end() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let own: Vec<u32> = nix::unistd::getgroups().expect("groups").into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(supplementary_groups(&one).expect("a Unix socket"), own);
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        assert!(supplementary_groups(&tcp).is_err());
    }

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
