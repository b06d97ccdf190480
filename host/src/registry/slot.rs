//! One tenant's guests as they are loaded now, and how they are replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use futures::future::{BoxFuture, WeakShared};
use kenning_runtime::LoadError;
use kenning_storage::RegistryRevision;

use super::{TenantGuests, Versions};

/// A load of one tenant's guests, which returns the number that the tenant's registry had before.
pub(super) type Load = BoxFuture<'static, Result<RegistryRevision, LoadError>>;

/// Locked while an owner's guests are changed.
pub(super) type ChangeLock = Arc<tokio::sync::Mutex<()>>;

/// One tenant's guests; empty until the tenant's first call loads them.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) loaded: ArcSwapOption<TenantGuests>,
    source: Mutex<Source>,
    pub(super) change_lock: ChangeLock,
    pub(super) swap_lock: ChangeLock,
    /// The load in progress, if there is one.
    pub(super) loading: Mutex<Option<WeakShared<Load>>>,
}

/// What a tenant's guests are made of.
#[derive(Clone, Copy, Default)]
pub(super) struct Source {
    /// Versions of the records.
    pub(super) versions: Versions,
    /// When they were begun to be read, or were changed here: a number that grows.
    pub(super) turn: u64,
}

impl Slot {
    pub(super) fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the guests by those that were loaded from `new`, unless a later load, or a change
    /// after its beginning, came first.
    pub(super) fn replace(&self, guests: TenantGuests, new: Source) {
        let mut source = self.source();
        if new.turn > source.turn {
            self.loaded.store(Some(Arc::new(guests)));
            *source = new;
        }
    }

    /// Changes the current guests, unless they are of a later record. The caller holds
    /// `change_lock`. If no guests are loaded, the next call loads them all, from a record that is
    /// at least as new.
    pub(super) fn change(
        &self,
        turn: u64,
        change: impl FnOnce(TenantGuests, Versions) -> (TenantGuests, Versions),
    ) {
        let mut source = self.source();
        let loaded = self.loaded.load();
        let before = loaded.as_deref().cloned().unwrap_or_default();
        let (guests, versions) = change(before, source.versions);
        if versions.cover(&source.versions) {
            if loaded.is_some() {
                self.loaded.store(Some(Arc::new(guests)));
            }
            *source = Source { versions, turn };
        }
        // A load in progress may be of the earlier record: nobody is to wait for it.
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the records that these guests are of were deleted, if there are none in a list of
    /// this revision.
    pub(super) fn is_outdated(&self, revision: u64) -> bool {
        let versions = self.source().versions;
        let has_none = self.loaded.load().is_some() && versions == Versions::default();
        !has_none && versions.are_of(revision)
    }
}
