//! Receivers of deliveries: real HTTP servers on ports of the loopback interface, whose faults are switched by the test.
#![allow(dead_code, reason = "each test program uses its own part")]
pub mod elasticsearch;
pub mod guvi;
pub mod webhook;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::web::{Bytes, ServiceConfig};
use actix_web::{App, HttpResponse, HttpResponseBuilder, HttpServer};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a receiver answers. What is not said here it does as it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Answers after this time.
    Slow(Duration),
    /// Does what was asked, and dies in the midst of the answer.
    DieMidBody,
    /// Does nothing, and answers with this status.
    Status(u16),
    /// The same, with `Retry-After`.
    RetryAfter(u16, String),
    /// Redirects to this URL.
    Redirect(u16, String),
    /// Does nothing, and answers 200 with this body.
    Body(String),
    /// Elasticsearch: each item whose number is a multiple of `every` is refused with `status`.
    Partial { every: usize, status: u16 },
}

/// What can be switched while the receiver runs.
#[derive(Debug, Default)]
pub struct Faults {
    fault: Mutex<(Fault, Option<u32>)>,
    poison: Mutex<Option<String>>,
    requests: Mutex<u64>,
}

impl Faults {
    /// From now on.
    pub fn set(&self, fault: Fault) {
        *lock(&self.fault) = (fault, None);
    }

    /// For the next `times` requests.
    pub fn set_times(&self, fault: Fault, times: u32) {
        *lock(&self.fault) = (fault, Some(times));
    }

    /// Refuses (400) what contains this text.
    pub fn poison(&self, marker: Option<&str>) {
        *lock(&self.poison) = marker.map(str::to_owned);
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        *lock(&self.requests)
    }

    fn is_poisoned(&self, text: &[u8]) -> bool {
        let poison = lock(&self.poison);
        poison.as_ref().is_some_and(|marker| memchr::memmem::find(text, marker.as_bytes()).is_some())
    }

    /// The fault of the request that begins.
    fn next(&self) -> Fault {
        *lock(&self.requests) += 1;
        let mut fault = lock(&self.fault);
        match &mut fault.1 {
            None => fault.0.clone(),
            Some(0) => Fault::None,
            Some(times) => {
                *times -= 1;
                fault.0.clone()
            }
        }
    }
}

/// The answer of a fault that leaves nothing to be done.
async fn instead(fault: &Fault) -> Option<HttpResponse> {
    let status = |status: u16| HttpResponse::build(StatusCode::from_u16(status).expect("a status"));
    match fault {
        Fault::None | Fault::DieMidBody | Fault::Partial { .. } => None,
        Fault::Slow(time) => {
            actix_web::rt::time::sleep(*time).await;
            None
        }
        Fault::Status(code) => Some(status(*code).body(format!("{{\"error\":\"fault\",\"status\":{code}}}"))),
        Fault::RetryAfter(code, after) => Some(status(*code).insert_header((RETRY_AFTER, after.as_str())).body("later")),
        Fault::Redirect(code, to) => Some(status(*code).insert_header((LOCATION, to.as_str())).finish()),
        Fault::Body(body) => Some(HttpResponse::Ok().content_type("application/json").body(body.clone())),
    }
}

/// An answer, broken off in its midst when that is the fault.
fn finish(mut builder: HttpResponseBuilder, body: Vec<u8>, fault: &Fault) -> HttpResponse {
    if *fault != Fault::DieMidBody {
        return builder.body(body);
    }
    // White space, which JSON may have anywhere: the server holds back what is shorter than its buffer, and senders need not read
    // more than 64 KiB.
    let mut half = body[..body.len() / 2].to_vec();
    half.resize(40 << 10, b' ');
    let len = half.len() as u64 + 1024;
    let broken = futures_util::stream::iter([Ok(Bytes::from(half)), Err(std::io::Error::other("died"))]);
    builder.body(SizedStream::new(len, broken))
}

/// Sets up a worker.
type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// A server that can be taken away and brought back on the same port.
pub struct Server {
    port: u16,
    configure: Configure,
    running: Mutex<Option<(ServerHandle, JoinHandle<()>)>>,
}

impl Server {
    fn start(configure: impl Fn(&mut ServiceConfig) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let server = Server { port, configure: Arc::new(configure), running: Mutex::default() };
        server.serve(listener);
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the port and every connection.
    pub fn absent(&self) {
        if let Some((handle, thread)) = lock(&self.running).take() {
            drop(handle.stop(false));
            thread.join().expect("the server ended well");
            // The worker ends a moment later, and its connections with it; then nobody else knows how to set one up.
            let deadline = Instant::now() + Duration::from_secs(10);
            while Arc::strong_count(&self.configure) > 1 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Opens the same port again.
    pub fn present(&self) {
        if lock(&self.running).is_some() {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(listener) => break listener,
                Err(error) if Instant::now() > deadline => panic!("port {}: {error}", self.port),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        self.serve(listener);
    }

    fn serve(&self, listener: TcpListener) {
        let configure = self.configure.clone();
        let (started, handle) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let serving = async move {
                let server = HttpServer::new(move || App::new().configure(|config| configure(config)))
                    .workers(2)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .listen(listener)
                    .expect("listening")
                    .run();
                started.send(server.handle()).expect("the test waits");
                server.await.expect("served");
            };
            actix_web::rt::System::new().block_on(serving);
        });
        *lock(&self.running) = Some((handle.recv().expect("the server started"), thread));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.absent();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body as it was before its `content-encoding`.
fn decoded(encoding: Option<&str>, body: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut out = Vec::new();
    let read = match encoding {
        None | Some("identity") => return Ok(body.to_vec()),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out),
        Some("zstd") => zstd::stream::read::Decoder::new(body).and_then(|mut decoder| decoder.read_to_end(&mut out)),
        Some(other) => return Err(format!("unknown content-encoding {other}")),
    };
    read.map_err(|error| format!("content-encoding {encoding:?}: {error}"))?;
    Ok(out)
}
