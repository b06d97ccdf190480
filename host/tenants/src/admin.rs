//! What an operator may do with tenants.
//!
//! Each change replaces the version of the tenant's document that was read. If another change came
//! first, the document is read again and the change repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_core::error::{Code, Error};
use kenning_index::Language;
use kenning_storage::{StorageError, TenantId};

use super::directory::Tenant;
use super::key::NewKey;
use super::quotas::Quotas;
use super::record::{self, KeyTerms, Record, document};
use super::{Tenants, storage_error};

/// How often a change is attempted while others come first.
const ATTEMPTS: usize = 5;

/// A tenant that was just created, with its first key.
pub struct Created {
    /// Its record.
    pub record: Record,
    /// Its first key.
    pub key: NewKey,
}

/// A tenant, whether it was created or only has facts.
pub struct Listed {
    /// Its name.
    pub name: TenantId,
    /// `None` for a tenant that was never created and exists because it has facts.
    pub tenant: Option<Arc<Tenant>>,
}

impl Tenants {
    /// Creates a tenant with these quotas and its texts in `language`. It owns facts that were
    /// stored under its name before. With `given_dimensions`, its callers give the vectors, of so
    /// many numbers, and there must be no facts yet.
    ///
    /// # Errors
    /// [`Code::Conflict`] if the tenant exists or is still being deleted, [`Code::InvalidRequest`]
    /// if a quota is unknown, or an error of storage.
    pub async fn create(
        &self,
        name: &TenantId,
        changes: BTreeMap<String, Option<u64>>,
        language: Language,
        given_dimensions: Option<usize>,
    ) -> Result<Created, Error> {
        let mut quotas = Quotas::default();
        quotas.change(changes)?;
        if given_dimensions.is_some() {
            self.check_has_no_facts(name).await?;
        }
        let mut record = Record { language, given_dimensions, ..Record::new(quotas) };
        let key = record.add_key(KeyTerms::default())?;
        if self.save(name, &record, None).await? {
            return Ok(Created { record, key });
        }
        let existing = self.load(name).await?;
        let message = match existing.is_some_and(|(record, _)| record.deleted.is_some()) {
            true => format!("the tenant {name} is still being deleted; try again in a minute"),
            false => format!("the tenant {name} exists already"),
        };
        Err(Error::new(Code::Conflict, message))
    }

    /// Fails if facts were stored under this name, with vectors of the server's embedder.
    async fn check_has_no_facts(&self, name: &TenantId) -> Result<(), Error> {
        let used = self.storage.usage(name, self.until()).await;
        match used.map_err(storage_error)?.facts {
            0 => Ok(()),
            facts => Err(Error::new(
                Code::Conflict,
                format!(
                    "the tenant {name} has {facts} facts with vectors of this server's embedder; \
                     a tenant with given vectors begins without facts"
                ),
            )),
        }
    }

    /// Sets the named quotas of a tenant, of which `None` lifts one, and its language and what it
    /// may grant, if they are given.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the tenant was not created, [`Code::InvalidRequest`] if a quota is
    /// unknown, [`Code::Conflict`] if too many concurrent changes came first, or an error of
    /// storage.
    pub async fn change_settings(
        &self,
        name: &TenantId,
        changes: BTreeMap<String, Option<u64>>,
        language: Option<Language>,
        grants: Option<Vec<String>>,
    ) -> Result<Record, Error> {
        let change = |record: &mut Record| {
            record.language = language.unwrap_or(record.language);
            if let Some(grants) = &grants {
                record.grants.clone_from(grants);
            }
            record.quotas.change(changes.clone())
        };
        Ok(self.change(name, change).await?.0)
    }

    /// Adds a key on these terms, which is valid at once. The others stay valid until they
    /// are revoked or, with `grace_seconds`, for so many seconds.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the tenant was not created, [`Code::Conflict`] if it has the maximum
    /// of keys or too many concurrent changes came first, or an error of storage.
    pub async fn rotate_key(
        &self,
        name: &TenantId,
        grace_seconds: Option<u64>,
        terms: KeyTerms,
    ) -> Result<NewKey, Error> {
        let change = |record: &mut Record| {
            let key = record.add_key(terms.clone())?;
            if let Some(seconds) = grace_seconds {
                record.retire_others(&key.id, seconds);
            }
            Ok(key)
        };
        Ok(self.change(name, change).await?.1)
    }

    /// Revokes the key with this id.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such tenant or key, [`Code::Conflict`] if too many
    /// concurrent changes came first, or an error of storage.
    pub async fn revoke_key(&self, name: &TenantId, id: &str) -> Result<Record, Error> {
        Ok(self.change(name, |record| record.revoke(id)).await?.0)
    }

    /// Every tenant that was created or has facts, sorted by name.
    ///
    /// # Errors
    /// If storage fails.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        self.refresh().await.map_err(storage_error)?;
        let with_facts = self.storage.tenants(self.until()).await.map_err(storage_error)?;
        let mut all: BTreeMap<TenantId, Option<Arc<Tenant>>> =
            with_facts.into_iter().map(|name| (name, None)).collect();
        let created = self.directory.load();
        all.extend(created.all().map(|tenant| (tenant.name.clone(), Some(tenant.clone()))));
        let listed = all.into_iter().map(|(name, tenant)| Listed { name, tenant });
        Ok(listed.filter(|listed| !listed.is_deleted()).collect())
    }

    /// One tenant that was created or has facts.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such tenant, or an error of storage.
    pub async fn find(&self, name: &TenantId) -> Result<Listed, Error> {
        self.refresh().await.map_err(storage_error)?;
        let listed = Listed { name: name.clone(), tenant: self.get(name) };
        let has_facts = async || {
            let tenants = self.storage.tenants(self.until()).await.map_err(storage_error)?;
            Ok::<_, Error>(tenants.contains(name))
        };
        if listed.is_deleted() || (listed.tenant.is_none() && !has_facts().await?) {
            return Err(not_found(name));
        }
        Ok(listed)
    }

    /// Marks a tenant deleted, so that its requests are refused. Succeeds for a tenant that is
    /// marked already, so that a deletion that failed halfway can be repeated.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such tenant, [`Code::Conflict`] if a concurrent change
    /// came first, or an error of storage.
    pub async fn mark_deleted(&self, name: &TenantId) -> Result<(), Error> {
        let Some((mut record, version)) = self.load(name).await? else {
            return self.mark_uncreated_deleted(name).await;
        };
        if record.deleted.is_some() {
            // Whoever marked it may have failed before other hosts had to see it.
            return self.raise(name).await;
        }
        record.deleted = Some(record::now());
        record.keys.clear();
        unless_contested(name, self.save(name, &record, Some(version)).await?)
    }

    /// Writes a record only to mark it deleted, so that other hosts see that the tenant is going.
    async fn mark_uncreated_deleted(&self, name: &TenantId) -> Result<(), Error> {
        self.find(name).await?;
        let deleted = Some(record::now());
        let record = Record { deleted, ..Record::new(Quotas::default()) };
        unless_contested(name, self.save(name, &record, None).await?)
    }

    /// Removes the record of a tenant that is marked deleted, which frees its name.
    ///
    /// # Errors
    /// If storage fails.
    pub async fn purge(&self, name: &TenantId) -> Result<(), Error> {
        let Some((record, version)) = self.load(name).await? else { return Ok(()) };
        if record.deleted.is_none() {
            return Ok(());
        }
        let name_only = std::slice::from_ref(name);
        let in_force = self.storage.registry_revisions(name_only, self.until()).await;
        let in_force = in_force.map_err(storage_error)?.first().copied().unwrap_or_default();
        let document = document(name)?;
        let delete = self.storage.delete_document(&document, version, self.until());
        delete.await.map_err(storage_error)?;
        self.apply(name, version, None);
        // Only now: hosts that know nothing of the tenant go by 0, as for one never created.
        let drop = self.storage.drop_registry(name, in_force, self.until());
        drop.await.map_err(storage_error)
    }

    async fn change<T>(
        &self,
        name: &TenantId,
        change: impl Fn(&mut Record) -> Result<T, Error>,
    ) -> Result<(Record, T), Error> {
        for _ in 0..ATTEMPTS {
            let found = self.load(name).await?.filter(|(record, _)| record.deleted.is_none());
            let (mut record, version) = found.ok_or_else(|| not_found(name))?;
            let value = change(&mut record)?;
            if self.save(name, &record, Some(version)).await? {
                return Ok((record, value));
            }
        }
        Err(contested(name))
    }

    async fn load(&self, name: &TenantId) -> Result<Option<(Record, u64)>, Error> {
        let document = document(name)?;
        let read = self.storage.read_document(&document, record::BYTES, self.until());
        let Some(read) = read.await.map_err(storage_error)? else { return Ok(None) };
        let record = serde_json::from_slice(&read.bytes).map_err(Error::internal)?;
        Ok(Some((record, read.version)))
    }

    /// Writes the record if its version is still `expected`, and returns whether it did.
    async fn save(
        &self,
        name: &TenantId,
        record: &Record,
        expected: Option<u64>,
    ) -> Result<bool, Error> {
        let bytes = serde_json::to_vec(record).map_err(Error::internal)?;
        let document = document(name)?;
        let write = self.storage.write_document(&document, &bytes, expected, self.until());
        let written = write.await.map_err(storage_error)?;
        if let Some(version) = written {
            self.apply(name, version, Some(record.clone()));
            self.raise(name).await?;
        }
        Ok(written.is_some())
    }

    /// Has storage refuse callers that go by an earlier record. If that fails, the record is
    /// written all the same.
    async fn raise(&self, name: &TenantId) -> Result<(), Error> {
        let raised = self.storage.raise_registry(name, self.until()).await;
        let uncertain = |error| storage_error(StorageError::Uncertain(Box::new(error)));
        raised.map(drop).map_err(uncertain)
    }
}

impl Listed {
    /// The tenant's record, if it was created.
    pub fn record(&self) -> Option<&Record> {
        self.tenant.as_ref().map(|tenant| &tenant.record)
    }

    fn is_deleted(&self) -> bool {
        self.record().is_some_and(|record| record.deleted.is_some())
    }
}

/// A deletion is not repeated: whoever changed the tenant meanwhile may want to keep it.
fn unless_contested(name: &TenantId, written: bool) -> Result<(), Error> {
    if written { Ok(()) } else { Err(contested(name)) }
}

fn contested(name: &TenantId) -> Error {
    let message = format!("the tenant {name} was changed at the same time; try again");
    Error::new(Code::Conflict, message)
}

fn not_found(name: &TenantId) -> Error {
    Error::new(Code::NotFound, format!("there is no tenant {name}"))
}
