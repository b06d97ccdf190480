//! `storage` and `storage-write`: the tenant's facts.

use kenning_bindings::kenning::knowledge::{storage, storage_write};
use kenning_storage::{Condition, IdPage, Write};
use wasmtime::Result;

use super::{check_items, fact_id, fact_ids};
use crate::runtime::state::{State, Waiting};
use crate::runtime::wit::{Error, Field, Hash};

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
        let known = services.indexing.revisions(&tenant, &ids);
        let read = services.storage.read(&tenant, &ids, bytes, until);
        let read = self.wait(Waiting::Storage, read).await;
        let hashes = read.map_err(|error| self.storage_error(error))?;
        for ((id, known), hash) in ids.iter().zip(known).zip(&hashes) {
            if let (Some(revision), None) = (known, hash) {
                services.indexing.forget(&tenant, id, revision);
            }
        }
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
        let written = services.storage.write(&tenant, &writes, until);
        let written = self.wait(Waiting::StorageWrite, written).await;
        let revisions = written.map_err(|error| self.storage_error(error))?;
        let happened = revisions.iter().map(Option::is_some).collect();
        for (write, revision) in writes.into_iter().zip(revisions) {
            if let Some(revision) = revision {
                self.unindexed.insert(write.id.clone());
                self.revisions.insert(write.id, revision);
            }
        }
        Ok(happened)
    }

    async fn delete_hash(&mut self, id: &str) -> Result<bool, Error> {
        let id = fact_id(id)?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let until = self.until(services.limits.storage_operation);
        let known = services.indexing.revisions(&tenant, std::slice::from_ref(&id));
        let deleted = services.storage.delete(&tenant, &id, until);
        let deleted = self.wait(Waiting::StorageWrite, deleted).await;
        match deleted.map_err(|error| self.storage_error(error))? {
            Some(revision) => {
                self.revisions.insert(id, revision);
                Ok(true)
            }
            None => {
                if let Some(revision) = known.into_iter().flatten().next() {
                    services.indexing.forget(&tenant, &id, revision);
                }
                Ok(false)
            }
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
        order: write.order,
    })
}
