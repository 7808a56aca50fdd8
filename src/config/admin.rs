//! `[admin]`: where the daemon is asked, by whom, and how often.
use super::file::Fragment;
use super::groups::Admin;
use super::settings::{Check, origin_of};
use crate::access::Role;
use crate::live::LiveLimits;
use crate::live::queue::QueueLimits;
use crate::telemetry::printable::printable;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Longest path a Unix socket can have, bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest name of a host, bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// A loopback address, unless `anywhere`; `None` opens no TCP port.
    pub listen: Option<SocketAddr>,
    /// There is TLS, or the operator insists.
    pub anywhere: bool,
    /// Absolute.
    pub socket: PathBuf,
    /// What members of the data directory's group are on the socket; `None`: nobody.
    pub group_role: Option<Role>,
    /// Signs of life and figures need no credential.
    pub anonymous: bool,
    /// Names besides loopback's, in lower case.
    pub hosts: Vec<String>,
    /// Of other sites' pages that may ask, as browsers write them.
    pub origins: Vec<String>,
    pub tls: Option<TlsFiles>,
    /// Requests a second, from an address and with a key.
    pub address_rate: u32,
    pub key_rate: u32,
    /// Connections of one address at once.
    pub address_connections: usize,
    pub live: LiveLimits,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Check<'_> {
    pub(super) fn admin(&mut self, fragment: &Fragment, admin: &Admin, data_dir: &Path) -> AdminSettings {
        let tls = match (&admin.tls_certificate, &admin.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: self.file(certificate, &origin_of(fragment, "admin", "tls_certificate")),
                key: self.file(key, &origin_of(fragment, "admin", "tls_key")),
            }),
            (None, None) => None,
            (one, _) => {
                let (given, missing) = if one.is_some() { ("tls_certificate", "tls_key") } else { ("tls_key", "tls_certificate") };
                self.complain(&origin_of(fragment, "admin", given), format!("`{given}` needs `{missing}` besides it"));
                None
            }
        };
        let anywhere = admin.insecure_listen || admin.tls_certificate.is_some();
        AdminSettings {
            listen: self.listen(fragment, admin.listen.as_deref(), anywhere),
            anywhere,
            socket: self.socket(fragment, admin.socket.as_deref(), data_dir),
            group_role: admin.group_role.as_deref().and_then(|name| self.group_role(fragment, name)),
            anonymous: admin.anonymous,
            hosts: self.hosts(fragment, &admin.hosts),
            origins: self.origins(fragment, &admin.origins),
            tls,
            address_rate: u32::try_from(admin.address_rate).unwrap_or(u32::MAX),
            address_connections: admin.address_connections,
            live: LiveLimits {
                clients: admin.live_clients,
                clients_each: admin.live_clients_each,
                queue: QueueLimits { events: admin.live_queue_events, bytes: admin.live_queue_bytes },
            },
            key_rate: u32::try_from(admin.key_rate).unwrap_or(u32::MAX),
        }
    }

    fn listen(&mut self, fragment: &Fragment, listen: Option<&str>, anywhere: bool) -> Option<SocketAddr> {
        let origin = origin_of(fragment, "admin", "listen");
        match listen?.parse::<SocketAddr>() {
            Ok(address) if anywhere || address.ip().is_loopback() => Some(address),
            Ok(address) => {
                let instead = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port());
                self.complain(
                    &origin,
                    format!(
                        "`listen` is {address}, and keys and evidence would cross the network in clear: set `tls_certificate` and `tls_key`, \
                         or use \"{instead}\" and reach it from elsewhere through SSH or a proxy, or insist with `insecure_listen = true`"
                    ),
                );
                None
            }
            Err(_) => {
                self.complain(&origin, "`listen` must be an IP address and a port, such as \"127.0.0.1:8787\", or \"off\"".into());
                None
            }
        }
    }

    fn socket(&mut self, fragment: &Fragment, socket: Option<&str>, data_dir: &Path) -> PathBuf {
        let origin = origin_of(fragment, "admin", "socket");
        let socket = match socket {
            Some(text) => self.path(text, &origin),
            None => self.surroundings.runtime_dir.as_deref().unwrap_or(data_dir).join("admin.sock"),
        };
        let len = socket.as_os_str().len();
        if len > SOCKET_PATH_BYTES_MAX {
            self.complain(
                &origin,
                format!(
                    "the socket's path {} has {len} bytes and the system allows {SOCKET_PATH_BYTES_MAX}: set `socket` in [admin] to a shorter one",
                    printable(&socket.to_string_lossy())
                ),
            );
        }
        socket
    }

    fn group_role(&mut self, fragment: &Fragment, name: &str) -> Option<Role> {
        let role = Role::parse(name).filter(|role| *role != Role::Sensor);
        if role.is_none() {
            let roles = "\"admin\", \"analyst\", \"researcher\", \"developer\" or \"none\"";
            self.complain(&origin_of(fragment, "admin", "group_role"), format!("`group_role` must be {roles}"));
        }
        role
    }

    fn origins(&mut self, fragment: &Fragment, origins: &[String]) -> Vec<String> {
        let mut written = Vec::new();
        for origin in origins {
            match url::Url::parse(origin).map(|url| url.origin()) {
                Ok(parsed) if parsed.is_tuple() && parsed.ascii_serialization() == origin.trim_end_matches('/') => {
                    written.push(parsed.ascii_serialization());
                }
                _ => self.complain(
                    &origin_of(fragment, "admin", "origins"),
                    format!("\"{}\" is no origin: write scheme and host, such as \"https://dash.example\"", printable(origin)),
                ),
            }
        }
        written
    }

    fn hosts(&mut self, fragment: &Fragment, hosts: &[String]) -> Vec<String> {
        let is_name = |host: &str| {
            !host.is_empty()
                && host.len() <= HOST_BYTES_MAX
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        for host in hosts.iter().filter(|host| !is_name(host)) {
            self.complain(
                &origin_of(fragment, "admin", "hosts"),
                format!("\"{}\" is no name of a host: write it without scheme and port, such as \"honey.example\"", printable(host)),
            );
        }
        hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
    }
}
