//! Which generation of each guest is active: of the logic, server-wide or a tenant's
//! own, and of each tenant's extensions.
//!
//! | file | holds |
//! |---|---|
//! | `records` | what is kept of each guest: its generations and what happened to them |
//! | `archive` | those records and the components' bytes, in storage |
//! | `load` | from records to guests that can run |
//! | `follow` | what another host on the same storage decided |
//!
//! A call takes one snapshot and keeps it to its end, so a promotion changes no call
//! under way and makes none wait, and a generation lives as long as its last call.

mod archive;
pub mod follow;
mod load;
mod records;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use kenning_storage::TenantId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::kb::Served;
use crate::runtime::{Generation, Guest, Hook, LinkedExtension, Loader};

pub use archive::{Archive, Changed, Components, Owner};
pub use load::LoadError;
pub use records::{
    BUILT_IN, Event, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord, What, now,
};

/// The guests of one call.
#[derive(Clone)]
pub struct Snapshot {
    pub logic: Arc<Generation>,
    pub extensions: Arc<[Arc<Extension>]>,
}

impl Snapshot {
    pub fn served(&self) -> Served {
        let named = |one: &Arc<Extension>| format!("{}={}", one.name(), one.guest.reference.number);
        let names: Vec<String> = self.extensions.iter().map(named).collect();
        Served {
            logic: self.logic.guest.reference.clone(),
            extensions: (!names.is_empty()).then(|| names.join(",").into()),
        }
    }

    /// Whether some extension has `hook`.
    pub fn has(&self, hook: Hook) -> bool {
        self.extensions.iter().any(|extension| extension.has(hook))
    }
}

/// In the operator's order; of equal ones, by name.
fn sort(extensions: &mut [Arc<Extension>]) {
    extensions.sort_by(|one, other| {
        one.order.cmp(&other.order).then_with(|| one.name().cmp(other.name()))
    });
}

/// What happens to a call when a hook of it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The call fails.
    Close,
    /// The call goes on without the hook.
    LeaveOut,
}

/// One loaded generation of a tenant's extension.
pub struct Extension {
    pub guest: Arc<Guest>,
    pub linked: LinkedExtension,
    pub order: i32,
    /// The operator's, in place of the hooks' own.
    pub policy: Option<OnFailure>,
}

impl Extension {
    pub fn name(&self) -> &str {
        self.guest.component.name()
    }

    pub fn has(&self, hook: Hook) -> bool {
        self.linked.has(hook)
    }

    pub fn hooks(&self) -> (&Arc<Guest>, &LinkedExtension) {
        (&self.guest, &self.linked)
    }

    pub fn on_failure(&self, hook: Hook) -> OnFailure {
        self.policy.unwrap_or(match hook {
            Hook::OnStore | Hook::OnQuery | Hook::OnRead => OnFailure::Close,
            Hook::Rerank => OnFailure::LeaveOut,
        })
    }
}

/// The guests of one tenant that differ from the server's.
#[derive(Clone, Default)]
pub struct TenantGuests {
    pub logic: Option<Arc<Generation>>,
    pub extensions: Arc<[Arc<Extension>]>,
}

impl TenantGuests {
    pub fn named(&self, name: &str) -> Option<Arc<Extension>> {
        self.extensions.iter().find(|extension| extension.name() == name).cloned()
    }

    /// The same without the extension of that name, and with `added` in its order.
    #[must_use]
    pub fn with(&self, name: &str, added: Option<Arc<Extension>>) -> Self {
        let others = self.extensions.iter().filter(|one| one.name() != name).cloned();
        let mut extensions: Vec<_> = others.collect();
        extensions.extend(added);
        sort(&mut extensions);
        Self { logic: self.logic.clone(), extensions: extensions.into() }
    }
}

/// Held by whoever changes an owner's guests.
type Changing = Arc<tokio::sync::Mutex<()>>;

/// One tenant's place: empty until its guests are loaded, which its first call does.
#[derive(Default)]
struct Slot {
    loaded: ArcSwapOption<TenantGuests>,
    /// Of the records that the loaded guests are of.
    versions: Mutex<Versions>,
    changing: Changing,
}

/// Versions of a tenant's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) logic: u64,
    pub(crate) extensions: u64,
}

impl Versions {
    /// Whether they were there at that revision of all documents.
    fn are_of(self, revision: u64) -> bool {
        self.logic.max(self.extensions) <= revision
    }
}

impl Slot {
    /// Loads `guests`, unless those of a later record are.
    fn load(&self, guests: TenantGuests, of: Versions) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if of.logic >= versions.logic && of.extensions >= versions.extensions {
            self.loaded.store(Some(Arc::new(guests)));
            *versions = of;
        }
    }

    /// The same for what becomes of those that are loaded. Whoever calls it holds
    /// `changing`.
    fn change(&self, change: impl FnOnce(TenantGuests, Versions) -> (TenantGuests, Versions)) {
        let versions = *self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = self.loaded.load().as_deref().cloned().unwrap_or_default();
        let (guests, versions) = change(guests, versions);
        self.load(guests, versions);
    }
}

/// All active generations, and where they come from.
pub struct Registry {
    pub archive: Archive,
    pub loader: Loader,
    logic: ArcSwap<Generation>,
    /// Of the record that the server-wide logic is of.
    logic_version: Mutex<u64>,
    built_in: Arc<Generation>,
    tenants: RwLock<HashMap<TenantId, Arc<Slot>>>,
    /// Whether it is known which tenants have guests of their own. Until then no call
    /// may run: it could miss the hook that protects its tenant's facts.
    known: watch::Sender<bool>,
    /// Of the server-wide logic.
    changing: Changing,
}

impl Registry {
    /// A registry whose server-wide logic is the one that comes with the server, until
    /// something else is read or promoted.
    pub fn new(archive: Archive, loader: Loader, built_in: Arc<Generation>) -> Self {
        Self {
            archive,
            loader,
            logic: ArcSwap::new(built_in.clone()),
            logic_version: Mutex::default(),
            built_in,
            tenants: RwLock::default(),
            known: watch::Sender::new(false),
            changing: Changing::default(),
        }
    }

    /// The guests of tenants that have none of their own.
    pub fn server_wide(&self) -> Snapshot {
        Snapshot { logic: self.logic.load_full(), extensions: Arc::default() }
    }

    pub fn built_in(&self) -> Arc<Generation> {
        self.built_in.clone()
    }

    /// The guests that a call of `tenant` beginning now is to use; `None` if they have
    /// to be read first.
    pub fn snapshot(&self, tenant: &TenantId) -> Option<Snapshot> {
        if !self.is_known() {
            return None;
        }
        let Some(slot) = self.slot(tenant) else { return Some(self.server_wide()) };
        let guests = slot.loaded.load_full()?;
        let logic = guests.logic.clone().unwrap_or_else(|| self.logic.load_full());
        Some(Snapshot { logic, extensions: guests.extensions.clone() })
    }

    /// Whether it is known which tenants have guests of their own.
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// Turns true once it is known which tenants have guests of their own.
    pub fn known(&self) -> watch::Receiver<bool> {
        self.known.subscribe()
    }

    /// A tenant's own guests, if it has any and they are loaded.
    pub fn loaded(&self, tenant: &TenantId) -> Option<Arc<TenantGuests>> {
        self.slot(tenant)?.loaded.load_full()
    }

    /// To be held while guests of `owner` are changed.
    pub(crate) fn changing(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        match owner {
            Owner::Server => self.changing.clone(),
            Owner::Tenant(tenant) => self.slot_or_new(tenant).changing.clone(),
        }
    }

    /// Makes a logic the active one, by one atomic store: calls under way keep what they
    /// have. `None` is the logic that stands behind the owner's own. Nothing happens if
    /// the one of a later record is there already.
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

    /// The same of one extension; `None` takes it out.
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

    /// The versions of the records that a tenant's loaded guests are of.
    fn versions(&self, tenant: &TenantId) -> Option<Versions> {
        let slot = self.slot(tenant)?;
        slot.loaded.load().as_ref()?;
        Some(*slot.versions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tenant has no guests of its own any more.
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
