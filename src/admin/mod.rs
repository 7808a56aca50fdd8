//! What a running daemon answers over HTTP, on two listeners that share nothing but the engine.
//!
//! The TCP one, on loopback, has no credentials: it serves `/health`, `/ready` and `/metrics`, numbers and fixed words only, and knows no
//! other route. The Unix socket serves every command to peers that the kernel vouches for ([`access`]).
//! Slow work runs on threads that may block, a few at a time, and answers through bounded channels ([`stream`]).
pub mod access;
pub mod problem;

pub(crate) mod archive;
pub(crate) mod changes;
pub(crate) mod enrich;
mod erase;
pub(crate) mod geoip;
pub(crate) mod health;
mod indicators;
pub(crate) mod push;
pub(crate) mod questions;
pub(crate) mod sinks;
mod status;
mod stream;

use crate::daemon::Engine;
use crate::telemetry::printable::printable;
use access::{DataGroup, Peer};
use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use problem::Problem;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Largest request body, bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Searches and checks at once; more wait for their turn.
const SLOW_MAX: usize = 4;
/// Loads at once.
const LOADS_MAX: usize = 4;
/// Connections at once, of each listener.
const CONNECTIONS_MAX: usize = 64;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long answers that are under way may take when the daemon stops, seconds.
const SHUTDOWN_SECONDS: u64 = 2;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}; does something else use the port? `listen` in [admin] sets another")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot make the socket {}: {source}; `socket` in [admin] sets another path", printable(&path.to_string_lossy()))]
    Socket { path: PathBuf, source: io::Error },
    #[error("{} is there and is no socket: remove it, or set another path with `socket` in [admin]", printable(&path.to_string_lossy()))]
    NotASocket { path: PathBuf },
    #[error("another program answers on the socket {}: is another honeyguide running?", printable(&path.to_string_lossy()))]
    InUse { path: PathBuf },
}

/// What every handler is given.
pub(crate) struct Admin {
    engine: Arc<Engine>,
    rate: status::Rate,
    slow: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    /// Changes of quarantine and sidecars go one after the other.
    upkeep: Arc<tokio::sync::Mutex<()>>,
    stopping: watch::Receiver<bool>,
}

/// The running listeners.
pub struct Serving {
    servers: Vec<ServerHandle>,
    listen: Option<SocketAddr>,
    socket: PathBuf,
    /// Inode of the socket file, so that nobody else's is removed.
    inode: Option<u64>,
    stopping: watch::Sender<bool>,
}

impl Serving {
    /// Where the TCP listener is, with the port the system chose if 0 was configured.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Tells answers under way to come to an end, waits for them a little, and removes the socket.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        futures_util::future::join_all(self.servers.iter().map(|server| server.stop(true))).await;
        if inode(&self.socket) == self.inode {
            // It may be gone already; a stale one is replaced at the next start.
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

/// Opens both listeners; they run in the current actix system until stopped.
pub fn serve(engine: Arc<Engine>) -> Result<Serving, Error> {
    let settings = engine.settings.borrow().clone();
    let tcp = match settings.admin.listen {
        Some(address) => Some(TcpListener::bind(address).map_err(|source| Error::Tcp { address, source })?),
        None => None,
    };
    let listen = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let group = DataGroup::of(&settings.data_dir);
    let unix = bind(&settings.admin.socket, &settings.data_dir, &group)?;
    let (stopping_sender, stopping) = watch::channel(false);
    let admin = web::Data::new(Admin {
        rate: status::Rate::default(),
        engine,
        slow: Arc::new(Semaphore::new(SLOW_MAX)),
        loads: Arc::new(Semaphore::new(LOADS_MAX)),
        upkeep: Arc::default(),
        stopping,
    });
    actix::spawn(status::measure(admin.clone()));
    let mut servers = Vec::new();
    if let Some(tcp) = tcp {
        let address = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        servers.push(serve_tcp(tcp, admin.clone()).map_err(|source| Error::Tcp { address, source })?);
    }
    let socket = settings.admin.socket;
    servers.push(serve_unix(unix, group, admin).map_err(|source| Error::Socket { path: socket.clone(), source })?);
    let inode = inode(&socket);
    Ok(Serving { servers, listen, socket, inode, stopping: stopping_sender })
}

fn serve_tcp(listener: TcpListener, admin: web::Data<Admin>) -> io::Result<ServerHandle> {
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(access::loopback_names_only))
            .wrap(headers())
            .app_data(admin.clone())
            .configure(health::numbers)
            .default_service(web::to(not_found))
    });
    let running = server
        .workers(1)
        .worker_max_blocking_threads(4)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(REQUEST_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = running.handle();
    actix::spawn(running);
    Ok(handle)
}

fn serve_unix(listener: UnixListener, group: DataGroup, admin: web::Data<Admin>) -> io::Result<ServerHandle> {
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(access::known_peers_only))
            .wrap(headers())
            .app_data(admin.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .app_data(web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| Problem::bad_request(&error).into()))
            .app_data(web::QueryConfig::default().error_handler(|error, _| Problem::bad_request(&error).into()))
            .app_data(web::PathConfig::default().error_handler(|error, _| Problem::bad_request(&error).into()))
            .configure(health::all)
            .service(
                web::scope("/api/v1")
                    .route("/status", web::get().to(status::status))
                    .configure(questions::routes)
                    .configure(indicators::routes)
                    .configure(changes::routes)
                    .configure(erase::routes)
                    .configure(sinks::routes)
                    .configure(geoip::routes)
                    .configure(archive::routes)
                    .configure(enrich::routes)
                    .configure(push::routes)
                    .default_service(web::to(not_found)),
            )
            .default_service(web::to(not_found))
    });
    let running = server
        .workers(1)
        // Slow work, loads and changes, and what actix itself needs.
        .worker_max_blocking_threads(SLOW_MAX + LOADS_MAX + 8)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(REQUEST_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .on_connect(move |connection, extensions| {
            extensions.insert(Peer::of(connection, &group));
        })
        .listen_uds(listener)?
        .run();
    let handle = running.handle();
    actix::spawn(running);
    Ok(handle)
}

fn headers() -> DefaultHeaders {
    DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")).add(("Cache-Control", "no-store"))
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this path, or not for this method")
}

/// Makes the socket file: for the owner and the data directory's group. One that nobody answers on is replaced.
fn bind(path: &Path, data_dir: &Path, group: &DataGroup) -> Result<UnixListener, Error> {
    let io_error = |source| Error::Socket { path: path.to_owned(), source };
    if let Some(parent) = path.parent().filter(|parent| parent.starts_with(data_dir)) {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(parent).map_err(io_error)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Error::NotASocket { path: path.to_owned() }),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(Error::InUse { path: path.to_owned() }),
        // Of a daemon that is no more: the lock on the data directory says so.
        Ok(_) => std::fs::remove_file(path).map_err(io_error)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(io_error)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io_error)?;
    if let Some(gid) = group.gid() {
        // Without the right to do so the group cannot connect: less than allowed, never more.
        let _ = std::os::unix::fs::chown(path, None, Some(gid));
    }
    Ok(listener)
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
}
