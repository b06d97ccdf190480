//! Follows what other hosts on the same storage change, so that search finds it here too.
//!
//! Each tenant has a stream of its changes in storage. One read waits at once for those of all
//! tenants whose indexes are held here. What this host wrote is in its index before the change
//! arrives, and is skipped. When a stream no longer holds what comes next, the whole tenant is read
//! again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use kenning_index::FactIndex;
use kenning_storage::{Change, ChangeKind, Changes, FactId, Revision, StorageError, TenantId};
use tokio::time::sleep;

use super::{FACTS, Indexer, IndexerError, next_backoff};
use kenning_runtime::applied::Applied;

/// How long one read waits for changes. An index that has just been loaded is followed within this
/// time.
const WAIT: Duration = Duration::from_millis(100);

/// How often it is looked for tenants that were deleted or begun anew, and for streams that were
/// cut.
const LOOK: Duration = Duration::from_millis(500);

/// How often the pending facts of a tenant are looked at that is changed elsewhere, and not
/// followed.
const PENDING: Duration = Duration::from_secs(5);

/// The pause after a look, relative to how long it took, so that many tenants do not keep Redis
/// busy.
const LOOK_FACTOR: u32 = 20;

/// Tenants whose changes are applied at once, and tenants that are read again at once.
const CONCURRENCY: usize = 4;

/// What the task remembers.
#[derive(Default)]
struct Follower {
    next_look: Option<Instant>,
    /// The revisions of tenants that are not followed, and when their pending facts were looked at.
    elsewhere: HashMap<TenantId, (Revision, Instant)>,
    /// The tenants whose changes could not be applied.
    failing: HashMap<TenantId, Failing>,
    /// The tenants of which changes are not applied yet: up to which revision, and since when.
    behind: HashMap<TenantId, (Revision, Instant)>,
    unreadable: Option<Instant>,
    /// The tenants that are being read again, which may take long.
    reading: HashSet<TenantId>,
}

/// How far the changes of a tenant were applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applying {
    Done,
    /// Changes are missing: the tenant has to be read again.
    Cut,
    /// The tenant is being deleted.
    Deleting,
}

/// When a tenant is tried again.
struct Failing {
    until: Instant,
    backoff: Duration,
}

/// What is to be read of a fact.
#[derive(Clone, Copy, Default)]
struct Touched {
    /// The fact's revision.
    of: u64,
    /// Whether it has a new vector.
    embedded: bool,
}

impl Indexer {
    /// Follows changes until aborted. Embedded storage has no other hosts.
    pub(super) async fn follow_changes(&self) {
        if !self.kb.services().storage.describe().backend.is_shared() {
            return;
        }
        let mut follower = Follower::default();
        let mut readings = FuturesUnordered::new();
        loop {
            tokio::select! {
                followed = self.follow_once(&mut follower) => {
                    self.report(&mut follower, followed.as_ref().err());
                    match followed {
                        Ok(cut) => cut.into_iter().for_each(|tenant| {
                            follower.reading.insert(tenant.clone());
                            readings.push(self.catch_up(tenant));
                        }),
                        Err(_) => sleep(WAIT).await,
                    }
                }
                Some((tenant, read)) = readings.next() => {
                    follower.reading.remove(&tenant);
                    follower.note(tenant, read.map(|()| Applying::Done));
                }
            }
        }
    }

    /// Applies the next changes. Returns the tenants that have to be read again.
    async fn follow_once(&self, follower: &mut Follower) -> Result<Vec<TenantId>, StorageError> {
        let now = Instant::now();
        if follower.next_look.is_none_or(|next| next <= now) {
            let cut = self.look(follower).await?;
            let took = now.elapsed();
            follower.next_look = Some(now + LOOK.max(took * LOOK_FACTOR));
            if !cut.is_empty() {
                return Ok(cut);
            }
        }
        self.examine_late().await;
        let mut positions = self.applied().positions();
        positions.retain(|(tenant, _)| follower.may_apply(tenant, now));
        if positions.is_empty() {
            sleep(WAIT).await;
            return Ok(Vec::new());
        }
        let found = self.kb.services().storage.next_changes(&positions, FACTS, WAIT).await?;
        Ok(self.apply_all(follower, found).await)
    }

    /// Looks for tenants that are gone or begun anew, and for streams that were cut.
    async fn look(&self, follower: &mut Follower) -> Result<Vec<TenantId>, StorageError> {
        let storage = &self.kb.services().storage;
        // Taken first: what storage says below is not older than these.
        let positions: HashMap<TenantId, Revision> =
            self.applied().positions().into_iter().collect();
        let tenants = storage.tenants(self.until()).await?;
        let lasts = storage.last_revisions(&tenants, self.until()).await?;
        let known: HashSet<&TenantId> = tenants.iter().collect();
        for (tenant, position) in &positions {
            // One that never had a fact is not known.
            if !known.contains(tenant) && *position > Revision(0) {
                self.indexes().forget(tenant);
                follower.forget(tenant);
            }
        }
        follower.elsewhere.retain(|tenant, _| known.contains(tenant));
        let mut cut = Vec::new();
        for (tenant, last) in tenants.iter().zip(lasts) {
            let Some(position) = self.applied().position(tenant) else {
                if follower.is_changed_elsewhere(tenant, last) {
                    self.indexes().mark_pending(tenant);
                }
                continue;
            };
            follower.elsewhere.remove(tenant);
            if positions.get(tenant).is_some_and(|before| *before > last) {
                // Deleted and created again, or storage was set back.
                self.indexes().forget(tenant);
                follower.forget(tenant);
                self.held().open(tenant);
            } else if follower.is_behind(tenant, position, last)
                && follower.may_apply(tenant, Instant::now())
            {
                let changes = storage.changes(tenant, position, FACTS, self.until()).await?;
                cut.push((tenant.clone(), changes));
            }
        }
        Ok(self.apply_all(follower, cut).await)
    }

    /// Applies the changes of several tenants. Returns those that have to be read again.
    async fn apply_all(
        &self,
        follower: &mut Follower,
        found: Vec<(TenantId, Changes)>,
    ) -> Vec<TenantId> {
        let apply = async |(tenant, changes): (TenantId, Changes)| {
            let applied = self.apply(&tenant, changes).await;
            (tenant, applied)
        };
        let applying = stream::iter(found).map(apply).buffer_unordered(CONCURRENCY);
        let applied: Vec<_> = applying.collect().await;
        let cut =
            applied.into_iter().filter_map(|(tenant, applied)| follower.note(tenant, applied));
        cut.collect()
    }

    async fn apply(&self, tenant: &TenantId, changes: Changes) -> Result<Applying, IndexerError> {
        // A deletion of the tenant waits for `_running`, and only then drops the index.
        let Ok(_running) = self.kb.services().tenants.begin(tenant, None) else {
            return Ok(Applying::Deleting);
        };
        let Changes::Next(changes) = changes else { return Ok(Applying::Cut) };
        if let Some(last) = changes.last().map(|change| change.revision) {
            self.apply_changes(tenant, changes).await?;
            self.applied().advance_known(tenant, last);
        }
        Ok(Applying::Done)
    }

    async fn apply_changes(
        &self,
        tenant: &TenantId,
        changes: Vec<Change>,
    ) -> Result<(), IndexerError> {
        let mut touched: HashMap<FactId, Touched> = HashMap::new();
        for change in changes {
            self.others.note(tenant, &change);
            match change.kind {
                ChangeKind::Stored | ChangeKind::Changed | ChangeKind::Marked if change.is_own => {}
                ChangeKind::Deleted => {
                    touched.remove(&change.id);
                    self.indexes().remove_missing(tenant, &change.id, change.revision.0).await;
                    self.indexes().unreadable().forget(tenant, &change.id);
                }
                ChangeKind::Stored
                | ChangeKind::Changed
                | ChangeKind::Marked
                | ChangeKind::Embedded => {
                    let fact = touched.entry(change.id).or_default();
                    fact.of = fact.of.max(change.of.0);
                    fact.embedded |= change.kind == ChangeKind::Embedded;
                }
            }
        }
        self.read_touched(tenant, touched).await
    }

    /// Reads facts and puts them in the index, with their vectors where those are stored.
    async fn read_touched(
        &self,
        tenant: &TenantId,
        mut touched: HashMap<FactId, Touched>,
    ) -> Result<(), IndexerError> {
        let Some(index) = self.indexes().existing(tenant) else { return Ok(()) };
        touched.retain(|id, fact| match index.revision(id.as_str()) {
            // The vector is of this text if the index has the same text, at whatever revision.
            Some(known) if known >= fact.of => {
                fact.of = known;
                fact.embedded && !index.has_vector(id.as_str())
            }
            _ => true,
        });
        if touched.is_empty() {
            return Ok(());
        }
        let ids: Vec<FactId> = touched.keys().cloned().collect();
        let revision = |id: &FactId| Revision(touched[id].of);
        self.index_stored((tenant, &index), &ids, revision).await?;
        self.held().note_written(tenant, &index, ids.len());
        Ok(())
    }

    /// Reads all of a tenant's facts again, and removes from its index those that are gone.
    async fn catch_up(&self, tenant: TenantId) -> (TenantId, Result<(), IndexerError>) {
        let read = match self.kb.services().tenants.begin(&tenant, None) {
            Ok(running) => tokio::select! {
                read = self.read_all(&tenant) => read,
                () = running.ended() => Ok(()),
            },
            Err(_) => Ok(()),
        };
        (tenant, read)
    }

    async fn read_all(&self, tenant: &TenantId) -> Result<(), IndexerError> {
        let Some(index) = self.indexes().existing(tenant) else { return Ok(()) };
        tracing::info!(%tenant, "changes are missing; reading all facts again");
        if let Some(last) = self.read_facts((tenant, &index)).await? {
            self.applied().advance_known(tenant, last);
            self.indexes().mark_pending(tenant);
        }
        Ok(())
    }

    /// Has the indexer look at facts whose vectors their own hosts do not make.
    async fn examine_late(&self) {
        for tenant in self.others.late() {
            self.indexes().mark_pending(&tenant);
        }
    }

    /// Publishes what searches and `/readyz` say of a host that is behind.
    fn report(&self, follower: &mut Follower, error: Option<&StorageError>) {
        let bound = self.kb.services().limits.follow_lag;
        let is_late = |since: &Instant| since.elapsed() > bound;
        match error {
            None => follower.unreadable = None,
            Some(error) => {
                if follower.unreadable.is_none() {
                    tracing::warn!(%error, "cannot read the changes of other hosts");
                }
                follower.unreadable.get_or_insert_with(Instant::now);
            }
        }
        let reason = error.filter(|_| follower.unreadable.as_ref().is_some_and(is_late));
        self.applied().set_unreadable(reason.map(ToString::to_string));
        follower.behind.retain(|tenant, (revision, _)| {
            self.applied().position(tenant).is_some_and(|position| position < *revision)
        });
        let late = follower.behind.iter().filter(|(_, (_, since))| is_late(since));
        let late = late.map(|(tenant, (revision, _))| (tenant.clone(), *revision)).collect();
        self.applied().set_behind(late);
    }

    fn applied(&self) -> &Applied {
        self.indexes().applied()
    }
}

impl Follower {
    fn may_apply(&self, tenant: &TenantId, now: Instant) -> bool {
        !self.reading.contains(tenant)
            && self.failing.get(tenant).is_none_or(|failing| failing.until <= now)
    }

    /// Notes what became of a tenant's changes. Returns the tenant if it is to be read again now.
    fn note(
        &mut self,
        tenant: TenantId,
        applied: Result<Applying, IndexerError>,
    ) -> Option<TenantId> {
        match applied {
            Ok(Applying::Done) => drop(self.failing.remove(&tenant)),
            Ok(Applying::Cut) if self.reading.len() < CONCURRENCY => return Some(tenant),
            // Found again a little later.
            Ok(Applying::Cut | Applying::Deleting) => self.failed(tenant),
            Err(error) => {
                tracing::warn!(%tenant, %error, "changes not applied; they are tried again");
                self.failed(tenant);
            }
        }
        None
    }

    fn failed(&mut self, tenant: TenantId) {
        let before = self.failing.get(&tenant).map_or(Duration::ZERO, |failing| failing.backoff);
        let backoff = next_backoff(before);
        self.failing.insert(tenant, Failing { until: Instant::now() + backoff, backoff });
    }

    /// Whether a tenant's index was behind already at the last look, and did not come closer. The
    /// first time it is only noted: the next read brings the changes, unless they were cut.
    fn is_behind(&mut self, tenant: &TenantId, position: Revision, last: Revision) -> bool {
        if position >= last {
            self.behind.remove(tenant);
            return false;
        }
        match self.behind.get(tenant) {
            Some((noted, _)) if position < *noted => true,
            _ => {
                self.behind.insert(tenant.clone(), (last, Instant::now()));
                false
            }
        }
    }

    /// Whether a tenant that is not followed was changed, and its pending facts were not looked at
    /// just now.
    fn is_changed_elsewhere(&mut self, tenant: &TenantId, last: Revision) -> bool {
        let now = Instant::now();
        match self.elsewhere.get_mut(tenant) {
            Some((known, _)) if *known == last => false,
            Some((_, looked)) if now.duration_since(*looked) < PENDING => false,
            Some(noted) => {
                *noted = (last, now);
                true
            }
            None => {
                self.elsewhere.insert(tenant.clone(), (last, now));
                true
            }
        }
    }

    fn forget(&mut self, tenant: &TenantId) {
        self.failing.remove(tenant);
        self.behind.remove(tenant);
    }
}
