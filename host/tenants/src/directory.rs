//! All tenants' records, in memory: every request needs one, and none should wait for storage.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kenning_storage::{DocumentName, StorageError, TenantId};

use super::Tenants;
use super::meter::Meter;
use super::record::{self, PREFIX, Record, document};
use super::shared_use::SharedUse;

/// One tenant that was created.
pub struct Tenant {
    /// Its name.
    pub name: TenantId,
    /// The version of the document that `record` was read from.
    pub version: u64,
    /// Its keys and quotas.
    pub record: Record,
    /// What it uses. Survives changes of the record.
    pub meter: Arc<Meter>,
}

/// The tenants as of one moment.
#[derive(Clone, Default)]
pub(super) struct Directory {
    /// Revision of the last full load.
    revision: Option<u64>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    /// By the ids of their keys.
    keys: HashMap<String, TenantId>,
}

/// A tenant's document at one version; `None` if it is gone.
type Found = (TenantId, u64, Option<Record>);

impl Directory {
    /// Whether it was loaded at least once.
    pub(super) fn is_loaded(&self) -> bool {
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

    /// Applies what was found, except where the directory is newer. `meter` makes a new one.
    fn with(mut self, found: &[Found], meter: impl Fn(&TenantId) -> Meter) -> Self {
        for (name, version, record) in found {
            let current = self.tenants.get(name);
            if current.is_some_and(|current| current.version > *version) {
                continue;
            }
            match record {
                Some(record) => {
                    // A later tenant of the same name gets a meter of its own.
                    let same = current.filter(|current| current.record.created == record.created);
                    let new = || Arc::new(meter(name));
                    let meter = same.map_or_else(new, |same| same.meter.clone());
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
    /// Applies a change that this host made itself.
    pub(super) fn apply(&self, name: &TenantId, version: u64, record: Option<Record>) {
        let found = [(name.clone(), version, record)];
        self.directory
            .rcu(|directory| Directory::clone(directory).with(&found, |name| self.new_meter(name)));
    }

    fn new_meter(&self, name: &TenantId) -> Meter {
        let Some(io) = &self.shared_on else { return Meter::default() };
        let (storage, name) = (self.storage.clone(), name.clone());
        Meter::sharing(SharedUse::new(storage, name, self.operation, io.clone()))
    }

    /// Loads what any host has changed since the last refresh.
    ///
    /// # Errors
    /// If storage fails; the directory stays as it is.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        let revision = self.storage.documents_revision(self.until()).await?;
        let current = self.directory.load_full();
        if current.revision == Some(revision) {
            return Ok(());
        }
        let listed = self.storage.list_documents(PREFIX, self.until()).await?;
        let mut found: Vec<Found> = Vec::new();
        let mut stored: HashSet<TenantId> = HashSet::new();
        for (document, version) in listed {
            let Some(name) = tenant_of(&document) else { continue };
            if current.get(&name).is_none_or(|tenant| tenant.version != version) {
                found.extend(self.read(&name, &document).await?);
            }
            stored.insert(name);
        }
        // What this host wrote after `revision` is newer than the list.
        let gone = current
            .all()
            .filter(|tenant| !stored.contains(&tenant.name) && tenant.version <= revision);
        found.extend(gone.map(|tenant| (tenant.name.clone(), tenant.version, None)));
        self.directory.rcu(|directory| {
            let mut directory =
                Directory::clone(directory).with(&found, |name| self.new_meter(name));
            directory.revision = directory.revision.max(Some(revision));
            directory
        });
        Ok(())
    }

    /// Loads one tenant's record, whatever was changed of others.
    ///
    /// # Errors
    /// If storage fails or the record is damaged; the directory stays as it is.
    pub async fn refresh_one(&self, name: &TenantId) -> Result<(), StorageError> {
        let known = self.get(name);
        let document = document(name).map_err(|error| StorageError::Corrupt(error.to_string()))?;
        let read = self.storage.read_document(&document, record::BYTES, self.until()).await?;
        let found = match (read, known) {
            (Some(read), _) => {
                let record = serde_json::from_slice(&read.bytes).map_err(|error| {
                    StorageError::Corrupt(format!("the document {document}: {error}"))
                })?;
                (name.clone(), read.version, Some(record))
            }
            // What this host writes meanwhile has a later version, and stays.
            (None, Some(known)) => (name.clone(), known.version, None),
            (None, None) => return Ok(()),
        };
        let found = [found];
        self.directory
            .rcu(|directory| Directory::clone(directory).with(&found, |name| self.new_meter(name)));
        Ok(())
    }

    /// Reads one record. A damaged one is logged and skipped, so that it does not hide the others.
    async fn read(
        &self,
        name: &TenantId,
        document: &DocumentName,
    ) -> Result<Option<Found>, StorageError> {
        let read = self.storage.read_document(document, record::BYTES, self.until()).await?;
        let Some(read) = read else { return Ok(None) };
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
    use super::super::record::KeyTerms;
    use super::*;

    fn new(_: &TenantId) -> Meter {
        Meter::default()
    }

    fn found(name: &str, version: u64, record: Option<&Record>) -> Found {
        (TenantId::parse(name).unwrap(), version, record.cloned())
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let mut record = Record::new(Quotas::default());
        let key = record.add_key(KeyTerms::default()).unwrap();
        let directory = Directory::default().with(&[found("a", 7, Some(&record))], new);
        assert!(directory.by_key(&key.id).is_some());
        let mut older = record.clone();
        older.keys.clear();
        let directory = directory.with(&[found("a", 6, Some(&older)), found("a", 5, None)], new);
        assert!(directory.by_key(&key.id).is_some());
        let directory = directory.with(&[found("a", 8, Some(&older))], new);
        assert!(directory.by_key(&key.id).is_none());
    }

    #[test]
    fn a_changed_record_keeps_its_meter_and_a_new_tenant_has_its_own() {
        let record = Record::new(Quotas::default());
        let directory = Directory::default().with(&[found("a", 1, Some(&record))], new);
        let name = TenantId::parse("a").unwrap();
        let meter = directory.get(&name).unwrap().meter.clone();
        let directory = directory.with(&[found("a", 2, Some(&record))], new);
        assert!(Arc::ptr_eq(&meter, &directory.get(&name).unwrap().meter));
        let another = Record { created: record.created + 1, ..record };
        let directory = directory.with(&[found("a", 3, Some(&another))], new);
        assert!(!Arc::ptr_eq(&meter, &directory.get(&name).unwrap().meter));
        let directory = directory.with(&[found("a", 3, None)], new);
        assert!(directory.get(&name).is_none());
    }
}
