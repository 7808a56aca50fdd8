//! Who may ask. On the socket: root, the daemon's own user, and members of the data directory's group, as the kernel knows the peer. On
//! loopback TCP everybody on the machine, but no web page that a browser there was tricked into asking for (DNS rebinding).
use super::problem::Problem;
use crate::access::{Principal, Role};
use crate::os::peer::{self, PeerCredentials};
use actix_web::dev::ServiceRequest;
use actix_web::http::header::HOST;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use std::any::Any;
use std::ffi::CString;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The group that may read the data directory, and so may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataGroup(Option<u32>);

impl DataGroup {
    /// A directory that is closed to its group opens no socket to it either.
    pub fn of(data_dir: &Path) -> DataGroup {
        let metadata = std::fs::metadata(data_dir).ok();
        DataGroup(metadata.filter(|metadata| metadata.mode() & 0o050 == 0o050).map(|metadata| metadata.gid()))
    }

    pub fn gid(&self) -> Option<u32> {
        self.0
    }

    /// Whether the peer carries the group itself, whatever the user database says or can say.
    fn is_among(&self, socket: &impl AsFd) -> bool {
        let carried = |gid| peer::supplementary_groups(socket).is_ok_and(|groups| groups.contains(&gid));
        self.0.is_some_and(carried)
    }

    fn has(&self, peer: PeerCredentials) -> bool {
        let Some(gid) = self.0 else { return false };
        peer.gid == gid || supplementary_groups(peer.uid).contains(&Gid::from_raw(gid))
    }
}

fn supplementary_groups(uid: u32) -> Vec<Gid> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let groups = user.and_then(|user| getgrouplist(&CString::new(user.name).ok()?, user.gid).ok());
    groups.unwrap_or_default()
}

/// Decided when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Root, or the daemon's own user.
    Owner {
        uid: u32,
    },
    /// In the data directory's group.
    Member {
        uid: u32,
    },
    Refused,
}

impl Peer {
    /// Under which number connections on the Unix socket are counted, of those who must leave some to others.
    pub fn counted(self) -> Option<u128> {
        match self {
            Peer::Member { uid } => Some(uid.into()),
            Peer::Owner { .. } | Peer::Refused => None,
        }
    }

    pub fn of(connection: &dyn Any, group: &DataGroup) -> Peer {
        let socket = connection.downcast_ref::<tokio::net::UnixStream>();
        let credentials = socket.and_then(|socket| PeerCredentials::of(socket).ok());
        match credentials {
            Some(peer) if peer.is_root_or_us() => Peer::Owner { uid: peer.uid },
            Some(peer) if group.has(peer) || socket.is_some_and(|socket| group.is_among(socket)) => Peer::Member { uid: peer.uid },
            _ => Peer::Refused,
        }
    }
}

/// On the Unix socket: whom the kernel vouches for.
pub(super) fn peer(request: &ServiceRequest, group_role: Option<Role>) -> Result<Principal, Problem> {
    match (request.conn_data::<Peer>(), group_role) {
        (Some(Peer::Owner { uid }), _) => Ok(Principal::peer(*uid, Role::Admin)),
        (Some(Peer::Member { uid }), Some(role)) => Ok(Principal::peer(*uid, role)),
        (Some(Peer::Member { .. }), None) => Err(Problem::forbidden("`group_role` in [admin] lets the data directory's group do nothing")),
        _ => Err(Problem::forbidden("only root, the daemon's user and members of the data directory's group may ask")),
    }
}

/// On TCP: a page from elsewhere that made its name point here sends that name.
pub(super) fn our_name(request: &ServiceRequest, hosts: &[String]) -> Result<(), Problem> {
    // Not `connection_info`, which believes what `Forwarded` says.
    let is_ours =
        |host: &str| name_of(host).is_some_and(|name| is_loopback(name) || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name)));
    let in_uri = request.uri().authority().map(|authority| authority.as_str());
    let mut in_headers = request.headers().get_all(HOST).peekable();
    let is_named = in_uri.is_some() || in_headers.peek().is_some();
    if is_named && in_uri.is_none_or(is_ours) && in_headers.all(|host| host.to_str().is_ok_and(is_ours)) {
        return Ok(());
    }
    Err(Problem::forbidden("ask for localhost, a loopback address by its number, or a name in `hosts` of [admin]"))
}

/// What stands before the port, without brackets.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match (host.strip_prefix('['), host.rsplit_once(':')) {
        (Some(rest), _) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, behind)) if behind.starts_with(':') => (address, Some(&behind[1..])),
            _ => return None,
        },
        (None, Some((name, port))) => (name, Some(port)),
        (None, None) => (host, None),
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok()).then_some(name)
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["localhost", "LOCALHOST:8787", "127.0.0.1", "127.0.0.1:8787", "127.9.9.9:1", "[::1]", "[::1]:8787"] {
            assert!(name_of(host).is_some_and(is_loopback), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.example:8787",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80:80",
            "localhost:",
            "192.0.2.1",
            "0.0.0.0:8787",
            "[::1",
            "[::1]x",
            "[2001:db8::1]:80",
            "user@localhost",
        ] {
            assert!(!name_of(host).is_some_and(is_loopback), "{host}");
        }
    }

    #[test]
    fn a_directory_closed_to_its_group_lets_no_group_in() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        let set = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).expect("ours");
        set(0o700);
        assert_eq!(DataGroup::of(dir.path()).gid(), None);
        set(0o750);
        let group = DataGroup::of(dir.path());
        let gid = std::fs::metadata(dir.path()).expect("there").gid();
        assert_eq!(group.gid(), Some(gid));
        let stranger = PeerCredentials { pid: 1, uid: 4_000_000_001, gid: gid + 4_000_000 };
        assert!(!group.has(stranger));
        assert!(group.has(PeerCredentials { gid, ..stranger }));
        assert!(!DataGroup(None).has(PeerCredentials { gid, ..stranger }));
        assert_eq!(Peer::of(&"no socket", &group), Peer::Refused);
    }
}
