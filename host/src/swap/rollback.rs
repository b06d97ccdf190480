//! Rollback to a generation before, asked for or by the server itself; and out.

use kenning_storage::TenantId;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::{Swapper, changed_meanwhile, no_such_extension};
use crate::registry::{
    BUILT_IN, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord, Owner, What,
};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// To which generation a guest goes back, and why.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// `None`: the one that was active before.
    to: Option<u64>,
    /// Only if this one is still active, and was not itself gone back to.
    from: Option<u64>,
    why: String,
}

impl Rollback {
    pub fn asked_for(to: Option<u64>, by: &str) -> Self {
        Self { to, from: None, why: format!("asked for by {by}") }
    }

    pub(super) fn by_itself(from: u64, why: String) -> Self {
        Self { to: None, from: Some(from), why }
    }

    /// The generation to go to; `None`, the one that stands behind all of them, which has
    /// the number `behind`.
    fn target(
        &self,
        name: &str,
        record: &GuestRecord,
        behind: Option<u64>,
    ) -> Result<Option<GenerationRecord>, Error> {
        if self.from.is_some() && (self.from != record.active || !record.was_promoted()) {
            return Err(changed_meanwhile());
        }
        let Some(number) = self.to else {
            return match (record.previous(), record.active) {
                (Some(previous), _) => Ok(Some(previous.clone())),
                (None, Some(_)) if behind.is_some() => Ok(None),
                (None, _) => Err(nothing_before(name)),
            };
        };
        if let Some(target) = record.generation(number) {
            return Ok(Some(target.clone()));
        }
        if behind == Some(number) {
            return Ok(None);
        }
        let kept = record.generations.iter().map(|kept| kept.number);
        let kept: Vec<u64> = behind.into_iter().chain(kept).collect();
        let message = format!("generation {number} is not kept; there are {kept:?}");
        Err(Error::new(Code::NotFound, message).with_details(json!({ "generations": kept })))
    }

    /// Goes there, if the record is still as it was `seen`.
    fn note(
        &self,
        record: &mut GuestRecord,
        seen: &GuestRecord,
        to: Option<u64>,
    ) -> Result<(), Error> {
        if record.active != seen.active {
            return Err(changed_meanwhile());
        }
        let what = match self.from {
            None => What::RolledBack,
            Some(_) => What::RolledBackByItself,
        };
        let left = record.active.unwrap_or(BUILT_IN);
        record.active = to;
        record.note(what, left, Some(self.why.clone()));
        Ok(())
    }

    /// What nobody asked for is worth a line.
    fn say(&self, component: &'static str, tenant: &TenantId) {
        if let Some(generation) = self.from {
            tracing::error!(%tenant, component, generation, why = self.why, "rolled back");
            metrics::counter!("kenning_rollbacks_total", "component" => component).increment(1);
        }
    }
}

impl Swapper {
    /// A logic, server-wide or a tenant's own.
    pub async fn rollback_logic(
        &self,
        owner: &Owner,
        rollback: Rollback,
    ) -> Result<GenerationRef, Error> {
        let _alone = self.alone_for(owner, &rollback).await?;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let seen = self.read(archive.logic(owner).await)?.value;
        // A tenant's own logic has the server's behind it, by the same number.
        let target = rollback.target("the logic", &seen, Some(BUILT_IN))?;
        let logic = match &target {
            Some(target) => Some(self.loaded(registry.generation(owner, target).await)?),
            None => None,
        };
        let to = target.map(|target| target.number);
        let changed = archive.change_logic(owner, |record| rollback.note(record, &seen, to)).await;
        let ((), version) = self.changed(changed)?;
        registry.set_logic(owner, logic, version);
        rollback.say("logic", &owner.tenant());
        Ok(self.live_logic(owner).await?.guest.reference.clone())
    }

    /// An extension.
    pub async fn rollback_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        rollback: Rollback,
    ) -> Result<GenerationRef, Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _alone = self.alone_for(&owner, &rollback).await?;
        self.live(tenant).await?;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let mut records = self.read(archive.extensions(tenant).await)?.value;
        let seen = installed(&mut records, name)?;
        let Some(target) = rollback.target(name, &seen.guest, None)? else {
            return Err(nothing_before(name));
        };
        let extension = self.loaded(registry.extension(&owner, name, seen, &target).await)?;
        let to = Some(target.number);
        let changed = archive.change_extensions(tenant, |records| {
            rollback.note(&mut installed(records, name)?.guest, &seen.guest, to)
        });
        let ((), version) = self.changed(changed.await)?;
        let reference = extension.guest.reference.clone();
        registry.set_extension(tenant, name, Some(extension), version);
        rollback.say("extension", tenant);
        Ok(reference)
    }

    /// Takes an extension out.
    pub async fn remove_extension(&self, tenant: &TenantId, name: &str) -> Result<(), Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _alone = self.alone(&owner)?;
        self.live(tenant).await?;
        let there = self.read(self.registry().archive.components(&owner).await)?;
        let changed = self.registry().archive.change_extensions(tenant, |records| {
            let record = &mut installed(records, name)?.guest;
            let active = record.active.take().unwrap_or_default();
            record.note(What::Removed, active, None);
            // The record stays, without its generations: a number is never used twice.
            Ok(record.generations.drain(..).map(|generation| generation.digest).collect())
        });
        let (gone, version) = self.changed(changed.await)?;
        self.registry().set_extension(tenant, name, None, version);
        self.clean_up(&owner, gone, there);
        Ok(())
    }

    async fn alone_for(
        &self,
        owner: &Owner,
        rollback: &Rollback,
    ) -> Result<OwnedMutexGuard<()>, Error> {
        match rollback.from {
            None => self.alone(owner),
            Some(_) => Ok(self.in_turn(owner).await),
        }
    }
}

fn nothing_before(name: &str) -> Error {
    Error::new(Code::Conflict, format!("{name} has no generation before this one"))
}

/// An extension that is there.
pub(super) fn installed<'a>(
    records: &'a mut ExtensionRecords,
    name: &str,
) -> Result<&'a mut ExtensionRecord, Error> {
    let record = records.extensions.get_mut(name);
    let record = record.filter(|record| record.guest.active.is_some());
    record.ok_or_else(|| no_such_extension(name))
}
