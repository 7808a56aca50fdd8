//! Who is logged in at the page: a browser shows an API key once and is given a random id in a cookie, which is worth that key until the
//! session or the key ends. Ids live in memory, as hashes: a restart ends all sessions.
//!
//! A cookie comes along whoever made the browser ask. So nothing is changed for a cookie without a token that only our own pages know:
//! a field of every form, the header [`CSRF`] under `/api/v1`; and browsers that say where a request comes from must say: from here.
use super::Admin;
use super::bounded::body_problem;
use super::gate::is_same_origin;
use super::problem::Problem;
use crate::access::keys::Proof;
use crate::access::{Denied, Principal};
use crate::events::time;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::UrlencodedError;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The form's field with the token.
pub const CSRF_FIELD: &str = "csrf";
/// Sessions at once; of more the one goes that was unused for longest.
const SESSIONS_MAX: usize = 256;
/// Of these with one key, which otherwise could end everybody else's.
const SESSIONS_OF_KEY_MAX: usize = 8;
const IDLE_MAX: Duration = Duration::from_secs(12 * 3_600);
const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// No key is so long, bytes; and the longest path that is taken from the form.
pub const TOO_LONG: usize = 1_024;
const NEXT_BYTES_MAX: usize = 2_048;

/// Whose key it is.
pub(super) fn verify(admin: &Admin, key: &str) -> Result<(Principal, Proof), Problem> {
    let proved = admin.engine.access.keys.prove_once(key, time::now());
    admin.engine.observed.telemetry.metrics.credential(proved.as_ref().map_or_else(Denied::code, |_| "accepted"));
    let (principal, proof) = proved?;
    admin.limits.key(&principal.name, admin.engine.settings.borrow().admin.key_rate)?;
    Ok((principal, proof))
}

/// What pages know of a request beside who asks.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The token that forms must carry.
    pub csrf: String,
    /// It came with a session's cookie, which logging out ends.
    pub by_cookie: bool,
}

struct Session {
    /// Of the key it began with, and ends with.
    proof: Proof,
    made: Instant,
    used: Instant,
}

impl Session {
    fn holds(&self, now: Instant) -> bool {
        now.duration_since(self.made) < AGE_MAX && now.duration_since(self.used) < IDLE_MAX
    }
}

/// The sessions, and the secret of this process that tokens are made with.
pub(super) struct Sessions {
    secret: [u8; 32],
    open: Mutex<HashMap<[u8; 32], Session>>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { secret: rand::random(), open: Mutex::default() }
    }
}

impl Sessions {
    /// Begins a session and answers its id.
    pub fn begin(&self, proof: Proof, now: Instant) -> String {
        let id = crate::events::id::hex(&rand::random::<[u8; 32]>());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.holds(now));
        let of_key = open.iter().filter(|(_, session)| session.proof.id == proof.id);
        let full = if of_key.clone().count() >= SESSIONS_OF_KEY_MAX {
            of_key.min_by_key(|(_, session)| session.used)
        } else {
            open.iter().filter(|_| open.len() >= SESSIONS_MAX).min_by_key(|(_, session)| session.used)
        };
        if let Some(oldest) = full.map(|(hash, _)| *hash) {
            open.remove(&oldest);
        }
        open.insert(*blake3::hash(id.as_bytes()).as_bytes(), Session { proof, made: now, used: now });
        id
    }

    /// Whose session it is, if it is one and not over. It is looked up by its hash, so how long that takes tells nothing.
    pub fn whose(&self, id: &str, now: Instant) -> Option<Proof> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = *blake3::hash(id.as_bytes()).as_bytes();
        let session = open.get_mut(&hash)?;
        if !session.holds(now) {
            open.remove(&hash);
            return None;
        }
        session.used = now;
        Some(session.proof.clone())
    }

    pub fn end(&self, id: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(blake3::hash(id.as_bytes()).as_bytes());
    }

    /// The token of a session, or of whoever proves in another way who they are.
    pub fn token(&self, whose: &str) -> String {
        blake3::keyed_hash(&self.secret, whose.as_bytes()).to_hex().to_string()
    }
}

/// The token of the form that logs in, which nobody's session stands behind.
pub(super) const ANYBODY: &str = "log in";

/// Compares in a time that does not tell how much is right.
fn is_token(expected: &str, given: &str) -> bool {
    match (blake3::Hash::from_hex(expected), blake3::Hash::from_hex(given)) {
        (Ok(expected), Ok(given)) => expected == given,
        _ => false,
    }
}

/// Whose session it is; one whose key is good no more has ended.
pub(super) fn whose(admin: &Admin, id: &str) -> Option<Principal> {
    let proof = admin.sessions.whose(id, Instant::now())?;
    let principal = admin.engine.access.keys.proved(&proof, time::now()).ok();
    if principal.is_none() {
        admin.sessions.end(id);
    }
    principal
}

/// Whose session the request's cookie names. What changes anything under `/api/v1` needs the token besides it.
pub(super) fn by_cookie(admin: &Admin, request: &ServiceRequest) -> Result<Option<(Principal, Standing)>, Problem> {
    let Some(cookie) = request.cookie(admin.cookie.name()) else { return Ok(None) };
    let Some(principal) = whose(admin, cookie.value()) else { return Ok(None) };
    let csrf = admin.sessions.token(cookie.value());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        same_origin(request.request())?;
        let given = request.headers().get(CSRF).and_then(|token| token.to_str().ok());
        if request.match_pattern().is_none_or(|pattern| pattern.starts_with(super::route::API))
            && !given.is_some_and(|given| is_token(&csrf, given))
        {
            return Err(Problem::forbidden("a session's cookie changes nothing alone: send its token in `x-csrf-token`, or use a key"));
        }
    }
    Ok(Some((principal, Standing { csrf, by_cookie: true })))
}

/// What the cookie is called: browsers send cookies of one port to all others of the same host, and two daemons on one host must not end
/// each other's sessions. With TLS the name itself says that no page without TLS, and none of another host, can have set it.
pub(super) struct CookieName {
    name: String,
    is_tls: bool,
}

impl CookieName {
    pub fn of(listen: Option<SocketAddr>, is_tls: bool) -> CookieName {
        let (prefix, port) = (if is_tls { "__Host-" } else { "" }, listen.map_or(0, |address| address.port()));
        CookieName { name: format!("{prefix}honeyguide_session_{port}"), is_tls }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cookie that holds a session's id; of none, the one that removes it.
    pub fn holding(&self, id: Option<String>) -> Cookie<'static> {
        let cookie = Cookie::build(self.name.clone(), id.clone().unwrap_or_default());
        let mut cookie = cookie.path("/").http_only(true).same_site(SameSite::Strict).secure(self.is_tls).finish();
        if id.is_none() {
            cookie.make_removal();
        }
        cookie
    }
}

/// Browsers say where a request comes from; others need not.
fn same_origin(request: &HttpRequest) -> Result<(), Problem> {
    let is_site = request.headers().get(FETCH_SITE).is_none_or(|site| site == "same-origin");
    match is_site && is_same_origin(request.headers()) {
        true => Ok(()),
        false => Err(Problem::forbidden("this was sent from another site's page")),
    }
}

/// A form that one of our own pages has sent.
pub(super) struct Filled(BTreeMap<String, String>);

impl Filled {
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

fn form_problem(error: actix_web::Error) -> Problem {
    match error.as_error::<UrlencodedError>() {
        Some(fault) => body_problem(fault),
        None => Problem::bad_request(&error),
    }
}

impl FromRequest for Filled {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Filled, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, form) = (request.clone(), web::Form::<BTreeMap<String, String>>::from_request(request, payload));
        Box::pin(async move {
            same_origin(&request)?;
            let filled = Filled(form.await.map_err(form_problem)?.into_inner());
            let standing = request.extensions().get::<Standing>().cloned();
            let expected = standing.map(|standing| standing.csrf).or_else(|| {
                let admin = request.app_data::<web::Data<Admin>>()?;
                Some(admin.sessions.token(ANYBODY))
            });
            match expected.is_some_and(|expected| is_token(&expected, filled.get(CSRF_FIELD))) {
                true => Ok(filled),
                false => Err(Problem::forbidden("this form is too old, or none of ours: load the page again and send it once more")),
            }
        })
    }
}

/// Where to go on after logging in: a path of ours, whatever was asked for.
pub(super) fn local(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= NEXT_BYTES_MAX
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn proof() -> Proof {
        proof_of(1)
    }

    fn proof_of(key: u64) -> Proof {
        Proof { id: format!("{key:010}"), generation: 1 }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_old_or_ended() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let id = sessions.begin(proof(), start);
        assert_eq!(id.len(), 64);
        assert_eq!(sessions.whose(&id, start), Some(proof()));
        assert_eq!(sessions.whose(&id[..63], start), None);
        assert_eq!(sessions.whose("", start), None);
        assert!(sessions.open.lock().unwrap().keys().all(|hash| crate::events::id::hex(hash) != id), "only its hash is kept");
        let mut now = start;
        while now.duration_since(start) + Duration::from_secs(11 * 3_600) < AGE_MAX {
            now += Duration::from_secs(11 * 3_600);
            assert!(sessions.whose(&id, now).is_some(), "used now and then");
        }
        assert_eq!(sessions.whose(&id, start + AGE_MAX), None, "however much it is used");
        let id = sessions.begin(proof(), start);
        assert_eq!(sessions.whose(&id, start + IDLE_MAX), None);
        assert_eq!(sessions.whose(&id, start), None, "gone for good");
        let id = sessions.begin(proof(), start);
        sessions.end(&id);
        assert_eq!(sessions.whose(&id, start), None);
    }

    #[test]
    fn there_are_so_many_sessions_and_the_one_unused_for_longest_goes_first() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let ids: Vec<String> = (0..SESSIONS_MAX as u64).map(|at| sessions.begin(proof_of(at), start + Duration::from_secs(at))).collect();
        let later = start + Duration::from_secs(1_000);
        assert!(sessions.whose(&ids[0], later).is_some());
        sessions.begin(proof_of(1_000), later);
        assert!(sessions.whose(&ids[0], later).is_some() && sessions.whose(&ids[1], later).is_none());
        assert_eq!(sessions.open.lock().unwrap().len(), SESSIONS_MAX);
    }

    #[test]
    fn one_key_ends_its_own_sessions_only() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let other = sessions.begin(proof_of(2), start);
        let ids: Vec<String> =
            (1..=SESSIONS_OF_KEY_MAX as u64 + 1).map(|at| sessions.begin(proof_of(1), start + Duration::from_secs(at))).collect();
        assert!(sessions.whose(&ids[0], start).is_none() && sessions.whose(&ids[1], start).is_some());
        assert!(sessions.whose(&other, start).is_some(), "although it is the oldest");
    }

    #[test]
    fn a_token_is_of_one_session_of_one_process() {
        let (sessions, others) = (Sessions::default(), Sessions::default());
        let token = sessions.token("a");
        assert!(is_token(&token, &sessions.token("a")));
        assert!(!is_token(&token, &sessions.token("b")) && !is_token(&token, &others.token("a")));
        assert!(!is_token(&token, "") && !is_token(&token, &token[1..]) && !is_token(&token, "é"));
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for next in ["/", "/search?query=a%20b&x=1", "/sessions/c0ffee"] {
            assert_eq!(local(next), next);
        }
        let long = format!("/{}", "x".repeat(NEXT_BYTES_MAX));
        for next in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/a\r\nb", "/a b", "\\/evil", "/\t/x", &long]
        {
            assert_eq!(local(next), "/", "{next}");
        }
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let sent = |headers: &[(&'static str, &'static str)]| {
            let request = headers.iter().fold(TestRequest::post(), |request, header| request.insert_header(*header));
            same_origin(&request.to_http_request()).is_ok()
        };
        let host = ("host", "127.0.0.1:8787");
        assert!(sent(&[host]), "no browser");
        assert!(sent(&[host, ("origin", "http://127.0.0.1:8787"), ("sec-fetch-site", "same-origin")]));
        for origin in ["null", "http://evil.example", "http://127.0.0.1:8788", "http://127.0.0.1:8787.evil.example", "127.0.0.1:8787", ""] {
            assert!(!sent(&[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!sent(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!sent(&[("origin", "http://")]));
    }

    #[test]
    fn the_cookie_is_for_us_alone() {
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 8787)));
        let (tls, plain) = (CookieName::of(listen, true), CookieName::of(listen, false));
        let set = tls.holding(Some("x".into())).to_string();
        assert_eq!(set, "__Host-honeyguide_session_8787=x; HttpOnly; SameSite=Strict; Secure; Path=/");
        assert_eq!(plain.holding(Some("x".into())).to_string(), "honeyguide_session_8787=x; HttpOnly; SameSite=Strict; Path=/");
        assert!(plain.holding(None).to_string().contains("Max-Age=0"));
        assert_ne!(plain.name(), CookieName::of(Some(SocketAddr::from(([127, 0, 0, 1], 8788))), false).name());
    }

    /// What a browser with a session is answered, over all of the listener on TCP.
    #[actix_web::test]
    async fn a_session_is_worth_its_key_and_no_more() {
        use crate::access::Role;
        use crate::access::keys::{Lifetime, NewKey};
        use crate::daemon::{DataDir, Engine};
        use actix_web::body::to_bytes;
        use actix_web::middleware::from_fn;
        use actix_web::test::{call_service, init_service};
        use std::sync::Arc;

        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("honeyguide.toml");
        std::fs::write(&config, "data_dir = \"data\"\n").unwrap();
        let settings = crate::config::load(Some(&config), None).unwrap();
        let telemetry = crate::telemetry::Telemetry::unlogged();
        let data_dir = DataDir::open(&settings, &telemetry, &mut |_| {}).unwrap();
        let notifier = Arc::new(crate::os::notify::Notifier::new(None, None, None, 0).unwrap());
        let engine = Arc::new(Engine::start(data_dir, settings, telemetry, notifier));
        engine.available().await;
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let admin = web::Data::new(Admin::new(engine.clone(), None, stopping));
        let description = web::Data::new(super::super::Description(web::Bytes::new()));
        let listener = super::super::gate::Listener::Tcp;
        let app = actix_web::App::new().wrap(from_fn(super::super::gate::gate));
        let service = init_service(app.configure(|app| super::super::services(app, &admin, &description, listener))).await;

        let keys = &admin.engine.access.keys;
        let logged_in = |name: &str, role, sensors: &[&str]| {
            let sensors = sensors.iter().map(|sensor| (*sensor).to_owned()).collect();
            let new = NewKey { name: name.to_owned(), roles: vec![role], sensors, expires: Lifetime::default() };
            let (row, key) = keys.create(&new, "a test", time::now()).unwrap();
            (row.id, admin.sessions.begin(keys.prove_once(key.expose(), time::now()).unwrap().1, Instant::now()))
        };
        let (_, id) = logged_in("all", Role::Admin, &[]);
        let asked = |request: TestRequest, id: &str| {
            let request = request.insert_header(("host", "localhost")).insert_header(("cookie", format!("{}={id}", admin.cookie.name())));
            call_service(&service, request.to_request())
        };
        let page = asked(TestRequest::get().uri("/"), &id).await;
        assert_eq!(page.status(), 200);
        let text = String::from_utf8(to_bytes(page.into_body()).await.unwrap().to_vec()).unwrap();
        let csrf = admin.sessions.token(&id);
        assert!(text.contains("action=\"/logout\"") && text.contains(&csrf) && !text.contains(&id), "{text}");

        let order = || TestRequest::post().uri("/api/v1/sinks/nosuch/order").set_json("pause");
        assert_eq!(asked(order(), &id).await.status(), 403, "a cookie alone changes nothing");
        assert_eq!(asked(order().insert_header((CSRF, admin.sessions.token("other"))), &id).await.status(), 403);
        assert_eq!(asked(order().insert_header((CSRF, csrf.as_str())), &id).await.status(), 404, "there is no such sink");
        let foreign = order().insert_header((CSRF, csrf.as_str())).insert_header(("origin", "http://evil.example"));
        assert_eq!(asked(foreign, &id).await.status(), 403);

        // However it is written: what the path means is looked at, not how it begins.
        let (kept, _) = logged_in("kept", Role::Analyst, &[]);
        for path in ["/%61pi/v1/keys", "/api/v1/%6beys", "//api/v1/keys", "/./api/v1/keys", "/api%2fv1/keys", "/x/../api/v1/keys"] {
            let revoke = TestRequest::post().uri(&format!("{path}/{kept}/revoke")).set_json(serde_json::json!({}));
            let status = asked(revoke, &id).await.status().as_u16();
            assert!(matches!(status, 403 | 404), "{path}: {status}");
        }
        assert!(keys.list(time::now()).iter().any(|row| row.id == kept && row.state == "active"));

        let (key, theirs) = logged_in("some", Role::Analyst, &["hive"]);
        for (path, status) in [
            ("/", 200),
            ("/search?query=since:7d%20root%20OR%20x", 200),
            ("/reports", 200),
            ("/reports?kind=daily&period=last", 403),
            ("/reports?kind=daily&period=last&sensor=hive", 200),
            ("/reports?kind=daily&period=last&sensor=other", 403),
            ("/indicators", 403),
            ("/sinks", 403),
            ("/audit", 403),
        ] {
            assert_eq!(asked(TestRequest::get().uri(path), &theirs).await.status(), status, "{path}");
        }
        let page = asked(TestRequest::get().uri("/"), &theirs).await;
        let text = String::from_utf8(to_bytes(page.into_body()).await.unwrap().to_vec()).unwrap();
        assert!(!text.contains("events a second") && text.contains("The last 24 hours"), "the state is about all sensors: {text}");

        // A client that goes away when its change has begun: it is made, and it is recorded.
        {
            let revoke = TestRequest::post().uri(&format!("/api/v1/keys/{kept}/revoke")).insert_header(("x-request-id", "gone"));
            let revoke = asked(revoke.insert_header((CSRF, csrf.as_str())).set_json(serde_json::json!({})), &id);
            tokio::pin!(revoke);
            assert!(futures_util::poll!(revoke.as_mut()).is_pending());
        }
        let is_recorded = || {
            let mut found = false;
            let mut look = |details: serde_json::Value| found |= details["request_id"] == "gone" && details["status"] == 200;
            admin.engine.store().each_recorded("request", &mut look).unwrap();
            found
        };
        let begun = Instant::now();
        while !is_recorded() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is recorded");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(keys.list(time::now()).iter().any(|row| row.id == kept && row.state == "revoked"));

        keys.revoke(&key, "a test", time::now()).unwrap();
        assert_eq!(asked(TestRequest::get().uri("/"), &theirs).await.status(), 303, "a session ends with its key");

        let form = |fields: String| TestRequest::post().uri("/logout").set_form([(CSRF_FIELD.to_owned(), fields)]);
        assert_eq!(asked(form(admin.sessions.token(&theirs)), &id).await.status(), 403, "another session's token");
        let out = asked(form(csrf), &id).await;
        let header = |name: &str| out.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!((out.status().as_u16(), header("location")), (303, "/login"));
        assert!(header("set-cookie").contains("Max-Age=0"));
        assert_eq!(asked(TestRequest::get().uri("/"), &id).await.status(), 303, "the session has ended");
        assert_eq!(asked(TestRequest::get().uri("/api/v1/status"), &id).await.status(), 401);
        assert!(engine.drain().await);
        engine.release().await;
    }
}
