//! `storage` and `storage-write`: the tenant's facts.

use std::time::Instant;

use kenning_bindings::kenning::knowledge::{storage, storage_write};
use kenning_storage::{
    Condition, FactId, FactQuota, IdPage, RegistryRevision, Revision, Storage, StorageError,
    TenantId, Write,
};
use wasmtime::Result;

use super::{answer, check_items, fact_id, fact_ids};
use crate::outcome::Waiting;
use crate::state::State;
use crate::wit::{Error, Field, Hash};

/// The revision of a captured write, which storage does not see.
const CAPTURED: Revision = Revision(0);

impl storage::Host for State {
    async fn read(&mut self, ids: Vec<String>) -> Result<Result<Vec<Option<Hash>>, Error>> {
        answer!(self, "storage.read", (ids) => self.read_hashes(&ids).await)
    }

    async fn page(
        &mut self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<Result<storage::IdPage, Error>> {
        answer!(self, "storage.page", (cursor, limit) => self.page_ids(cursor, limit).await)
    }
}

impl storage_write::Host for State {
    async fn write(
        &mut self,
        writes: Vec<storage_write::HashWrite>,
    ) -> Result<Result<Vec<bool>, Error>> {
        answer!(self, "storage-write.write", (writes) => self.write_hashes(writes).await)
    }

    async fn delete(&mut self, id: String) -> Result<Result<bool, Error>> {
        answer!(self, "storage-write.delete", (id) => self.delete_hash(&id).await)
    }
}

impl State {
    async fn page_ids(
        &mut self,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<storage::IdPage, Error> {
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        let (registry, limit) = (self.registry, limit as usize);
        let page = services.storage.page_as_of(&tenant, registry, cursor.as_deref(), limit, until);
        let page = self.wait(Waiting::Storage, page).await;
        if let Ok(page) = &page {
            self.listed.extend(page.ids.iter().cloned());
        }
        self.answered(page).map(id_page)
    }

    async fn read_hashes(&mut self, ids: &[String]) -> Result<Vec<Option<Hash>>, Error> {
        let ids = fact_ids(ids)?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        let bytes = services.limits.host_call_bytes;
        let revisions = services.indexes.revisions(&tenant, &ids);
        let whose = (&tenant, self.registry);
        let read = read_readable(&*services.storage, whose, &ids, bytes, until);
        let read = self.wait(Waiting::Storage, read).await;
        let (hashes, damaged) = self.answered(read)?;
        services.indexes.unreadable().note(&tenant, &damaged);
        self.unreadable.extend(damaged.into_iter().map(|(id, _)| id));
        let mut missing = Vec::new();
        for ((id, revision), hash) in ids.iter().zip(revisions).zip(&hashes) {
            if hash.is_some() {
                continue;
            }
            if let Some(revision) = revision {
                services.indexes.remove_missing(&tenant, id, revision).await;
            }
            if revision.is_some() || self.listed.contains(id) {
                missing.push(id.clone());
            }
        }
        services.indexes.unreadable().suspect(&tenant, missing);
        let found = ids.into_iter().zip(&hashes).filter(|(_, hash)| hash.is_some());
        self.facts.extend(found.map(|(id, _)| id));
        Ok(hashes.into_iter().map(|hash| hash.map(to_hash)).collect())
    }

    async fn write_hashes(
        &mut self,
        writes: Vec<storage_write::HashWrite>,
    ) -> Result<Vec<bool>, Error> {
        check_items(writes.len())?;
        let mut writes = writes.into_iter().map(to_write).collect::<Result<Vec<_>, _>>()?;
        self.expect(&mut writes);
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        if self.captured.is_some() {
            return self.capture_writes(writes).await;
        }
        let quota = services.tenants.fact_quota(&tenant);
        self.check_quota(quota, &writes, until).await?;
        // Until they have their vectors, or the call ends, the indexer leaves these facts alone.
        let storing = |write: &Write| services.indexes.storing(&tenant, &write.id);
        let storing: Vec<_> = writes.iter().map(storing).collect();
        let written = services.storage.write_as_of(&tenant, self.registry, &writes, quota, until);
        let written = self.wait(Waiting::StorageWrite, written).await;
        let revisions = self.answered(written)?;
        let happened = revisions.iter().map(Option::is_some).collect();
        for ((write, revision), storing) in writes.into_iter().zip(revisions).zip(storing) {
            if let Some(revision) = revision {
                services.indexes.unreadable().forget(&tenant, &write.id);
                self.facts.push(write.id.clone());
                self.unindexed.insert(write.id.clone(), storing);
                self.revisions.insert(write.id, revision);
            } else {
                self.unexpected |= !write.expected.is_empty();
            }
        }
        Ok(happened)
    }

    /// Makes changes of the fact that must be unchanged depend on that.
    fn expect(&self, writes: &mut [Write]) {
        let Some((id, fields)) = &self.expected else { return };
        let of_fact = writes.iter_mut().filter(|write| write.id == *id);
        of_fact.for_each(|write| write.expected.clone_from(fields));
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
        let deleted = services.storage.delete_as_of(&tenant, self.registry, &id, until);
        let deleted = self.wait(Waiting::StorageWrite, deleted).await;
        match self.answered(deleted)? {
            Some(revision) => {
                services.indexes.unreadable().forget(&tenant, &id);
                self.revisions.insert(id, revision);
                Ok(true)
            }
            None => {
                if let Some(revision) = indexed.into_iter().flatten().next() {
                    services.indexes.remove_missing(&tenant, &id, revision).await;
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

/// Reads the hashes of `ids`, like [`kenning_storage::FactStorage::read`], but with `None` for
/// facts whose records are damaged, which are returned with what is wrong with them.
async fn read_readable(
    storage: &dyn Storage,
    (tenant, registry): (&TenantId, Option<RegistryRevision>),
    ids: &[FactId],
    bytes: usize,
    until: Instant,
) -> Result<(Vec<Option<kenning_storage::Hash>>, Vec<(FactId, String)>), StorageError> {
    let mut damaged: Vec<(FactId, String)> = Vec::new();
    loop {
        let is_damaged = |id: &FactId| damaged.iter().any(|(other, _)| other == id);
        let readable: Vec<FactId> = ids.iter().filter(|id| !is_damaged(id)).cloned().collect();
        match storage.read_as_of(tenant, registry, &readable, bytes, until).await {
            Ok(hashes) => {
                let mut hashes = hashes.into_iter();
                // The result ends where storage's does.
                let all = ids.iter().map_while(|id| match is_damaged(id) {
                    true => Some(None),
                    false => hashes.next(),
                });
                return Ok((all.collect(), damaged));
            }
            Err(StorageError::Damaged { fact: Some(id), record, reason }) if !is_damaged(&id) => {
                damaged.push((id, format!("{record} is damaged: {reason}")));
            }
            Err(error) => return Err(error),
        }
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
        expected: Vec::new(),
        order: write.order,
    })
}
