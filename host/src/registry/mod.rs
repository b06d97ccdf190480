//! Knows which generation of each guest is active: of the server-wide logic, of tenants' own
//! logics and of tenants' extensions.
//!
//! | file | holds |
//! |---|---|
//! | `records` | the record of each guest: its generations and events |
//! | `archive` | reads and writes records and components in storage |
//! | `load` | turns records into guests that can run |
//!
//! A call keeps one snapshot until it ends. So a promotion neither changes a running call nor makes
//! one wait, and a generation lives as long as its last call.

mod archive;
mod load;
mod records;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use kenning_storage::TenantId;
use tokio::sync::watch;

use kenning_core::provenance::ServedBy;
use kenning_runtime::{Generation, Guest, Hook, LinkedExtension, Loader, OnFailure};

pub use archive::{Archive, Changed, Components, Owner};
pub use load::LoadError;
pub(crate) use records::Versions;
pub use records::{
    BUILT_IN, Event, EventKind, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord,
    now,
};

/// The guests of one call.
#[derive(Clone)]
pub struct Snapshot {
    /// The tenant's own logic, or the server-wide one.
    pub logic: Arc<Generation>,
    /// The tenant's extensions, in the order in which they run.
    pub extensions: Arc<[Arc<Extension>]>,
}

impl Snapshot {
    /// The generations, as responses name them.
    pub fn served_by(&self) -> ServedBy {
        let named = |one: &Arc<Extension>| format!("{}={}", one.name(), one.guest.reference.number);
        let names: Vec<String> = self.extensions.iter().map(named).collect();
        ServedBy {
            logic: self.logic.guest.reference.clone(),
            extensions: (!names.is_empty()).then(|| names.join(",").into()),
        }
    }

    /// Whether any extension has `hook`.
    pub fn has(&self, hook: Hook) -> bool {
        self.extensions.iter().any(|extension| extension.has(hook))
    }
}

/// Sorts by the operator's order, then by name.
fn sort(extensions: &mut [Arc<Extension>]) {
    extensions.sort_by(|one, other| {
        one.order.cmp(&other.order).then_with(|| one.name().cmp(other.name()))
    });
}

/// One loaded generation of a tenant's extension.
pub struct Extension {
    /// Its name, generation and health.
    pub guest: Arc<Guest>,
    /// Its hooks, ready to be called.
    pub linked: LinkedExtension,
    /// Extensions run from the lowest order to the highest.
    pub order: i32,
    /// What happens when a hook fails; `None` leaves it to each hook's default.
    pub policy: Option<OnFailure>,
}

impl Extension {
    /// Its name, unique within the tenant.
    pub fn name(&self) -> &str {
        self.guest.component.name()
    }

    /// Whether it has `hook`.
    pub fn has(&self, hook: Hook) -> bool {
        self.linked.has(hook)
    }

    /// What a session needs to call its hooks.
    pub fn hooks(&self) -> (&Arc<Guest>, &LinkedExtension) {
        (&self.guest, &self.linked)
    }

    /// What happens when `hook` fails.
    pub fn on_failure(&self, hook: Hook) -> OnFailure {
        self.policy.unwrap_or(hook.on_failure())
    }
}

/// One tenant's own guests.
#[derive(Clone, Default)]
pub struct TenantGuests {
    /// `None` if the tenant uses the server-wide logic.
    pub logic: Option<Arc<Generation>>,
    /// In the order in which they run.
    pub extensions: Arc<[Arc<Extension>]>,
}

impl TenantGuests {
    /// The extension of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Extension>> {
        self.extensions.iter().find(|extension| extension.name() == name).cloned()
    }

    /// The same guests, with `added` instead of the extension of that name.
    #[must_use]
    pub fn with(&self, name: &str, added: Option<Arc<Extension>>) -> Self {
        let others = self.extensions.iter().filter(|one| one.name() != name).cloned();
        let mut extensions: Vec<_> = others.collect();
        extensions.extend(added);
        sort(&mut extensions);
        Self { logic: self.logic.clone(), extensions: extensions.into() }
    }
}

/// Locked while an owner's guests are changed.
type ChangeLock = Arc<tokio::sync::Mutex<()>>;

/// One tenant's guests; empty until the tenant's first call loads them.
#[derive(Default)]
struct Slot {
    loaded: ArcSwapOption<TenantGuests>,
    /// Versions of the records that the guests were loaded from.
    versions: Mutex<Versions>,
    change_lock: ChangeLock,
}

impl Slot {
    /// Replaces the guests by those of records with these versions, unless they are older than the
    /// current ones.
    fn replace(&self, guests: TenantGuests, new: Versions) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if new.logic >= versions.logic && new.extensions >= versions.extensions {
            self.loaded.store(Some(Arc::new(guests)));
            *versions = new;
        }
    }

    /// Changes the current guests. The caller holds `change_lock`.
    fn change(&self, change: impl FnOnce(TenantGuests, Versions) -> (TenantGuests, Versions)) {
        let versions = *self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = self.loaded.load().as_deref().cloned().unwrap_or_default();
        let (guests, versions) = change(guests, versions);
        self.replace(guests, versions);
    }
}

/// All active generations.
pub struct Registry {
    /// Records and components in storage.
    pub archive: Archive,
    /// Compiles components.
    pub loader: Loader,
    logic: ArcSwap<Generation>,
    /// Version of the record that the server-wide logic was loaded from.
    logic_version: Mutex<u64>,
    built_in: Arc<Generation>,
    tenants: RwLock<HashMap<TenantId, Arc<Slot>>>,
    /// Whether it is known which tenants have guests of their own. Until then no call may run: it
    /// could miss a hook that protects its tenant's facts.
    ready: watch::Sender<bool>,
    /// For the server-wide logic.
    change_lock: ChangeLock,
}

impl Registry {
    /// A registry whose server-wide logic is the built-in one until another is loaded or promoted.
    pub fn new(archive: Archive, loader: Loader, built_in: Arc<Generation>) -> Self {
        Self {
            archive,
            loader,
            logic: ArcSwap::new(built_in.clone()),
            logic_version: Mutex::default(),
            built_in,
            tenants: RwLock::default(),
            ready: watch::Sender::new(false),
            change_lock: ChangeLock::default(),
        }
    }

    /// The guests of tenants that have none of their own.
    pub fn server_wide(&self) -> Snapshot {
        Snapshot { logic: self.logic.load_full(), extensions: Arc::default() }
    }

    /// The logic that the server was started with.
    pub fn built_in(&self) -> Arc<Generation> {
        self.built_in.clone()
    }

    /// The guests for a call of `tenant` that starts now; `None` if they must be loaded first.
    pub fn snapshot(&self, tenant: &TenantId) -> Option<Snapshot> {
        if !self.is_ready() {
            return None;
        }
        let Some(slot) = self.slot(tenant) else { return Some(self.server_wide()) };
        let guests = slot.loaded.load_full()?;
        let logic = guests.logic.clone().unwrap_or_else(|| self.logic.load_full());
        Some(Snapshot { logic, extensions: guests.extensions.clone() })
    }

    /// Whether it is known which tenants have guests of their own.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Turns true once it is known which tenants have guests of their own.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// A tenant's own guests, if it has any and they are loaded.
    pub fn loaded(&self, tenant: &TenantId) -> Option<Arc<TenantGuests>> {
        self.slot(tenant)?.loaded.load_full()
    }

    /// The lock to hold while guests of `owner` are changed.
    pub(crate) fn change_lock(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        match owner {
            Owner::Server => self.change_lock.clone(),
            Owner::Tenant(tenant) => self.slot_or_new(tenant).change_lock.clone(),
        }
    }

    /// Makes a logic the active one, by one atomic store: running calls keep their snapshots.
    /// `None` stands for the owner's fallback. Does nothing if the active one is of a later record.
    pub(crate) fn set_logic(&self, owner: &Owner, logic: Option<Arc<Generation>>, version: u64) {
        match owner {
            Owner::Server => {
                let mut current = self.logic_version.lock().unwrap_or_else(PoisonError::into_inner);
                if version >= *current {
                    self.logic.store(logic.unwrap_or_else(|| self.built_in()));
                    *current = version;
                }
            }
            Owner::Tenant(tenant) => self.slot_or_new(tenant).change(|guests, versions| {
                (TenantGuests { logic, ..guests }, Versions { logic: version, ..versions })
            }),
        }
    }

    /// The same for one extension; `None` removes it.
    pub(crate) fn set_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        extension: Option<Arc<Extension>>,
        version: u64,
    ) {
        self.slot_or_new(tenant).change(|guests, versions| {
            (guests.with(name, extension), Versions { extensions: version, ..versions })
        });
    }

    /// The versions of the records that a tenant's guests were loaded from, if they are loaded.
    fn versions(&self, tenant: &TenantId) -> Option<Versions> {
        let slot = self.slot(tenant)?;
        slot.loaded.load().as_ref()?;
        Some(*slot.versions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops a tenant's own guests.
    pub fn forget(&self, tenant: &TenantId) {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn slot(&self, tenant: &TenantId) -> Option<Arc<Slot>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn slot_or_new(&self, tenant: &TenantId) -> Arc<Slot> {
        self.slot(tenant).unwrap_or_else(|| {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(tenant.clone()).or_default().clone()
        })
    }
}
