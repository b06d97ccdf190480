//! `storage` and `storage-write`: the tenant's facts.

use std::time::Instant;

use kenning_bindings::kenning::knowledge::{storage, storage_write};
use kenning_storage::{Condition, FactId, FactQuota, IdPage, Revision, StorageError, Write};
use wasmtime::Result;

use super::{check_items, fact_id, fact_ids};
use crate::outcome::Waiting;
use crate::state::State;
use crate::wit::{Error, Field, Hash};

/// The revision of a captured write, which storage does not see.
const CAPTURED: Revision = Revision(0);

impl storage::Host for State {
    async fn read(&mut self, ids: Vec<String>) -> Result<Result<Vec<Option<Hash>>, Error>> {
        self.enter()?;
        Ok(self.read_hashes(&ids).await)
    }

    async fn page(
        &mut self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<Result<storage::IdPage, Error>> {
        self.enter()?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        let page = services.storage.page(&tenant, cursor.as_deref(), limit as usize, until);
        let page = self.wait(Waiting::Storage, page).await;
        Ok(page.map(id_page).map_err(|error| self.storage_error(error)))
    }
}

impl storage_write::Host for State {
    async fn write(
        &mut self,
        writes: Vec<storage_write::HashWrite>,
    ) -> Result<Result<Vec<bool>, Error>> {
        self.enter()?;
        Ok(self.write_hashes(writes).await)
    }

    async fn delete(&mut self, id: String) -> Result<Result<bool, Error>> {
        self.enter()?;
        Ok(self.delete_hash(&id).await)
    }
}

impl State {
    async fn read_hashes(&mut self, ids: &[String]) -> Result<Vec<Option<Hash>>, Error> {
        let ids = fact_ids(ids)?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        let bytes = services.limits.host_call_bytes;
        let revisions = services.indexes.revisions(&tenant, &ids);
        let read = services.storage.read(&tenant, &ids, bytes, until);
        let read = self.wait(Waiting::Storage, read).await;
        let hashes = read.map_err(|error| self.storage_error(error))?;
        for ((id, revision), hash) in ids.iter().zip(revisions).zip(&hashes) {
            if let (Some(revision), None) = (revision, hash) {
                services.indexes.remove_missing(&tenant, id, revision);
            }
        }
        let found = ids.into_iter().zip(&hashes).filter(|(_, hash)| hash.is_some());
        self.facts.extend(found.map(|(id, _)| id));
        Ok(hashes.into_iter().map(|hash| hash.map(to_hash)).collect())
    }

    async fn write_hashes(
        &mut self,
        writes: Vec<storage_write::HashWrite>,
    ) -> Result<Vec<bool>, Error> {
        check_items(writes.len())?;
        let writes = writes.into_iter().map(to_write).collect::<Result<Vec<_>, _>>()?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        if self.captured.is_some() {
            return self.capture_writes(writes).await;
        }
        let quota = services.tenants.fact_quota(&tenant);
        self.check_quota(quota, &writes, until).await?;
        let written = services.storage.write_within(&tenant, &writes, quota, until);
        let written = self.wait(Waiting::StorageWrite, written).await;
        let revisions = written.map_err(|error| self.storage_error(error))?;
        let happened = revisions.iter().map(Option::is_some).collect();
        for (write, revision) in writes.into_iter().zip(revisions) {
            if let Some(revision) = revision {
                self.facts.push(write.id.clone());
                self.unindexed.insert(write.id.clone());
                self.revisions.insert(write.id, revision);
            }
        }
        Ok(happened)
    }

    /// Refuses a batch that exceeds the quota as a whole, so that none of it is written. Storage
    /// stops concurrent writers that pass this check together, write by write.
    async fn check_quota(
        &mut self,
        quota: FactQuota,
        writes: &[Write],
        until: Instant,
    ) -> Result<(), Error> {
        if writes.len() < 2 || quota == FactQuota::default() {
            return Ok(());
        }
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let used = services.storage.usage(&tenant, until);
        let used = self.wait(Waiting::Storage, used).await;
        let used = used.map_err(|error| self.storage_error(error))?;
        let new = writes.iter().filter(|write| write.condition == Condition::Absent);
        let bytes = |write: &Write| -> usize {
            write.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
        };
        let (facts, bytes) = new.fold((0, 0), |sum, write| (sum.0 + 1, sum.1 + bytes(write)));
        let quotas = [
            ("facts", quota.facts, used.facts, facts),
            ("bytes", quota.bytes, used.bytes, bytes as u64),
        ];
        let full = quotas.into_iter().find_map(|(quota, allowed, used, more)| {
            let allowed = allowed.filter(|allowed| used + more > *allowed)?;
            Some(StorageError::QuotaExceeded { quota, allowed, used })
        });
        full.map_or(Ok(()), |full| Err(self.storage_error(full)))
    }

    async fn delete_hash(&mut self, id: &str) -> Result<bool, Error> {
        let id = fact_id(id)?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        if self.captured.is_some() {
            return self.capture_delete(id).await;
        }
        let until = self.until(services.limits.storage_operation);
        let indexed = services.indexes.revisions(&tenant, std::slice::from_ref(&id));
        let deleted = services.storage.delete(&tenant, &id, until);
        let deleted = self.wait(Waiting::StorageWrite, deleted).await;
        match deleted.map_err(|error| self.storage_error(error))? {
            Some(revision) => {
                self.revisions.insert(id, revision);
                Ok(true)
            }
            None => {
                if let Some(revision) = indexed.into_iter().flatten().next() {
                    services.indexes.remove_missing(&tenant, &id, revision);
                }
                Ok(false)
            }
        }
    }
}

/// Dry runs: storage is read and not changed.
impl State {
    async fn capture_writes(&mut self, writes: Vec<Write>) -> Result<Vec<bool>, Error> {
        let ids: Vec<FactId> = writes.iter().map(|write| write.id.clone()).collect();
        let exist = self.exist(&ids).await?;
        let mut happened = Vec::with_capacity(writes.len());
        for (write, exists) in writes.iter().zip(exist) {
            let happens = self.captured.as_mut().is_some_and(|all| all.write(write, exists));
            if happens {
                self.facts.push(write.id.clone());
                self.revisions.insert(write.id.clone(), CAPTURED);
            }
            happened.push(happens);
        }
        Ok(happened)
    }

    async fn capture_delete(&mut self, id: FactId) -> Result<bool, Error> {
        let exists = self.exist(std::slice::from_ref(&id)).await?[0];
        let happens = self.captured.as_mut().is_some_and(|all| all.delete(&id, exists));
        if happens {
            self.revisions.insert(id, CAPTURED);
        }
        Ok(happens)
    }

    /// For each id, whether storage has the fact.
    async fn exist(&mut self, ids: &[FactId]) -> Result<Vec<bool>, Error> {
        let mut exist = Vec::with_capacity(ids.len());
        while exist.len() < ids.len() {
            let (services, tenant) = (self.services.clone(), self.tenant.clone());
            let until = self.until(services.limits.storage_operation);
            let bytes = services.limits.host_call_bytes;
            let read = services.storage.read(&tenant, &ids[exist.len()..], bytes, until);
            let read = self.wait(Waiting::Storage, read).await;
            let read = read.map_err(|error| self.storage_error(error))?;
            exist.extend(read.iter().map(Option::is_some));
        }
        Ok(exist)
    }
}

fn id_page(page: IdPage) -> storage::IdPage {
    let ids = page.ids.iter().map(ToString::to_string).collect();
    storage::IdPage { ids, cursor: page.cursor }
}

fn to_hash(fields: kenning_storage::Hash) -> Hash {
    let fields = fields.into_iter().map(|(name, value)| Field { name, value }).collect();
    Hash { fields }
}

fn to_write(write: storage_write::HashWrite) -> Result<Write, Error> {
    Ok(Write {
        id: fact_id(&write.id)?,
        fields: write.fields.into_iter().map(|field| (field.name, field.value)).collect(),
        condition: match write.condition {
            storage_write::Condition::Absent => Condition::Absent,
            storage_write::Condition::Present => Condition::Present,
        },
        order: write.order,
    })
}
