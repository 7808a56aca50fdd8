//! Tokens of configured issuers: who in a company's directory may do what here, without a key of ours.
//!
//! A token chooses by its `iss` which issuer has to vouch for it, and nothing else. Then everything must fit what the configuration says
//! of that one: algorithm, signature, audience, time; and one of the values of a claim must be mapped to a role, for an issuer knows
//! nothing of roles here.
use super::jwks::{Jwks, Standing};
use super::jwt::{Claims, Unverified, texts};
use super::keys::SENSORS_MAX;
use super::{Denied, Principal, Role};
use crate::config::IssuerSettings;
use crate::events::Micros;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

const SUBJECT_BYTES_MAX: usize = 255;
/// Stands for all of them, where an issuer has to say which.
const ALL_SENSORS: &str = "*";

/// All configured issuers.
#[derive(Default)]
pub struct Issuers(RwLock<Arc<[Arc<Jwks>]>>);

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all();
        f.debug_list().entries(all.iter().map(|jwks| &jwks.settings().issuer)).finish()
    }
}

impl Issuers {
    pub fn new(settings: &[IssuerSettings]) -> Issuers {
        let issuers = Issuers::default();
        issuers.configure(settings);
        issuers
    }

    /// Takes on other settings; what is known of the keys of those that did not change stays.
    pub fn configure(&self, settings: &[IssuerSettings]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = |new: &IssuerSettings| all.iter().find(|jwks| jwks.settings() == new).cloned();
        *all = settings.iter().map(|new| kept(new).unwrap_or_else(|| Jwks::new(new.clone()))).collect();
    }

    /// Where the keys of each stand, by what it is called in tokens.
    pub fn standings(&self) -> Vec<(String, Standing)> {
        self.all().iter().map(|jwks| (jwks.settings().issuer.clone(), jwks.standing())).collect()
    }

    /// Who sends this token. May wait for an issuer's keys; must be called in a runtime.
    pub async fn verify(&self, token: &str, now: Micros) -> Result<Principal, Denied> {
        self.judge(Unverified::read(token)?, now).await
    }

    pub(super) async fn judge(&self, token: Unverified<'_>, now: Micros) -> Result<Principal, Denied> {
        let issuer = token.claims.text("iss")?;
        let jwks = self.all().iter().find(|jwks| jwks.settings().issuer == issuer).cloned().ok_or(Denied::IssuerUnknown)?;
        let settings = jwks.settings();
        if !settings.algorithms.contains(&token.algorithm) {
            return Err(Denied::TokenAlgorithm);
        }
        let leeway = Micros::try_from(settings.leeway.as_micros()).unwrap_or(0);
        // What is not good anyhow must not make anybody ask the issuer.
        token.claims.within(leeway, now)?;
        audience(&token.claims, &settings.audience)?;
        let key = jwks.key(token.kid.as_deref(), token.algorithm, now).await?;
        principal(&token.verify(&key.key)?, settings)
    }

    fn all(&self) -> Arc<[Arc<Jwks>]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn audience(claims: &Claims, ours: &str) -> Result<(), Denied> {
    let audiences = claims.0.get("aud").and_then(texts).ok_or(Denied::TokenClaim("aud"))?;
    if audiences.contains(&ours) { Ok(()) } else { Err(Denied::TokenAudience) }
}

/// Who a token is for, when all else was judged.
fn principal(claims: &Claims, settings: &IssuerSettings) -> Result<Principal, Denied> {
    let subject = claims.text("sub")?;
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.contains(char::is_control) {
        return Err(Denied::TokenClaim("sub"));
    }
    let values = claims.at(&settings.roles_claim).and_then(texts).unwrap_or_default();
    let mut roles: Vec<Role> = values.iter().filter_map(|value| settings.roles.get(*value)).copied().collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        return Err(Denied::NoRole);
    }
    let sensors = match &settings.sensors_claim {
        None => None,
        Some(name) => sensors(claims.at(name))?,
    };
    Ok(Principal { name: format!("{} {subject}", settings.issuer).into(), key: None, roles: roles.into(), sensors })
}

/// `None`: all of them.
fn sensors(claim: Option<&Value>) -> Result<Option<Arc<[String]>>, Denied> {
    let names = claim.and_then(texts).unwrap_or_default();
    match names[..] {
        [] => Err(Denied::NoSensors),
        [ALL_SENSORS] => Ok(None),
        _ if names.len() > SENSORS_MAX || names.iter().any(|name| name.is_empty() || *name == ALL_SENSORS) => Err(Denied::NoSensors),
        _ => Ok(Some(names.into_iter().map(str::to_owned).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const NOW: Micros = 1_774_138_242 * time::MICROS_PER_SECOND;
    const SECOND: Micros = time::MICROS_PER_SECOND;

    /// An issuer on a port of its own, which counts what it is asked.
    struct Provider {
        issuer: String,
        body: Arc<Mutex<(u16, Vec<u8>)>>,
        asked: Arc<AtomicU64>,
        described: Arc<Mutex<String>>,
    }

    impl Provider {
        async fn start(body: Value) -> Provider {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
            let description = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }).to_string();
            let provider = Provider {
                issuer,
                body: Arc::new(Mutex::new((200, body.to_string().into_bytes()))),
                asked: Arc::default(),
                described: Arc::new(Mutex::new(description)),
            };
            let (body, asked, described) = (provider.body.clone(), provider.asked.clone(), provider.described.clone());
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (body, asked, described) = (body.clone(), asked.clone(), described.clone());
                    tokio::spawn(async move {
                        let mut request = Vec::new();
                        while !request.ends_with(b"\r\n\r\n") {
                            let mut byte = [0];
                            match stream.read(&mut byte).await {
                                Ok(1) => request.push(byte[0]),
                                _ => return,
                            }
                        }
                        let (status, answer) = if request.starts_with(b"GET /realm/jwks ") {
                            asked.fetch_add(1, Ordering::SeqCst);
                            body.lock().unwrap().clone()
                        } else {
                            (200, described.lock().unwrap().clone().into_bytes())
                        };
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
                        let _ = stream.write_all(head.as_bytes()).await;
                        let _ = stream.write_all(&answer).await;
                    });
                }
            });
            provider
        }

        fn serve(&self, status: u16, body: impl Into<Vec<u8>>) {
            *self.body.lock().unwrap() = (status, body.into());
        }

        fn asked(&self) -> u64 {
            self.asked.load(Ordering::SeqCst)
        }

        fn settings(&self) -> IssuerSettings {
            IssuerSettings {
                issuer: self.issuer.clone(),
                url: self.issuer.parse().unwrap(),
                audience: "honeyguide".into(),
                jwks_url: None,
                algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
                roles_claim: "realm_access.roles".into(),
                roles: BTreeMap::from([("soc".into(), Role::Analyst), ("dev".into(), Role::Developer)]),
                sensors_claim: None,
                leeway: Duration::from_secs(30),
                ttl: Duration::from_secs(600),
                stale: Duration::from_secs(3600),
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(30),
                allow_private: vec!["127.0.0.1".parse().unwrap()],
                ca_file: None,
            }
        }

        fn claims(&self) -> Value {
            json!({
                "iss": self.issuer, "aud": ["other", "honeyguide"], "sub": "alice", "exp": NOW / SECOND + 300,
                "realm_access": { "roles": ["soc", "offline_access"] },
            })
        }
    }

    /// An Ed25519 key made of a number: PKCS #8 around the seed (RFC 8410).
    fn key(seed: u8) -> EncodingKey {
        let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        EncodingKey::from_ed_der(&[&prefix[..], &[seed; 32]].concat())
    }

    fn jwk(seed: u8, kid: &str) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key(seed), Algorithm::EdDSA).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk
    }

    fn set(keys: &[Value]) -> Value {
        json!({ "keys": keys })
    }

    fn signed(seed: u8, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &key(seed)).unwrap()
    }

    fn with(mut claims: Value, name: &str, value: Value) -> Value {
        claims[name] = value;
        claims
    }

    #[tokio::test]
    async fn an_issuers_token_gives_the_mapped_roles_and_nothing_else_is_taken() {
        let provider = Provider::start(set(&[jwk(1, "one"), jwk(2, "two")])).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let claims = provider.claims();
        let principal = issuers.verify(&signed(1, "one", &claims), NOW).await.unwrap();
        assert_eq!((&*principal.name, &*principal.roles), (&*format!("{} alice", provider.issuer), &[Role::Analyst][..]));
        assert_eq!(principal.sensors, None);
        let seconds = |offset: i64| json!(NOW / SECOND + offset);
        for (claims, denied) in [
            (with(claims.clone(), "aud", json!("other")), Denied::TokenAudience),
            (with(claims.clone(), "aud", json!(null)), Denied::TokenClaim("aud")),
            (with(claims.clone(), "iss", json!("https://other.example")), Denied::IssuerUnknown),
            (with(claims.clone(), "iss", json!(format!("{}/", provider.issuer))), Denied::IssuerUnknown),
            (with(claims.clone(), "iss", json!([provider.issuer])), Denied::TokenClaim("iss")),
            (with(claims.clone(), "exp", seconds(-31)), Denied::TokenExpired),
            (with(claims.clone(), "nbf", seconds(31)), Denied::TokenEarly),
            (with(claims.clone(), "exp", json!(null)), Denied::TokenClaim("exp")),
            (with(claims.clone(), "sub", json!("")), Denied::TokenClaim("sub")),
            (with(claims.clone(), "sub", json!("a\u{1b}[2J")), Denied::TokenClaim("sub")),
            (with(claims.clone(), "sub", json!("s".repeat(256))), Denied::TokenClaim("sub")),
            (with(claims.clone(), "realm_access", json!({ "roles": ["admin"] })), Denied::NoRole),
            (with(claims.clone(), "realm_access", json!(["soc"])), Denied::NoRole),
        ] {
            assert_eq!(issuers.verify(&signed(1, "one", &claims), NOW).await, Err(denied), "{claims}");
        }
        assert_eq!(issuers.verify(&signed(2, "one", &claims), NOW).await, Err(Denied::TokenSignature), "another's key id");
        // The public key as a secret, and no signature at all.
        let public = URL_SAFE_NO_PAD.decode(jwk(1, "one")["x"].as_str().unwrap()).unwrap();
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
        let confused = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&public)).unwrap();
        assert_eq!(issuers.verify(&confused, NOW).await, Err(Denied::TokenAlgorithm));
        let token = signed(1, "one", &claims);
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert_eq!(issuers.verify(&format!("{rest}."), NOW).await, Err(Denied::TokenSignature));
        let payload = rest.split_once('.').unwrap().1;
        for (algorithm, denied) in
            [("none", Denied::TokenAlgorithm), ("ES256", Denied::IssuerKeyUnknown), ("RS256", Denied::IssuerKeyUnknown)]
        {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "kid": "one" }).to_string());
            assert_eq!(issuers.verify(&format!("{header}.{payload}.AAAA"), NOW).await, Err(denied), "{algorithm}");
        }
        assert_eq!(provider.asked(), 1);
    }

    #[tokio::test]
    async fn sensors_come_from_the_claim_where_it_is_configured() {
        let provider = Provider::start(set(&[jwk(1, "one")])).await;
        let issuers = Issuers::new(&[IssuerSettings { sensors_claim: Some("pots".into()), ..provider.settings() }]);
        for (claim, expected) in [
            (json!("dmz"), Ok(Some(vec!["dmz"]))),
            (json!(["a", "b"]), Ok(Some(vec!["a", "b"]))),
            (json!("*"), Ok(None)),
            (json!(["*"]), Ok(None)),
            (json!(["a", "*"]), Err(Denied::NoSensors)),
            (json!([]), Err(Denied::NoSensors)),
            (json!([""]), Err(Denied::NoSensors)),
            (json!((0..=SENSORS_MAX).map(|number| format!("pot-{number}")).collect::<Vec<_>>()), Err(Denied::NoSensors)),
            (json!(7), Err(Denied::NoSensors)),
            (json!(null), Err(Denied::NoSensors)),
        ] {
            let token = signed(1, "one", &with(provider.claims(), "pots", claim.clone()));
            let sensors = issuers.verify(&token, NOW).await.map(|principal| principal.sensors.map(|sensors| sensors.to_vec()));
            let expected = expected.map(|sensors| sensors.map(|names| names.into_iter().map(str::to_owned).collect()));
            assert_eq!(sensors, expected, "{claim}");
        }
    }

    #[tokio::test]
    async fn ten_thousand_tokens_with_invented_key_ids_cause_one_fetch() {
        let provider = Provider::start(set(&[jwk(1, "one")])).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let claims = provider.claims();
        let token = |number: u32| {
            let header =
                URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "kid": format!("{number:x}-{}", rand::random::<u64>()) }).to_string());
            format!("{header}.{}.AAAA", URL_SAFE_NO_PAD.encode(claims.to_string()))
        };
        // At once, so that all of the first find nothing.
        for begin in (0..10_000).step_by(500) {
            let tokens: Vec<String> = (begin..begin + 500).map(token).collect();
            let denied = futures_util::future::join_all(tokens.iter().map(|token| issuers.verify(token, NOW))).await;
            assert!(denied.iter().all(|denied| *denied == Err(Denied::IssuerKeyUnknown)), "{denied:?}");
        }
        assert_eq!(provider.asked(), 1);
        assert!(issuers.verify(&signed(1, "one", &claims), NOW).await.is_ok(), "who has a good token notices nothing");
        let _ = issuers.verify(&token(1), NOW + 29 * SECOND).await;
        assert_eq!(provider.asked(), 1);
        let _ = issuers.verify(&token(1), NOW + 30 * SECOND).await;
        assert_eq!(provider.asked(), 2, "behind the interval a key may be new");
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_one_that_was_removed_ends() {
        let provider = Provider::start(set(&[jwk(1, "one")])).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let claims = with(provider.claims(), "exp", json!(NOW / SECOND + 99_999));
        assert!(issuers.verify(&signed(1, "one", &claims), NOW).await.is_ok());
        provider.serve(200, set(&[jwk(2, "two")]).to_string());
        assert_eq!(issuers.verify(&signed(2, "two", &claims), NOW + SECOND).await, Err(Denied::IssuerKeyUnknown), "too soon");
        assert!(issuers.verify(&signed(2, "two", &claims), NOW + 30 * SECOND).await.is_ok());
        assert_eq!(issuers.verify(&signed(1, "one", &claims), NOW + 30 * SECOND).await, Err(Denied::IssuerKeyUnknown));
        assert_eq!(provider.asked(), 2);
        // What did not change keeps its keys across a reload; what did, does not.
        issuers.configure(&[provider.settings()]);
        assert!(issuers.verify(&signed(2, "two", &claims), NOW + 30 * SECOND).await.is_ok());
        assert_eq!(provider.asked(), 2);
        issuers.configure(&[IssuerSettings { audience: "else".into(), ..provider.settings() }]);
        assert_eq!(issuers.verify(&signed(2, "two", &claims), NOW).await, Err(Denied::TokenAudience));
        issuers.configure(&[]);
        assert_eq!(issuers.verify(&signed(2, "two", &claims), NOW).await, Err(Denied::IssuerUnknown));
    }

    /// Waits for the end of a fetch that goes on behind answers.
    async fn fetched(issuers: &Issuers, is_ended: impl Fn(&Standing) -> bool) -> Standing {
        for _ in 0..6000 {
            let standing = issuers.standings().remove(0).1;
            if is_ended(&standing) {
                return standing;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no fetch ended");
    }

    #[tokio::test]
    async fn old_keys_are_used_while_the_issuer_fails_and_not_for_ever() {
        let provider = Provider::start(set(&[jwk(1, "one")])).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let token = signed(1, "one", &with(provider.claims(), "exp", json!(NOW / SECOND + 99_999)));
        assert!(issuers.verify(&token, NOW).await.is_ok());
        provider.serve(500, "down");
        let ttl = 600 * SECOND;
        assert!(issuers.verify(&token, NOW + ttl - 1).await.is_ok());
        assert_eq!(provider.asked(), 1);
        assert!(issuers.verify(&token, NOW + ttl).await.is_ok(), "nobody waits for the fetch");
        let failed = fetched(&issuers, |standing| standing.last_error.is_some()).await;
        assert_eq!(failed.last_error.as_deref(), Some("the issuer answered with status 500"));
        let end = NOW + ttl + 3600 * SECOND;
        assert!(issuers.verify(&token, end - 1).await.is_ok());
        assert_eq!(issuers.verify(&token, end + 400 * SECOND).await, Err(Denied::IssuerUnavailable));
        provider.serve(200, set(&[jwk(1, "one")]).to_string());
        assert!(issuers.verify(&token, end + 1000 * SECOND).await.is_ok(), "it came back");
        // A clock that was set back by a day: what was fetched in the future is old, and is fetched again.
        let asked = provider.asked();
        assert!(issuers.verify(&token, NOW - 86_400 * SECOND).await.is_ok());
        assert_eq!(provider.asked(), asked + 1);
    }

    #[tokio::test]
    async fn hostile_answers_of_an_issuer_are_refused_with_the_reason() {
        let provider = Provider::start(json!({})).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let token = signed(1, "one", &with(provider.claims(), "exp", json!(NOW / SECOND + 99_999)));
        let huge = format!("{{\"keys\":[{}]}}", " ".repeat(300 << 10));
        let symmetric = set(&[json!({ "kty": "oct", "kid": "one", "k": "AAAA" })]).to_string();
        let mut now = NOW;
        for (status, body, why) in [
            (200, "{}".to_owned(), "no set of keys"),
            (200, "<html>".to_owned(), "no set of keys"),
            (200, symmetric, "no key that can be used"),
            (200, huge, "longer than"),
            (404, "{}".to_owned(), "status 404"),
            (302, "{}".to_owned(), "status 302"),
        ] {
            provider.serve(status, body);
            assert_eq!(issuers.verify(&token, now).await, Err(Denied::IssuerUnavailable), "{why}");
            let error = issuers.standings()[0].1.last_error.clone().unwrap();
            assert!(error.contains(why), "{error}");
            now += 400 * SECOND;
        }
        provider.serve(200, set(&[jwk(1, "one")]).to_string());
        for (description, why) in [
            (json!({ "issuer": "https://other.example", "jwks_uri": format!("{}/jwks", provider.issuer) }), "another issuer"),
            (json!({ "issuer": provider.issuer, "jwks_uri": "http://keys.example/jwks" }), "not https"),
            (json!({ "issuer": provider.issuer, "jwks_uri": "https://169.254.169.254/jwks" }), "metadata"),
            (json!({ "issuer": provider.issuer, "jwks_uri": "nowhere" }), "no URL"),
            (json!([]), "no JSON with"),
        ] {
            *provider.described.lock().unwrap() = description.to_string();
            assert_eq!(issuers.verify(&token, now).await, Err(Denied::IssuerUnavailable), "{why}");
            let error = issuers.standings()[0].1.last_error.clone().unwrap();
            assert!(error.contains(why), "{error}");
            now += 400 * SECOND;
        }
        // Where the keys are can be configured; nothing is described then.
        let jwks_url = Some(format!("{}/jwks", provider.issuer).parse().unwrap());
        issuers.configure(&[IssuerSettings { jwks_url, ..provider.settings() }]);
        assert!(issuers.verify(&token, now).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_breaks_no_fetch_off() {
        let provider = Provider::start(set(&[jwk(1, "one")])).await;
        let issuers = Issuers::new(&[provider.settings()]);
        let token = signed(1, "one", &provider.claims());
        {
            let asking = issuers.verify(&token, NOW);
            tokio::pin!(asking);
            assert!(futures_util::poll!(asking.as_mut()).is_pending());
        }
        assert_eq!(fetched(&issuers, |standing| standing.fetched_at.is_some()).await.keys, 1);
        assert!(issuers.verify(&token, NOW).await.is_ok());
        assert_eq!(provider.asked(), 1);
    }
}
