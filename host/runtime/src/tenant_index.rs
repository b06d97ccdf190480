//! One tenant's index: how much of it is loaded, and the turns in which it is searched and written.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_index::{FactIndex, Index, Language};
use tokio::sync::{
    OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, RwLockWriteGuard, Semaphore, watch,
};
use tokio::time::timeout_at;

/// Long searches of one tenant at once. Further ones wait, so that a write waits for few of them.
const LONG_SEARCHES: usize = 2;

/// Memory of an index without facts: its structures, and its place among the others.
const EMPTY_BYTES: usize = 4 * 1024;

/// What of a tenant's facts its index has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Some: they are being read from storage.
    Loading,
    /// All.
    Ready,
    /// Some: reading failed, and is tried again.
    Stalled {
        /// Why, for the operator.
        reason: String,
    },
    /// None: they take more memory than they may.
    Refused(Refusal),
    /// This index is no longer kept up to date. The next use loads another one.
    Dropped,
}

/// The limit that keeps a tenant's index from being held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit's name.
    pub limit: &'static str,
    /// Its value, in bytes.
    pub allowed: usize,
    /// What the index took when it was dropped, in bytes.
    pub used: usize,
    /// How many facts it had then.
    pub facts: usize,
}

/// One tenant's index.
///
/// A long search pauses between pieces of its work and holds the index's lock meanwhile. A thread
/// that waited for the lock would serve nobody, so whoever writes waits for
/// [`TenantIndex::write`] first, without a thread.
pub struct TenantIndex {
    index: Index,
    /// The facts of which not all text is embedded, and how many bytes of it are.
    partly_embedded: Mutex<HashMap<String, usize>>,
    turns: Arc<RwLock<()>>,
    long: Arc<Semaphore>,
    progress: watch::Sender<Progress>,
    created: Instant,
    /// When it was last used, in milliseconds since it was created.
    used: AtomicU64,
    /// Its memory when that was last measured.
    measured: AtomicUsize,
    /// Facts that were written since then.
    unmeasured: AtomicUsize,
}

/// Permission to search for long; no write is waited for while it is held.
pub(crate) struct LongSearch {
    _permit: Option<OwnedSemaphorePermit>,
    _turn: OwnedRwLockReadGuard<()>,
}

impl Default for TenantIndex {
    fn default() -> Self {
        let (index, partly_embedded, turns) = Default::default();
        Self {
            index,
            partly_embedded,
            turns,
            long: Arc::new(Semaphore::new(LONG_SEARCHES)),
            progress: watch::Sender::new(Progress::Loading),
            created: Instant::now(),
            used: AtomicU64::default(),
            measured: AtomicUsize::default(),
            unmeasured: AtomicUsize::default(),
        }
    }
}

impl TenantIndex {
    /// What of the tenant's facts it has.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Whether it has all of the tenant's facts.
    pub fn is_ready(&self) -> bool {
        *self.progress.borrow() == Progress::Ready
    }

    /// Why there is no index of this tenant, if it needs too much memory.
    pub fn refusal(&self) -> Option<Refusal> {
        match *self.progress.borrow() {
            Progress::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Waits until it is not being loaded any longer, at most until `until`.
    pub async fn settled(&self, until: Instant) -> Progress {
        if *self.progress.borrow() != Progress::Loading {
            return self.progress();
        }
        let mut progress = self.progress.subscribe();
        let is_settled = |progress: &Progress| *progress != Progress::Loading;
        // The sender is a part of this value.
        let _ = timeout_at(until.into(), progress.wait_for(is_settled)).await;
        self.progress()
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// When its loading began.
    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    /// Notes that it is used.
    pub(crate) fn touch(&self) {
        self.used.fetch_max(self.created.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> Instant {
        self.created + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// Its memory now, in bytes.
    pub(crate) fn measure(&self) -> usize {
        self.unmeasured.store(0, Ordering::Relaxed);
        EMPTY_BYTES + self.index.sizes().bytes
    }

    /// Its memory when that was last noted.
    pub(crate) fn measured(&self) -> usize {
        self.measured.load(Ordering::Relaxed)
    }

    /// Notes its memory; gives what was noted before.
    pub(crate) fn note_measured(&self, bytes: usize) -> usize {
        self.measured.swap(bytes, Ordering::Relaxed)
    }

    /// Notes that so many facts were written; gives how many were since it was measured.
    pub(crate) fn note_written(&self, facts: usize) -> usize {
        self.unmeasured.fetch_add(facts, Ordering::Relaxed) + facts
    }
}

impl TenantIndex {
    /// Waits until no long search is under way. Until the value is dropped, none begins.
    pub async fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().await
    }

    /// Reads new texts for `language`; those that are there have to be read again.
    pub async fn follow_language(&self, language: Language) {
        if self.index.language() != language {
            let _turn = self.write().await;
            self.index.set_language(language);
        }
    }

    /// Notes how many bytes of a fact's text can be found by meaning.
    pub fn note_embedded(&self, id: &str, text: &str, bytes: usize) {
        if bytes < text.len() {
            self.partly().insert(id.into(), bytes);
        } else {
            self.partly().remove(id);
        }
    }

    /// Forgets this of a fact that was removed.
    pub fn forget_embedded(&self, id: &str) {
        self.partly().remove(id);
    }

    /// How many bytes of a fact's text can be found by meaning, if that is not all of it.
    pub fn embedded_bytes(&self, id: &str) -> Option<usize> {
        self.partly().get(id).copied()
    }

    /// How many facts have text that cannot be found by meaning.
    pub fn partly_embedded(&self) -> usize {
        self.partly().len()
    }

    fn partly(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.partly_embedded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no long search is under way.
    #[cfg(test)]
    pub(crate) fn write_is_free(&self) -> bool {
        self.turns.try_write().is_ok()
    }

    /// Waits until a long search may begin.
    pub(crate) async fn search_long(&self) -> LongSearch {
        // The semaphore is never closed.
        let permit = self.long.clone().acquire_owned().await.ok();
        LongSearch { _permit: permit, _turn: self.turns.clone().read_owned().await }
    }
}

impl Deref for TenantIndex {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_write_waits_for_long_searches_and_goes_before_later_ones() {
        let index = TenantIndex::default();
        let first = index.search_long().now_or_never().unwrap();
        let mut write = index.write().boxed();
        assert!((&mut write).now_or_never().is_none());
        let mut second = index.search_long().boxed();
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let written = (&mut write).now_or_never().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(written);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn a_tenant_has_a_bounded_number_of_long_searches() {
        let index = TenantIndex::default();
        let held: Vec<_> =
            (0..LONG_SEARCHES).map(|_| index.search_long().now_or_never().unwrap()).collect();
        assert!(index.search_long().now_or_never().is_none());
        drop(held);
        assert!(index.search_long().now_or_never().is_some());
    }
}
