//! What an operator may do with tenants. Each change is one write of the tenant's document, over
//! the version that was read: of two at once, the second is done again on top of the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_storage::TenantId;

use super::directory::Tenant;
use super::key::NewKey;
use super::quotas::Quotas;
use super::record::{self, Record, document};
use super::{Tenants, unavailable};
use kenning_core::error::{Code, Error};

/// How often a change is done again because another came first.
const ATTEMPTS: usize = 5;

/// A tenant that was just created, with its first key.
pub struct Created {
    pub record: Record,
    pub key: NewKey,
}

/// A tenant in the list of all.
pub struct Listed {
    pub name: TenantId,
    /// `None` for one that exists from its first fact and was never created.
    pub tenant: Option<Arc<Tenant>>,
}

impl Tenants {
    /// Creates a tenant. Facts that are there under its name already are its own.
    pub async fn create(
        &self,
        name: &TenantId,
        limits: BTreeMap<String, Option<u64>>,
    ) -> Result<Created, Error> {
        let mut quotas = Quotas::default();
        quotas.change(limits)?;
        let mut record = Record::new(quotas);
        let key = record.add_key()?;
        if self.save(name, &record, None).await? {
            return Ok(Created { record, key });
        }
        let there = self.load(name).await?;
        let message = match there.is_some_and(|(record, _)| record.deleted.is_some()) {
            true => format!("the tenant {name} is still being deleted; try again in a minute"),
            false => format!("there is a tenant {name} already"),
        };
        Err(Error::new(Code::Conflict, message))
    }

    pub async fn change_limits(
        &self,
        name: &TenantId,
        limits: BTreeMap<String, Option<u64>>,
    ) -> Result<Record, Error> {
        let change = |record: &mut Record| record.limits.change(limits.clone());
        Ok(self.change(name, change).await?.0)
    }

    /// A new key, good at once. The others stay good until they are revoked or, with
    /// `grace_seconds`, for so long.
    pub async fn rotate_key(
        &self,
        name: &TenantId,
        grace_seconds: Option<u64>,
    ) -> Result<NewKey, Error> {
        let change = |record: &mut Record| {
            let key = record.add_key()?;
            if let Some(seconds) = grace_seconds {
                record.retire_others(&key.id, seconds);
            }
            Ok(key)
        };
        Ok(self.change(name, change).await?.1)
    }

    pub async fn revoke_key(&self, name: &TenantId, id: &str) -> Result<Record, Error> {
        Ok(self.change(name, |record| record.revoke(id)).await?.0)
    }

    /// Every tenant that was created or has facts, by name.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        self.refresh().await?;
        let with_facts = self.storage.tenants(self.until()).await.map_err(unavailable)?;
        let mut all: BTreeMap<TenantId, Option<Arc<Tenant>>> =
            with_facts.into_iter().map(|name| (name, None)).collect();
        let created = self.directory.load();
        all.extend(created.all().map(|tenant| (tenant.name.clone(), Some(tenant.clone()))));
        let listed = all.into_iter().map(|(name, tenant)| Listed { name, tenant });
        Ok(listed.filter(|listed| !listed.is_deleted()).collect())
    }

    /// One tenant that was created or has facts.
    pub async fn find(&self, name: &TenantId) -> Result<Listed, Error> {
        self.refresh().await?;
        let listed = Listed { name: name.clone(), tenant: self.get(name) };
        let has_facts = async || {
            let tenants = self.storage.tenants(self.until()).await.map_err(unavailable)?;
            Ok::<_, Error>(tenants.contains(name))
        };
        if listed.is_deleted() || (listed.tenant.is_none() && !has_facts().await?) {
            return Err(absent(name));
        }
        Ok(listed)
    }

    /// Marks a tenant deleted, so that nobody gets in any more. Again for one that is: a deletion
    /// that failed on its way may be asked for again.
    pub async fn mark_deleted(&self, name: &TenantId) -> Result<(), Error> {
        let Some((mut record, version)) = self.load(name).await? else {
            return self.mark_uncreated_deleted(name).await;
        };
        if record.deleted.is_some() {
            return Ok(());
        }
        record.deleted = Some(record::now());
        record.keys.clear();
        if_won(name, self.save(name, &record, Some(version)).await?)
    }

    /// It exists from its first fact. Other hosts learn from a record that it goes.
    async fn mark_uncreated_deleted(&self, name: &TenantId) -> Result<(), Error> {
        self.find(name).await?;
        let deleted = Some(record::now());
        let record = Record { deleted, ..Record::new(Quotas::default()) };
        if_won(name, self.save(name, &record, None).await?)
    }

    /// Removes the record of a deleted tenant: its name is free again.
    pub async fn purge(&self, name: &TenantId) -> Result<(), Error> {
        let Some((record, version)) = self.load(name).await? else { return Ok(()) };
        if record.deleted.is_none() {
            return Ok(());
        }
        let document = document(name)?;
        let delete = self.storage.delete_document(&document, version, self.until());
        delete.await.map_err(unavailable)?;
        self.take_in(name, version, None);
        Ok(())
    }

    async fn change<T>(
        &self,
        name: &TenantId,
        change: impl Fn(&mut Record) -> Result<T, Error>,
    ) -> Result<(Record, T), Error> {
        for _ in 0..ATTEMPTS {
            let found = self.load(name).await?.filter(|(record, _)| record.deleted.is_none());
            let (mut record, version) = found.ok_or_else(|| absent(name))?;
            let done = change(&mut record)?;
            if self.save(name, &record, Some(version)).await? {
                return Ok((record, done));
            }
        }
        Err(contested(name))
    }

    async fn load(&self, name: &TenantId) -> Result<Option<(Record, u64)>, Error> {
        let document = document(name)?;
        let read = self.storage.read_document(&document, record::BYTES, self.until());
        let Some(read) = read.await.map_err(unavailable)? else { return Ok(None) };
        let record = serde_json::from_slice(&read.bytes).map_err(Error::internal)?;
        Ok(Some((record, read.version)))
    }

    /// Whether the record was written: not if its version is no longer `expected`.
    async fn save(
        &self,
        name: &TenantId,
        record: &Record,
        expected: Option<u64>,
    ) -> Result<bool, Error> {
        let bytes = serde_json::to_vec(record).map_err(Error::internal)?;
        let document = document(name)?;
        let write = self.storage.write_document(&document, &bytes, expected, self.until());
        let written = write.await.map_err(unavailable)?;
        if let Some(version) = written {
            self.take_in(name, version, Some(record.clone()));
        }
        Ok(written.is_some())
    }
}

impl Listed {
    pub fn record(&self) -> Option<&Record> {
        self.tenant.as_ref().map(|tenant| &tenant.record)
    }

    fn is_deleted(&self) -> bool {
        self.record().is_some_and(|record| record.deleted.is_some())
    }
}

/// Deleting is not tried again by itself: whoever changed the tenant meanwhile may want it kept.
fn if_won(name: &TenantId, won: bool) -> Result<(), Error> {
    if won { Ok(()) } else { Err(contested(name)) }
}

fn contested(name: &TenantId) -> Error {
    let message = format!("others are changing the tenant {name} too; try again");
    Error::new(Code::Conflict, message)
}

fn absent(name: &TenantId) -> Error {
    Error::new(Code::NotFound, format!("there is no tenant {name}"))
}
