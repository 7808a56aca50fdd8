//! Why a credential was refused: one closed list, each with a code for programs and a sentence for people.
//!
//! What is told never helps to guess: an unknown key and a wrong secret are the same, and that a key is expired or revoked learns only
//! who holds its secret. What a token says of itself (algorithm, key id, issuer) is not repeated.
use super::keys::SENSORS_MAX;

/// Why nobody was recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("no credential: send an API key as `x-api-key`, or a key or token as `Authorization: Bearer …`")]
    Missing,
    #[error("the header field with the credential is not `Bearer` and one word: send `Authorization: Bearer …`")]
    Scheme,
    #[error("two different credentials: send either `x-api-key` or `Authorization`")]
    Ambiguous,
    #[error("this is neither an API key (hg_…) nor a token (JWT)")]
    Unrecognised,
    #[error("the credential is longer than any that is taken")]
    TooLong,
    #[error("the API key is mistyped: its checksum does not fit; copy it whole")]
    KeyMistyped,
    #[error("the API key is not known")]
    KeyUnknown,
    #[error("the API key has expired: rotate it, or make another")]
    KeyExpired,
    #[error("the API key was revoked")]
    KeyRevoked,
    #[error("this secret of the API key was replaced: use the one that the rotation showed")]
    KeyReplaced,
    #[error("the token cannot be read: {0}")]
    TokenMalformed(&'static str),
    #[error("the token's algorithm is not one that is taken here")]
    TokenAlgorithm,
    #[error("the token's signature is wrong")]
    TokenSignature,
    #[error("the token has expired: ask for another")]
    TokenExpired,
    #[error("the token is not valid yet: is a clock wrong?")]
    TokenEarly,
    #[error("the token's lifetime is longer than its issuer may give")]
    TokenLifetime,
    #[error("the token is meant for another audience")]
    TokenAudience,
    #[error("the token lacks the claim `{0}`, or it has another type than it must have")]
    TokenClaim(&'static str),
    #[error("the token's issuer is not one that is configured")]
    IssuerUnknown,
    #[error("the issuer has no such key for signatures")]
    IssuerKeyUnknown,
    #[error("the issuer's keys cannot be had at the moment: try again later")]
    IssuerUnavailable,
    #[error("the token gives no role here: the issuer's `roles` say which values do")]
    NoRole,
    #[error("the token gives no sensors, or more than {SENSORS_MAX}, and its issuer must say which")]
    NoSensors,
}

impl Denied {
    /// For programs; never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Denied::Missing => "no_credential",
            Denied::Scheme => "credential_scheme",
            Denied::Ambiguous => "credential_ambiguous",
            Denied::Unrecognised => "credential_unrecognised",
            Denied::TooLong => "credential_too_long",
            Denied::KeyMistyped => "key_mistyped",
            Denied::KeyUnknown => "key_unknown",
            Denied::KeyExpired => "key_expired",
            Denied::KeyRevoked => "key_revoked",
            Denied::KeyReplaced => "key_replaced",
            Denied::TokenMalformed(_) => "token_malformed",
            Denied::TokenAlgorithm => "token_algorithm",
            Denied::TokenSignature => "token_signature",
            Denied::TokenExpired => "token_expired",
            Denied::TokenEarly => "token_not_yet_valid",
            Denied::TokenLifetime => "token_lifetime",
            Denied::TokenAudience => "token_audience",
            Denied::TokenClaim(_) => "token_claim",
            Denied::IssuerUnknown => "issuer_unknown",
            Denied::IssuerKeyUnknown => "issuer_key_unknown",
            Denied::IssuerUnavailable => "issuer_unavailable",
            Denied::NoRole => "no_role",
            Denied::NoSensors => "no_sensors",
        }
    }

    /// The same credential may be taken later: an answer of 503, not 401.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Denied::IssuerUnavailable)
    }
}
