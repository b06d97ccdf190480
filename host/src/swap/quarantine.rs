//! Handles guests that fail on call after call, at any time. A quarantine is recorded; an extension
//! is not called while it lasts, and a logic, which every call needs, is called all the same. A
//! guest of which some export has only failed for a while is rolled back, if it has an older
//! generation to go back to.

use std::sync::Arc;

use kenning_storage::TenantId;
use tokio::sync::broadcast::error::RecvError;

use super::rollback::installed;
use super::verdict::Verdict;
use super::{Rollback, Swapper, changed_meanwhile};
use crate::registry::{BUILT_IN, EventKind, GuestRecord, Owner};
use kenning_core::error::{Code, Error};
use kenning_runtime::{Component, Failing, Guest};

/// A guest is rolled back when this many parts of a streak began without a successful call in
/// between, which takes some seconds. The watch after a promotion is quicker.
const PARTS_TO_ROLL_BACK: u32 = 3;

impl Swapper {
    /// Handles guests that fail, until aborted.
    pub async fn follow_failing(self) {
        let mut failing = self.kb().services().failing.subscribe();
        loop {
            match failing.recv().await {
                Ok(failing) => self.handle(failing).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "failing guests not handled");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn handle(&self, Failing { tenant, guest, begun }: Failing) {
        let (component, generation) = (guest.component.name(), guest.reference.number);
        if let Some(times) = begun.quarantine {
            tracing::warn!(%tenant, component, generation, times, "guest in quarantine");
            metrics::counter!("kenning_quarantines_total", "component" => guest.component.kind())
                .increment(1);
            if let Err(error) = self.record_quarantine(&tenant, &guest).await {
                tracing::warn!(%tenant, component, generation, %error, "quarantine not recorded");
            }
        }
        if begun.streak >= Some(PARTS_TO_ROLL_BACK) {
            match self.roll_back_failing(&tenant, &guest).await {
                Ok(()) => {}
                Err(error) if error.code == Code::Conflict => {
                    tracing::debug!(%tenant, component, generation, %error, "not rolled back");
                }
                Err(error) => {
                    tracing::error!(%tenant, component, generation, %error, "cannot roll back");
                }
            }
        }
    }

    async fn roll_back_failing(&self, tenant: &TenantId, guest: &Arc<Guest>) -> Result<(), Error> {
        let number = guest.reference.number;
        let reason = "it failed on every call of some kind for several seconds".to_string();
        let rollback = Rollback::automatic(number, reason.clone());
        if let Component::Extension(name) = &guest.component {
            return self.rollback_extension(tenant, name, rollback).await.map(drop);
        }
        match self.owner_of(tenant, guest) {
            Some(Owner::Server) => match self.verdict(guest, |one| one.in_streak) {
                Verdict::Everyone => self.rollback_logic(&Owner::Server, rollback).await.map(drop),
                Verdict::Tenants(tenants) => {
                    for tenant in tenants {
                        self.pin(&tenant, number, &reason).await?;
                    }
                    Ok(())
                }
                Verdict::Nobody => Ok(()),
            },
            Some(owner) => self.rollback_logic(&owner, rollback).await.map(drop),
            // It was replaced already.
            None => Ok(()),
        }
    }

    async fn record_quarantine(&self, tenant: &TenantId, guest: &Arc<Guest>) -> Result<(), Error> {
        let number = guest.reference.number;
        match &guest.component {
            Component::Extension(name) => self.record_extension(tenant, name, number).await,
            Component::Logic => match self.owner_of(tenant, guest) {
                Some(owner) => self.record_logic(&owner, number).await,
                None => Ok(()),
            },
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

    async fn record_logic(&self, owner: &Owner, number: u64) -> Result<(), Error> {
        let archive = &self.registry().archive;
        let record = self.storage(archive.logic(owner).await)?.value;
        if record.ends_with(EventKind::Quarantined, number) {
            return Ok(());
        }
        let _lock = self.lock(owner).await;
        let change = archive.change_logic(owner, |record| add_quarantine(record, number));
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
            add_quarantine(&mut installed(records, name)?.guest, number)
        });
        self.written(change.await).map(drop)
    }
}

fn add_quarantine(record: &mut GuestRecord, number: u64) -> Result<(), Error> {
    if record.active.unwrap_or(BUILT_IN) != number {
        return Err(changed_meanwhile());
    }
    record.add_event(EventKind::Quarantined, number, Some("it failed on every call".into()));
    Ok(())
}
