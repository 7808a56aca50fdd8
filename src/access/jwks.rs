//! Keys of an issuer (JWKS, RFC 7517): which of them can be used, and a cache that asks the issuer seldom, however many ask it.
//!
//! Whoever finds the keys too old, or a key id unknown, has them fetched, by a task of its own: a client that goes away breaks nothing off.
//! One fetch at a time, and none sooner than `interval` behind the one before, so that tokens with invented key ids cost their senders
//! more than anybody else; behind failures the wait grows, with jitter. Meanwhile and after failures the keys that are there are used,
//! for a bounded time. When the clock was set back, what was fetched "in the future" counts as old, and nothing waits for that future.
use super::Denied;
use crate::config::IssuerSettings;
use crate::events::Micros;
use crate::sinks::Answer;
use crate::sinks::http::{Http, HttpSettings};
use crate::sinks::policy::Backoff;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use url::Url;

/// Of an issuer's answer: keys, or its description.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Of one issuer.
pub const KEYS_MAX: usize = 64;
/// Modulus of RSA, bytes: shorter ones can be broken, longer ones take long to use.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(300) };
const WAIT_MIN: Duration = Duration::from_secs(1);

/// A key that can be used, and with what.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    pub key: DecodingKey,
}

/// The keys of an issuer that can be used.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Arc<VerifyingKey>>);

impl KeySet {
    /// Reads an issuer's answer. Keys for other purposes and of other types are passed over; none left is an error.
    pub fn parse(body: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body).map_err(|_| "the answer is no set of keys: it must be JSON with `keys`".to_owned())?;
        let keys: Vec<_> = set.keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?)).map(Arc::new).collect();
        match keys.len() {
            0 => Err("the set has no key that can be used: RSA of 2048 to 8192 bits, EC P-256 or Ed25519, for signatures".to_owned()),
            len if len > KEYS_MAX => Err(format!("the set has {len} keys: more than {KEYS_MAX} are not taken")),
            _ => Ok(KeySet(keys)),
        }
    }

    /// The key with this id for this algorithm; without an id the only one for it.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<VerifyingKey>> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)).cloned(),
            None => fitting.next().filter(|_| fitting.next().is_none()).cloned(),
        }
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(jwk: Jwk) -> Option<VerifyingKey> {
    let for_signatures = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let (algorithm, name, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
            let len = modulus.iter().skip_while(|&&byte| byte == 0).count();
            let odd = exponent.last().is_some_and(|last| last & 1 == 1) && exponent.len() <= 4;
            // What begins with a 0 is not as it must be, and what is even is no product of primes.
            let sound = RSA_BYTES.contains(&len) && len == modulus.len() && modulus.last().is_some_and(|last| last & 1 == 1);
            (sound && odd && exponent != [1])
                .then(|| (Algorithm::RS256, "RS256", DecodingKey::from_rsa_raw_components(&modulus, &exponent)))?
        }
        ("EC", Some("P-256")) => {
            (bytes(&jwk.x)?.len() == 32 && bytes(&jwk.y)?.len() == 32).then_some(())?;
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(jwk.x.as_deref()?, jwk.y.as_deref()?).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            (bytes(&jwk.x)?.len() == 32).then_some(())?;
            (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(jwk.x.as_deref()?).ok()?)
        }
        _ => return None,
    };
    // "Ed25519" is the newer name (RFC 9864).
    let of_its_algorithm = jwk.alg.as_deref().is_none_or(|alg| alg == name || (name == "EdDSA" && alg == "Ed25519"));
    (for_signatures && of_its_algorithm).then_some(VerifyingKey { kid: jwk.kid, algorithm, key })
}

/// What is known of an issuer's keys.
#[derive(Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Micros)>,
    /// Not sooner.
    next_at: Micros,
    fetching: bool,
    failures: u32,
    fetches: u64,
    failed: u64,
    last_error: Option<String>,
}

/// Where the keys of an issuer stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub keys: usize,
    pub fetched_at: Option<Micros>,
    /// Since the start, with those that failed.
    pub fetches: u64,
    /// Of these.
    pub failed: u64,
    /// Of the last fetch, if it failed.
    pub last_error: Option<String>,
}

/// Keys of an issuer, fetched when they are needed.
pub(super) struct Jwks {
    settings: IssuerSettings,
    /// Made when it is first needed: it reads a file.
    http: OnceCell<Http>,
    known: Mutex<Known>,
    /// How many fetches have come to their end.
    ended: watch::Sender<u64>,
}

impl Jwks {
    pub fn new(settings: IssuerSettings) -> Arc<Jwks> {
        Arc::new(Jwks { settings, http: OnceCell::new(), known: Mutex::default(), ended: watch::Sender::new(0) })
    }

    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    pub fn standing(&self) -> Standing {
        let known = self.known();
        Standing {
            keys: known.keys.as_ref().map_or(0, |(keys, _)| keys.0.len()),
            fetched_at: known.keys.as_ref().map(|(_, at)| *at),
            fetches: known.fetches,
            failed: known.failed,
            last_error: known.last_error.clone(),
        }
    }

    /// The key that a token names. Must be called in a runtime.
    pub async fn key(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm, now: Micros) -> Result<Arc<VerifyingKey>, Denied> {
        // Subscribed to before looking: an end between the two is not missed.
        let mut ended = self.ended.subscribe();
        let mut may_begin = true;
        loop {
            let seen = *ended.borrow_and_update();
            {
                let mut known = self.known();
                let age = known.keys.as_ref().map(|(_, at)| now.saturating_sub(*at));
                let is_fresh = age.is_some_and(|age| (0..micros(self.settings.ttl)).contains(&age));
                let is_usable = age.is_some_and(|age| age.abs() < micros(self.settings.ttl + self.settings.stale));
                let found = known.keys.as_ref().filter(|_| is_usable).and_then(|(keys, _)| keys.find(kid, algorithm));
                if let Some(key) = found {
                    if !is_fresh {
                        self.begin(&mut known, now);
                    }
                    return Ok(key);
                }
                // Waited for once only: fetches that follow each other must not hold anybody.
                if !may_begin || !self.begin(&mut known, now) {
                    return Err(if is_usable { Denied::IssuerKeyUnknown } else { Denied::IssuerUnavailable });
                }
            }
            may_begin = false;
            // A fetch that ends after this look was under way then, whatever it began with.
            if ended.wait_for(|count| *count != seen).await.is_err() {
                return Err(Denied::IssuerUnavailable);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a fetch if it is time for one. Whether one is under way.
    fn begin(self: &Arc<Self>, known: &mut Known, now: Micros) -> bool {
        let wait_max = micros(self.settings.interval.max(BACKOFF.max));
        if known.fetching || (now < known.next_at && known.next_at - now <= wait_max) {
            return known.fetching;
        }
        known.fetching = true;
        known.fetches += 1;
        let flight = Flight { jwks: self.clone(), began: now, landed: false };
        tokio::spawn(async move {
            let fetched = flight.jwks.fetch().await;
            flight.land(fetched);
        });
        true
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let settings = &self.settings;
        let discovery = discovery(&settings.url)?;
        let base = settings.jwks_url.as_ref().unwrap_or(&discovery);
        let make = || async {
            let http = HttpSettings {
                timeout: settings.timeout,
                allow_private: settings.allow_private.clone(),
                ca_file: settings.ca_file.clone(),
                ..HttpSettings::new(base.clone())
            };
            Http::new(http).map_err(|error| error.to_string())
        };
        let http = self.http.get_or_try_init(make).await?;
        let url = match &settings.jwks_url {
            Some(url) => url.clone(),
            None => discovered(&ask(http, &discovery).await?, settings)?,
        };
        KeySet::parse(&ask(http, &url).await?)
    }
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// A fetch under way; one that is dropped before it landed failed.
struct Flight {
    jwks: Arc<Jwks>,
    began: Micros,
    landed: bool,
}

impl Flight {
    fn land(mut self, fetched: Result<KeySet, String>) {
        self.end(fetched);
    }

    fn end(&mut self, fetched: Result<KeySet, String>) {
        self.landed = true;
        let mut known = self.jwks.known();
        known.fetching = false;
        let wait = match fetched {
            Ok(keys) => {
                known.keys = Some((Arc::new(keys), self.began));
                (known.failures, known.last_error) = (0, None);
                self.jwks.settings.interval
            }
            Err(error) => {
                known.failures = known.failures.saturating_add(1);
                known.failed += 1;
                log::warn!("the keys of the issuer {} cannot be had: {error}", self.jwks.settings.issuer);
                known.last_error = Some(error);
                BACKOFF.delay(known.failures, None, rand::random()).max(WAIT_MIN)
            }
        };
        known.next_at = self.began.saturating_add(micros(wait));
        drop(known);
        self.jwks.ended.send_modify(|count| *count += 1);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.end(Err("the fetch broke off".to_owned()));
        }
    }
}

async fn ask(http: &Http, url: &Url) -> Result<Vec<u8>, String> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let reply = http.ask(Method::GET, url, headers, b"", BODY_BYTES_MAX + 1).await.map_err(Answer::into_why)?;
    match reply.status {
        200 if reply.body.len() <= BODY_BYTES_MAX => Ok(reply.body),
        200 => Err(format!("the answer is longer than {BODY_BYTES_MAX} bytes")),
        status => Err(format!("the issuer answered with status {status}")),
    }
}

/// Where an issuer describes itself (OpenID Connect Discovery 1.0, 4).
fn discovery(issuer: &Url) -> Result<Url, String> {
    let path = format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/'));
    issuer.join(&path).map_err(|error| error.to_string())
}

/// Where its description says the keys are.
fn discovered(body: &[u8], settings: &IssuerSettings) -> Result<Url, String> {
    #[derive(Deserialize)]
    struct Description {
        issuer: String,
        jwks_uri: String,
    }
    let described: Description =
        serde_json::from_slice(body).map_err(|_| "the issuer's description is no JSON with `issuer` and `jwks_uri`".to_owned())?;
    if described.issuer != settings.issuer {
        return Err("the description is that of another issuer: write `url` exactly as the issuer does".to_owned());
    }
    let url = Url::parse(&described.jwks_uri).map_err(|_| "`jwks_uri` of the issuer's description is no URL".to_owned())?;
    // Whoever can change keys on their way can sign what he likes.
    if url.scheme() != "https" && !settings.is_listed(&url) {
        return Err("`jwks_uri` of the issuer's description is not https".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa(kid: &str) -> Value {
        json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(&[0xff; 256]), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn only_sound_keys_for_signatures_are_used() {
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": b64(&[1; 32]), "y": b64(&[2; 32]) });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "d", "x": b64(&[3; 32]) });
        for (key, algorithm) in [(rsa("r"), Algorithm::RS256), (ec.clone(), Algorithm::ES256), (ed.clone(), Algorithm::EdDSA)] {
            let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).expect("usable");
            assert!(set.find(key["kid"].as_str(), algorithm).is_some() && set.find(None, algorithm).is_some());
            assert!(set.find(Some("other"), algorithm).is_none());
            for other in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
                assert_eq!(set.find(None, other).is_some(), other == algorithm, "a key has one algorithm");
            }
        }
        for key in [
            json!({ "kty": "oct", "k": b64(&[1; 32]) }),
            json!({ "kty": "EC", "crv": "P-384", "x": b64(&[1; 48]), "y": b64(&[2; 48]) }),
            with(ec.clone(), "x", json!(b64(&[1; 31]))),
            with(ec.clone(), "y", json!(7)),
            with(ec, "alg", json!("RS256")),
            with(ed.clone(), "x", json!("=")),
            with(ed.clone(), "crv", json!("X25519")),
            with(ed, "alg", json!("HS256")),
            with(rsa("r"), "use", json!("enc")),
            with(rsa("r"), "key_ops", json!(["sign"])),
            with(rsa("r"), "alg", json!("RS512")),
            with(rsa("r"), "n", json!(b64(&[0xff; 128]))),
            with(rsa("r"), "n", json!(b64(&[0xff; 1025]))),
            with(rsa("r"), "n", json!(b64(&[0xfe; 256]))),
            with(rsa("r"), "n", json!(b64(&[0; 256]))),
            with(rsa("r"), "e", json!("AQ")),
            with(rsa("r"), "e", json!("AQAA")),
            with(rsa("r"), "e", json!("")),
            json!({ "kty": ["RSA"] }),
            json!(7),
            json!(null),
        ] {
            assert!(KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).is_err(), "{key}");
            let beside = KeySet::parse(json!({ "keys": [key, rsa("good")] }).to_string().as_bytes()).expect("one of them");
            assert_eq!(beside.0.len(), 1, "{key}");
        }
        let two = KeySet::parse(json!({ "keys": [rsa("a"), rsa("b")] }).to_string().as_bytes()).expect("usable");
        assert!(two.find(None, Algorithm::RS256).is_none(), "which of two it is must be said");
        let many: Vec<Value> = (0..=KEYS_MAX).map(|number| rsa(&number.to_string())).collect();
        assert!(KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).unwrap_err().contains("64"));
        for body in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "<html>", "\u{0}"] {
            assert!(KeySet::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn the_description_is_where_the_issuer_is() {
        for (issuer, expected) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/realms/soc", "https://id.example/realms/soc/.well-known/openid-configuration"),
            ("https://id.example/realms/soc/", "https://id.example/realms/soc/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery(&Url::parse(issuer).unwrap()).unwrap().as_str(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300), n in ".{0,20}", e in "[A-Za-z0-9_-]{0,8}") {
            let _ = KeySet::parse(&body);
            let _ = KeySet::parse(json!({ "keys": [with(with(rsa("r"), "n", json!(n)), "e", json!(e))] }).to_string().as_bytes());
        }
    }
}
