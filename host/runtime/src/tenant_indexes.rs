//! The index of each tenant, and the queue of vectors that are to be stored.
//!
//! An index is a cache of storage. A fact is durable, and has a pending mark, before it gets here;
//! its vector is stored a moment later, without anyone waiting. If the process crashes in between,
//! the mark remains, and the host's indexer makes the vector again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kenning_core::limits::Limits;
use kenning_embedder::Embedder;
use kenning_index::{Entry, FactIndex, IndexError};
use kenning_storage::{FactId, Revision, Storage, StoredVector, TenantId, Vector};
use tokio::sync::{mpsc, oneshot, watch};

use crate::applied::Applied;
use crate::embedders::Embedders;
use crate::held_indexes::HeldIndexes;
use crate::pending_facts::{PendingFacts, Storing};
use crate::tenant_index::TenantIndex;
use crate::unreadable::Unreadable;
use crate::windows::{self, Cut, TextVectors};

/// How many vectors may wait to be stored. The queue fills while storage is down; vectors that do
/// not fit are made again later.
const QUEUE_VECTORS: usize = 4_096;

/// How many bytes of vectors may wait to be stored.
const QUEUE_BYTES: usize = 64 << 20;

/// How many vectors are stored in one operation.
const BATCH_VECTORS: usize = 100;

/// How many bytes of vectors are stored or read in one operation, unless one alone has more.
const BATCH_BYTES: usize = 4 << 20;

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
    /// The vectors of all windows of `text`, one after another; `None` if they are pending.
    pub vector: Option<Vec<f32>>,
    /// How many bytes of `text` the windows cover, from its beginning.
    pub embedded_bytes: usize,
    /// Held until the vector is stored.
    pub storing: Option<Arc<Storing>>,
}

/// Whether a start still loads indexes that nobody has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// It does.
    Running,
    /// It has trouble, and goes on.
    Stalled,
    /// It does not.
    Over,
}

/// A message to the task that stores vectors.
enum Queued {
    /// What it holds is held until the vector is stored. Another index would not find it in
    /// storage before.
    Vector(TenantId, StoredVector, (Arc<TenantIndex>, Option<Arc<Storing>>)),
    /// Answered once everything queued before it is stored, or has failed.
    Flush(oneshot::Sender<()>),
}

/// The indexes of all tenants.
pub struct TenantIndexes {
    held: HeldIndexes,
    /// Whether other hosts use the storage, and its changes are followed.
    is_shared: bool,
    embedders: Arc<Embedders>,
    /// The maximum of windows of one text.
    fact_windows: usize,
    vectors: mpsc::Sender<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    pending: Arc<PendingFacts>,
    unreadable: Unreadable,
    warm_up: watch::Sender<WarmUp>,
}

impl TenantIndexes {
    /// Creates empty indexes for vectors of `embedders`, and starts the task that stores vectors.
    /// Must be called within a tokio runtime.
    pub fn start(
        storage: Arc<dyn Storage>,
        embedders: Arc<Embedders>,
        limits: &Limits,
    ) -> Arc<Self> {
        let operation = limits.storage_operation;
        let (vectors, queued) = mpsc::channel(QUEUE_VECTORS);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let pending = Arc::<PendingFacts>::default();
        let indexes = Arc::new(Self {
            held: HeldIndexes::new(limits),
            is_shared: storage.describe().backend.is_shared(),
            embedders,
            fact_windows: limits.fact_windows,
            vectors,
            queued_bytes: queued_bytes.clone(),
            pending: pending.clone(),
            unreadable: Unreadable::default(),
            warm_up: watch::Sender::new(WarmUp::Running),
        });
        tokio::spawn(store_vectors(storage, queued, queued_bytes, operation, pending));
        indexes
    }

    /// The indexes in memory.
    pub fn held(&self) -> &HeldIndexes {
        &self.held
    }

    /// A tenant's index, if one is held.
    pub fn existing(&self, tenant: &TenantId) -> Option<Arc<TenantIndex>> {
        self.held.existing(tenant)
    }

    /// How far the indexes have come in the tenants' changes.
    pub fn applied(&self) -> &Applied {
        self.held.applied()
    }

    /// The records that cannot be served.
    pub fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// Removes facts that storage has lost, with the revisions of their removals, and counts them.
    pub async fn forget_lost(&self, tenant: &TenantId, lost: &[(FactId, Revision)]) {
        for (id, revision) in lost {
            self.remove_missing(tenant, id, revision.0).await;
            self.unreadable.forget(tenant, id);
        }
        self.unreadable.count_lost(tenant, lost.len() as u64);
    }

    /// Drops a tenant's index and all that is known of its facts. Calls in progress keep using the
    /// index that they have.
    pub fn forget(&self, tenant: &TenantId) {
        self.held.drop_index(tenant);
        self.pending.forget(tenant);
        self.unreadable.forget_tenant(tenant);
        self.embedders.forget(tenant);
    }

    /// Indexes facts and queues their vectors to be stored. Facts without a vector are left to the
    /// indexer. Of a tenant whose index was refused, only vectors are stored.
    ///
    /// # Errors
    /// The last error of the index, if it refused a fact; the other facts are indexed.
    pub async fn upsert(
        &self,
        tenant: &TenantId,
        entries: Vec<NewEntry>,
    ) -> Result<(), IndexError> {
        let mut index = self.held.open(tenant);
        let (mut pending, mut refused, count) = (false, Ok(()), entries.len());
        for entry in entries {
            match self.upsert_new(tenant, &index, &entry).await {
                Ok(()) => pending |= !self.queue(tenant, &entry, &index),
                // The other facts must be indexed all the same.
                Err(error) => (pending, refused) = (true, Err(error)),
            }
            // An index in the place of one that was dropped meanwhile may have read the fact before
            // its vector was queued. Where changes are followed, the vector comes as one.
            while !self.is_shared
                && !self.held.holds(tenant, &index)
                && let Some(next) = self.held.state(tenant)
            {
                index = next;
                if let Err(error) = self.upsert_new(tenant, &index, &entry).await {
                    refused = Err(error);
                }
            }
        }
        self.held.note_written(tenant, &index, count);
        if pending {
            self.mark_pending(tenant);
        }
        refused
    }

    /// Indexes a fact that this host stores, unless the index was refused.
    async fn upsert_new(
        &self,
        tenant: &TenantId,
        index: &TenantIndex,
        entry: &NewEntry,
    ) -> Result<(), IndexError> {
        let _turn = index.write().await;
        if index.refusal().is_some() {
            return Ok(());
        }
        // The fact may have been loaded meanwhile, at a newer revision and without its vector. The
        // same text takes it then, and another text does not.
        let known = index.revision(entry.id.as_str()).filter(|_| entry.vector.is_some());
        let indexed = Entry {
            id: entry.id.as_str(),
            revision: known.unwrap_or_default().max(entry.revision.0),
            text: &entry.text,
            metadata: &entry.metadata,
            vector: entry.vector.as_deref(),
        };
        self.upsert_entry(tenant, index, &indexed, entry.embedded_bytes).map(|_| ())
    }

    /// Indexes a fact with the vectors of its windows, of which as many bytes of its text have one.
    /// Returns whether the index changed.
    ///
    /// The vector of a text of which the model knows no token is left out of searches: it is that
    /// of all such texts, and near to every text with a few unknown tokens.
    ///
    /// # Errors
    /// If the index refuses the fact.
    pub fn upsert_entry(
        &self,
        tenant: &TenantId,
        index: &TenantIndex,
        entry: &Entry<'_>,
        embedded_bytes: usize,
    ) -> Result<bool, IndexError> {
        let embedder = self.embedders.of(tenant);
        // Who has a vector knows its dimensions.
        let dimensions = embedder.space().map_or(0, |space| space.dimensions);
        let has_one_window = entry.vector.is_some_and(|values| values.len() <= dimensions);
        let is_meaningless = has_one_window && embedder.knows_nothing(entry.text);
        let vector = if is_meaningless { Some(&[][..]) } else { entry.vector };
        let changed = index.upsert_windows(&Entry { vector, ..*entry }, dimensions)?;
        if changed {
            index.note_embedded(entry.id, entry.text, embedded_bytes);
        }
        Ok(changed)
    }

    /// Queues a fact's vector to be stored, if it has one and not too many are queued. Returns
    /// whether it did.
    fn queue(&self, tenant: &TenantId, entry: &NewEntry, index: &Arc<TenantIndex>) -> bool {
        let Some(values) = entry.vector.clone() else { return false };
        let vectors = TextVectors { values, embedded_bytes: entry.embedded_bytes };
        let of_fact = (entry.id.clone(), entry.revision);
        let vector = self.stored_vector(tenant, of_fact, &entry.text, vectors);
        let bytes = vector_bytes(&vector);
        let held = (index.clone(), entry.storing.clone());
        let queued = Queued::Vector(tenant.clone(), vector, held);
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUE_BYTES
            && self.vectors.try_send(queued).is_ok()
        {
            return true;
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Cuts a text into the windows that are embedded.
    pub fn cut(&self, tenant: &TenantId, text: String) -> Cut {
        Cut::new(&*self.embedders.of(tenant), text, self.fact_windows)
    }

    /// How many of the facts with these texts have their vectors read in one operation.
    pub fn readable_vectors<'t>(
        &self,
        tenant: &TenantId,
        texts: impl Iterator<Item = &'t str>,
    ) -> usize {
        let embedder = self.embedders.of(tenant);
        let dimensions = embedder.space().map_or(0, |space| space.dimensions);
        let window_bytes = embedder.window_bytes();
        let mut bytes = 0;
        let fits = |text: &&str| {
            let windows = (text.len() / window_bytes + 1).min(self.fact_windows);
            bytes += windows * dimensions * size_of::<f32>();
            bytes <= BATCH_BYTES
        };
        texts.take(BATCH_VECTORS).take_while(fits).count().max(1)
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
    pub async fn remove_missing(&self, tenant: &TenantId, id: &FactId, revision: u64) {
        // A fact that was stored again meanwhile has a newer revision, and stays.
        let Some(index) = self.existing(tenant) else { return };
        let _turn = index.write().await;
        match index.remove(id.as_str(), revision) {
            Ok(true) => index.forget_embedded(id.as_str()),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%tenant, %id, %error, "cannot remove a deleted fact from the index");
            }
        }
    }

    /// The vectors of a text's windows, in the form that storage keeps.
    pub fn stored_vector(
        &self,
        tenant: &TenantId,
        (id, revision): (FactId, Revision),
        text: &str,
        vectors: TextVectors,
    ) -> StoredVector {
        let embedder = self.embedders.of(tenant);
        // An embedder that made a vector knows its space.
        let space = embedder.space();
        let profile = space.map(|space| space.profile.clone()).unwrap_or_default();
        let digest = windows::digest(&*embedder, text, vectors.embedded_bytes);
        StoredVector { id, revision, vector: Vector { profile, digest, values: vectors.values } }
    }

    /// The vectors of a stored one, if they are those of the windows of `text` in the embedder's
    /// space.
    pub fn usable(&self, tenant: &TenantId, vector: Vector, text: &str) -> Option<TextVectors> {
        self.embedders.note(tenant, &vector.profile);
        let embedder = self.embedders.of(tenant);
        let usable = embedder.owns(&vector.profile) && is_well_formed(&*embedder, &vector.values);
        usable.then(|| windows::usable(&*embedder, vector, text, self.fact_windows))?
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
        self.pending.mark(tenant);
    }

    /// Whether a call on this host stores a fact: until that has ended, the fact's vector is its
    /// business. The indexer is told to look at it afterwards.
    pub fn is_being_stored(&self, tenant: &TenantId, id: &FactId) -> bool {
        self.pending.is_being_stored(tenant, id)
    }

    /// Notes that a call is about to store a fact.
    pub(crate) fn storing(&self, tenant: &TenantId, id: &FactId) -> Arc<Storing> {
        self.pending.store(tenant, id)
    }

    /// Waits until there are tenants marked by [`TenantIndexes::mark_pending`], and takes them.
    pub async fn take_pending(&self) -> Vec<TenantId> {
        self.pending.take().await
    }

    /// Publishes whether the start still loads indexes.
    pub fn set_warm_up(&self, warm_up: WarmUp) {
        self.warm_up.send_replace(warm_up);
    }

    /// Whether the start still loads indexes, now and as it changes.
    pub fn warm_up(&self) -> watch::Receiver<WarmUp> {
        self.warm_up.subscribe()
    }
}

fn vector_bytes(vector: &StoredVector) -> usize {
    size_of_val(vector.vector.values.as_slice())
}

/// Stores queued vectors in batches. Facts whose vectors cannot be stored keep their pending marks.
async fn store_vectors(
    storage: Arc<dyn Storage>,
    mut queued: mpsc::Receiver<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    operation: Duration,
    pending: Arc<PendingFacts>,
) {
    let mut batch = Vec::with_capacity(BATCH_VECTORS);
    while queued.recv_many(&mut batch, BATCH_VECTORS).await > 0 {
        let mut tenants: HashMap<TenantId, Vec<StoredVector>> = HashMap::new();
        let (mut flushes, mut held) = (Vec::new(), Vec::new());
        for queued in batch.drain(..) {
            match queued {
                Queued::Vector(tenant, vector, holds) => {
                    tenants.entry(tenant).or_default().push(vector);
                    held.push(holds);
                }
                Queued::Flush(done) => flushes.push(done),
            }
        }
        for (tenant, mut vectors) in tenants {
            while !vectors.is_empty() {
                let rest = vectors.split_off(one_operation(&vectors));
                let until = Instant::now() + operation;
                if let Err(error) = storage.put_vectors(&tenant, &vectors, until).await {
                    tracing::warn!(%tenant, %error, "vectors not stored; they will be made again");
                    pending.mark(&tenant);
                }
                let stored = vectors.iter().map(vector_bytes).sum();
                queued_bytes.fetch_sub(stored, Ordering::Relaxed);
                vectors = rest;
            }
        }
        drop(held);
        for done in flushes {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }
}

/// How many of the first `vectors` are stored in one operation: at least one.
fn one_operation(vectors: &[StoredVector]) -> usize {
    let mut bytes = 0;
    let fits = |vector: &&StoredVector| {
        bytes += vector_bytes(vector);
        bytes <= BATCH_BYTES
    };
    vectors.iter().take_while(fits).count().max(1)
}

/// Whether the index can hold these numbers as vectors.
fn is_well_formed(embedder: &dyn Embedder, values: &[f32]) -> bool {
    let Some(space) = embedder.space() else { return false };
    let vectors = values.chunks_exact(space.dimensions);
    vectors.remainder().is_empty()
        && values.iter().all(|value| value.is_finite())
        && !values.is_empty()
        && vectors.into_iter().all(|vector| vector.iter().any(|value| *value != 0.0))
}
