//! When each key was used last. It is noted in memory with every request, and written to storage
//! once a minute at most, in a document for each tenant: `last-use/NAME`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kenning_core::error::Error;
use kenning_storage::{DocumentName, TenantId};

use super::record::{BYTES, KeyRecord, Timestamp};
use super::{Tenants, storage_error};

/// The folder of the documents. They are deleted with their tenants.
pub const LAST_USE: &str = "last-use";

/// When keys were used, in milliseconds since 1970, by their ids.
pub type LastUses = BTreeMap<String, Timestamp>;

/// What this host knows of one tenant's keys.
#[derive(Default)]
pub(super) struct LastUse(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    uses: LastUses,
    /// Whether storage does not have all of it.
    is_new: bool,
}

impl LastUse {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, key: &str, at: Timestamp) {
        let mut noted = self.noted();
        noted.is_new = true;
        match noted.uses.get_mut(key) {
            Some(last) => *last = at.max(*last),
            None => drop(noted.uses.insert(key.to_owned(), at)),
        }
    }

    fn take_new(&self) -> Option<LastUses> {
        let mut noted = self.noted();
        std::mem::take(&mut noted.is_new).then(|| noted.uses.clone())
    }
}

impl Tenants {
    /// When the keys of a tenant were used last, by any host; what other hosts know may be a minute
    /// old.
    ///
    /// # Errors
    /// If storage fails.
    pub async fn last_uses(&self, tenant: &TenantId) -> Result<LastUses, Error> {
        let (mut uses, _) = self.read_uses(tenant).await?;
        if let Some(tenant) = self.get(tenant) {
            merge(&mut uses, tenant.meter.last_use.noted().uses.clone());
        }
        Ok(uses)
    }

    /// Writes what is new: one document for each tenant whose keys were used.
    ///
    /// # Errors
    /// If storage fails; what could not be written is written the next time.
    pub async fn write_last_uses(&self) -> Result<(), Error> {
        let directory = self.directory.load_full();
        for tenant in directory.all().filter(|tenant| tenant.record.deleted.is_none()) {
            let Some(uses) = tenant.meter.last_use.take_new() else { continue };
            let written = self.write_uses(&tenant.name, &tenant.record.keys, uses).await;
            if !matches!(written, Ok(true)) {
                // Another host wrote at the same time, or storage does not answer.
                tenant.meter.last_use.noted().is_new = true;
            }
            written?;
        }
        Ok(())
    }

    /// Returns whether no other host wrote at the same time.
    async fn write_uses(
        &self,
        tenant: &TenantId,
        keys: &[KeyRecord],
        new: LastUses,
    ) -> Result<bool, Error> {
        let (mut uses, version) = self.read_uses(tenant).await?;
        merge(&mut uses, new);
        uses.retain(|id, _| keys.iter().any(|key| key.id == *id));
        let bytes = serde_json::to_vec(&uses).map_err(Error::internal)?;
        let document = document(tenant)?;
        let write = self.storage.write_document(&document, &bytes, version, self.until());
        write.await.map(|written| written.is_some()).map_err(storage_error)
    }

    async fn read_uses(&self, tenant: &TenantId) -> Result<(LastUses, Option<u64>), Error> {
        let document = document(tenant)?;
        let read = self.storage.read_document(&document, BYTES, self.until());
        let Some(read) = read.await.map_err(storage_error)? else { return Ok(Default::default()) };
        // Only figures for people: what cannot be read is written anew.
        let uses = serde_json::from_slice(&read.bytes).unwrap_or_default();
        Ok((uses, Some(read.version)))
    }
}

fn document(tenant: &TenantId) -> Result<DocumentName, Error> {
    DocumentName::parse(&format!("{LAST_USE}/{tenant}")).map_err(Error::internal)
}

fn merge(uses: &mut LastUses, others: LastUses) {
    for (id, at) in others {
        let last = uses.entry(id).or_default();
        *last = at.max(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_new_until_it_is_taken_and_never_goes_back() {
        let last_use = LastUse::default();
        assert_eq!(last_use.take_new(), None);
        last_use.note("a", 7);
        last_use.note("a", 5);
        last_use.note("b", 6);
        let taken = last_use.take_new().unwrap();
        assert_eq!(taken, LastUses::from([("a".into(), 7), ("b".into(), 6)]));
        assert_eq!(last_use.take_new(), None);
        let mut merged = LastUses::from([("a".into(), 9), ("c".into(), 1)]);
        merge(&mut merged, taken);
        assert_eq!(merged, LastUses::from([("a".into(), 9), ("b".into(), 6), ("c".into(), 1)]));
    }
}
