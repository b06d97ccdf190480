//! Rolls a guest back to an earlier generation, on request or automatically, and removes
//! extensions.

use kenning_storage::TenantId;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::{Swapper, changed_meanwhile, no_such_extension};
use crate::registry::{
    BUILT_IN, EventKind, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord, Owner,
};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// Which generation to roll back to, and why.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// `None` for the one that was active before.
    to: Option<u64>,
    /// For an automatic rollback: only if this generation is still active, and became so by a
    /// promotion rather than a rollback.
    from: Option<u64>,
    reason: String,
}

impl Rollback {
    /// A rollback to generation `to` that `by` requested; `None` for the generation before.
    pub fn requested(to: Option<u64>, by: &str) -> Self {
        Self { to, from: None, reason: format!("requested by {by}") }
    }

    pub(super) fn automatic(from: u64, reason: String) -> Self {
        Self { to: None, from: Some(from), reason }
    }

    /// The generation to roll back to; `None` for the fallback behind all recorded generations,
    /// whose number is `fallback`.
    fn target(
        &self,
        name: &str,
        record: &GuestRecord,
        fallback: Option<u64>,
    ) -> Result<Option<GenerationRecord>, Error> {
        if self.from.is_some() && (self.from != record.active || !record.was_promoted()) {
            return Err(changed_meanwhile());
        }
        let Some(number) = self.to else {
            return match (record.previous(), record.active) {
                (Some(previous), _) => Ok(Some(previous.clone())),
                (None, Some(_)) if fallback.is_some() => Ok(None),
                (None, _) => Err(nothing_before(name)),
            };
        };
        if let Some(target) = record.generation(number) {
            return Ok(Some(target.clone()));
        }
        if fallback == Some(number) {
            return Ok(None);
        }
        let kept = record.generations.iter().map(|kept| kept.number);
        let kept: Vec<u64> = fallback.into_iter().chain(kept).collect();
        let message = format!("there is no generation {number}; available are {kept:?}");
        Err(Error::new(Code::NotFound, message).with_details(json!({ "generations": kept })))
    }

    /// Makes `to` the active generation in the record, unless the record changed since `seen`.
    fn apply(
        &self,
        record: &mut GuestRecord,
        seen: &GuestRecord,
        to: Option<u64>,
    ) -> Result<(), Error> {
        if record.active != seen.active {
            return Err(changed_meanwhile());
        }
        let kind = match self.from {
            None => EventKind::RolledBack,
            Some(_) => EventKind::RolledBackAutomatically,
        };
        let left = record.active.unwrap_or(BUILT_IN);
        record.active = to;
        record.add_event(kind, left, Some(self.reason.clone()));
        Ok(())
    }

    /// Logs and counts an automatic rollback.
    fn log(&self, component: &'static str, tenant: &TenantId) {
        if let Some(generation) = self.from {
            tracing::error!(%tenant, component, generation, reason = self.reason, "rolled back");
            metrics::counter!("kenning_rollbacks_total", "component" => component).increment(1);
        }
    }
}

impl Swapper {
    /// Rolls back the server-wide logic or a tenant's own. Returns the generation that is live
    /// afterwards.
    ///
    /// # Errors
    /// When there is no such generation, another change is in progress, or storage fails.
    pub async fn rollback_logic(
        &self,
        owner: &Owner,
        rollback: Rollback,
    ) -> Result<GenerationRef, Error> {
        let _lock = self.lock_for(owner, &rollback).await?;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let seen = self.storage(archive.logic(owner).await)?.value;
        // The fallback of a tenant's own logic is the server-wide one, under the same number.
        let target = rollback.target("the logic", &seen, Some(BUILT_IN))?;
        let logic = match &target {
            Some(target) => Some(self.load(registry.generation(owner, target).await)?),
            None => None,
        };
        let to = target.map(|target| target.number);
        let changed = archive.change_logic(owner, |record| rollback.apply(record, &seen, to)).await;
        let ((), version) = self.written(changed)?;
        registry.set_logic(owner, logic, version);
        rollback.log("logic", &owner.tenant());
        Ok(self.live_logic(owner).await?.guest.reference.clone())
    }

    /// Rolls back an extension. Returns the generation that is live afterwards.
    ///
    /// # Errors
    /// As [`Self::rollback_logic`].
    pub async fn rollback_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        rollback: Rollback,
    ) -> Result<GenerationRef, Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _lock = self.lock_for(&owner, &rollback).await?;
        self.live(tenant).await?;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let mut records = self.storage(archive.extensions(tenant).await)?.value;
        let seen = installed(&mut records, name)?;
        let Some(target) = rollback.target(name, &seen.guest, None)? else {
            return Err(nothing_before(name));
        };
        let extension = self.load(registry.extension(&owner, name, seen, &target).await)?;
        let to = Some(target.number);
        let changed = archive.change_extensions(tenant, |records| {
            rollback.apply(&mut installed(records, name)?.guest, &seen.guest, to)
        });
        let ((), version) = self.written(changed.await)?;
        let reference = extension.guest.reference.clone();
        registry.set_extension(tenant, name, Some(extension), version);
        rollback.log("extension", tenant);
        Ok(reference)
    }

    /// Removes an extension.
    ///
    /// # Errors
    /// When it is not installed, another change is in progress, or storage fails.
    pub async fn remove_extension(&self, tenant: &TenantId, name: &str) -> Result<(), Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _lock = self.try_lock(&owner)?;
        self.live(tenant).await?;
        let stored = self.storage(self.registry().archive.components(&owner).await)?;
        let changed = self.registry().archive.change_extensions(tenant, |records| {
            let record = &mut installed(records, name)?.guest;
            let active = record.active.take().unwrap_or_default();
            record.add_event(EventKind::Removed, active, None);
            // The record stays, without its generations, so that no number is used twice.
            Ok(record.generations.drain(..).map(|generation| generation.digest).collect())
        });
        let (unused, version) = self.written(changed.await)?;
        self.registry().set_extension(tenant, name, None, version);
        self.clean_up(&owner, unused, stored);
        Ok(())
    }

    /// A requested rollback fails if another change is in progress; an automatic one waits.
    async fn lock_for(
        &self,
        owner: &Owner,
        rollback: &Rollback,
    ) -> Result<OwnedMutexGuard<()>, Error> {
        match rollback.from {
            None => self.try_lock(owner),
            Some(_) => Ok(self.lock(owner).await),
        }
    }
}

fn nothing_before(name: &str) -> Error {
    Error::new(Code::Conflict, format!("{name} has no generation before this one"))
}

/// The record of an installed extension.
pub(super) fn installed<'a>(
    records: &'a mut ExtensionRecords,
    name: &str,
) -> Result<&'a mut ExtensionRecord, Error> {
    let record = records.extensions.get_mut(name);
    let record = record.filter(|record| record.guest.active.is_some());
    record.ok_or_else(|| no_such_extension(name))
}
