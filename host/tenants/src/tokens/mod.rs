//! JSON Web Tokens: who an issuer says that a caller is.
//!
//! | file | holds |
//! |---|---|
//! | `keys` | the issuer's public keys, each with the algorithm that it is for |
//! | `source` | where they come from, and when they are read again |
//! | `verifier` | the cryptography |

mod keys;
mod source;
mod verifier;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use kenning_core::error::{Code, Error};
use kenning_storage::TenantId;
use serde_json::{Map, Value};

use super::credential::Credential;
use super::record::Attributes;
use super::scopes::{Scope, Scopes};
use keys::PublicKey;
pub use source::JwksSource;
use source::KeySource;

/// By how many seconds an issuer's clock may differ.
const LEEWAY: u64 = 30;

/// The most bytes of a subject, which guests are told.
const SUBJECT_BYTES: usize = 512;

/// Scopes may be named so, too, where an issuer has scopes of several services.
const SCOPE_PREFIX: &str = "kenning:";

/// Whose tokens are accepted, and what in them says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// What `iss` must be.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audience: Vec<String>,
    /// The issuer's keys.
    pub jwks: JwksSource,
    /// The claim with the tenant's name.
    pub tenant_claim: String,
    /// The claim with the scopes: words separated by spaces, or a list.
    pub scopes_claim: String,
    /// The claim with what extensions are told of the caller: an object.
    pub attributes_claim: Option<String>,
}

/// Checks tokens.
pub struct Tokens {
    settings: TokenSettings,
    source: Arc<KeySource>,
}

type Claims = Map<String, Value>;

impl Tokens {
    /// Accepts tokens as `settings` say. The keys are not read yet.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(settings: TokenSettings) -> Result<Self, String> {
        verifier::install();
        let source = Arc::new(KeySource::new(settings.jwks.clone())?);
        Ok(Self { settings, source })
    }

    /// Reads the keys now. Returns how many can be used.
    ///
    /// # Errors
    /// If they cannot be read, or none can be used.
    pub async fn load(&self) -> Result<usize, String> {
        self.source.load().await
    }

    /// Whether a text has the form of a token.
    pub(super) fn is_token(text: &str) -> bool {
        text.starts_with("ey") && text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Checks a token: its signature, issuer, audience and time, and what it says of the caller.
    pub(super) async fn verify(&self, text: &str) -> Result<Credential, Error> {
        let header = decode_header(text).map_err(|_| refused("this token cannot be read"))?;
        let id = header.kid.as_deref();
        let keys = self.source.keys(|keys| keys.find(id).is_some()).await;
        let Some(keys) = keys else {
            let message = format!(
                "the keys that tokens are signed with cannot be read from {}; try again",
                self.settings.jwks
            );
            return Err(Error::new(Code::Overloaded, message));
        };
        let key = keys.find(id).ok_or_else(|| match id {
            Some(_) => refused("this token is signed with a key that its issuer does not have"),
            None => refused("this token does not name its key (kid), and its issuer has several"),
        })?;
        self.credential(&self.claims(text, key)?)
    }

    fn claims(&self, text: &str, key: &PublicKey) -> Result<Claims, Error> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.settings.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let decoded = decode::<Claims>(text, &key.key, &validation);
        decoded.map(|token| token.claims).map_err(|error| reason(error.kind()))
    }

    fn credential(&self, claims: &Claims) -> Result<Credential, Error> {
        let claim = &self.settings.tenant_claim;
        let Some(name) = claims.get(claim).and_then(Value::as_str) else {
            let message =
                format!("this token names no tenant: it has no text in the claim {claim}");
            return Err(refused(&message));
        };
        let tenant = TenantId::parse(name)
            .map_err(|error| refused(&format!("the tenant of this token is no name: {error}")))?;
        let subject = claims.get("sub").and_then(Value::as_str);
        if subject.is_some_and(|subject| subject.len() > SUBJECT_BYTES) {
            let message = format!("the subject of this token has more than {SUBJECT_BYTES} bytes");
            return Err(refused(&message));
        }
        let scopes = scopes(claims.get(&self.settings.scopes_claim));
        let subject = subject.map(Arc::from);
        Ok(Credential {
            tenant,
            key_id: None,
            subject,
            attributes: self.attributes(claims)?,
            scopes,
        })
    }

    fn attributes(&self, claims: &Claims) -> Result<Option<Attributes>, Error> {
        let Some(claim) = &self.settings.attributes_claim else { return Ok(None) };
        let refuse = || {
            let message = format!("the claim {claim} of this token is no object of a kilobyte");
            refused(&message)
        };
        match claims.get(claim) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(attributes)) => Attributes::new(attributes).map_err(|_| refuse()),
            Some(_) => Err(refuse()),
        }
    }
}

/// The scopes that this server knows. Without any, a token may be used for nothing.
fn scopes(claim: Option<&Value>) -> Scopes {
    let words: Vec<&str> = match claim {
        Some(Value::String(words)) => words.split_whitespace().collect(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let known = |word: &str| Scope::parse(word.strip_prefix(SCOPE_PREFIX).unwrap_or(word));
    Scopes::only(words.into_iter().filter_map(known))
}

fn refused(message: &str) -> Error {
    Error::new(Code::Unauthorized, message)
}

fn reason(kind: &ErrorKind) -> Error {
    refused(&match kind {
        ErrorKind::ExpiredSignature => "this token has expired; get a new one".to_owned(),
        ErrorKind::ImmatureSignature => "this token is not valid yet (nbf)".to_owned(),
        ErrorKind::InvalidIssuer => "this token is of another issuer (iss)".to_owned(),
        ErrorKind::InvalidAudience => "this token is for another audience (aud)".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("this token has no claim {claim}"),
        ErrorKind::InvalidClaimFormat(claim) => {
            format!("the claim {claim} of this token is not of its type")
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "the algorithm of this token is not that of its key".to_owned()
        }
        ErrorKind::InvalidSignature => "the signature of this token is wrong".to_owned(),
        _ => "this token cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_are_words_or_a_list_and_unknown_ones_give_nothing() {
        let names = |claim: Value| scopes(Some(&claim)).names().join(" ");
        assert_eq!(names(json!("openid write  read")), "read write");
        assert_eq!(names(json!(["kenning:admin", "read", 7])), "read admin");
        for nothing in [json!("openid"), json!(""), json!([]), json!({ "read": true }), json!(1)] {
            assert_eq!(names(nothing), "");
        }
        assert!(!scopes(None).are_unlimited());
    }

    #[test]
    fn a_token_has_three_parts_and_begins_with_an_object() {
        assert!(Tokens::is_token("eyJ.eyJ.x"));
        for other in ["", "eyJ", "eyJ.x", "kng_1_2", "a.b.c", "eyJ.a.b.c.d"] {
            assert!(!Tokens::is_token(other), "{other}");
        }
    }
}
