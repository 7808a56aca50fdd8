//! Short-lived tokens that the daemon makes for the holder of a key: for a browser or a script that should not have the key itself.
//!
//! A token may less than its key, never more, and dies with the key and with the secret it was made with. It says so little that it can
//! be judged from memory: which key, which generation of its secret, which roles and sensors. It is signed (HS256) with a secret of this
//! data directory, made at first use, which nobody else needs to know: who reads it can make tokens for every key that is in use. Losing
//! it ends all tokens, an hour of them at most, and nothing else; removing the file and starting again is how to replace it.
use super::jwt::{Claims, Unverified, texts};
use super::keys::{Keys, span};
use super::{Denied, Principal, Role};
use crate::events::{Micros, time};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::{OnceLock, PoisonError};

/// What tokens made here say made them; no issuer's URL can be it.
pub const ISSUER: &str = "honeyguide";
pub const LIFETIME: Micros = 15 * 60 * time::MICROS_PER_SECOND;
pub const LIFETIME_MAX: Micros = time::MICROS_PER_HOUR;
/// In the data directory.
pub const FILE: &str = "tokens.key";
const SECRET_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("only an API key can be given for a token, and this is none")]
    NotAKey,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the key does not have the role {0}, and a token can have no more than its key")]
    Role(Role),
    #[error("a token needs a role: leave out `roles` for those of the key")]
    NoRole,
    #[error("the key does not reach these sensors, and a token can reach no more than its key; leave out `sensors` for all of the key's")]
    Sensors,
    #[error("give a lifetime from 1s to 1h, such as 15m")]
    Lifetime,
    #[error("the secret for tokens in {} cannot be used: {source}", path.display())]
    Secret { path: PathBuf, source: io::Error },
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// A token that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenRequest {
    /// For how long, "1h" at most; "15m" unless said.
    #[schema(pattern = "^[0-9]{1,4}[smh]$")]
    pub lifetime: Option<String>,
    /// Some of the key's roles; all unless said.
    pub roles: Option<Vec<Role>>,
    /// Some of the key's sensors; all unless said.
    pub sensors: Option<Vec<String>>,
}

/// A token that was made (RFC 6749, 5.1).
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    pub access_token: String,
    /// "Bearer"
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    pub expires_at: String,
}

/// No token in logs.
impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Makes tokens, and judges them.
pub struct Tokens {
    path: PathBuf,
    signing: OnceLock<(EncodingKey, DecodingKey)>,
    making: Mutex<()>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Tokens {
    /// With the secret that the data directory has. One that is missing or cannot be used shows when a token is wanted.
    pub fn new(data_dir: &Path) -> Tokens {
        let path = data_dir.join(FILE);
        let signing = OnceLock::new();
        if let Ok(secret) = read_secret(&path) {
            let _ = signing.set(pair(&secret));
        }
        Tokens { path, signing, making: Mutex::new(()) }
    }

    /// Makes a token for who holds this key. The first ever waits for the disk.
    pub fn issue(&self, keys: &Keys, key: &str, wanted: &TokenRequest, now: Micros) -> Result<TokenAnswer, TokensError> {
        if !key.starts_with(super::secret::PREFIX) {
            return Err(TokensError::NotAKey);
        }
        let (key, generation) = keys.prove(key, now)?;
        let good_until = key.good_until(generation, now)?;
        let Principal { roles, sensors, .. } = &key.principal;
        let roles = match &wanted.roles {
            None => roles.to_vec(),
            Some(wanted) if wanted.is_empty() => return Err(TokensError::NoRole),
            Some(wanted) => match wanted.iter().find(|role| !roles.contains(role)) {
                Some(role) => return Err(TokensError::Role(*role)),
                None => wanted.clone(),
            },
        };
        let sensors = match (&wanted.sensors, sensors) {
            (None, sensors) => sensors.as_ref().map(|sensors| sensors.to_vec()),
            (Some(wanted), _) if wanted.is_empty() || wanted.len() > super::keys::SENSORS_MAX => return Err(TokensError::Sensors),
            (Some(wanted), None) if wanted.iter().map(String::len).sum::<usize>() <= 2048 => Some(wanted.clone()),
            (Some(wanted), Some(sensors)) if wanted.iter().all(|sensor| sensors.contains(sensor)) => Some(wanted.clone()),
            (Some(_), _) => return Err(TokensError::Sensors),
        };
        let lifetime = wanted.lifetime.as_deref().map_or(Some(LIFETIME), span);
        let lifetime =
            lifetime.filter(|lifetime| (time::MICROS_PER_SECOND..=LIFETIME_MAX).contains(lifetime)).ok_or(TokensError::Lifetime)?;
        // Whole seconds, as the claims have them; the end rounded down.
        let begins = now.div_euclid(time::MICROS_PER_SECOND);
        let ends = (now + lifetime).min(good_until.unwrap_or(Micros::MAX)).div_euclid(time::MICROS_PER_SECOND);
        let mut claims = serde_json::json!({
            "iss": ISSUER, "sub": key.id, "gen": generation, "iat": begins, "exp": ends,
            "roles": roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
        });
        if let Some(sensors) = sensors {
            claims["sensors"] = sensors.into();
        }
        let header = jsonwebtoken::Header::new(Algorithm::HS256);
        let access_token = jsonwebtoken::encode(&header, &claims, &self.made()?.0)?;
        Ok(TokenAnswer {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in: u64::try_from(ends - begins).unwrap_or(0),
            expires_at: time::format(ends * time::MICROS_PER_SECOND),
        })
    }

    /// Who sends this token.
    pub fn verify(&self, keys: &Keys, token: &str, now: Micros) -> Result<Principal, Denied> {
        self.judge(keys, Unverified::read(token)?, now)
    }

    pub(super) fn judge(&self, keys: &Keys, token: Unverified<'_>, now: Micros) -> Result<Principal, Denied> {
        if token.algorithm != Algorithm::HS256 {
            return Err(Denied::TokenAlgorithm);
        }
        // Without a secret nothing was ever signed with it.
        let (_, secret) = self.signing.get().ok_or(Denied::TokenSignature)?;
        let claims = token.verify(secret)?;
        if claims.text("iss")? != ISSUER {
            return Err(Denied::TokenClaim("iss"));
        }
        let ends = claims.within(0, now)?;
        let begins = claims.time("iat")?.ok_or(Denied::TokenClaim("iat"))?;
        if ends.saturating_sub(begins) > LIFETIME_MAX + time::MICROS_PER_SECOND {
            return Err(Denied::TokenLifetime);
        }
        let key = keys.find(claims.text("sub")?).ok_or(Denied::KeyUnknown)?;
        let generation = claims.0.get("gen").and_then(serde_json::Value::as_u64).and_then(|generation| u32::try_from(generation).ok());
        key.good_until(generation.ok_or(Denied::TokenClaim("gen"))?, now)?;
        let principal = narrowed(&key.principal, &claims)?;
        keys.used(&key, now);
        Ok(principal)
    }

    /// The secret, which is made if there is none.
    fn made(&self) -> Result<&(EncodingKey, DecodingKey), TokensError> {
        if let Some(signing) = self.signing.get() {
            return Ok(signing);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = read_secret(&self.path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => make_secret(&self.path),
            _ => Err(error),
        });
        let secret = secret.map_err(|source| TokensError::Secret { path: self.path.clone(), source })?;
        Ok(self.signing.get_or_init(|| pair(&secret)))
    }
}

/// What the key still has of what the token was given.
fn narrowed(key: &Principal, claims: &Claims) -> Result<Principal, Denied> {
    let list = |name: &'static str| match claims.0.get(name) {
        None => Ok(None),
        Some(value) => texts(value).map(Some).ok_or(Denied::TokenClaim(name)),
    };
    let roles = list("roles")?.ok_or(Denied::TokenClaim("roles"))?;
    let roles: Vec<Role> = roles.into_iter().filter_map(Role::parse).filter(|role| key.roles.contains(role)).collect();
    if roles.is_empty() {
        return Err(Denied::NoRole);
    }
    let sensors = match (list("sensors")?, &key.sensors) {
        (None, None) => None,
        // A key's restriction is never lifted.
        (None, Some(of_key)) => Some(of_key.clone()),
        (Some(sensors), None) => Some(sensors.into_iter().map(str::to_owned).collect()),
        (Some(sensors), Some(of_key)) => {
            let both = |sensor: &&str| of_key.iter().any(|of_key| of_key == sensor);
            Some(sensors.into_iter().filter(both).map(str::to_owned).collect())
        }
    };
    if sensors.as_ref().is_some_and(|sensors| sensors.is_empty()) {
        return Err(Denied::NoSensors);
    }
    Ok(Principal { name: key.name.clone(), key: key.key.clone(), roles: roles.into(), sensors })
}

fn pair(secret: &[u8; SECRET_BYTES]) -> (EncodingKey, DecodingKey) {
    (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret))
}

fn read_secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != SECRET_BYTES as u64 {
        return Err(wrong("it is not a file of 32 bytes; remove it, and another is made: all tokens end with it"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(wrong("others can read it: whoever did can make tokens; remove it, and another is made"));
    }
    let mut secret = [0; SECRET_BYTES];
    file.read_exact(&mut secret)?;
    Ok(secret)
}

/// Whole or not at all, also after a crash.
fn make_secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    SysRng.try_fill_bytes(&mut secret).map_err(io::Error::other)?;
    let temporary = path.with_extension("key.new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::open;
    use super::super::keys::{Lifetime, NewKey};
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    const NOW: Micros = 1_774_138_242 * time::MICROS_PER_SECOND;
    const MINUTE: Micros = 60 * time::MICROS_PER_SECOND;

    fn key(keys: &Keys, sensors: &[&str], expires: Lifetime) -> (String, String) {
        let sensors = sensors.iter().map(ToString::to_string).collect();
        let new = NewKey { name: "laptop".into(), roles: vec![Role::Analyst, Role::Developer], sensors, expires };
        let (row, secret) = keys.create(&new, "uid 7", NOW).unwrap();
        (row.id, secret.expose().to_owned())
    }

    fn wanted(text: Value) -> TokenRequest {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_time_and_no_longer_than_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, tokens) = (open(dir.path()), Tokens::new(dir.path()));
        let (_, key) = key(&keys, &[], Lifetime::For(30 * MINUTE));
        let token = tokens.issue(&keys, &key, &wanted(json!({})), NOW).unwrap();
        assert_eq!((token.expires_in, &*token.expires_at), (900, &*time::format(NOW + LIFETIME)));
        let principal = tokens.verify(&keys, &token.access_token, NOW).unwrap();
        assert_eq!((&*principal.name, &*principal.roles), ("key laptop", &[Role::Analyst, Role::Developer][..]));
        assert!(tokens.verify(&keys, &token.access_token, NOW + LIFETIME - 1).is_ok());
        assert_eq!(tokens.verify(&keys, &token.access_token, NOW + LIFETIME), Err(Denied::TokenExpired));
        assert_eq!(tokens.verify(&keys, &token.access_token, NOW - 1), Err(Denied::TokenEarly));
        let longest = tokens.issue(&keys, &key, &wanted(json!({ "lifetime": "1h" })), NOW).unwrap();
        assert_eq!(longest.expires_in, 1800, "the key ends before");
        for lifetime in ["0s", "61m", "1d", "x", "-1m", ""] {
            let refused = tokens.issue(&keys, &key, &wanted(json!({ "lifetime": lifetime })), NOW);
            assert!(matches!(refused, Err(TokensError::Lifetime)), "{lifetime}");
        }
        let again = tokens.issue(&keys, &token.access_token, &wanted(json!({})), NOW);
        assert!(matches!(again, Err(TokensError::NotAKey)), "a token must not prolong itself");
    }

    #[test]
    fn a_token_dies_with_its_key_and_with_the_secret_it_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, tokens) = (open(dir.path()), Tokens::new(dir.path()));
        let (id, first) = key(&keys, &[], Lifetime::default());
        let token = |key: &str| tokens.issue(&keys, key, &wanted(json!({})), NOW).unwrap().access_token;
        let of_first = token(&first);
        let (_, second) = keys.rotate(&id, MINUTE, "uid 7", NOW).unwrap();
        let (late, of_second) = (token(&first), token(second.expose()));
        for of_first in [&of_first, &late] {
            assert!(tokens.verify(&keys, of_first, NOW + MINUTE - 1).is_ok());
        }
        assert_eq!(tokens.verify(&keys, &of_first, NOW + MINUTE), Err(Denied::KeyReplaced));
        assert_eq!(tokens.verify(&keys, &late, NOW + MINUTE), Err(Denied::TokenExpired));
        assert!(tokens.verify(&keys, &of_second, NOW + MINUTE).is_ok());
        keys.revoke(&id, "uid 7", NOW + MINUTE).unwrap();
        assert_eq!(tokens.verify(&keys, &of_second, NOW + MINUTE), Err(Denied::KeyRevoked));
        let refused = tokens.issue(&keys, second.expose(), &wanted(json!({})), NOW + MINUTE);
        assert!(matches!(refused, Err(TokensError::Denied(Denied::KeyRevoked))));
    }

    #[test]
    fn a_token_may_less_than_its_key_and_never_more() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, tokens) = (open(dir.path()), Tokens::new(dir.path()));
        let (_, key) = key(&keys, &["a", "b"], Lifetime::default());
        let issue = |text: Value| tokens.issue(&keys, &key, &wanted(text), NOW);
        let narrow = issue(json!({ "roles": ["analyst"], "sensors": ["b"] })).unwrap();
        let principal = tokens.verify(&keys, &narrow.access_token, NOW).unwrap();
        assert_eq!((&*principal.roles, principal.sensors.as_deref()), (&[Role::Analyst][..], Some(&["b".to_owned()][..])));
        let whole = tokens.verify(&keys, &issue(json!({})).unwrap().access_token, NOW).unwrap();
        assert_eq!(whole.sensors.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert!(matches!(issue(json!({ "roles": ["admin"] })), Err(TokensError::Role(Role::Admin))));
        assert!(matches!(issue(json!({ "roles": [] })), Err(TokensError::NoRole)));
        assert!(matches!(issue(json!({ "sensors": ["a", "c"] })), Err(TokensError::Sensors)));
        assert!(matches!(issue(json!({ "sensors": [] })), Err(TokensError::Sensors)));
        assert!(serde_json::from_value::<TokenRequest>(json!({ "role": ["admin"] })).is_err());
    }

    #[test]
    fn forged_tokens_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, tokens) = (open(dir.path()), Tokens::new(dir.path()));
        let (id, key) = key(&keys, &["a"], Lifetime::default());
        let unsigned =
            jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), &json!({}), &EncodingKey::from_secret(b"")).unwrap();
        assert_eq!(tokens.verify(&keys, &unsigned, NOW), Err(Denied::TokenSignature), "before there is any secret");
        let token = tokens.issue(&keys, &key, &wanted(json!({})), NOW).unwrap().access_token;
        let parts: Vec<&str> = token.split('.').collect();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            claims
        };
        let widened = URL_SAFE_NO_PAD.encode(with("roles", json!(["admin"])).to_string());
        assert_eq!(tokens.verify(&keys, &format!("{}.{widened}.{}", parts[0], parts[2]), NOW), Err(Denied::TokenSignature));
        for (algorithm, denied) in [("none", Denied::TokenAlgorithm), ("RS256", Denied::TokenAlgorithm), ("HS384", Denied::TokenAlgorithm)]
        {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm }).to_string());
            for signature in ["", parts[2]] {
                assert_eq!(tokens.verify(&keys, &format!("{header}.{}.{signature}", parts[1]), NOW), Err(denied.clone()));
            }
        }
        // With the right secret and wrong claims.
        let signed =
            |claims: Value| jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), &claims, &tokens.made().unwrap().0).unwrap();
        let mut sensorless = claims.clone();
        sensorless.as_object_mut().unwrap().remove("sensors");
        let principal = tokens.verify(&keys, &signed(sensorless), NOW).unwrap();
        assert_eq!(principal.sensors.as_deref(), Some(&["a".to_owned()][..]), "the key's restriction stays");
        for (claims, denied) in [
            (with("roles", json!(["admin"])), Denied::NoRole),
            (with("roles", json!(7)), Denied::TokenClaim("roles")),
            (with("sensors", json!(["z"])), Denied::NoSensors),
            (with("iss", json!("https://other.example")), Denied::TokenClaim("iss")),
            (with("sub", json!("0000000000")), Denied::KeyUnknown),
            (with("sub", json!([id])), Denied::TokenClaim("sub")),
            (with("gen", json!(0)), Denied::KeyReplaced),
            (with("gen", json!(2)), Denied::KeyReplaced),
            (with("gen", json!(-1)), Denied::TokenClaim("gen")),
            (with("exp", json!(claims["iat"].as_i64().unwrap() + 7200)), Denied::TokenLifetime),
            (with("exp", json!(null)), Denied::TokenClaim("exp")),
            (with("iat", json!(null)), Denied::TokenClaim("iat")),
        ] {
            assert_eq!(tokens.verify(&keys, &signed(claims), NOW), Err(denied));
        }
    }

    #[test]
    fn the_secret_is_made_once_for_the_owner_only_and_losing_it_ends_the_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (_, key) = key(&keys, &[], Lifetime::default());
        let path = dir.path().join(FILE);
        let issue = |tokens: &Tokens| tokens.issue(&keys, &key, &wanted(json!({})), NOW);
        let tokens = Tokens::new(dir.path());
        assert!(!path.exists(), "not before it is needed");
        let token = issue(&tokens).unwrap().access_token;
        assert_eq!((path.metadata().unwrap().mode() & 0o777, path.metadata().unwrap().len()), (0o600, 32));
        assert!(Tokens::new(dir.path()).verify(&keys, &token, NOW).is_ok(), "after a restart");
        std::fs::remove_file(&path).unwrap();
        let anew = Tokens::new(dir.path());
        issue(&anew).unwrap();
        assert_eq!(anew.verify(&keys, &token, NOW), Err(Denied::TokenSignature));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(issue(&Tokens::new(dir.path())).unwrap_err().to_string().contains("others can read it"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(issue(&Tokens::new(dir.path())).unwrap_err().to_string().contains("32 bytes"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(issue(&Tokens::new(dir.path())), Err(TokensError::Secret { .. })), "a link is not followed");
    }
}
