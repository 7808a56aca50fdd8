//! One question for all credentials: who sends this? Which kind it is, it says itself by its form; whether it is good, only its own
//! verifier.
use super::issuers::Issuers;
use super::jwt::{TOKEN_BYTES_MAX, Unverified};
use super::keys::Keys;
use super::tokens::{ISSUER, TokenAnswer, TokenRequest, Tokens, TokensError};
use super::{Denied, Principal, secret};
use crate::config::Settings;
use crate::events::Micros;
use std::sync::Arc;

/// What was sent, by its form.
#[derive(Debug)]
enum Credential<'t> {
    /// `hg_…`
    Key(&'t str),
    /// Made by this daemon, or so it says.
    OurToken(Unverified<'t>),
    /// Of another issuer, or so it says.
    Token(Unverified<'t>),
}

impl<'t> Credential<'t> {
    fn of(text: &'t str) -> Result<Credential<'t>, Denied> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Denied::TooLong);
        }
        if text.starts_with(secret::PREFIX) {
            return Ok(Credential::Key(text));
        }
        if !text.contains('.') {
            return Err(Denied::Unrecognised);
        }
        let token = Unverified::read(text)?;
        Ok(if token.claims.text("iss")? == ISSUER { Credential::OurToken(token) } else { Credential::Token(token) })
    }
}

/// All that judges credentials.
#[derive(Debug)]
pub struct Credentials {
    pub keys: Arc<Keys>,
    pub tokens: Tokens,
    pub issuers: Issuers,
}

impl Credentials {
    pub fn new(keys: Arc<Keys>, settings: &Settings) -> Credentials {
        Credentials { keys, tokens: Tokens::new(&settings.data_dir), issuers: Issuers::new(&settings.issuers) }
    }

    /// Takes on what a reload may change.
    pub fn configure(&self, settings: &Settings) {
        self.issuers.configure(&settings.issuers);
    }

    /// Who sends these header fields. Of issuers' tokens it may wait for keys; must be called in a runtime.
    pub async fn verify(&self, authorization: Option<&str>, api_key: Option<&str>, now: Micros) -> Result<Principal, Denied> {
        self.verify_text(sent(authorization, api_key)?, now).await
    }

    /// Who has this key or token.
    pub async fn verify_text(&self, text: &str, now: Micros) -> Result<Principal, Denied> {
        match Credential::of(text)? {
            Credential::Key(key) => self.keys.verify(key, now),
            Credential::OurToken(token) => self.tokens.judge(&self.keys, token, now),
            Credential::Token(token) => self.issuers.judge(token, now).await,
        }
    }

    /// Makes a token for who sends a key in these header fields. The first ever waits for the disk.
    pub fn issue(
        &self,
        authorization: Option<&str>,
        api_key: Option<&str>,
        wanted: &TokenRequest,
        now: Micros,
    ) -> Result<TokenAnswer, TokensError> {
        self.tokens.issue(&self.keys, sent(authorization, api_key)?, wanted, now)
    }
}

/// The credential of `Authorization: Bearer …` and `x-api-key`. Which of two different ones is meant is not guessed.
pub fn sent<'h>(authorization: Option<&'h str>, api_key: Option<&'h str>) -> Result<&'h str, Denied> {
    let bearer = authorization.map(|field| {
        let (scheme, credential) = field.trim_matches(' ').split_once(' ').ok_or(Denied::Scheme)?;
        let credential = credential.trim_start_matches(' ');
        let is_bearer = scheme.eq_ignore_ascii_case("Bearer") && !credential.is_empty() && !credential.contains(' ');
        is_bearer.then_some(credential).ok_or(Denied::Scheme)
    });
    match (bearer.transpose()?, api_key.map(|key| key.trim_matches(' '))) {
        (None, None | Some("")) => Err(Denied::Missing),
        (Some(bearer), Some(key)) if bearer != key => Err(Denied::Ambiguous),
        (Some(credential), _) | (None, Some(credential)) => Ok(credential),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::keys::tests::open;
    use super::super::keys::{Lifetime, NewKey};
    use super::*;
    use crate::events::time;

    const NOW: Micros = 1_774_138_242 * time::MICROS_PER_SECOND;

    #[test]
    fn a_credential_is_read_from_one_header_field() {
        for (authorization, api_key, expected) in [
            (Some("Bearer abc"), None, Ok("abc")),
            (Some("bearer   abc "), None, Ok("abc")),
            (None, Some("abc"), Ok("abc")),
            (Some("Bearer abc"), Some("abc"), Ok("abc")),
            (Some("Bearer abc"), Some("abd"), Err(Denied::Ambiguous)),
            (Some("Bearer abc"), Some(""), Err(Denied::Ambiguous)),
            (None, None, Err(Denied::Missing)),
            (None, Some(" "), Err(Denied::Missing)),
            (Some(""), None, Err(Denied::Scheme)),
            (Some("Bearer"), None, Err(Denied::Scheme)),
            (Some("Bearer "), None, Err(Denied::Scheme)),
            (Some("Bearer a b"), None, Err(Denied::Scheme)),
            (Some("Basic YTpi"), Some("abc"), Err(Denied::Scheme)),
            (Some("abc"), None, Err(Denied::Scheme)),
        ] {
            assert_eq!(sent(authorization, api_key), expected, "{authorization:?} {api_key:?}");
        }
    }

    #[tokio::test]
    async fn keys_and_tokens_are_told_apart_by_their_form() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials { keys: Arc::new(open(dir.path())), tokens: Tokens::new(dir.path()), issuers: Issuers::default() };
        let new = NewKey { name: "laptop".into(), roles: vec![Role::Analyst], sensors: vec![], expires: Lifetime::default() };
        let (_, key) = credentials.keys.create(&new, "uid 7", NOW).unwrap();
        let token = credentials.issue(None, Some(key.expose()), &TokenRequest::default(), NOW).unwrap().access_token;
        let bearer = format!("Bearer {token}");
        for (authorization, api_key) in [(None, Some(key.expose())), (Some(&*bearer), None), (Some(&*bearer), Some(&*token))] {
            assert_eq!(&*credentials.verify(authorization, api_key, NOW).await.unwrap().name, "key laptop");
        }
        let of_another = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL290aGVyLmV4YW1wbGUifQ.AAAA";
        for (text, code) in [
            ("hg_", "key_mistyped"),
            ("secret", "credential_unrecognised"),
            ("a.b", "token_malformed"),
            (of_another, "issuer_unknown"),
            ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJob25leWd1aWRlIn0.AAAA", "token_algorithm"),
            ("eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "token_claim"),
            (&"h".repeat(TOKEN_BYTES_MAX + 1), "credential_too_long"),
        ] {
            assert_eq!(credentials.verify_text(text, NOW).await.unwrap_err().code(), code, "{text:.40}");
        }
        let prolonged = credentials.issue(Some(&bearer), None, &TokenRequest::default(), NOW);
        assert!(matches!(prolonged, Err(TokensError::NotAKey)));
    }
}
