//! Knows which generation of each guest is active: of the server-wide logic, of tenants' own
//! logics and of tenants' extensions.
//!
//! | file | holds |
//! |---|---|
//! | `records` | the record of each guest: its generations and events |
//! | `revocations` | the record of revoked digests |
//! | `archive` | reads and writes records and components in storage |
//! | `load` | turns records into guests that can run |
//! | `catch_up` | loads what other hosts changed |
//! | `lease` | for how long this host may serve without having asked what changed |
//! | `slot` | one tenant's guests as they are loaded now |
//! | `awaited` | which guests are being loaded |
//! | `lost` | which guests cannot be loaded, because storage lost or spoilt their bytes |
//! | `prepare` | compiles what is recorded, before the server is ready |
//!
//! A call keeps one snapshot until it ends, and with it the number of the tenant's registry at
//! which its guests were loaded; storage refuses the call once another is in force. So a promotion
//! neither changes a running call nor makes one wait, and a generation lives as long as its last
//! call.

mod archive;
mod awaited;
mod catch_up;
mod lease;
mod load;
mod lost;
mod prepare;
mod records;
mod revocations;
mod slot;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use kenning_storage::{RegistryRevision, TenantId};
use kenning_tenants::Tenants;
use tokio::sync::watch;

use awaited::Awaited;
use catch_up::Following;
use kenning_core::json_schema::OptionsSchema;
use kenning_core::provenance::ServedBy;
use kenning_runtime::{Generation, Granted, Guest, Hook, LinkedExtension, Loader, OnFailure};
use lease::Lease;
use lost::LostGuests;
use slot::{ChangeLock, Slot, Source};

pub use archive::{Archive, Changed, Components, Owner};
pub use kenning_runtime::LoadError;
pub(crate) use lease::RENEW_EVERY;
pub use prepare::Preparation;
pub(crate) use records::Versions;
pub use records::{
    BUILT_IN, Event, EventKind, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord,
    Pin, Settings, now,
};
pub use revocations::{Revocation, Revocations};

/// What stands for an owner's logic where extensions have their names.
pub const THE_LOGIC: &str = "the logic";

/// The guests of one call.
#[derive(Clone)]
pub struct Snapshot {
    /// The tenant's own logic, or the server-wide one.
    pub logic: Arc<Generation>,
    /// The tenant's extensions, in the order in which they run.
    pub extensions: Arc<[Arc<Extension>]>,
    /// The tenant's registry that they are of; `None` if it makes no difference to the call whether
    /// that is in force.
    pub registry: Option<RegistryRevision>,
}

impl Snapshot {
    /// The logic's generation, as responses name it; no extension has run yet.
    pub fn served_by(&self) -> ServedBy {
        let logic = self.logic.guest.reference.clone();
        ServedBy { logic, extensions: None, left_out: None }
    }

    /// The extension of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Extension>> {
        self.extensions.iter().find(|extension| extension.name() == name).cloned()
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
    /// The imports that it was linked with, besides those of every extension.
    pub grants: Vec<Granted>,
    /// Extensions run from the lowest order to the highest.
    pub order: i32,
    /// What happens when a hook fails; `None` leaves it to each hook's default.
    pub policy: Option<OnFailure>,
    /// Whether its hooks are skipped.
    pub paused: bool,
    /// The schema of its options in requests, once it was asked for it; `None` in it if it has
    /// none.
    pub options: OnceLock<Option<OptionsSchema>>,
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
    /// An older generation of the server-wide logic, and the one that it is used instead of.
    pub pinned: Option<(u64, Arc<Generation>)>,
    /// In the order in which they run, with those that are paused.
    pub extensions: Arc<[Arc<Extension>]>,
    /// Those that are not paused.
    running: Arc<[Arc<Extension>]>,
    /// The number of the tenant's registry, as it was before all of it was loaded.
    registry: RegistryRevision,
}

impl TenantGuests {
    /// A tenant's guests; `extensions` in any order.
    pub fn new(logic: Option<Arc<Generation>>, mut extensions: Vec<Arc<Extension>>) -> Self {
        sort(&mut extensions);
        let running = extensions.iter().filter(|extension| !extension.paused).cloned().collect();
        let registry = RegistryRevision::default();
        Self { logic, pinned: None, extensions: extensions.into(), running, registry }
    }

    /// The logic that the tenant uses while `server_wide` is the others'.
    fn logic_or(&self, server_wide: Arc<Generation>) -> Arc<Generation> {
        match (&self.logic, &self.pinned) {
            (Some(own), _) => own.clone(),
            (None, Some((from, pinned))) if *from == server_wide.guest.reference.number => {
                pinned.clone()
            }
            _ => server_wide,
        }
    }

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
        let (pinned, registry) = (self.pinned.clone(), self.registry);
        Self { pinned, registry, ..Self::new(self.logic.clone(), extensions) }
    }
}

/// All active generations.
pub struct Registry {
    /// Records and components in storage.
    pub archive: Archive,
    /// Compiles components.
    pub loader: Loader,
    /// Keys and quotas, which are loaded with a tenant's guests.
    records: Arc<Tenants>,
    /// Whether other hosts may use the same storage.
    is_shared: bool,
    logic: ArcSwap<Generation>,
    /// Version of the record that the server-wide logic was loaded from.
    logic_version: Mutex<u64>,
    built_in: Arc<Generation>,
    tenants: RwLock<HashMap<TenantId, Arc<Slot>>>,
    /// Grows with each load and change of a tenant's guests.
    turns: AtomicU64,
    following: Following,
    lease: Lease,
    /// Whether it is known which tenants have guests of their own. Until then no call may run: it
    /// could miss a hook that protects its tenant's facts.
    ready: watch::Sender<bool>,
    /// For the server-wide logic.
    change_lock: ChangeLock,
    swap_lock: ChangeLock,
    awaited: Awaited,
    lost: LostGuests,
    preparation: watch::Sender<Preparation>,
}

impl Registry {
    /// A registry whose server-wide logic is the built-in one until another is loaded or promoted.
    pub fn new(
        archive: Archive,
        loader: Loader,
        built_in: Arc<Generation>,
        records: Arc<Tenants>,
    ) -> Self {
        let is_shared = archive.is_shared();
        Self {
            archive,
            loader,
            records,
            is_shared,
            logic: ArcSwap::new(built_in.clone()),
            logic_version: Mutex::default(),
            built_in,
            tenants: RwLock::default(),
            turns: AtomicU64::default(),
            following: Following::default(),
            lease: Lease::new(is_shared),
            ready: watch::Sender::new(false),
            change_lock: ChangeLock::default(),
            swap_lock: ChangeLock::default(),
            awaited: Awaited::default(),
            lost: LostGuests::default(),
            preparation: watch::Sender::default(),
        }
    }

    /// Whether other hosts may use the same storage.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The guests of tenants that have none of their own.
    pub fn server_wide(&self) -> Snapshot {
        let registry = Some(RegistryRevision::default());
        Snapshot { logic: self.logic.load_full(), extensions: Arc::default(), registry }
    }

    /// The logic that the server was started with.
    pub fn built_in(&self) -> Arc<Generation> {
        self.built_in.clone()
    }

    /// The guests for a call of `tenant` that starts now; `None` if they must be loaded first.
    pub fn snapshot(&self, tenant: &TenantId) -> Option<Snapshot> {
        // Its first call would be refused, and repeated: its record has a number.
        if self.is_shared && self.slot(tenant).is_none() && self.records.get(tenant).is_some() {
            return None;
        }
        self.guests(tenant)
    }

    /// The same for work that does not depend on the tenant's record.
    pub fn guests(&self, tenant: &TenantId) -> Option<Snapshot> {
        if !self.is_ready() {
            return None;
        }
        let Some(slot) = self.slot(tenant) else { return Some(self.server_wide()) };
        let guests = slot.loaded.load_full()?;
        let logic = guests.logic_or(self.logic.load_full());
        let registry = Some(guests.registry);
        Some(Snapshot { logic, extensions: guests.running.clone(), registry })
    }

    /// Whether it is known which tenants have guests of their own.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Turns true once it is known which tenants have guests of their own.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The running extensions with a hook, of the tenants whose guests are loaded; those of one
    /// tenant together.
    pub fn running_with(&self, hook: Hook) -> Vec<(TenantId, String)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (tenant, slot) in tenants.iter() {
            let Some(guests) = slot.loaded.load_full() else { continue };
            let with_hook = guests.running.iter().filter(|extension| extension.has(hook));
            found.extend(with_hook.map(|one| (tenant.clone(), one.name().to_string())));
        }
        found
    }

    /// A tenant's own guests, if it has any and they are loaded.
    pub fn loaded(&self, tenant: &TenantId) -> Option<Arc<TenantGuests>> {
        self.slot(tenant)?.loaded.load_full()
    }

    /// The lock to hold while the record of a guest of `owner` and the active generation are
    /// changed, which takes no longer than storage does.
    pub(crate) fn change_lock(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        match owner {
            Owner::Server => self.change_lock.clone(),
            Owner::Tenant(tenant) => self.slot_or_new(tenant).change_lock.clone(),
        }
    }

    /// The lock to hold during a whole swap, with its compilation and its proof. Rollbacks and
    /// removals do not take it.
    pub(crate) fn swap_lock(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        match owner {
            Owner::Server => self.swap_lock.clone(),
            Owner::Tenant(tenant) => self.slot_or_new(tenant).swap_lock.clone(),
        }
    }

    /// The name of a guest that is being loaded for calls of `tenant`, if there is one: an
    /// extension's, or `the logic`.
    pub(crate) fn awaited(&self, tenant: &TenantId) -> Option<String> {
        let own = self.awaited.of(&Owner::Tenant(tenant.clone()));
        own.or_else(|| (!self.is_ready()).then(|| self.awaited.of(&Owner::Server)).flatten())
    }

    /// Why storage could not give this host the bytes of a guest when that was last tried: an
    /// extension's, or [`THE_LOGIC`]'s. `None` if nobody tried.
    pub fn problem(&self, owner: &Owner, name: &str) -> Option<String> {
        self.lost.reason(owner, name)
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
            Owner::Tenant(tenant) => {
                self.slot_or_new(tenant).change(self.turn(), |guests, versions| {
                    let guests = TenantGuests { logic, pinned: None, ..guests };
                    (guests, Versions { logic: version, ..versions })
                })
            }
        }
    }

    /// Pins a tenant to an older generation of the server-wide logic than number `from`.
    pub(crate) fn set_pin(
        &self,
        tenant: &TenantId,
        from: u64,
        logic: Arc<Generation>,
        version: u64,
    ) {
        self.slot_or_new(tenant).change(self.turn(), |guests, versions| {
            let guests = TenantGuests { pinned: Some((from, logic)), ..guests };
            (guests, Versions { logic: version, ..versions })
        });
    }

    /// The same for one extension; `None` removes it.
    pub(crate) fn set_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        extension: Option<Arc<Extension>>,
        version: u64,
    ) {
        self.slot_or_new(tenant).change(self.turn(), |guests, versions| {
            (guests.with(name, extension), Versions { extensions: version, ..versions })
        });
    }

    /// The versions of the records that a tenant's guests were loaded from, if they are loaded.
    fn versions(&self, tenant: &TenantId) -> Option<Versions> {
        let slot = self.slot(tenant)?;
        slot.loaded.load().as_ref()?;
        Some(slot.source().versions)
    }

    /// Drops a tenant's own guests.
    pub fn forget(&self, tenant: &TenantId) {
        self.lost.forget(&Owner::Tenant(tenant.clone()));
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Drops the guests of tenants that have none on record, in a list of this revision. Those of
    /// later records stay.
    fn forget_unlisted(&self, listed: &HashMap<TenantId, Versions>, revision: u64) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|tenant, slot| {
            let stays = listed.contains_key(tenant) || !slot.is_outdated(revision);
            if !stays {
                self.lost.forget(&Owner::Tenant(tenant.clone()));
            }
            stays
        });
    }

    /// Replaces a tenant's guests by those that were loaded, as [`Slot::replace`] does. In one
    /// step: the tenant's slot may have been dropped meanwhile.
    fn replace(&self, tenant: &TenantId, guests: TenantGuests, source: Source) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.clone()).or_default().replace(guests, source);
    }

    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The tenants whose guests are loaded, and the numbers of their registries.
    pub(crate) fn registries(&self) -> Vec<(TenantId, RegistryRevision)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let of = |(tenant, slot): (&TenantId, &Arc<Slot>)| {
            Some((tenant.clone(), slot.loaded.load().as_ref()?.registry))
        };
        tenants.iter().filter_map(of).collect()
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
