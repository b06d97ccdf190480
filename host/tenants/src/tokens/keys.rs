//! The public keys of an issuer, as a JSON Web Key Set lists them. The algorithm of a token is that
//! of its key, whatever its head says.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

/// The fewest bytes of an RSA modulus.
const RSA_BYTES: usize = 256;

/// The bytes of a point on P-256, uncompressed, and of an Ed25519 key.
const EC_BYTES: usize = 65;
const ED_BYTES: usize = 32;

/// One public key.
pub(super) struct PublicKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys that tokens may be signed with.
pub(super) struct PublicKeys(Vec<PublicKey>);

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl PublicKeys {
    /// The usable keys of a key set: others are left out, because an issuer may have keys for other
    /// purposes.
    ///
    /// # Errors
    /// If it is no key set, or no key in it can be used.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let KeySet { keys } = serde_json::from_slice(json)
            .map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
        let usable: Vec<_> = keys.into_iter().filter_map(usable).collect();
        match usable.is_empty() {
            true => Err("none of its keys is for RS256 (2048 bits or more), ES256 or EdDSA".into()),
            false => Ok(Self(usable)),
        }
    }

    /// The key with this id. A token may leave the id out if there is only one key.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&PublicKey> {
        match (id, &*self.0) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn usable(value: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let is_for_another = jwk.common.key_algorithm.is_some_and(|other| other != named);
    if !signs || is_for_another {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let fits = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= RSA_BYTES,
        DecodingKeyKind::SecretOrDer(bytes) => match algorithm {
            Algorithm::ES256 => bytes.len() == EC_BYTES,
            _ => bytes.len() == ED_BYTES,
        },
    };
    fits.then_some(PublicKey { id: jwk.common.key_id, algorithm, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";

    fn ec(id: Value, more: Value) -> Value {
        let mut key = json!({ "kty": "EC", "crv": "P-256", "x": X, "y": X, "kid": id });
        for (name, value) in more.as_object().into_iter().flatten() {
            key[name] = value.clone();
        }
        key
    }

    fn parse(keys: &[Value]) -> Result<PublicKeys, String> {
        PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_for_other_purposes_and_of_other_kinds_are_left_out() {
        let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256" });
        for other in [
            secret,
            ec(json!("e"), json!({ "use": "enc" })),
            ec(json!("p"), json!({ "alg": "ES384" })),
            ec(json!("p"), json!({ "crv": "P-384" })),
            ec(json!("p"), json!({ "crv": "secp256k1" })),
            ec(json!("p"), json!({ "x": "AQAB" })),
            json!({ "kty": "RSA", "n": "A".repeat(342), "e": "AQAB", "alg": "RS512" }),
            json!({ "kty": "RSA", "n": "A".repeat(171), "e": "AQAB" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQAB" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": X }),
            json!({ "kty": "new" }),
            json!(1),
        ] {
            assert!(parse(std::slice::from_ref(&other)).is_err(), "{other}");
            let with_a_good_one = parse(&[other, ec(json!("good"), json!({}))]).unwrap();
            assert_eq!(with_a_good_one.len(), 1);
        }
        for broken in ["", "{}", "[]", "{\"keys\":1}"] {
            assert!(PublicKeys::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_token_names_its_key_unless_there_is_only_one() {
        let one = parse(&[ec(json!("a"), json!({}))]).unwrap();
        assert!(one.find(None).is_some() && one.find(Some("a")).is_some());
        assert!(one.find(Some("b")).is_none());
        let two = parse(&[ec(json!("a"), json!({})), ec(json!("b"), json!({}))]).unwrap();
        assert!(two.find(None).is_none() && two.find(Some("b")).is_some());
    }
}
