//! The index of each tenant, and the queue of vectors that are to be stored.
//!
//! An index is a cache of storage. A fact is durable, and has a pending mark, before it gets here;
//! its vector is stored a moment later, without anyone waiting. If the process crashes in between,
//! the mark remains, and the host's indexer makes the vector again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kenning_embedder::Embedder;
use kenning_index::{Entry, FactIndex, Index, IndexError};
use kenning_storage::{FactId, Revision, Storage, StoredVector, TenantId, Vector};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// How many vectors may wait to be stored. The queue fills while storage is down; vectors that do
/// not fit are made again later.
const QUEUE_VECTORS: usize = 4_096;

/// How many vectors are stored in one operation.
const BATCH_VECTORS: usize = 100;

/// A fact that is to be indexed.
pub struct NewEntry {
    /// The fact's id.
    pub id: FactId,
    /// The revision that storage gave to the fact.
    pub revision: Revision,
    /// The fact's text.
    pub text: String,
    /// The fact's metadata, a JSON object.
    pub metadata: String,
    /// The embedding of `text`, in the embedder's dimensions; `None` if it is pending.
    pub vector: Option<Vec<f32>>,
}

/// How far the rebuilding of the indexes has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Rebuilding is under way.
    Building {
        /// How many facts are indexed so far.
        facts: u64,
    },
    /// All facts are indexed.
    Ready,
    /// Rebuilding failed, and will be tried again.
    Stalled {
        /// Why it failed, for the operator.
        reason: String,
    },
}

/// A message to the task that stores vectors.
enum Queued {
    Vector(TenantId, StoredVector),
    /// Answered once everything queued before it is stored, or has failed.
    Flush(oneshot::Sender<()>),
}

/// The indexes of all tenants.
pub struct TenantIndexes {
    indexes: RwLock<HashMap<TenantId, Arc<Index>>>,
    embedder: Arc<dyn Embedder>,
    vectors: mpsc::Sender<Queued>,
    /// Tenants that may have facts with pending marks.
    pending: Mutex<HashSet<TenantId>>,
    /// Notified when a tenant is added to `pending`.
    has_pending: Notify,
    progress: watch::Sender<Progress>,
}

impl TenantIndexes {
    /// Creates empty indexes for vectors of `embedder`, and starts the task that stores vectors.
    /// `operation` bounds one storage operation. Must be called within a tokio runtime.
    pub fn start(
        storage: Arc<dyn Storage>,
        embedder: Arc<dyn Embedder>,
        operation: Duration,
    ) -> Arc<Self> {
        let (vectors, queued) = mpsc::channel(QUEUE_VECTORS);
        let indexes = Arc::new(Self {
            indexes: RwLock::default(),
            embedder,
            vectors,
            pending: Mutex::default(),
            has_pending: Notify::new(),
            progress: watch::Sender::new(Progress::Building { facts: 0 }),
        });
        let weak = Arc::downgrade(&indexes);
        tokio::spawn(store_vectors(storage, queued, operation, move |tenant| {
            if let Some(indexes) = weak.upgrade() {
                indexes.mark_pending(tenant);
            }
        }));
        indexes
    }

    /// A tenant's index, if there is one. It is not created, since requests may name any tenant.
    pub fn existing(&self, tenant: &TenantId) -> Option<Arc<Index>> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// A tenant's index; an empty one is created if there is none.
    pub fn index(&self, tenant: &TenantId) -> Arc<Index> {
        self.existing(tenant).unwrap_or_else(|| {
            let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
            indexes.entry(tenant.clone()).or_default().clone()
        })
    }

    /// Drops a tenant's index. Calls in progress keep using the one they have.
    pub fn forget(&self, tenant: &TenantId) {
        self.indexes.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Indexes facts and queues their vectors to be stored. Facts without a vector are left to the
    /// indexer.
    ///
    /// # Errors
    /// The last error of the index, if it refused a fact; the other facts are indexed.
    pub async fn upsert(
        &self,
        tenant: &TenantId,
        entries: Vec<NewEntry>,
    ) -> Result<(), IndexError> {
        let index = self.index(tenant);
        let mut pending = false;
        let mut refused = Ok(());
        for entry in entries {
            let upserted = index.upsert(&Entry {
                id: entry.id.as_str(),
                revision: entry.revision.0,
                text: &entry.text,
                metadata: &entry.metadata,
                vector: entry.vector.as_deref(),
            });
            pending |= match (upserted, entry.vector) {
                (Ok(_), Some(values)) => {
                    let vector = self.stored_vector(entry.id, entry.revision, &entry.text, values);
                    self.vectors.try_send(Queued::Vector(tenant.clone(), vector)).is_err()
                }
                (Ok(_), None) => true,
                // The other facts must be indexed all the same.
                (Err(error), _) => {
                    refused = Err(error);
                    true
                }
            };
        }
        if pending {
            self.mark_pending(tenant);
        }
        refused
    }

    /// The revisions of `ids` in the index, in their order. To be read before storage is, for
    /// [`TenantIndexes::remove_missing`].
    pub fn revisions(&self, tenant: &TenantId, ids: &[FactId]) -> Vec<Option<u64>> {
        let Some(index) = self.existing(tenant) else { return vec![None; ids.len()] };
        ids.iter().map(|id| index.revision(id.as_str())).collect()
    }

    /// Removes a fact that storage does not have, and that the index had at `revision` before
    /// storage was read. This happens if the response to a delete was lost, or another host deleted
    /// the fact.
    pub fn remove_missing(&self, tenant: &TenantId, id: &FactId, revision: u64) {
        // A fact that was stored again meanwhile has a newer revision, and stays.
        let Some(index) = self.existing(tenant) else { return };
        if let Err(error) = index.remove(id.as_str(), revision) {
            tracing::warn!(%tenant, %id, %error, "cannot remove a deleted fact from the index");
        }
    }

    /// A vector of the embedder's space, in the form that storage keeps.
    pub fn stored_vector(
        &self,
        id: FactId,
        revision: Revision,
        text: &str,
        values: Vec<f32>,
    ) -> StoredVector {
        // An embedder that made a vector knows its space.
        let space = self.embedder.space();
        let profile = space.map(|space| space.profile.clone()).unwrap_or_default();
        StoredVector { id, revision, vector: Vector { profile, digest: digest(text), values } }
    }

    /// The numbers of a stored vector, if it is the embedding of `text` in the embedder's space.
    pub fn usable(&self, vector: Vector, text: &str) -> Option<Vec<f32>> {
        let usable = vector.digest == digest(text) && self.embedder.owns(&vector.profile);
        usable.then_some(vector.values)
    }

    /// Waits until each vector queued so far is stored, or failed to be. Failed ones are made again
    /// later.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.vectors.send(Queued::Flush(done)).await.is_ok() {
            // The task ends only when the process does.
            let _ = flushed.await;
        }
    }

    /// Tells the indexer to look for the tenant's facts with pending marks.
    pub fn mark_pending(&self, tenant: &TenantId) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.has_pending.notify_one();
    }

    /// Waits until there are tenants marked by [`TenantIndexes::mark_pending`], and takes them.
    pub async fn take_pending(&self) -> Vec<TenantId> {
        loop {
            let pending: Vec<_> =
                self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
            if !pending.is_empty() {
                return pending;
            }
            self.has_pending.notified().await;
        }
    }

    /// Publishes the progress of rebuilding.
    pub fn set_progress(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// The progress of rebuilding, now and as it changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Stores queued vectors in batches. Facts whose vectors cannot be stored keep their pending marks.
async fn store_vectors(
    storage: Arc<dyn Storage>,
    mut queued: mpsc::Receiver<Queued>,
    operation: Duration,
    mark_pending: impl Fn(&TenantId) + Send + 'static,
) {
    let mut batch = Vec::with_capacity(BATCH_VECTORS);
    while queued.recv_many(&mut batch, BATCH_VECTORS).await > 0 {
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
                mark_pending(&tenant);
            }
        }
        for done in flushes {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }
}
