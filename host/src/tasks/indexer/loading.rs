//! Loads tenants' indexes from storage at their first use, and drops those that nobody uses.
//!
//! A start also loads indexes that nobody has asked for yet, until they take `index_warm_bytes`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use kenning_embedder::GivenEmbedder;
use kenning_runtime::held_indexes::Growth;
use kenning_runtime::tenant_indexes::WarmUp;
use kenning_runtime::{Progress, TenantIndex};
use kenning_storage::{FactId, Revision, StorageError, TenantId, Vector};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout_at};

use super::{FACTS, Indexer, IndexerError, next_backoff};

/// Ids on one page of storage.
const PAGE: usize = 1_000;

/// Facts of a tenant whose vectors show whether the embedder was changed.
const SAMPLE: usize = 10;

/// Indexes that are loaded at once, and at once before anybody asks for them.
const LOADS: usize = 8;
const WARM_LOADS: usize = 2;

/// How often a start opens an index that is dropped before it is loaded.
const WARM_ATTEMPTS: usize = 3;

/// How long a load pauses that finds no room.
const ROOM: Duration = Duration::from_millis(50);

/// How often indexes are measured that were written, and idle ones are dropped.
const LOOK: Duration = Duration::from_secs(1);

/// In how many looks it is checked once whether refused tenants became smaller.
const REFUSED_LOOKS: u32 = 3;

/// How long to wait for a remote embedder. Its first response says how long its vectors are; if
/// it does not respond, the vectors in storage say it.
const PROBE: Duration = Duration::from_secs(5);

impl Indexer {
    pub(super) async fn probe_embedder(&self) {
        let embedder = self.kb.services().embedders.own();
        if embedder.space().is_none()
            && let Err(error) = embedder.probe(Instant::now() + PROBE).await
        {
            tracing::warn!(%error, "the embedder does not respond yet");
        }
    }

    /// Loads indexes as they are used, until aborted.
    pub(super) async fn load_used(&self) {
        let permits = Semaphore::new(LOADS);
        let mut loads = FuturesUnordered::new();
        loop {
            tokio::select! {
                (tenant, index) = self.held().next_to_load() => {
                    loads.push(self.load_until_done(tenant, index, &permits));
                }
                Some(()) = loads.next() => {}
            }
        }
    }

    /// Loads one index, again after failures, until it is complete or dropped.
    async fn load_until_done(
        &self,
        tenant: TenantId,
        index: Arc<TenantIndex>,
        permits: &Semaphore,
    ) {
        let mut backoff = Duration::ZERO;
        while self.held().holds(&tenant, &index) {
            let Ok(permit) = permits.acquire().await else { return };
            // It may have been dropped while this waited.
            if !self.held().holds(&tenant, &index) {
                return;
            }
            self.held().set_loading(&index, None);
            let Err(error) = self.load(&tenant, &index).await else { return };
            // Others are loaded while this one waits.
            drop(permit);
            tracing::warn!(%tenant, %error, "an index is not loaded yet; trying again");
            self.held().set_loading(&index, Some(error.to_string()));
            backoff = next_backoff(backoff);
            sleep(backoff).await;
        }
    }

    async fn load(&self, tenant: &TenantId, index: &Arc<TenantIndex>) -> Result<(), IndexerError> {
        let Ok(running) = self.kb.services().tenants.begin(tenant, None) else {
            // It is being deleted, and has nothing to search.
            self.held().drop_this(tenant, index);
            return Ok(());
        };
        tokio::select! {
            loaded = self.load_facts((tenant, index)) => loaded,
            () = running.ended() => {
                self.held().drop_this(tenant, index);
                Ok(())
            }
        }
    }

    async fn load_facts(
        &self,
        (tenant, index): (&TenantId, &Arc<TenantIndex>),
    ) -> Result<(), IndexerError> {
        // Vectors that a former index had may be on their way.
        let flushed = self.indexes().flush();
        if self.kb.services().storage.describe().backend.is_shared() {
            // Those that arrive later are followed.
            let _ = timeout_at(self.until().into(), flushed).await;
        } else {
            // Nothing else tells when they have arrived.
            flushed.await;
        }
        if let Some(last) = self.read_facts((tenant, index)).await? {
            self.held().complete(tenant, index, last);
        }
        Ok(())
    }

    /// Reads all of a tenant's facts into its index, and removes from it those that are gone.
    /// Returns the revision up to which it has the tenant's changes then; `None` if it is no longer
    /// held.
    pub(super) async fn read_facts(
        &self,
        (tenant, index): (&TenantId, &Arc<TenantIndex>),
    ) -> Result<Option<Revision>, IndexerError> {
        let storage = &self.kb.services().storage;
        // Read first: changes from here on are followed.
        let last = self.last_revision(tenant).await?;
        // What this host stored, another may have deleted by `last`.
        let mut gone: HashSet<String> = index.ids().into_iter().collect();
        let (mut cursor, mut without_vector) = (None, Vec::new());
        loop {
            let page = storage.page(tenant, cursor.as_deref(), PAGE, self.until()).await?;
            for ids in page.ids.chunks(FACTS) {
                without_vector.extend(self.rebuild_readable((tenant, index), ids, last).await?);
                for id in ids {
                    gone.remove(id.as_str());
                }
                if self.grow(tenant, index).await == Growth::NotHeld {
                    self.mark_without_vectors(tenant, &without_vector).await?;
                    return Ok(None);
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        for id in gone.iter().filter_map(|id| FactId::parse(id).ok()) {
            self.indexes().remove_missing(tenant, &id, last.0).await;
        }
        self.mark_without_vectors(tenant, &without_vector).await?;
        let is_held = self.held().measure(tenant, index) != Growth::NotHeld;
        Ok(is_held.then_some(last))
    }

    /// Waits until the index that grew has room.
    async fn grow(&self, tenant: &TenantId, index: &Arc<TenantIndex>) -> Growth {
        loop {
            match self.held().measure(tenant, index) {
                // The others are used by calls, which end soon.
                Growth::Later if self.held().is_first_to_load(index) => return Growth::Granted,
                Growth::Later => sleep(ROOM).await,
                growth => return growth,
            }
        }
    }

    pub(super) async fn last_revision(&self, tenant: &TenantId) -> Result<Revision, IndexerError> {
        let storage = &self.kb.services().storage;
        let lasts = storage.last_revisions(std::slice::from_ref(tenant), self.until()).await?;
        Ok(lasts.first().copied().unwrap_or(Revision(0)))
    }

    /// Loads the indexes of tenants in their order, until they take `index_warm_bytes`.
    pub(super) async fn warm_up(&self) {
        let started = Instant::now();
        let mut backoff = Duration::ZERO;
        let tenants = loop {
            match self.kb.services().storage.tenants(self.until()).await {
                Ok(tenants) => break tenants,
                Err(error) => {
                    tracing::warn!(%error, "the tenants cannot be read yet; trying again");
                    self.indexes().set_warm_up(WarmUp::Stalled);
                    backoff = next_backoff(backoff);
                    sleep(backoff).await;
                }
            }
        };
        // Before that, every load would fail.
        let _ = self.kb.registry().ready().wait_for(|ready| *ready).await;
        let limits = &self.kb.services().limits;
        // Beyond a half, indexes that are used would soon be dropped for others that are not.
        let most = limits.index_warm_bytes.min(limits.index_bytes / 2);
        let warm = async |tenant: TenantId| {
            if self.held().bytes() < most {
                let settled = self.warm(&tenant, started + limits.index_idle).await;
                if matches!(settled, Progress::Stalled { .. }) {
                    self.indexes().set_warm_up(WarmUp::Stalled);
                }
            } else if let Err(error) = self.renew_vectors(&tenant).await {
                tracing::warn!(%tenant, %error, "vectors are examined when the index is loaded");
            }
        };
        stream::iter(tenants).map(warm).buffer_unordered(WARM_LOADS).collect::<()>().await;
        let figures = self.held().figures();
        let (indexes, bytes) = (figures.ready, figures.bytes);
        let took_ms = started.elapsed().as_millis() as u64;
        tracing::info!(indexes, bytes, took_ms, "indexes loaded at the start");
        self.indexes().set_warm_up(WarmUp::Over);
    }

    /// Has a tenant's index loaded; if that is dropped meanwhile, another one, a few times.
    async fn warm(&self, tenant: &TenantId, until: Instant) -> Progress {
        let mut settled = Progress::Dropped;
        for _ in 0..WARM_ATTEMPTS {
            settled = self.held().open(tenant).settled(until).await;
            if settled != Progress::Dropped {
                break;
            }
        }
        settled
    }

    /// After a change of the embedder, marks the facts of a tenant whose index is not loaded, so
    /// that their vectors are made anew. The newest facts show whether there was a change.
    async fn renew_vectors(&self, tenant: &TenantId) -> Result<(), IndexerError> {
        let services = self.kb.services();
        let (mut cursor, mut is_first) = (None, true);
        loop {
            let Ok(_running) = services.tenants.begin(tenant, None) else { return Ok(()) };
            let page = services.storage.page(tenant, cursor.as_deref(), SAMPLE, self.until());
            let page = page.await?;
            let vectors = self.vectors(tenant, &page.ids).await?;
            let is_foreign = |vector: &Option<Vector>| {
                let profile = vector.as_ref().map(|vector| &*vector.profile);
                profile.is_some_and(|profile| {
                    GivenEmbedder::dimensions_of(profile).is_none()
                        && !services.embedders.own().owns(profile)
                })
            };
            let ids = page.ids.into_iter().zip(&vectors);
            let foreign: Vec<FactId> =
                ids.filter(|(_, vector)| is_foreign(vector)).map(|(id, _)| id).collect();
            if foreign.is_empty() && is_first {
                return Ok(());
            }
            services.storage.mark_pending(tenant, &foreign, self.until()).await?;
            self.indexes().mark_pending(tenant);
            (cursor, is_first) = (page.cursor, false);
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Measures what was written, and drops what nobody uses, until aborted.
    pub(super) async fn keep_to_budget(&self) {
        let mut looks: u32 = 0;
        loop {
            sleep(LOOK).await;
            self.held().measure_written();
            self.held().drop_idle();
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(REFUSED_LOOKS)
                && let Err(error) = self.try_refused_again().await
            {
                tracing::debug!(%error, "cannot see whether refused tenants became smaller");
            }
        }
    }

    /// Lets tenants whose indexes were refused be loaded again once they have fewer facts.
    async fn try_refused_again(&self) -> Result<(), StorageError> {
        for (tenant, facts) in self.held().refused() {
            let count = self.kb.services().storage.count(&tenant, self.until()).await?;
            if count < facts as u64 {
                self.held().drop_index(&tenant);
            }
        }
        Ok(())
    }
}
