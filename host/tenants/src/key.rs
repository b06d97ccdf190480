//! Keys, and the digests that are stored instead of them.
//!
//! A key is `kng_ID_SECRET`. The id finds the tenant and may be shown; the secret is 256 random
//! bits and is shown once. Only the SHA-256 of the key is stored. A slow hash would protect
//! passwords that people choose from dictionary attacks; 256 random bits do not need one.

use std::fmt;

use kenning_core::error::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "kng_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// The minimum length of an admin key: usual for generated keys, and rare for passwords that
/// people choose.
const ADMIN_KEY_BYTES: usize = 16;

/// A key that was just created. Its text is not stored, so this is the only chance to show it.
pub struct NewKey {
    /// Identifies the key in listings, and when it is revoked.
    pub id: String,
    /// The whole key: `kng_`, the id, `_` and the secret.
    pub text: String,
}

impl NewKey {
    /// A random key.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random() -> Result<Self, Error> {
        let id = hex(&random::<ID_BYTES>()?);
        let text = format!("{PREFIX}{id}_{}", hex(&random::<SECRET_BYTES>()?));
        Ok(Self { id, text })
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(bytes)
}

/// The id in the text of a key, if the text has the form of one.
pub(super) fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once('_').map(|(id, _)| id)
}

/// The SHA-256 of a key.
#[derive(Clone)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `text`.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether this is the digest of `text`. Takes the same time wherever they differ.
    pub fn is_of(&self, text: &str) -> bool {
        self.0.ct_eq(&Self::of(text).0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest")
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = unhex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// The operator's key. Only its digest is kept.
#[derive(Clone, Debug)]
struct AdminKey(KeyDigest);

impl AdminKey {
    /// Accepts a key that is long enough and can be sent in an HTTP header.
    ///
    /// # Errors
    /// Says what an admin key must be; the text is not repeated.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < ADMIN_KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("an admin key must have at least 16 bytes of visible ASCII, no spaces; \
                        `openssl rand -hex 32` makes a good one");
        }
        Ok(Self(KeyDigest::of(text)))
    }

    /// Names the key in records: the first twelve hexadecimal digits of its SHA-256.
    fn id(&self) -> String {
        hex(&self.0.0[..ID_BYTES])
    }
}

/// The operator's keys, of which each is as good as the others: one can be replaced while another
/// is in use.
#[derive(Clone, Debug)]
pub struct AdminKeys(Vec<AdminKey>);

impl AdminKeys {
    /// The keys in `text`: one, or several separated by commas or on a line each.
    ///
    /// # Errors
    /// Says what an admin key must be; the text is not repeated.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
        let keys = parts.map(AdminKey::parse).collect::<Result<Vec<_>, _>>()?;
        // An empty text is refused like any other that is too short.
        if keys.is_empty() {
            AdminKey::parse("").map(|key| Self(vec![key]))
        } else {
            Ok(Self(keys))
        }
    }

    /// The id of the key that `text` is, if it is one of them.
    pub fn find(&self, text: &str) -> Option<String> {
        let given = KeyDigest::of(text);
        // All are compared, so that the time does not say which it is.
        self.0.iter().fold(None, |found, key| {
            let is_it: bool = key.0.0.ct_eq(&given.0).into();
            if is_it { Some(key.id()) } else { found }
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl<'de> Deserialize<'de> for AdminKeys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrSeveral {
            One(String),
            Several(Vec<String>),
        }
        // serde's own error would repeat the value.
        let given = OneOrSeveral::deserialize(from).map_err(|_| {
            serde::de::Error::custom("admin_key must be a string in quotes, or a list of them")
        })?;
        let text = match given {
            OneOrSeveral::One(text) => text,
            OneOrSeveral::Several(texts) => texts.join(","),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_prefix_is_random_and_matches_its_digest() {
        let (one, two) = (NewKey::random().unwrap(), NewKey::random().unwrap());
        assert!(one.text.starts_with("kng_") && one.text.len() == 4 + 12 + 1 + 64);
        assert_eq!(id_of(&one.text), Some(one.id.as_str()));
        assert!(one.id != two.id && one.text != two.text);
        let digest = KeyDigest::of(&one.text);
        assert!(digest.is_of(&one.text) && !digest.is_of(&two.text));
    }

    #[test]
    fn a_digest_survives_json_and_does_not_show_the_key() {
        let key = NewKey::random().unwrap();
        let json = serde_json::to_string(&KeyDigest::of(&key.text)).unwrap();
        assert!(!json.contains(&key.text) && !json.contains(&key.text[17..]));
        let read: KeyDigest = serde_json::from_str(&json).unwrap();
        assert!(read.is_of(&key.text));
        for broken in ["\"\"", "\"zz\"", "\"abc\"", "\"é\"", "1"] {
            assert!(serde_json::from_str::<KeyDigest>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_admin_key_is_long_and_visible() {
        assert!(AdminKey::parse("0123456789abcdef").is_ok());
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefé"] {
            assert!(AdminKey::parse(bad).is_err(), "{bad}");
        }
        let shown = format!("{:?}", AdminKey::parse("0123456789abcdef").unwrap());
        assert!(!shown.contains("0123"), "{shown}");
    }

    #[test]
    fn several_admin_keys_are_told_apart_by_their_ids() {
        let (one, two) = ("0123456789abcdef", "fedcba9876543210");
        let ids = [one, two].map(|key| AdminKey::parse(key).unwrap().id());
        for text in [format!("{one},{two}"), format!("{one}\n{two}\n"), format!(" {one} , {two},")]
        {
            let keys = AdminKeys::parse(&text).unwrap();
            assert_eq!(keys.count(), 2);
            assert_eq!([one, two].map(|key| keys.find(key).unwrap()), ids);
            assert_eq!(keys.find(&text), None);
            assert_eq!(keys.find(""), None);
        }
        for bad in ["", ",", "0123456789abcdef,short"] {
            assert!(AdminKeys::parse(bad).is_err(), "{bad}");
        }
        let listed: AdminKeys = serde_json::from_str(&format!("[\"{one}\",\"{two}\"]")).unwrap();
        assert_eq!(listed.find(two).as_ref(), Some(&ids[1]));
        let refused = serde_json::from_str::<AdminKeys>("1002200").unwrap_err().to_string();
        assert!(refused.contains("in quotes") && !refused.contains("1002200"), "{refused}");
    }
}
