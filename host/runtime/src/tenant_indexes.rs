//! The tenants' indexes, and the vectors on their way from them into storage.
//!
//! An index is a cache of storage. A fact is durable, and marked pending, before
//! it gets here; its vector is stored a moment later, without anyone waiting. A
//! crash in between leaves the mark, and the [`indexer`](crate::indexer) makes the
//! vector again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kenning_index::{Entry, FactIndex, Index, IndexError};
use kenning_storage::{FactId, Revision, Storage, StoredVector, TenantId, Vector};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use kenning_embedder::Embedder;

/// Vectors waiting to be stored. When storage is down this fills, and what does
/// not fit is made again later.
const VECTORS_QUEUED: usize = 4_096;

/// Vectors in one storage operation.
const VECTORS_TOGETHER: usize = 100;

/// A fact to make findable.
pub struct NewEntry {
    pub id: FactId,
    pub revision: Revision,
    pub text: String,
    pub metadata: String,
    pub vector: Option<Vec<f32>>,
}

/// How far rebuilding the indexes has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many facts are indexed.
    Building {
        facts: u64,
    },
    Ready,
    /// It could not go on, and why; it is tried again.
    Stalled {
        reason: String,
    },
}

/// What the task that stores vectors is told.
enum Queued {
    Vector(TenantId, StoredVector),
    /// Everything queued before it is stored, or cannot be.
    Flush(oneshot::Sender<()>),
}

/// All tenants' indexes.
pub struct TenantIndexes {
    indexes: RwLock<HashMap<TenantId, Arc<Index>>>,
    embedder: Arc<dyn Embedder>,
    vectors: mpsc::Sender<Queued>,
    late: Mutex<HashSet<TenantId>>,
    /// Some tenant was added to `late`.
    has_late: Notify,
    progress: watch::Sender<Progress>,
}

impl TenantIndexes {
    /// Empty indexes for vectors of `embedder`, and the task that stores vectors.
    pub fn start(
        storage: Arc<dyn Storage>,
        embedder: Arc<dyn Embedder>,
        operation: Duration,
    ) -> Arc<Self> {
        let (vectors, queued) = mpsc::channel(VECTORS_QUEUED);
        let indexing = Arc::new(Self {
            indexes: RwLock::default(),
            embedder,
            vectors,
            late: Mutex::default(),
            has_late: Notify::new(),
            progress: watch::Sender::new(Progress::Building { facts: 0 }),
        });
        let weak = Arc::downgrade(&indexing);
        tokio::spawn(store_vectors(storage, queued, operation, move |tenant| {
            if let Some(indexing) = weak.upgrade() {
                indexing.mark_late(tenant);
            }
        }));
        indexing
    }

    /// A tenant's index, if it has one. Asking makes none: anyone may ask for any
    /// name.
    pub fn existing(&self, tenant: &TenantId) -> Option<Arc<Index>> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// A tenant's index; a tenant without one gets an empty one.
    pub fn index(&self, tenant: &TenantId) -> Arc<Index> {
        self.existing(tenant).unwrap_or_else(|| {
            let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
            indexes.entry(tenant.clone()).or_default().clone()
        })
    }

    /// Drops a tenant's index; a call under way keeps the one that it has to its end.
    pub fn forget(&self, tenant: &TenantId) {
        self.indexes.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.late.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Makes facts findable, and has their vectors stored; those without one are
    /// left for the indexer.
    pub async fn upsert(
        &self,
        tenant: &TenantId,
        entries: Vec<NewEntry>,
    ) -> Result<(), IndexError> {
        let index = self.index(tenant);
        let mut late = false;
        let mut refused = Ok(());
        for entry in entries {
            let upserted = index.upsert(&Entry {
                id: entry.id.as_str(),
                revision: entry.revision.0,
                text: &entry.text,
                metadata: &entry.metadata,
                vector: entry.vector.as_deref(),
            });
            late |= match (upserted, entry.vector) {
                (Ok(_), Some(values)) => {
                    let vector = self.stored_vector(entry.id, entry.revision, &entry.text, values);
                    self.vectors.try_send(Queued::Vector(tenant.clone(), vector)).is_err()
                }
                (Ok(_), None) => true,
                // It must not keep the others from being found.
                (Err(error), _) => {
                    refused = Err(error);
                    true
                }
            };
        }
        if late {
            self.mark_late(tenant);
        }
        refused
    }

    /// The revisions that the index has of `ids`, to be asked for before storage is.
    pub fn revisions(&self, tenant: &TenantId, ids: &[FactId]) -> Vec<Option<u64>> {
        let Some(index) = self.existing(tenant) else { return vec![None; ids.len()] };
        ids.iter().map(|id| index.revision(id.as_str())).collect()
    }

    /// Storage has no `id`, which the index had at `revision` before. Nobody told it: the
    /// answer to a delete was lost, or the delete was another host's.
    pub fn forget_fact(&self, tenant: &TenantId, id: &FactId, revision: u64) {
        // What was stored again meanwhile has a newer revision, and stays.
        let Some(index) = self.existing(tenant) else { return };
        if let Err(error) = index.remove(id.as_str(), revision) {
            tracing::warn!(%tenant, %id, %error, "a fact that is gone is still in the index");
        }
    }

    /// A vector of the embedder's space, as storage keeps it.
    pub fn stored_vector(
        &self,
        id: FactId,
        revision: Revision,
        text: &str,
        values: Vec<f32>,
    ) -> StoredVector {
        // An embedder that made a vector knows its space; an empty one is of no space.
        let space = self.embedder.space();
        let profile = space.map(|space| space.profile.clone()).unwrap_or_default();
        StoredVector { id, revision, vector: Vector { profile, digest: digest(text), values } }
    }

    /// The numbers of `vector`, if they embed `text` in the embedder's space.
    pub fn usable(&self, vector: Vector, text: &str) -> Option<Vec<f32>> {
        let usable = vector.digest == digest(text) && self.embedder.owns(&vector.profile);
        usable.then_some(vector.values)
    }

    /// Waits until the vectors queued so far are stored, or cannot be: then they are
    /// made again after the next start.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.vectors.send(Queued::Flush(done)).await.is_ok() {
            // The task is gone only if the process is going anyway.
            let _ = flushed.await;
        }
    }

    /// Has the indexer look for a tenant's pending facts.
    pub fn mark_late(&self, tenant: &TenantId) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.has_late.notify_one();
    }

    /// Tenants with pending facts, once there are any.
    pub async fn late(&self) -> Vec<TenantId> {
        loop {
            let late: Vec<_> =
                self.late.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
            if !late.is_empty() {
                return late;
            }
            self.has_late.notified().await;
        }
    }

    pub fn set_progress(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Stores what is queued, together where it can. What cannot be stored keeps its
/// pending mark.
async fn store_vectors(
    storage: Arc<dyn Storage>,
    mut queued: mpsc::Receiver<Queued>,
    operation: Duration,
    mark_late: impl Fn(&TenantId) + Send + 'static,
) {
    let mut batch = Vec::with_capacity(VECTORS_TOGETHER);
    while queued.recv_many(&mut batch, VECTORS_TOGETHER).await > 0 {
        let mut tenants: HashMap<TenantId, Vec<StoredVector>> = HashMap::new();
        let mut flushes = Vec::new();
        for queued in batch.drain(..) {
            match queued {
                Queued::Vector(tenant, vector) => tenants.entry(tenant).or_default().push(vector),
                Queued::Flush(done) => flushes.push(done),
            }
        }
        for (tenant, vectors) in tenants {
            let until = Instant::now() + operation;
            if let Err(error) = storage.put_vectors(&tenant, &vectors, until).await {
                tracing::warn!(%tenant, %error, "vectors not stored; they will be made again");
                mark_late(&tenant);
            }
        }
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}
