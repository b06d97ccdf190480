//! Puts the records of a backup into a storage.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kenning_backup::{Record, VectorRecord};
use tokio::time::sleep;

use crate::limits::BATCH;
use crate::state::{now, told_up_to};
use crate::{
    Condition, DocumentName, Expected, FactId, Hash, InvalidName, Revision, SpaceName, StateChange,
    StateQuota, StateSpace, Storage, StorageError, StoredVector, TOLD_UP_TO, TenantId, Write,
    vector_bytes,
};

/// The most bytes of facts that are written at once.
const BATCH_BYTES: usize = 4 << 20;

/// How often an operation is tried that did not come through, and the pause before the next try.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Why a record could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The records are not what a copy sends; the text says why.
    #[error("the backup cannot be restored: {0}")]
    Invalid(String),
}

impl From<InvalidName> for RestoreError {
    fn from(error: InvalidName) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tenants with facts.
    pub tenants: u64,
    /// Facts that were written, some of them perhaps more than once.
    pub facts: u64,
    /// Documents, likewise.
    pub documents: u64,
    /// Keys that extensions keep, or that the host keeps for them, likewise.
    pub state: u64,
    /// Whether the last record came.
    pub is_complete: bool,
}

/// What becomes of a document: its name and bytes, or nothing.
type Documents = Box<dyn Fn(String, Vec<u8>) -> Option<(String, Vec<u8>)> + Send + Sync>;

/// The only tenant of a copy, and where it goes.
struct One {
    tenant: TenantId,
    documents: Documents,
}

/// Puts records into a storage, in their order. Facts keep their ids, fields and places in the
/// listing, and their vectors. What extensions keep comes back with the time it has left; what has
/// expired by now does not.
///
/// **How far extensions were told.** The tenant's revision may be larger than it was, and its
/// stream is empty. An extension that was told everything is told nothing of before; one that was
/// not finds a gap.
pub struct Restorer {
    storage: Arc<dyn Storage>,
    operation: Duration,
    one: Option<One>,
    kept: Option<&'static str>,
    tenant: Option<TenantId>,
    known: HashSet<TenantId>,
    batch: Vec<Fact>,
    batch_bytes: usize,
    state: Vec<StateWrite>,
    /// How far extensions were told, by the host's spaces for that.
    told: Vec<(SpaceName, u64)>,
    document: Option<(String, Vec<u8>)>,
    restored: Restored,
}

struct Fact {
    id: FactId,
    order: u64,
    pending: bool,
    fields: Hash,
    vector: Option<VectorRecord>,
}

/// A key in a space.
struct StateWrite {
    space: StateSpace,
    key: Vec<u8>,
    change: StateChange,
}

impl Restorer {
    /// Restores everything. Each operation may take `operation`.
    pub fn new(storage: Arc<dyn Storage>, operation: Duration) -> Self {
        Self {
            storage,
            operation,
            one: None,
            kept: None,
            tenant: None,
            known: HashSet::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            state: Vec::new(),
            told: Vec::new(),
            document: None,
            restored: Restored::default(),
        }
    }

    /// Restores a copy of one tenant as `tenant`, beside others. `documents` says what becomes of
    /// each document.
    pub fn of_one(
        storage: Arc<dyn Storage>,
        operation: Duration,
        tenant: TenantId,
        documents: impl Fn(String, Vec<u8>) -> Option<(String, Vec<u8>)> + Send + Sync + 'static,
    ) -> Self {
        let one = Some(One { tenant, documents: Box::new(documents) });
        Self { one, ..Self::new(storage, operation) }
    }

    /// Leaves the document `name` as it is, which is not of the backup.
    pub fn keep(&mut self, name: &'static str) {
        self.kept = Some(name);
    }

    /// What was restored so far.
    pub fn restored(&self) -> &Restored {
        &self.restored
    }

    /// Restores the next record.
    ///
    /// # Errors
    /// If storage fails, or the record is not what a copy sends.
    pub async fn push(&mut self, record: Record) -> Result<(), RestoreError> {
        self.restored.is_complete = false;
        match record {
            Record::Begin(_) => {
                self.flush().await?;
                self.flush_state().await?;
                (self.tenant, self.document) = (None, None);
            }
            Record::Tenant { name, whole, .. } => self.begin_tenant(&name, whole).await?,
            Record::Fact { id, order, pending, fields, vector } => {
                let (id, fields) = (FactId::parse(&id)?, fields.into_iter().collect());
                self.put(Fact { id, order, pending, fields, vector }).await?;
            }
            Record::Gone { id } => {
                self.flush().await?;
                self.delete(&self.tenant()?, &FactId::parse(&id)?).await?;
            }
            Record::StateBegin => self.begin_state().await?,
            Record::State { space, key, value, expires } => {
                self.keep_state(SpaceName::parse(&space)?, key.0, value.0, expires).await?;
            }
            Record::Mark(_) | Record::LeftOut { .. } => {}
            Record::TenantEnd(position) => {
                self.flush().await?;
                self.flush_state().await?;
                self.end_tenant(Revision(position.revision)).await?;
            }
            Record::Document { name, bytes, more } => self.piece(name, &bytes.0, more).await?,
            Record::DocumentsEnd { names, .. } => self.drop_documents(&names).await?,
            Record::Failed { message } => return Err(RestoreError::Invalid(message)),
            Record::End { tenants } => self.drop_tenants(&tenants).await?,
        }
        Ok(())
    }

    fn tenant(&self) -> Result<TenantId, RestoreError> {
        let missing = || RestoreError::Invalid("a record is of no tenant".into());
        self.tenant.clone().ok_or_else(missing)
    }

    async fn begin_tenant(&mut self, name: &str, whole: bool) -> Result<(), RestoreError> {
        self.flush().await?;
        self.flush_state().await?;
        self.told.clear();
        let tenant = match &self.one {
            Some(one) => one.tenant.clone(),
            None => TenantId::parse(name)?,
        };
        if !self.known.insert(tenant.clone()) && whole {
            self.delete_tenant(&tenant).await?;
        }
        self.tenant = Some(tenant);
        Ok(())
    }

    /// A tenant that never had facts is none.
    async fn end_tenant(&mut self, revision: Revision) -> Result<(), RestoreError> {
        let tenant = self.tenant()?;
        let storage = &self.storage;
        let facts = self.patiently(|| storage.count(&tenant, self.until())).await?;
        let is_followed = revision.0 > 0 && !self.told.is_empty();
        if facts > 0 || is_followed {
            let raise = || storage.raise_revision(&tenant, revision, self.until());
            self.patiently(raise).await?;
        }
        if facts > 0 {
            self.restored.tenants = self.known.len() as u64;
        }
        self.end_told(&tenant, revision).await
    }

    /// Says how far extensions were told: those that knew of everything up to `revision`, up to the
    /// one that the tenant has now.
    async fn end_told(
        &mut self,
        tenant: &TenantId,
        revision: Revision,
    ) -> Result<(), RestoreError> {
        let told = std::mem::take(&mut self.told);
        if told.is_empty() {
            return Ok(());
        }
        let tenants = std::slice::from_ref(tenant);
        let last = self.patiently(|| self.storage.last_revisions(tenants, self.until())).await?;
        let last = last.first().copied().unwrap_or_default();
        for (name, at) in told {
            let at = if at >= revision.0 { last.0 } else { at };
            let value = at.to_string().into_bytes();
            self.state.push(StateWrite::new(
                tenant.clone(),
                name,
                TOLD_UP_TO.to_vec(),
                value,
                None,
            ));
        }
        self.flush_state().await
    }

    /// Deletes what the tenant's extensions keep by earlier records, or by an attempt that was
    /// interrupted.
    async fn begin_state(&mut self) -> Result<(), RestoreError> {
        self.flush_state().await?;
        self.told.clear();
        let tenant = self.tenant()?;
        let spaces = self.patiently(|| self.storage.state_spaces(&tenant, self.until())).await?;
        for (name, _) in &spaces {
            let delete = || self.storage.delete_state(&tenant, name, self.until());
            while self.patiently(delete).await? {}
        }
        Ok(())
    }

    async fn keep_state(
        &mut self,
        space: SpaceName,
        key: Vec<u8>,
        value: Vec<u8>,
        expires: Option<u64>,
    ) -> Result<(), RestoreError> {
        let tenant = self.tenant()?;
        self.restored.state += 1;
        if let Some(at) = told_up_to(&space, &key, &value) {
            self.told.push((space, at));
            return Ok(());
        }
        let left = expires.map(|expires| expires.saturating_sub(now()));
        if left == Some(0) {
            return Ok(());
        }
        self.state.push(StateWrite::new(
            tenant,
            space,
            key,
            value,
            left.map(Duration::from_millis),
        ));
        match self.state.len() >= BATCH {
            true => self.flush_state().await,
            false => Ok(()),
        }
    }

    /// Writes the keys that are waiting, together: on embedded storage they share a commit.
    async fn flush_state(&mut self) -> Result<(), RestoreError> {
        let batch = std::mem::take(&mut self.state);
        let mut writes = Vec::with_capacity(batch.len());
        for kept in &batch {
            writes.push(self.write_state(kept));
        }
        try_join_all(writes).await.map(drop)
    }

    async fn write_state(&self, kept: &StateWrite) -> Result<(), RestoreError> {
        let StateWrite { space, key, change } = kept;
        let write = || {
            let (change, quota) = (change.clone(), StateQuota::NONE);
            self.storage.change_state(space, key, change, quota, self.until())
        };
        self.patiently(write).await.map(drop)
    }

    async fn put(&mut self, fact: Fact) -> Result<(), RestoreError> {
        // Of two records of one fact, the later one holds.
        self.batch.retain(|other| other.id != fact.id);
        let size = |(name, value): &(String, String)| name.len() + value.len();
        self.batch_bytes += fact.fields.iter().map(size).sum::<usize>();
        self.batch.push(fact);
        match self.batch.len() == BATCH || self.batch_bytes >= BATCH_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes the facts that are waiting.
    async fn flush(&mut self) -> Result<(), RestoreError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let tenant = self.tenant()?;
        let writes: Vec<Write> = batch.iter().map(Fact::write).collect();
        let mut revisions = self.write(&tenant, &writes).await?;
        for (write, revision) in writes.iter().zip(&mut revisions) {
            if revision.is_none() {
                // It was restored before, from an earlier record.
                self.delete(&tenant, &write.id).await?;
                *revision = self.write(&tenant, std::slice::from_ref(write)).await?.pop().flatten();
            }
        }
        let vectors = batch.iter().zip(&revisions);
        let vectors: Vec<StoredVector> = vectors
            .filter_map(|(fact, revision)| fact.stored_vector((*revision)?).transpose())
            .collect::<Result<_, _>>()?;
        if !vectors.is_empty() {
            let put = || self.storage.put_vectors(&tenant, &vectors, self.until());
            self.patiently(put).await?;
        }
        self.restored.facts += batch.len() as u64;
        Ok(())
    }

    async fn write(
        &self,
        tenant: &TenantId,
        writes: &[Write],
    ) -> Result<Vec<Option<Revision>>, RestoreError> {
        self.patiently(|| self.storage.write(tenant, writes, self.until())).await
    }

    async fn delete(&self, tenant: &TenantId, id: &FactId) -> Result<(), RestoreError> {
        self.patiently(|| self.storage.delete(tenant, id, self.until())).await.map(drop)
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), RestoreError> {
        while self.patiently(|| self.storage.delete_tenant(tenant, self.until())).await? {}
        Ok(())
    }

    async fn piece(&mut self, name: String, bytes: &[u8], more: bool) -> Result<(), RestoreError> {
        let (begun, mut whole) = self.document.take().unwrap_or_default();
        if begun != name {
            whole.clear();
        }
        whole.extend_from_slice(bytes);
        if more {
            self.document = Some((name, whole));
            return Ok(());
        }
        let document = match &self.one {
            Some(one) => (one.documents)(name, whole),
            None => Some((name, whole)),
        };
        if let Some((name, bytes)) = document {
            self.write_document(&DocumentName::parse(&name)?, &bytes).await?;
            self.restored.documents += 1;
        }
        Ok(())
    }

    async fn write_document(&self, name: &DocumentName, bytes: &[u8]) -> Result<(), RestoreError> {
        for _ in 0..ATTEMPTS {
            let listed = || self.storage.list_documents(name.as_str(), self.until());
            let listed = self.patiently(listed).await?;
            let version = listed.iter().find(|(one, _)| one == name).map(|(_, version)| *version);
            let until = Instant::now() + 5 * self.operation;
            let written = || self.storage.write_document(name, bytes, version, until);
            if self.patiently(written).await?.is_some() {
                return Ok(());
            }
        }
        Err(RestoreError::Invalid(format!("somebody else keeps writing the document {name}")))
    }

    /// Deletes documents that earlier records had.
    async fn drop_documents(&self, names: &[String]) -> Result<(), RestoreError> {
        if self.one.is_some() {
            return Ok(());
        }
        let names = names.iter().map(String::as_str).chain(self.kept);
        let names: HashSet<&str> = names.collect();
        let listed = self.patiently(|| self.storage.list_documents("", self.until())).await?;
        for (name, version) in listed.iter().filter(|(name, _)| !names.contains(name.as_str())) {
            let delete = || self.storage.delete_document(name, *version, self.until());
            self.patiently(delete).await?;
        }
        Ok(())
    }

    /// Deletes tenants that earlier records had.
    async fn drop_tenants(&mut self, names: &[String]) -> Result<(), RestoreError> {
        self.flush().await?;
        if self.one.is_none() {
            let is_gone = |tenant: &&TenantId| !names.iter().any(|name| name == tenant.as_str());
            for tenant in self.known.iter().filter(is_gone) {
                self.delete_tenant(tenant).await?;
            }
        }
        self.restored.is_complete = true;
        Ok(())
    }

    /// Tries an operation again that did not come through. All that is done here can be repeated.
    async fn patiently<T, F: Future<Output = Result<T, StorageError>>>(
        &self,
        operation: impl Fn() -> F,
    ) -> Result<T, RestoreError> {
        let mut attempt = 1;
        loop {
            match operation().await {
                Ok(done) => return Ok(done),
                Err(error) if attempt == ATTEMPTS || !may_pass(&error) => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "trying again"),
            }
            attempt += 1;
            sleep(PAUSE).await;
        }
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

fn may_pass(error: &StorageError) -> bool {
    matches!(
        error.cause(),
        StorageError::Timeout { .. } | StorageError::ReplyLost(_) | StorageError::Unavailable(_)
    )
}

impl StateWrite {
    fn new(
        tenant: TenantId,
        name: SpaceName,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Self {
        let space = StateSpace { tenant, name, registry: None };
        Self { space, key, change: StateChange::Set { value, ttl, expected: Expected::Any } }
    }
}

impl Fact {
    fn write(&self) -> Write {
        Write {
            id: self.id.clone(),
            fields: self.fields.clone(),
            condition: Condition::Absent,
            expected: Vec::new(),
            order: self.order,
        }
    }

    /// Its vector, for the write of it with `revision`. An outdated one leaves it pending.
    fn stored_vector(
        &self,
        Revision(revision): Revision,
    ) -> Result<Option<StoredVector>, RestoreError> {
        let Some(vector) = &self.vector else { return Ok(None) };
        let (digest, values) = (&vector.digest.0, &vector.values.0);
        let vector = vector_bytes::vector(&vector.profile, digest, values)?;
        let revision = Revision(revision - u64::from(self.pending));
        Ok(Some(StoredVector { id: self.id.clone(), revision, vector }))
    }
}
