//! All tenants' records, in memory: every request asks, and no request waits for storage.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_storage::{DocumentName, TenantId};

use super::meter::Meter;
use super::record::{self, PREFIX, Record};
use super::{Tenants, unavailable};
use kenning_core::error::Error;

/// One tenant that was created.
pub struct Tenant {
    pub name: TenantId,
    /// Of its document.
    pub version: u64,
    pub record: Record,
    /// Lives as long as the tenant: a changed record resets nothing.
    pub meter: Arc<Meter>,
}

/// What is known of all tenants at one moment.
#[derive(Clone, Default)]
pub(super) struct Directory {
    /// The documents' revision of when it was last read whole.
    revision: Option<u64>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    /// From keys' ids.
    keys: HashMap<String, TenantId>,
}

/// A record as it was found; `None`, gone.
type Found = (TenantId, u64, Option<Record>);

impl Directory {
    /// Whether it was ever read.
    pub(super) fn is_known(&self) -> bool {
        self.revision.is_some()
    }

    pub(super) fn get(&self, tenant: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.get(tenant).cloned()
    }

    pub(super) fn by_key(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(self.keys.get(id)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// Takes in what was found, unless it knows of something newer.
    fn with(mut self, found: &[Found]) -> Self {
        for (name, version, record) in found {
            let known = self.tenants.get(name);
            if known.is_some_and(|known| known.version > *version) {
                continue;
            }
            match record {
                Some(record) => {
                    // The same tenant, or another of that name?
                    let known = known.filter(|known| known.record.created == record.created);
                    let meter = known.map_or_else(Arc::default, |known| known.meter.clone());
                    let (name, version, record) = (name.clone(), *version, record.clone());
                    let tenant = Tenant { name: name.clone(), version, record, meter };
                    self.tenants.insert(name, Arc::new(tenant));
                }
                None => drop(self.tenants.remove(name)),
            }
        }
        let of = |tenant: &Arc<Tenant>| {
            let name = tenant.name.clone();
            let ids = tenant.record.keys.iter().map(|key| key.id.clone());
            ids.map(|id| (id, name.clone())).collect::<Vec<_>>()
        };
        self.keys = self.tenants.values().flat_map(of).collect();
        self
    }
}

impl Tenants {
    /// Takes in what this host itself changed.
    pub(super) fn take_in(&self, name: &TenantId, version: u64, record: Option<Record>) {
        let found = [(name.clone(), version, record)];
        self.directory.rcu(|directory| Directory::clone(directory).with(&found));
    }

    /// Reads what any host changed since the last time.
    pub async fn refresh(&self) -> Result<(), Error> {
        let revision = self.storage.documents_revision(self.until()).await.map_err(unavailable)?;
        let known = self.directory.load_full();
        if known.revision == Some(revision) {
            return Ok(());
        }
        let listed =
            self.storage.list_documents(PREFIX, self.until()).await.map_err(unavailable)?;
        let mut found: Vec<Found> = Vec::new();
        let mut there: HashMap<TenantId, u64> = HashMap::new();
        for (document, version) in listed {
            let Some(name) = tenant_of(&document) else { continue };
            if known.get(&name).is_none_or(|tenant| tenant.version != version) {
                found.extend(self.read(&name, &document).await?);
            }
            there.insert(name, version);
        }
        // What this host wrote after `revision` is newer than the list.
        let gone = known
            .all()
            .filter(|tenant| !there.contains_key(&tenant.name) && tenant.version <= revision);
        found.extend(gone.map(|tenant| (tenant.name.clone(), tenant.version, None)));
        self.directory.rcu(|directory| {
            let mut directory = Directory::clone(directory).with(&found);
            directory.revision = directory.revision.max(Some(revision));
            directory
        });
        Ok(())
    }

    /// A record, if it is there and can be read. One that cannot must not hide the others.
    async fn read(&self, name: &TenantId, document: &DocumentName) -> Result<Option<Found>, Error> {
        let read = self.storage.read_document(document, record::BYTES, self.until());
        let Some(read) = read.await.map_err(unavailable)? else { return Ok(None) };
        match serde_json::from_slice(&read.bytes) {
            Ok(record) => Ok(Some((name.clone(), read.version, Some(record)))),
            Err(error) => {
                tracing::error!(tenant = %name, %error, "the tenant's record cannot be read");
                Ok(None)
            }
        }
    }
}

fn tenant_of(document: &DocumentName) -> Option<TenantId> {
    TenantId::parse(document.as_str().strip_prefix(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::quotas::Quotas;
    use super::*;

    fn found(name: &str, version: u64, record: Option<&Record>) -> Found {
        (TenantId::parse(name).unwrap(), version, record.cloned())
    }

    #[test]
    fn what_is_older_never_replaces_what_is_newer() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key().unwrap();
        let directory = Directory::default().with(&[found("a", 7, Some(&record))]);
        assert!(directory.by_key(&key.id).is_some());
        let mut older = record.clone();
        older.keys.clear();
        let directory = directory.with(&[found("a", 6, Some(&older)), found("a", 5, None)]);
        assert!(directory.by_key(&key.id).is_some());
        let directory = directory.with(&[found("a", 8, Some(&older))]);
        assert!(directory.by_key(&key.id).is_none());
    }

    #[test]
    fn a_changed_record_keeps_its_meter_and_a_new_tenant_has_its_own() {
        let record = Record::new(Quotas::default());
        let directory = Directory::default().with(&[found("a", 1, Some(&record))]);
        let name = TenantId::parse("a").unwrap();
        let meter = directory.get(&name).unwrap().meter.clone();
        let directory = directory.with(&[found("a", 2, Some(&record))]);
        assert!(Arc::ptr_eq(&meter, &directory.get(&name).unwrap().meter));
        let another = Record { created: record.created + 1, ..record };
        let directory = directory.with(&[found("a", 3, Some(&another))]);
        assert!(!Arc::ptr_eq(&meter, &directory.get(&name).unwrap().meter));
        let directory = directory.with(&[found("a", 3, None)]);
        assert!(directory.get(&name).is_none());
    }
}
