//! An issuer of JSON Web Tokens, with keys of its own. It signs whatever it is asked to.

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenning_tests::openssl;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

pub(super) const ISSUER: &str = "https://id.example/";
pub(super) const AUDIENCE: &str = "kenning";

/// A pair of keys.
pub(super) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
}

impl Pair {
    pub(super) async fn rsa() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = ["-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER", "-out", "key"];
        openssl(folder.path(), &[&["genpkey", "-algorithm", "RSA"], &options[..]].concat()).await?;
        let der = std::fs::read(folder.path().join("key"))?;
        // Which of the two forms it writes depends on the version.
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        Ok(Self::Rsa(Box::new(pair.map_err(rejected)?)))
    }

    pub(super) fn ec() -> Result<Self> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let der = der.map_err(|_| anyhow!("no key"))?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random)
                .map_err(rejected)?;
        Ok(Self::Ec(Box::new(pair)))
    }

    pub(super) fn ed() -> Result<Self> {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let der = der.map_err(|_| anyhow!("no key"))?;
        Ok(Self::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(rejected)?))
    }

    /// The algorithm that the key is for.
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key, as a key set lists it.
    pub(super) fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } =
                    PublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (text(&n), text(&e));
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": n, "e": e })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(x), "y": text(y) })
            }
            Self::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": x })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("not signed");
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().into()),
            Self::Ed(pair) => Ok(pair.sign(message).as_ref().into()),
        }
    }

    /// A token with this key, whose head says so.
    pub(super) fn token(&self, id: &str, claims: &Value) -> Result<String> {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": id, "typ": "JWT" }), claims)
    }

    /// A token with this key, whatever its head says.
    pub(super) fn token_with(&self, head: &Value, claims: &Value) -> Result<String> {
        let message = unsigned(head, claims);
        let signature = text(&self.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }

    /// A token signed by HMAC with what everybody knows of this key.
    pub(super) fn token_by_hmac(&self, id: &str, claims: &Value) -> Result<String> {
        let public = self.public(id);
        let known = ["n", "x"].iter().find_map(|name| public[*name].as_str());
        let known = URL_SAFE_NO_PAD.decode(known.context("a public key")?)?;
        let message = unsigned(&json!({ "alg": "HS256", "kid": id }), claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &known), message.as_bytes());
        Ok(format!("{message}.{}", text(tag.as_ref())))
    }
}

fn rejected(error: ring::error::KeyRejected) -> anyhow::Error {
    anyhow!("{error}")
}

/// Head and claims as a token has them.
pub(super) fn unsigned(head: &Value, claims: &Value) -> String {
    format!("{}.{}", text(head.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// The claims of a good token of `acme` that reads and writes, with others in their places; `null`
/// leaves one out.
pub(super) fn claims(others: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "sub": "ada", "tenant": "acme",
        "scope": "openid read write",
    });
    for (name, value) in others.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    if let Value::Object(claims) = &mut claims {
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

/// What a `kenning.toml` says of the issuer, whose keys are at `jwks`.
pub(super) fn config(jwks: &str) -> String {
    format!("[jwt]\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\njwks = \"{jwks}\"\n")
}
