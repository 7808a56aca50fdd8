//! What a running daemon answers over HTTP: one table of routes ([`route`]) on two listeners. On TCP one proves who one is with a key or
//! a token; on the Unix socket the kernel vouches for the peer ([`access`]). Every request passes the [`gate`] and its route's guard.
//! Slow work runs on threads that may block, a few at a time, and answers through bounded channels ([`stream`]).
pub mod access;
pub mod problem;

pub(crate) mod alerts;
pub(crate) mod archive;
mod audit;
pub(crate) mod bounded;
pub(crate) mod changes;
pub(crate) mod enrich;
mod erase;
mod frames;
mod gate;
pub(crate) mod geoip;
pub(crate) mod health;
mod indicators;
mod kept;
pub(crate) mod keys;
mod letters;
mod limits;
mod live;
mod login;
mod notices;
mod pages;
mod parameters;
mod peers;
pub(crate) mod push;
pub(crate) mod questions;
mod route;
mod sessions;
pub(crate) mod sinks;
mod status;
mod stream;
mod tls;
mod turns;

use crate::access::Right;
use crate::access::places::Places;
use crate::config::Settings;
use crate::daemon::Engine;
use crate::live::Hub;
use crate::os::listen_fds;
use crate::telemetry::printable::printable;
use access::{DataGroup, Peer};
use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpServer, web};
use bounded::Doors;
use gate::Listener;
use problem::Problem;
use route::Route;
use std::any::Any;
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
const SLOW_MAX: u32 = 4;
/// Loads at once.
const LOADS_MAX: usize = 4;
/// Connections at once, of each listener.
const CONNECTIONS_MAX: usize = 64;
/// `FileDescriptorName=` of `systemd/honeyguide.socket`.
const SOCKET_UNIT_NAME: &str = "admin";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long those may take to ask who were connected just before the daemon stops; who comes later waits for the next one.
const LAST_QUESTIONS: Duration = Duration::from_millis(100);
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
    #[error("{0}")]
    Tls(String),
    #[error("another program answers on the socket {}: is another honeyguide running?", printable(&path.to_string_lossy()))]
    InUse { path: PathBuf },
    #[error(transparent)]
    Handed(#[from] listen_fds::Error),
    #[error(
        "systemd hands over the TCP socket {address}, which is no loopback address, and there is no TLS: set `tls_certificate` and `tls_key` in \
         [admin], or another address in the socket unit's ListenStream="
    )]
    NotLoopback { address: SocketAddr },
}

/// What every handler is given.
pub(crate) struct Admin {
    engine: Arc<Engine>,
    rate: status::Rate,
    slow: turns::Turns,
    loads: Arc<Semaphore>,
    /// Changes of quarantine and sidecars go one after the other.
    upkeep: Arc<tokio::sync::Mutex<()>>,
    live: Hub,
    stopping: watch::Receiver<bool>,
    limits: limits::Limits,
    refusals: audit::Refusals,
    pushers: audit::Pushers,
    sessions: login::Sessions,
    cookie: login::CookieName,
    kept: pages::Answers,
    asking_peers: tokio::sync::Mutex<()>,
    notices: notices::Notices,
}

impl Admin {
    fn new(engine: Arc<Engine>, listen: Option<SocketAddr>, stopping: watch::Receiver<bool>) -> Admin {
        let live = Hub::new(engine.store().clone(), engine.settings.borrow().admin.live);
        // As the listener was opened: turning it on or off takes a restart.
        let is_tls = engine.settings.borrow().admin.tls.is_some();
        Admin {
            rate: status::Rate::default(),
            live,
            engine,
            slow: turns::Turns::new(SLOW_MAX),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            upkeep: Arc::default(),
            stopping,
            limits: limits::Limits::default(),
            refusals: audit::Refusals::default(),
            pushers: audit::Pushers::default(),
            sessions: login::Sessions::default(),
            cookie: login::CookieName::of(listen, is_tls),
            kept: pages::Answers::default(),
            asking_peers: tokio::sync::Mutex::default(),
            notices: notices::Notices::default(),
        }
    }

    /// What the audit says was there before work on all of it.
    fn holdings(&self) -> serde_json::Value {
        let view = self.engine.store().view();
        serde_json::json!({ "events": view.events(), "segments": view.sealed.len() })
    }
}

/// The running listeners.
pub struct Serving {
    servers: Vec<ServerHandle>,
    listen: Option<SocketAddr>,
    /// The socket file to be removed at the end, unless it is systemd's, and its inode, so that nobody else's is.
    socket: Option<(PathBuf, u64)>,
    stopping: watch::Sender<bool>,
    certificates: Option<Arc<tls::Certificates>>,
    /// A listener is systemd's, and stays open when this process ends.
    handed: bool,
}

impl Serving {
    /// Where the TCP listener is, with the port the system chose if 0 was configured.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Reads the certificate again; a wrong one changes nothing, and says why.
    pub fn reload(&self, settings: &Settings) -> Result<(), String> {
        match (&self.certificates, &settings.admin.tls) {
            (Some(certificates), Some(files)) => certificates.reload(files),
            (None, None) => Ok(()),
            _ => Err("TLS is turned on or off by a restart: what it was holds until then".to_owned()),
        }
    }

    /// Tells answers under way to come to an end, waits for them a little, and removes the socket.
    pub async fn stop(self) {
        if self.handed {
            // A server that stops at once would hang up on those that it has accepted and not heard yet.
            futures_util::future::join_all(self.servers.iter().map(ServerHandle::pause)).await;
            tokio::time::sleep(LAST_QUESTIONS).await;
        }
        self.stopping.send_replace(true);
        futures_util::future::join_all(self.servers.iter().map(|server| server.stop(true))).await;
        if let Some((socket, _)) = self.socket.filter(|(socket, own)| inode(socket) == Some(*own)) {
            // It may be gone already; a stale one is replaced at the next start.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Opens both listeners, or takes those that systemd opened; they run in the current actix system until stopped.
pub fn serve(engine: Arc<Engine>) -> Result<Serving, Error> {
    let settings = engine.settings.borrow().clone();
    let sockets = listen_fds::take(SOCKET_UNIT_NAME)?;
    let handed = sockets.unix.is_some() || sockets.tcp.is_some();
    let tcp = match (sockets.tcp, settings.admin.listen) {
        (Some(tcp), _) => Some(loopback(tcp, settings.admin.anywhere)?),
        (None, Some(address)) => Some(TcpListener::bind(address).map_err(|source| Error::Tcp { address, source })?),
        (None, None) => None,
    };
    let listen = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
    let group = DataGroup::of(&settings.data_dir);
    let socket = settings.admin.socket;
    let (unix, own) = match sockets.unix {
        // Who may connect, and where the file lies, the socket unit says.
        Some(unix) => (unix, None),
        None => {
            let unix = bind(&socket, &settings.data_dir, &group)?;
            (unix, inode(&socket).map(|inode| (socket.clone(), inode)))
        }
    };
    let (stopping_sender, stopping) = watch::channel(false);
    let admin = web::Data::new(Admin::new(engine, listen, stopping));
    actix::spawn(status::measure(admin.clone()));
    let description = serde_json::to_vec(&route::openapi(&routes())).expect("names and numbers only");
    let description = web::Data::new(Description(description.into()));
    let certificates = settings.admin.tls.as_ref().map(tls::Certificates::read).transpose().map_err(Error::Tls)?.map(Arc::new);
    let mut servers = Vec::new();
    if let Some(tcp) = tcp {
        let address = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let tls = certificates.as_ref().map(|certificates| tls::config(certificates.clone()));
        servers.push(serve_tcp(tcp, tls, admin.clone(), description.clone()).map_err(|source| Error::Tcp { address, source })?);
    }
    servers.push(serve_unix(unix, group, admin, description).map_err(|source| Error::Socket { path: socket, source })?);
    Ok(Serving { servers, listen, socket: own, stopping: stopping_sender, certificates, handed })
}

/// A socket of systemd's is held to the same rule as `listen`.
fn loopback(listener: TcpListener, anywhere: bool) -> Result<TcpListener, Error> {
    match listener.local_addr() {
        Ok(address) if !anywhere && !address.ip().is_loopback() => Err(Error::NotLoopback { address }),
        _ => Ok(listener),
    }
}

/// All there is.
fn routes() -> Vec<Route> {
    let mut routes = health::routes();
    routes.extend(status::routes());
    routes.extend(questions::routes());
    routes.extend(indicators::routes());
    routes.extend(changes::routes());
    routes.extend(erase::routes());
    routes.extend(keys::routes());
    routes.extend(alerts::routes());
    routes.extend(sinks::routes());
    routes.extend(peers::routes());
    routes.extend(letters::routes());
    routes.extend(sessions::routes());
    routes.extend(geoip::routes());
    routes.extend(archive::routes());
    routes.extend(enrich::routes());
    routes.extend(live::routes());
    routes.extend(push::routes());
    routes.extend(audit::routes());
    routes.extend(pages::routes());
    routes.push(Route::get("/openapi.json", Right::Status, "This description", described).answers::<OpenApi>());
    routes
}

async fn described(description: web::Data<Description>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(description.0.clone())
}

/// An OpenAPI document.
#[derive(utoipa::ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "for the description: it is kept as it is sent")]
struct OpenApi(serde_json::Map<String, serde_json::Value>);

/// The routes as OpenAPI, made once.
struct Description(Bytes);

/// What both listeners serve.
fn services(services: &mut web::ServiceConfig, admin: &web::Data<Admin>, description: &web::Data<Description>, listener: Listener) {
    services
        .app_data(admin.clone())
        .app_data(description.clone())
        .app_data(listener)
        .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
        .app_data(web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| Problem::bad_json(&error).into()))
        .app_data(web::QueryConfig::default().error_handler(|error, _| Problem::bad_request(&error).into()))
        .app_data(web::PathConfig::default().error_handler(|error, _| Problem::bad_request(&error).into()))
        .default_service(web::to(not_found));
    route::register(services, routes());
}

/// Starts a server; `$listen` gives it its listener, `$peer` says who is on a connection.
macro_rules! run {
    ($admin:expr, $description:expr, $listener:expr, $peer:expr, |$server:ident| $listen:expr) => {{
        let (admin, description, peer) = ($admin, $description, $peer);
        // Those who watch keep theirs, and must not keep the others out.
        let connections_max = CONNECTIONS_MAX + admin.live.limits().clients;
        let metrics = &admin.engine.observed.telemetry.metrics;
        let doors = Doors {
            places: Places::new(admin.engine.settings.borrow().admin.address_connections),
            open: metrics.connections.with_label_values(&[$listener.name()]),
            refused: metrics.connections_refused.with_label_values(&[$listener.name()]),
            unread_max: bounded::UNREAD_MAX,
        };
        let $server = HttpServer::new(move || {
            App::new().wrap(from_fn(gate::gate)).wrap(headers()).configure(|app| services(app, &admin, &description, $listener))
        })
        .workers(1)
        // Slow work, loads and changes, and what actix itself needs.
        .worker_max_blocking_threads(SLOW_MAX as usize + LOADS_MAX + 8)
        .max_connections(connections_max)
        .client_request_timeout(REQUEST_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        // An answer of more than one piece would wait for the client's delayed acknowledgement, 40 ms.
        .tcp_nodelay(true)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .on_connect(move |connection, extensions| {
            let peer: Peer = peer(connection);
            if let Some(open) = doors.enter(connection, peer.counted()) {
                extensions.insert(open);
                extensions.insert(peer);
            }
        });
        let running = $listen?.run();
        let handle = running.handle();
        actix::spawn(running);
        Ok(handle)
    }};
}

fn serve_tcp(
    listener: TcpListener,
    tls: Option<rustls::ServerConfig>,
    admin: web::Data<Admin>,
    description: web::Data<Description>,
) -> io::Result<ServerHandle> {
    let stranger = |_: &dyn Any| Peer::Refused;
    match tls {
        Some(tls) => run!(admin, description, Listener::Tcp, stranger, |server| server.listen_rustls_0_23(listener, tls)),
        None => run!(admin, description, Listener::Tcp, stranger, |server| server.listen(listener)),
    }
}

fn serve_unix(
    listener: UnixListener,
    group: DataGroup,
    admin: web::Data<Admin>,
    description: web::Data<Description>,
) -> io::Result<ServerHandle> {
    run!(admin, description, Listener::Unix, move |connection: &dyn Any| Peer::of(connection, &group), |server| server.listen_uds(listener))
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
