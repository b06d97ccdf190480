//! Handles guests that fail on every call, at any time. The quarantine is recorded. An extension
//! is not called while it lasts; a logic, which every call needs, is called all the same and rolled
//! back if it goes into quarantine repeatedly.

use std::sync::Arc;

use kenning_storage::TenantId;
use tokio::sync::broadcast::error::RecvError;

use super::rollback::installed;
use super::{Rollback, Swapper, changed_meanwhile};
use crate::registry::{BUILT_IN, EventKind, GuestRecord, Owner};
use kenning_core::error::Error;
use kenning_runtime::{Component, Guest, Quarantined};

/// A logic is rolled back when it goes into quarantine this many times without a successful call
/// in between, which takes some seconds. The watch after a promotion is quicker.
const QUARANTINES_TO_ROLL_BACK: u32 = 3;

impl Swapper {
    /// Records and handles quarantines, until aborted.
    pub async fn follow_quarantines(self) {
        let mut quarantines = self.kb().services().quarantined.subscribe();
        loop {
            match quarantines.recv().await {
                Ok(quarantined) => self.handle(quarantined).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "quarantines not recorded");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn handle(&self, Quarantined { tenant, guest, times }: Quarantined) {
        let (component, generation) = (guest.component.name(), guest.reference.number);
        tracing::warn!(%tenant, component, generation, times, "guest in quarantine");
        metrics::counter!("kenning_quarantines_total", "component" => guest.component.kind())
            .increment(1);
        let handled = match &guest.component {
            Component::Extension(name) => self.record_extension(&tenant, name, generation).await,
            Component::Logic => match self.owner_of(&tenant, &guest) {
                Some(owner) => self.handle_logic(&owner, generation, times).await,
                // It was replaced already.
                None => Ok(()),
            },
        };
        if let Err(error) = handled {
            tracing::warn!(%tenant, component, generation, %error, "quarantine not recorded");
        }
    }

    /// Whose active logic the guest is, if it still is.
    fn owner_of(&self, tenant: &TenantId, guest: &Arc<Guest>) -> Option<Owner> {
        let own = self.registry().loaded(tenant).and_then(|guests| guests.logic.clone());
        if own.is_some_and(|own| Arc::ptr_eq(&own.guest, guest)) {
            return Some(Owner::Tenant(tenant.clone()));
        }
        let server_wide = self.registry().server_wide().logic;
        Arc::ptr_eq(&server_wide.guest, guest).then_some(Owner::Server)
    }

    async fn handle_logic(&self, owner: &Owner, number: u64, times: u32) -> Result<(), Error> {
        let archive = &self.registry().archive;
        let record = self.storage(archive.logic(owner).await)?.value;
        if times >= QUARANTINES_TO_ROLL_BACK && record.was_promoted() {
            let reason = format!("it failed on every call and went into quarantine {times} times");
            return self.rollback_logic(owner, Rollback::automatic(number, reason)).await.map(drop);
        }
        if record.ends_with(EventKind::Quarantined, number) {
            return Ok(());
        }
        let _lock = self.lock(owner).await;
        let change = archive.change_logic(owner, |record| record_quarantine(record, number));
        self.written(change.await).map(drop)
    }

    async fn record_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        number: u64,
    ) -> Result<(), Error> {
        let archive = &self.registry().archive;
        let mut records = self.storage(archive.extensions(tenant).await)?.value;
        if installed(&mut records, name)?.guest.ends_with(EventKind::Quarantined, number) {
            return Ok(());
        }
        let _lock = self.lock(&Owner::Tenant(tenant.clone())).await;
        let change = archive.change_extensions(tenant, |records| {
            record_quarantine(&mut installed(records, name)?.guest, number)
        });
        self.written(change.await).map(drop)
    }
}

fn record_quarantine(record: &mut GuestRecord, number: u64) -> Result<(), Error> {
    if record.active.unwrap_or(BUILT_IN) != number {
        return Err(changed_meanwhile());
    }
    record.add_event(EventKind::Quarantined, number, Some("it failed on every call".into()));
    Ok(())
}
