//! What is kept of one tenant: a document, `tenant/NAME`.

use std::time::{SystemTime, UNIX_EPOCH};

use kenning_storage::{DocumentName, TenantId};
use serde::{Deserialize, Serialize};

use super::key::{self, KeyDigest, NewKey};
use super::quotas::Quotas;
use kenning_core::error::{Code, Error};

/// What the names of tenants' documents begin with.
pub(super) const PREFIX: &str = "tenant/";

/// The most bytes of a record: keys and quotas are a few kilobytes.
pub(super) const BYTES: usize = 64 * 1024;

/// Keys of one tenant at once: those in use, and some on their way in and out.
const KEYS: usize = 10;

/// Milliseconds since 1970.
pub(super) type Moment = u64;

pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(Moment::MAX)
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    pub created: Moment,
    /// When its deletion began. From then on nobody gets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Moment>,
    pub keys: Vec<KeyRecord>,
    pub limits: Quotas,
}

/// One key of a tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyRecord {
    pub id: String,
    pub sha256: KeyDigest,
    pub created: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
}

impl Record {
    pub fn new(limits: Quotas) -> Self {
        Self { created: now(), deleted: None, keys: Vec::new(), limits }
    }

    /// Whether `text` is one of the keys, and still good.
    pub fn accepts(&self, text: &str) -> bool {
        let id = key::id_of(text);
        let key = self.keys.iter().find(|key| Some(key.id.as_str()) == id);
        self.deleted.is_none() && key.is_some_and(|key| key.is_good() && key.sha256.is_of(text))
    }

    /// Adds a key.
    pub fn add_key(&mut self) -> Result<NewKey, Error> {
        self.keys.retain(KeyRecord::is_good);
        if self.keys.len() >= KEYS {
            let message = format!("a tenant has at most {KEYS} keys; revoke one first");
            return Err(Error::new(Code::Conflict, message));
        }
        let key = NewKey::random()?;
        let sha256 = KeyDigest::of(&key.text);
        self.keys.push(KeyRecord { id: key.id.clone(), sha256, created: now(), expires: None });
        Ok(key)
    }

    /// Lets every key but `new` expire in so many seconds, those that would not sooner.
    pub fn retire_others(&mut self, new: &str, seconds: u64) {
        let end = now().saturating_add(seconds.saturating_mul(1_000));
        for key in self.keys.iter_mut().filter(|key| key.id != new) {
            key.expires = Some(key.expires.map_or(end, |expires| expires.min(end)));
        }
    }

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
    pub fn is_good(&self) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }
}

pub(super) fn document(tenant: &TenantId) -> Result<DocumentName, Error> {
    DocumentName::parse(&format!("{PREFIX}{tenant}")).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_keys_work_beside_the_new_one_until_they_are_revoked() {
        let mut record = Record::new(Quotas::default());
        let (old, new) = (record.add_key().unwrap(), record.add_key().unwrap());
        assert!(record.accepts(&old.text) && record.accepts(&new.text));
        record.revoke(&old.id).unwrap();
        assert!(!record.accepts(&old.text) && record.accepts(&new.text));
        assert!(record.revoke(&old.id).is_err());
    }

    #[test]
    fn old_keys_end_with_their_grace_period() {
        let mut record = Record::new(Quotas::default());
        let (old, new) = (record.add_key().unwrap(), record.add_key().unwrap());
        record.retire_others(&new.id, 3_600);
        assert!(record.accepts(&old.text) && record.accepts(&new.text));
        record.retire_others(&new.id, 0);
        assert!(!record.accepts(&old.text) && record.accepts(&new.text));
        record.retire_others(&new.id, 3_600);
        assert!(!record.accepts(&old.text), "an end is never put off");
    }

    #[test]
    fn a_right_id_with_a_wrong_secret_is_no_key() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key().unwrap();
        let wrong = format!("{}0", &key.text[..key.text.len() - 1]);
        let wrong = if wrong == key.text { wrong.replace("0", "1") } else { wrong };
        for text in [wrong.as_str(), "", "kng_", "kng__", key.id.as_str(), &key.text[..20]] {
            assert!(!record.accepts(text), "{text}");
        }
    }

    #[test]
    fn a_tenant_has_so_many_keys_and_no_more() {
        let mut record = Record::new(Quotas::default());
        let ids: Vec<_> = (0..KEYS).map(|_| record.add_key().unwrap().id).collect();
        assert_eq!(record.add_key().err().unwrap().code, Code::Conflict);
        record.revoke(&ids[0]).unwrap();
        assert!(record.add_key().is_ok());
    }

    #[test]
    fn a_deleted_tenants_keys_are_no_good() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key().unwrap();
        record.deleted = Some(now());
        assert!(!record.accepts(&key.text));
    }
}
