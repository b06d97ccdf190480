//! One tenant's index, and the turns in which it is searched and written.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_index::{Index, Language};
use tokio::sync::{
    OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, RwLockWriteGuard, Semaphore,
};

/// Long searches of one tenant at once. Further ones wait, so that a write waits for few of them.
const LONG_SEARCHES: usize = 2;

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
}

/// Permission to search for long; no write is waited for while it is held.
pub(crate) struct LongSearch {
    _permit: Option<OwnedSemaphorePermit>,
    _turn: OwnedRwLockReadGuard<()>,
}

impl Default for TenantIndex {
    fn default() -> Self {
        let (index, partly_embedded, turns) = Default::default();
        Self { index, partly_embedded, turns, long: Arc::new(Semaphore::new(LONG_SEARCHES)) }
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
