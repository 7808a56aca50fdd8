//! Tokens (JWT, compact serialisation of JWS) before anything of them is believed: read within bounds, once, by one parser.
//!
//! What a token says of itself chooses only who has to vouch for it. The algorithm must be one that this verifier takes and the key's own,
//! so that no key is ever used with another algorithm than its own (RFC 8725).
use super::Denied;
use crate::events::{Micros, time};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Of a whole token, whoever made it.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
const KID_BYTES_MAX: usize = 256;
/// Seconds; beyond, a time is none.
const SECONDS_MAX: f64 = 1e12;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
    enc: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    pub claims: Claims,
    signed: &'t str,
    signature: &'t str,
}

impl<'t> Unverified<'t> {
    pub fn read(token: &'t str) -> Result<Unverified<'t>, Denied> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Denied::TooLong);
        }
        let malformed = Denied::TokenMalformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed("it has no signature"))?;
        let (header, claims) = signed.split_once('.').ok_or(malformed("it has not three parts"))?;
        if claims.contains('.') {
            return Err(malformed("it has not three parts"));
        }
        let decode = |part: &str, what| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(what));
        let header = decode(header, "its header is not base64url")?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| malformed("its header is no JSON object with `alg`"))?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            "HS256" => Algorithm::HS256,
            _ => return Err(Denied::TokenAlgorithm),
        };
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(malformed("its header asks for what is not understood here"));
        }
        let is_jwt = |typ: &str| {
            let typ = typ.to_ascii_lowercase();
            matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
        };
        if !header.typ.as_deref().is_none_or(is_jwt) {
            return Err(malformed("its type is not JWT"));
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(malformed("its key id is too long"));
        }
        let claims = decode(claims, "its claims are not base64url")?;
        let claims = serde_json::from_slice(&claims).map_err(|_| malformed("its claims are no JSON object"))?;
        Ok(Unverified { algorithm, kid: header.kid, claims: Claims(claims), signed, signature })
    }

    /// The claims, if `key` signed them.
    pub fn verify(self, key: &DecodingKey) -> Result<Claims, Denied> {
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, self.algorithm) {
            Ok(true) => Ok(self.claims),
            Ok(false) | Err(_) => Err(Denied::TokenSignature),
        }
    }
}

/// What a token says.
#[derive(Clone, Debug)]
pub(super) struct Claims(pub Map<String, Value>);

impl Claims {
    pub fn text(&self, name: &'static str) -> Result<&str, Denied> {
        self.0.get(name).and_then(Value::as_str).ok_or(Denied::TokenClaim(name))
    }

    /// A time, if it is there.
    pub fn time(&self, name: &'static str) -> Result<Option<Micros>, Denied> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.abs() <= SECONDS_MAX).ok_or(Denied::TokenClaim(name))?;
        Ok(Some((seconds * time::MICROS_PER_SECOND as f64) as Micros))
    }

    /// Whether the token holds now; the clocks may differ by `leeway`. Answers when it ends.
    pub fn within(&self, leeway: Micros, now: Micros) -> Result<Micros, Denied> {
        let ends = self.time("exp")?.ok_or(Denied::TokenClaim("exp"))?;
        if now.saturating_sub(leeway) >= ends {
            return Err(Denied::TokenExpired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|begins| begins > now.saturating_add(leeway)) {
                return Err(Denied::TokenEarly);
            }
        }
        Ok(ends)
    }

    /// A claim by its name, or, if there is none, by a path of names joined by dots.
    pub fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }
}

/// The texts of a claim that is one or a list of them; `None` for anything else.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn only_what_is_understood_whole_is_read() {
        let code = |header: &str, claims: &str| Unverified::read(&token(header, claims)).map(drop).map_err(|denied| denied.code());
        assert_eq!(code(r#"{"alg":"RS256"}"#, "{}"), Ok(()));
        assert_eq!(code(r#"{"alg":"ES256","typ":"at+JWT","kid":"a"}"#, "{}"), Ok(()));
        for algorithm in ["none", "None", "NONE", "HS512", "RS1", "rs256", "", "PS256", "RS384"] {
            assert_eq!(code(&json!({ "alg": algorithm }).to_string(), "{}"), Err("token_algorithm"), "{algorithm}");
        }
        let long = json!({ "alg": "RS256", "kid": "k".repeat(257) }).to_string();
        for header in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"RS256","enc":"A128GCM"}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RS256","typ":"secevent+jwt"}"#,
            r#"{"alg":"RS256","kid":7}"#,
            &long,
        ] {
            assert_eq!(code(header, "{}"), Err("token_malformed"), "{header}");
        }
        for claims in ["", "[]", "7", "{", "\u{0}"] {
            assert_eq!(code(r#"{"alg":"RS256"}"#, claims), Err("token_malformed"), "{claims}");
        }
        for text in ["", ".", "..", "...", "a.b", "a.b.c", "e30.e30.", "e30.e30.e30.e30.e30", "=.=.="] {
            assert_eq!(Unverified::read(text).map(drop).map_err(|denied| denied.code()), Err("token_malformed"), "{text}");
        }
        assert_eq!(Unverified::read(&"a".repeat(TOKEN_BYTES_MAX + 1)).map(drop), Err(Denied::TooLong));
        let deep = format!("{{\"a\":{}", "[".repeat(4000));
        assert_eq!(code(r#"{"alg":"RS256"}"#, &deep), Err("token_malformed"));
    }

    #[test]
    fn a_token_holds_from_its_beginning_to_its_end() {
        let now = 1_774_138_242 * time::MICROS_PER_SECOND;
        let within = |claims: Value, leeway: i64| {
            Claims(claims.as_object().expect("an object").clone()).within(leeway * time::MICROS_PER_SECOND, now)
        };
        let at = |seconds: i64| 1_774_138_242 + seconds;
        assert!(within(json!({ "exp": at(1) }), 0).is_ok());
        assert!(within(json!({ "exp": at(1) as f64 + 0.5, "nbf": at(0), "iat": at(-5) }), 0).is_ok());
        assert_eq!(within(json!({ "exp": at(0) }), 0), Err(Denied::TokenExpired));
        assert!(within(json!({ "exp": at(-29) }), 30).is_ok());
        assert_eq!(within(json!({ "exp": at(-30) }), 30), Err(Denied::TokenExpired));
        assert_eq!(within(json!({ "exp": at(9), "nbf": at(1) }), 0), Err(Denied::TokenEarly));
        assert_eq!(within(json!({ "exp": at(99), "iat": at(31) }), 30), Err(Denied::TokenEarly));
        for exp in [json!(null), json!("99999999999"), json!(1e300), json!([9]), json!(-1e13)] {
            assert_eq!(within(json!({ "exp": exp }), 0), Err(Denied::TokenClaim("exp")));
        }
        assert_eq!(within(json!({}), 0), Err(Denied::TokenClaim("exp")));
    }

    #[test]
    fn a_claim_is_found_by_its_name_before_a_path() {
        let claims = json!({ "a.b": "name", "a": { "b": "path", "c": { "d": ["x", "y"] } }, "https://e.example/roles": "r" });
        let claims = Claims(claims.as_object().expect("an object").clone());
        assert_eq!(claims.at("a.b"), Some(&json!("name")));
        assert_eq!(claims.at("a.c.d").and_then(texts), Some(vec!["x", "y"]));
        assert_eq!(claims.at("https://e.example/roles").and_then(texts), Some(vec!["r"]));
        assert_eq!((claims.at("a.c.e"), claims.at("a.b.c.d"), claims.at("")), (None, None, None));
        assert_eq!((texts(&json!(7)), texts(&json!(["a", 7]))), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}", header in "\\PC{0,60}", claims in "\\PC{0,60}") {
            let _ = Unverified::read(&text);
            let _ = Unverified::read(&token(&header, &claims));
        }
    }
}
