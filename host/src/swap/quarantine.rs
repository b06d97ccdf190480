//! What happens to a guest that fails on every call, at any time: an extension rests,
//! which hooks see to, and a logic, which nobody can do without, goes back to the
//! generation before. Both are recorded.

use std::sync::Arc;

use kenning_storage::TenantId;
use tokio::sync::broadcast::error::RecvError;

use super::rollback::installed;
use super::{Rollback, Swapper, changed_meanwhile};
use crate::registry::{BUILT_IN, GuestRecord, Owner, What};
use kenning_core::error::Error;
use kenning_runtime::{Component, Guest, Quarantined};

/// Rests of a logic, without a good call in between, after which it goes back: some
/// seconds in which no call of anyone succeeded. The watch after a promotion is quicker.
const LOGIC_RESTS: u32 = 3;

impl Swapper {
    /// Sees to guests that go into quarantine, for ever.
    pub async fn see_to_quarantines(self) {
        let mut rested = self.kb().services().quarantined.subscribe();
        loop {
            match rested.recv().await {
                Ok(rested) => self.see_to(rested).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "some quarantines are not recorded");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn see_to(&self, Quarantined { tenant, guest, times }: Quarantined) {
        let (component, generation) = (guest.component.name(), guest.reference.number);
        tracing::warn!(%tenant, component, generation, times, "guest in quarantine");
        metrics::counter!("kenning_quarantines_total", "component" => guest.component.kind())
            .increment(1);
        let seen_to = match &guest.component {
            Component::Extension(name) => self.note_extension(&tenant, name, generation).await,
            Component::Logic => match self.owner_of(&tenant, &guest) {
                Some(owner) => self.see_to_logic(&owner, generation, times).await,
                // Another took its place already.
                None => Ok(()),
            },
        };
        if let Err(error) = seen_to {
            tracing::warn!(%tenant, component, generation, %error, "quarantine not recorded");
        }
    }

    /// Whose logic it is now.
    fn owner_of(&self, tenant: &TenantId, guest: &Arc<Guest>) -> Option<Owner> {
        let own = self.registry().loaded(tenant).and_then(|guests| guests.logic.clone());
        if own.is_some_and(|own| Arc::ptr_eq(&own.guest, guest)) {
            return Some(Owner::Tenant(tenant.clone()));
        }
        let server_wide = self.registry().server_wide().logic;
        Arc::ptr_eq(&server_wide.guest, guest).then_some(Owner::Server)
    }

    async fn see_to_logic(&self, owner: &Owner, number: u64, times: u32) -> Result<(), Error> {
        let archive = &self.registry().archive;
        let record = self.read(archive.logic(owner).await)?.value;
        if times >= LOGIC_RESTS && record.was_promoted() {
            let why = format!("it failed on every call, and {times} times went into quarantine");
            return self.rollback_logic(owner, Rollback::by_itself(number, why)).await.map(drop);
        }
        if record.ends_with(What::Quarantined, number) {
            return Ok(());
        }
        let _alone = self.in_turn(owner).await;
        let noted = archive.change_logic(owner, |record| note(record, number)).await;
        self.changed(noted).map(drop)
    }

    async fn note_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        number: u64,
    ) -> Result<(), Error> {
        let archive = &self.registry().archive;
        let mut records = self.read(archive.extensions(tenant).await)?.value;
        if installed(&mut records, name)?.guest.ends_with(What::Quarantined, number) {
            return Ok(());
        }
        let _alone = self.in_turn(&Owner::Tenant(tenant.clone())).await;
        let noted = archive
            .change_extensions(tenant, |records| note(&mut installed(records, name)?.guest, number))
            .await;
        self.changed(noted).map(drop)
    }
}

fn note(record: &mut GuestRecord, number: u64) -> Result<(), Error> {
    if record.active.unwrap_or(BUILT_IN) != number {
        return Err(changed_meanwhile());
    }
    record.note(What::Quarantined, number, Some("it failed on every call".into()));
    Ok(())
}
