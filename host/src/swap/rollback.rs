//! Rolls a guest back to an earlier generation, on request or automatically, and removes
//! extensions.
//!
//! By itself a rollback goes to the newest generation that is older than the live one and was
//! never rolled back from, and it gives an extension no grant that the live one does not have. An
//! operator who names a generation gets that one, with what it was granted.

use std::sync::Arc;

use kenning_storage::TenantId;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;

use super::{Swapper, changed_meanwhile, no_such_extension};
use crate::registry::{
    BUILT_IN, EventKind, Extension, ExtensionRecord, ExtensionRecords, GenerationRecord,
    GuestRecord, LoadError, Owner, Revocations, Settings, THE_LOGIC,
};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::{Generation, Granted, Urgency};

/// Which generation to roll back to, and why.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// `None` for the newest older one that was not rolled back from.
    to: Option<u64>,
    /// Only if this generation is still active.
    from: Option<u64>,
    kind: EventKind,
    reason: String,
    /// What may be granted again; `None` for everything.
    within: Option<Vec<Granted>>,
}

/// A rollback that was made.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The number of the generation that was left.
    pub from: u64,
    /// The generation that is live now.
    pub now: GenerationRef,
    /// An extension's grants and settings in it.
    pub extension: Option<(Vec<Granted>, Settings)>,
}

impl Rollback {
    /// A rollback to generation `to` that `by` requested; `None` for the one to choose.
    pub fn requested(to: Option<u64>, by: &str) -> Self {
        let (kind, reason) = (EventKind::RolledBack, format!("requested by {by}"));
        Self { to, from: None, kind, reason, within: None }
    }

    /// The same for somebody who may grant no more than these; `None` for everything.
    #[must_use]
    pub fn within(self, grants: Option<Vec<Granted>>) -> Self {
        Self { within: grants, ..self }
    }

    pub(super) fn automatic(from: u64, reason: String) -> Self {
        let kind = EventKind::RolledBackAutomatically;
        Self { to: None, from: Some(from), kind, reason, within: None }
    }

    /// Away from a generation whose digest was revoked.
    pub(super) fn revoked(from: u64, reason: String) -> Self {
        let kind = EventKind::RolledBack;
        Self { to: None, from: Some(from), kind, reason, within: None }
    }

    /// The generations to try, best first; `None` is the fallback behind all recorded ones, whose
    /// number is `fallback`.
    fn targets(
        &self,
        name: &str,
        record: &GuestRecord,
        fallback: Option<u64>,
        revoked: &Revocations,
    ) -> Result<Vec<Option<GenerationRecord>>, Error> {
        if self.from.is_some() && self.from != record.active {
            return Err(changed_meanwhile());
        }
        let Some(number) = self.to else {
            let allowed = record.older().filter(|older| !revoked.contains(&older.digest));
            let mut targets: Vec<_> = allowed.cloned().map(Some).collect();
            targets.extend(fallback.and(record.active).map(|_| None));
            return match targets.is_empty() {
                true => Err(nothing_older(name, record, fallback)),
                false => Ok(targets),
            };
        };
        if let Some(target) = record.generation(number) {
            return match revoked.contains(&target.digest) {
                true => Err(is_revoked(target)),
                false => Ok(vec![Some(target.clone())]),
            };
        }
        if fallback == Some(number) {
            return Ok(vec![None]);
        }
        let kept = kept(record, fallback);
        let message = format!("there is no generation {number}; available are {kept:?}");
        Err(Error::new(Code::NotFound, message).with_details(json!({ "generations": kept })))
    }

    /// The generation with the grants that it may have: all of them if it was named by somebody who
    /// may grant them, otherwise only those that the one which is left has. Also returns those that
    /// it loses.
    fn bounded(
        &self,
        target: GenerationRecord,
        held: &[Granted],
    ) -> (GenerationRecord, Vec<Granted>) {
        let may_grant = |grant: &Granted| {
            let covers = |within: &Vec<Granted>| within.iter().any(|one| one.covers(grant));
            self.within.as_ref().is_none_or(covers)
        };
        let may_have =
            |grant: &Granted| (self.to.is_some() && may_grant(grant)) || held.contains(grant);
        let (grants, lost) = target.grants.iter().cloned().partition(may_have);
        (GenerationRecord { grants, ..target }, lost)
    }

    /// Logs and counts an automatic rollback.
    fn log(&self, component: &'static str, tenant: &TenantId, to: u64) {
        if let (Some(generation), EventKind::RolledBackAutomatically) = (self.from, self.kind) {
            let reason = &self.reason;
            tracing::error!(%tenant, component, generation, to, reason, "rolled back");
            metrics::counter!("kenning_rollbacks_total", "component" => component).increment(1);
        }
    }
}

impl Swapper {
    /// Rolls back the server-wide logic or a tenant's own.
    ///
    /// # Errors
    /// When there is no such generation, another change is in progress, or storage fails.
    pub async fn rollback_logic(
        &self,
        owner: &Owner,
        rollback: Rollback,
    ) -> Result<RolledBack, Error> {
        let _swap = self.after_swap(owner, &rollback).await;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let seen = self.storage(archive.logic(owner).await)?.value;
        let revoked = self.storage(archive.revoked().await)?;
        // The fallback of a tenant's own logic is the server-wide one, under the same number.
        let targets = rollback.targets(THE_LOGIC, &seen, Some(BUILT_IN), &revoked)?;
        let logic = self.first_intact(owner, targets).await?;
        let to = logic.as_ref().map(|logic| logic.guest.reference.number);
        let now = logic.clone().unwrap_or_else(|| self.fallback(owner));
        let _lock = self.lock(owner).await;
        let changed = archive.change_logic(owner, |record| {
            check_same(record, &seen)?;
            record.roll_back(rollback.kind, to, rollback.reason.clone());
            Ok(())
        });
        let ((), version) = self.written(changed.await)?;
        registry.set_logic(owner, logic, version);
        let now = now.guest.reference.clone();
        rollback.log("logic", &owner.tenant(), now.number);
        let from = seen.active.unwrap_or(BUILT_IN);
        Ok(RolledBack { from, now, extension: None })
    }

    /// Loads the first target whose bytes storage still has; `None` for the fallback.
    async fn first_intact(
        &self,
        owner: &Owner,
        targets: Vec<Option<GenerationRecord>>,
    ) -> Result<Option<Arc<Generation>>, Error> {
        let mut lost = None;
        for target in targets {
            let Some(target) = target else { return Ok(None) };
            match self.registry().generation(owner, &target, Urgency::First).await {
                Err(error @ LoadError::Lost { .. }) => lost = lost.or(Some(error)),
                loaded => return self.load(loaded).map(Some),
            }
        }
        lost.map_or(Ok(None), |error| self.load(Err(error)))
    }

    /// An automatic rollback waits for a swap in progress, which may replace the generation. A
    /// requested one goes first; so does a revocation, which a swap makes itself.
    async fn after_swap(&self, owner: &Owner, rollback: &Rollback) -> Option<OwnedMutexGuard<()>> {
        match rollback.kind {
            EventKind::RolledBackAutomatically => {
                Some(self.registry().swap_lock(owner).lock_owned().await)
            }
            _ => None,
        }
    }

    /// The logic behind all recorded generations.
    fn fallback(&self, owner: &Owner) -> Arc<Generation> {
        match owner {
            Owner::Server => self.registry().built_in(),
            Owner::Tenant(_) => self.registry().server_wide().logic,
        }
    }

    /// Rolls back an extension, with the order and the policy that it had in that generation.
    ///
    /// # Errors
    /// As [`Self::rollback_logic`]; and when the older generations do not run without grants that
    /// the live one does not have.
    pub async fn rollback_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        rollback: Rollback,
    ) -> Result<RolledBack, Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _swap = self.after_swap(&owner, &rollback).await;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let mut records = self.storage(archive.extensions(tenant).await)?.value;
        let seen = installed(&mut records, name)?;
        let revoked = self.storage(archive.revoked().await)?;
        let targets = rollback.targets(name, &seen.guest, None, &revoked)?;
        let targets = targets.into_iter().flatten().collect();
        let (target, extension) = self.first_fit(&owner, name, &rollback, seen, targets).await?;
        let _lock = self.lock(&owner).await;
        let changed = archive.change_extensions(tenant, |records| {
            let record = installed(records, name)?;
            check_same(&record.guest, &seen.guest)?;
            record.roll_back(rollback.kind, &target, rollback.reason.clone());
            Ok(())
        });
        let ((), version) = self.written(changed.await)?;
        let now = extension.guest.reference.clone();
        registry.set_extension(tenant, name, Some(extension), version);
        rollback.log("extension", tenant, now.number);
        let from = seen.guest.active.unwrap_or_default();
        let settings = seen.settings_of(&target);
        Ok(RolledBack { from, now, extension: Some((target.grants, settings)) })
    }

    /// Loads the first target whose bytes storage still has, and that runs with the grants that it
    /// may have.
    async fn first_fit(
        &self,
        owner: &Owner,
        name: &str,
        rollback: &Rollback,
        seen: &ExtensionRecord,
        targets: Vec<GenerationRecord>,
    ) -> Result<(GenerationRecord, Arc<Extension>), Error> {
        let held = seen.guest.active().map(|active| active.grants.clone()).unwrap_or_default();
        let mut refusal = None;
        for target in targets {
            let (target, lost) = rollback.bounded(target, &held);
            match self.registry().extension(owner, name, seen, &target, Urgency::First).await {
                Ok(extension) => return Ok((target, extension)),
                Err(LoadError::Link(_)) if !lost.is_empty() => {
                    let refused = match rollback.within {
                        None => needs_grants(name, &target, &lost),
                        Some(_) => may_not_grant(name, &target, &lost),
                    };
                    refusal.get_or_insert(refused);
                }
                Err(error @ LoadError::Lost { .. }) => {
                    refusal.get_or_insert_with(|| self.kb().load_error(&error));
                }
                Err(error) => return self.load(Err(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| nothing_older(name, &seen.guest, None)))
    }

    /// Removes an extension, with what it kept unless that `keeps_state`.
    ///
    /// # Errors
    /// When it is not installed, another change is in progress, or storage fails.
    pub async fn remove_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        keeps_state: bool,
    ) -> Result<(), Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _lock = self.lock(&owner).await;
        let stored = self.storage(self.registry().archive.components(&owner).await)?;
        let changed = self
            .registry()
            .archive
            .change_extensions(tenant, |records| Ok(installed(records, name)?.remove(keeps_state)));
        let (unused, version) = self.written(changed.await)?;
        self.registry().set_extension(tenant, name, None, version);
        self.clean_up(&owner, unused, stored);
        self.delete_state(tenant, name, keeps_state).await
    }
}

/// The generations that can be named.
fn kept(record: &GuestRecord, fallback: Option<u64>) -> Vec<u64> {
    let kept = record.generations.iter().map(|kept| kept.number);
    fallback.into_iter().chain(kept).collect()
}

fn nothing_older(name: &str, record: &GuestRecord, fallback: Option<u64>) -> Error {
    let kept = kept(record, fallback);
    let message = format!(
        "{name} has no generation before this one that was not rolled back from; to return to \
         another, name it (`--generation N`): there are {kept:?}"
    );
    Error::new(Code::Conflict, message).with_details(json!({ "generations": kept }))
}

fn may_not_grant(name: &str, target: &GenerationRecord, lost: &[Granted]) -> Error {
    let lost: Vec<&str> = lost.iter().map(|grant| grant.name()).collect();
    let message = format!(
        "generation {} of {name} does not run without {}, which the operator does not let this \
         tenant grant",
        target.number,
        lost.join(",")
    );
    Error::new(Code::Forbidden, message)
}

fn needs_grants(name: &str, target: &GenerationRecord, lost: &[Granted]) -> Error {
    let lost: Vec<&str> = lost.iter().map(|grant| grant.name()).collect();
    let (number, names) = (target.number, lost.join(","));
    let message = format!(
        "generation {number} of {name} does not run without {names}, which the live one is not \
         granted; to grant it again, name the generation: `--generation {number}` on the command \
         line, `?generation={number}` over HTTP"
    );
    Error::new(Code::Conflict, message)
        .with_details(json!({ "generation": number, "grants": lost }))
}

fn is_revoked(target: &GenerationRecord) -> Error {
    let GenerationRecord { number, digest, .. } = target;
    let message = format!("generation {number} is {digest}, which was revoked");
    Error::new(Code::IncompatibleComponent, message).with_details(json!({ "digest": digest }))
}

/// Fails when the generation that is to be left is not as it was.
fn check_same(record: &GuestRecord, seen: &GuestRecord) -> Result<(), Error> {
    match record.active == seen.active && record.active() == seen.active() {
        true => Ok(()),
        false => Err(changed_meanwhile()),
    }
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
