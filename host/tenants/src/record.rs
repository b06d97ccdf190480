//! The stored record of one tenant: a document named `tenant/NAME`. Field names are the stored
//! format.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kenning_core::error::{Code, Error};
use kenning_index::Language;
use kenning_storage::{DocumentName, TenantId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::key::{self, KeyDigest, NewKey};
use super::quotas::Quotas;
use super::scopes::Scopes;

/// The prefix of the documents' names.
pub(super) const PREFIX: &str = "tenant/";

/// The maximum size of a record: all keys with the largest attributes take half of it.
pub(super) const BYTES: usize = 256 * 1024;

/// The maximum of keys of one tenant: one for each group of callers that an extension tells apart,
/// and some that are being rotated.
const KEYS: usize = 100;

/// The maximum size of a key's attributes, as JSON.
const ATTRIBUTE_BYTES: usize = 1024;

/// Milliseconds since 1970.
pub(super) type Timestamp = u64;

/// The current time, in milliseconds since 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

/// One tenant that was created.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// When, in milliseconds since 1970. Tells tenants of the same name apart.
    pub created: Timestamp,
    /// When the tenant was marked deleted. Its requests are refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
    /// The keys, in the order they were added; expired ones are removed when another is added.
    pub keys: Vec<KeyRecord>,
    /// The tenant's quotas.
    #[serde(rename = "limits")]
    pub quotas: Quotas,
    /// The language of the tenant's texts.
    #[serde(default)]
    pub language: Language,
    /// How many numbers the vectors have that the tenant's callers give; `None` if the server's
    /// embedder makes them. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_dimensions: Option<usize>,
    /// What the tenant itself may grant its extensions, by the grants' names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

/// One key of a tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyRecord {
    /// The id in the key's text.
    pub id: String,
    /// The digest of the key.
    pub sha256: KeyDigest,
    /// When it was added, in milliseconds since 1970.
    pub created: Timestamp,
    /// When it stops being valid, if that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What the operator says of the key's holder, for extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    /// What it may be used for.
    #[serde(default, skip_serializing_if = "Scopes::are_unlimited")]
    pub scopes: Scopes,
}

/// What a new key is to be.
#[derive(Clone, Debug, Default)]
pub struct KeyTerms {
    /// What the operator says of whoever has it.
    pub attributes: Option<Attributes>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it stops being valid, in milliseconds since 1970.
    pub expires: Option<Timestamp>,
}

/// How a tenant's key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Valid,
    Expired,
    /// There is none, or its secret is another.
    Unknown,
}

/// What the operator says of a key's holder: a JSON object as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes(Arc<str>);

impl Attributes {
    /// These attributes; `None` if there are none.
    ///
    /// # Errors
    /// [`Code::TooLarge`] if they take more than a kilobyte.
    pub fn new(attributes: &Map<String, Value>) -> Result<Option<Self>, Error> {
        if attributes.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string(attributes).map_err(Error::internal)?;
        match text.len() {
            0..=ATTRIBUTE_BYTES => Ok(Some(Self(text.into()))),
            used => {
                Err(Error::too_large("key_attribute_bytes", ATTRIBUTE_BYTES as u64, used as u64))
            }
        }
    }

    /// As JSON text.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(text.into()))
    }
}

impl Record {
    /// A new tenant without keys.
    pub fn new(quotas: Quotas) -> Self {
        let language = Language::default();
        let (deleted, given_dimensions, grants) = Default::default();
        let keys = Vec::new();
        Self { created: now(), deleted, keys, quotas, language, given_dimensions, grants }
    }

    /// The key whose text is `text`, if there is one, and how it stands.
    pub(super) fn key(&self, text: &str) -> (Option<&KeyRecord>, KeyState) {
        let id = key::id_of(text);
        let key = self.keys.iter().find(|key| Some(key.id.as_str()) == id);
        match key.filter(|key| self.deleted.is_none() && key.sha256.is_of(text)) {
            None => (None, KeyState::Unknown),
            Some(key) if key.is_valid() => (Some(key), KeyState::Valid),
            Some(key) => (Some(key), KeyState::Expired),
        }
    }

    /// Adds a random key on these terms, and removes expired ones.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the tenant has the maximum of keys already.
    pub fn add_key(&mut self, terms: KeyTerms) -> Result<NewKey, Error> {
        self.keys.retain(KeyRecord::is_valid);
        if self.keys.len() >= KEYS {
            let message = format!("a tenant has at most {KEYS} keys; revoke one first");
            return Err(Error::new(Code::Conflict, message));
        }
        let key = NewKey::random()?;
        let sha256 = KeyDigest::of(&key.text);
        let KeyTerms { attributes, scopes, expires } = terms;
        let (id, created) = (key.id.clone(), now());
        self.keys.push(KeyRecord { id, sha256, created, expires, attributes, scopes });
        Ok(key)
    }

    /// Lets every key except `new` expire in so many seconds, unless it expires sooner.
    pub fn retire_others(&mut self, new: &str, seconds: u64) {
        let end = now().saturating_add(seconds.saturating_mul(1_000));
        for key in self.keys.iter_mut().filter(|key| key.id != new) {
            key.expires = Some(key.expires.map_or(end, |expires| expires.min(end)));
        }
    }

    /// Removes the key with this id.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub fn revoke(&mut self, id: &str) -> Result<(), Error> {
        let before = self.keys.len();
        self.keys.retain(|key| key.id != id);
        if self.keys.len() == before {
            return Err(Error::new(Code::NotFound, "the tenant has no key with this id"));
        }
        Ok(())
    }
}

impl KeyRecord {
    /// Whether the key has not expired.
    pub fn is_valid(&self) -> bool {
        self.is_valid_at(now())
    }

    /// Whether it has not expired at `moment`.
    pub(super) fn is_valid_at(&self, moment: Timestamp) -> bool {
        self.expires.is_none_or(|expires| moment < expires)
    }
}

/// The name of a tenant's document.
pub(super) fn document(tenant: &TenantId) -> Result<DocumentName, Error> {
    DocumentName::parse(&format!("{PREFIX}{tenant}")).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::super::scopes::Scope;
    use super::*;

    impl Record {
        fn accepts(&self, text: &str) -> bool {
            self.key(text).1 == KeyState::Valid
        }
    }

    fn plain() -> KeyTerms {
        KeyTerms::default()
    }

    #[test]
    fn old_keys_work_beside_the_new_one_until_they_are_revoked() {
        let mut record = Record::new(Quotas::default());
        let (old, new) = (record.add_key(plain()).unwrap(), record.add_key(plain()).unwrap());
        assert!(record.accepts(&old.text) && record.accepts(&new.text));
        record.revoke(&old.id).unwrap();
        assert!(!record.accepts(&old.text) && record.accepts(&new.text));
        assert!(record.revoke(&old.id).is_err());
    }

    #[test]
    fn old_keys_expire_after_the_grace_period() {
        let mut record = Record::new(Quotas::default());
        let (old, new) = (record.add_key(plain()).unwrap(), record.add_key(plain()).unwrap());
        record.retire_others(&new.id, 3_600);
        assert!(record.accepts(&old.text) && record.accepts(&new.text));
        record.retire_others(&new.id, 0);
        assert!(!record.accepts(&old.text) && record.accepts(&new.text));
        record.retire_others(&new.id, 3_600);
        assert!(!record.accepts(&old.text), "an expiry is never postponed");
        let (key, state) = record.key(&old.text);
        assert_eq!((key.unwrap().id.as_str(), state), (old.id.as_str(), KeyState::Expired));
        assert_eq!(record.key(&format!("{}0", old.text)).1, KeyState::Unknown);
    }

    #[test]
    fn a_key_has_the_scopes_and_the_end_that_it_was_given() {
        let mut record = Record::new(Quotas::default());
        let scopes = Scopes::only([Scope::Read]);
        let terms = KeyTerms { scopes: scopes.clone(), expires: Some(now()), attributes: None };
        let ended = record.add_key(terms).unwrap();
        assert_eq!(record.key(&ended.text).1, KeyState::Expired);
        let json = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&json).unwrap();
        assert_eq!(read.keys[0].scopes, scopes);
        let json = json.replace(",\"scopes\":[\"read\"]", "");
        let read: Record = serde_json::from_str(&json).unwrap();
        assert_eq!(read.keys[0].scopes, Scopes::default(), "of earlier versions");
    }

    #[test]
    fn a_known_id_with_a_wrong_secret_is_refused() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key(plain()).unwrap();
        let wrong = format!("{}0", &key.text[..key.text.len() - 1]);
        let wrong = if wrong == key.text { wrong.replace("0", "1") } else { wrong };
        for text in [wrong.as_str(), "", "kng_", "kng__", key.id.as_str(), &key.text[..20]] {
            assert!(!record.accepts(text), "{text}");
        }
    }

    #[test]
    fn a_tenant_has_a_maximum_of_keys() {
        let mut record = Record::new(Quotas::default());
        let ids: Vec<_> = (0..KEYS).map(|_| record.add_key(plain()).unwrap().id).collect();
        assert_eq!(record.add_key(plain()).err().unwrap().code, Code::Conflict);
        record.revoke(&ids[0]).unwrap();
        assert!(record.add_key(plain()).is_ok());
    }

    #[test]
    fn attributes_are_bounded_and_survive_the_record() {
        let mut record = Record::new(Quotas::default());
        let attributes = Map::from_iter([("team".to_string(), Value::from("research"))]);
        let attributes = Attributes::new(&attributes).unwrap();
        record.add_key(KeyTerms { attributes, ..plain() }).unwrap();
        assert_eq!(Attributes::new(&Map::new()).unwrap(), None);
        let json = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&json).unwrap();
        let read = read.keys[0].attributes.as_ref().unwrap();
        assert_eq!(&**read.text(), r#"{"team":"research"}"#);
        let long = Map::from_iter([("x".to_string(), Value::from("x".repeat(ATTRIBUTE_BYTES)))]);
        assert_eq!(Attributes::new(&long).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_deleted_tenants_keys_are_refused() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key(plain()).unwrap();
        record.deleted = Some(now());
        assert!(!record.accepts(&key.text));
    }
}
