//! Promotes a new generation of a guest, step by step.

use std::sync::Arc;
use std::time::Instant;

use super::proof::Subject;
use super::report::Report;
use super::watch::{Promoted, watch};
use super::{ExtensionTarget, Proposal, Swapper, changed_meanwhile, verify};
use crate::registry::{
    Components, Extension, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord, Owner,
    now,
};
use kenning_core::error::{Code, Error};
use kenning_runtime::compiler::{CompileError, digest_of};
use kenning_runtime::{Generation, Grant, Guest, Loaded, LogBuffer, OnFailure};

impl Swapper {
    /// Replaces the server-wide logic, or one tenant's.
    ///
    /// # Errors
    /// When the component is refused (the report is in the error's details), another change is in
    /// progress, or storage fails. The live generation stays.
    pub async fn promote_logic(&self, owner: Owner, proposal: Proposal) -> Result<Report, Error> {
        let mut report = Report::new();
        let _lock = self.try_lock(&owner)?;
        let live = self.live_logic(&owner).await?;
        let archive = &self.registry().archive;
        let seen = self.storage(archive.logic(&owner).await)?.value;
        let loaded = self.compile(&proposal, &mut report).await?;
        verify::fits_logic(&loaded.inspection, &mut report)?;
        let next = next(&seen, &loaded, &proposal, Vec::new());
        let linked = verify::linked(loaded.logic(), &mut report)?;
        let candidate = Arc::new(Generation::new(Guest::logic(next.reference()), linked));
        self.start_logic(&owner, &candidate, &mut report).await?;
        let subject = Subject::Logic { owner: &owner, live: &live, candidate: &candidate };
        self.prove(subject, &proposal, &mut report).await?;
        report.set_generation(&candidate.guest.reference, Some(live.guest.reference.number));
        if proposal.dry_run {
            return Ok(report.into_dry_run());
        }
        let stored = self.store_component(&owner, &loaded, &proposal).await?;
        let reason = report.objection();
        let changed = archive.change_logic(&owner, |record| {
            check_unchanged(record, &seen)?;
            Ok(record.promote(next.clone(), reason.clone()))
        });
        let (unused, version) = self.written(changed.await)?;
        let started = Instant::now();
        self.registry().set_logic(&owner, Some(candidate.clone()), version);
        report.set_promoted(started.elapsed());
        self.clean_up(&owner, unused, stored);
        watch(self.clone(), &live.guest, Promoted::Logic(owner, candidate));
        Ok(report)
    }

    /// Installs an extension, or replaces it.
    ///
    /// # Errors
    /// As [`Self::promote_logic`], and when the tenant has no room for another extension.
    pub async fn promote_extension(
        &self,
        target: ExtensionTarget,
        proposal: Proposal,
    ) -> Result<Report, Error> {
        let mut report = Report::new();
        verify::name(&target.name)?;
        let owner = Owner::Tenant(target.tenant.clone());
        let _lock = self.try_lock(&owner)?;
        let live = self.live(&target.tenant).await?;
        let archive = &self.registry().archive;
        let records = self.storage(archive.extensions(&target.tenant).await)?.value;
        self.check_extension_count(&target, &records)?;
        let loaded = self.compile(&proposal, &mut report).await?;
        verify::fits_extension(&loaded.inspection, &target.grants, &mut report)?;
        let seen = records.extensions.get(&target.name).cloned().unwrap_or_default();
        let next = next(&seen.guest, &loaded, &proposal, target.grants.clone());
        let linked = verify::linked(loaded.extension(&target.grants), &mut report)?;
        let before = live.extensions.iter().find(|one| one.name() == target.name).cloned();
        let lines = before.as_ref().and_then(|before| before.guest.lines.clone());
        let lines = lines.unwrap_or_else(|| Arc::new(LogBuffer::default()));
        let guest = Guest::extension(&target.name, next.reference(), lines);
        let (order, policy) = target.settings(&seen);
        let candidate = Arc::new(Extension { guest, linked, order, policy });
        self.start_extension(&target, &candidate, &mut report).await?;
        let subject = Subject::Extension {
            tenant: &target.tenant,
            live: &live,
            candidate: &candidate,
            is_new: before.is_none(),
        };
        self.prove(subject, &proposal, &mut report).await?;
        let previous = before.as_ref().map(|before| before.guest.reference.number);
        report.set_generation(&candidate.guest.reference, previous);
        if proposal.dry_run {
            return Ok(report.into_dry_run());
        }
        let stored = self.store_component(&owner, &loaded, &proposal).await?;
        let reason = report.objection();
        let changed = archive.change_extensions(&target.tenant, |records| {
            let record = records.extensions.entry(target.name.clone()).or_default();
            check_unchanged(&record.guest, &seen.guest)?;
            (record.order, record.policy) = (order, policy);
            Ok(record.guest.promote(next.clone(), reason.clone()))
        });
        let (unused, version) = self.written(changed.await)?;
        let (started, promoted) = (Instant::now(), Some(candidate.clone()));
        self.registry().set_extension(&target.tenant, &target.name, promoted, version);
        report.set_promoted(started.elapsed());
        self.clean_up(&owner, unused, stored);
        // A first generation has nothing to roll back to; if it fails, quarantine stops it.
        if let Some(before) = before {
            watch(self.clone(), &before.guest, Promoted::Extension(target.tenant, candidate));
        }
        Ok(report)
    }

    /// Fails when a new extension would exceed the limit or the tenant's quota.
    fn check_extension_count(
        &self,
        target: &ExtensionTarget,
        records: &ExtensionRecords,
    ) -> Result<(), Error> {
        let installed = records.installed();
        if installed.contains(&target.name) {
            return Ok(());
        }
        let (most, used) = (self.limits().extensions, installed.len() as u64 + 1);
        if used > most as u64 {
            return Err(Error::too_large("extensions", most as u64, used));
        }
        self.kb().services().tenants.check_extensions(&target.tenant, used)
    }

    /// Verifies size and digest, then inspects and compiles the component in a child process.
    async fn compile(
        &self,
        proposal: &Proposal,
        report: &mut Report,
    ) -> Result<Arc<Loaded>, Error> {
        let bytes = || proposal.bytes.clone();
        if let Some(expected) = &proposal.digest {
            verify::digest(&digest_of(bytes()).await.map_err(compile_error)?, expected)?;
        }
        let loaded = self.registry().loader.load(bytes()).await.map_err(compile_error)?;
        report.pass("component", "valid, and compiled");
        Ok(loaded)
    }

    /// Instantiates the candidate once: a guest that cannot start is never promoted.
    async fn start_logic(
        &self,
        owner: &Owner,
        candidate: &Arc<Generation>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let (generation, time) = (candidate.clone(), self.limits().call);
        let started = self.kb().dry_run(owner.tenant(), time, move |mut session| async move {
            session.start_logic(&generation).await
        });
        verify::started(started.await?, report)
    }

    async fn start_extension(
        &self,
        target: &ExtensionTarget,
        candidate: &Arc<Extension>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let (extension, time) = (candidate.clone(), self.limits().call);
        let started =
            self.kb().dry_run(target.tenant.clone(), time, move |mut session| async move {
                session.start_extension(extension.hooks()).await
            });
        verify::started(started.await?, report)
    }

    /// Stores the component, which must happen before a record names it. Returns the owner's
    /// components in storage afterwards.
    async fn store_component(
        &self,
        owner: &Owner,
        loaded: &Loaded,
        proposal: &Proposal,
    ) -> Result<Components, Error> {
        let archive = &self.registry().archive;
        self.storage(archive.store_component(owner, &loaded.digest, &proposal.bytes).await)?;
        self.storage(archive.components(owner).await)
    }
}

impl ExtensionTarget {
    /// The extension's order and policy; `before` supplies what the target leaves open.
    fn settings(&self, before: &ExtensionRecord) -> (i32, Option<OnFailure>) {
        (self.order.unwrap_or(before.order), self.policy.or(before.policy))
    }
}

/// The next generation of `record`.
fn next(
    record: &GuestRecord,
    loaded: &Loaded,
    proposal: &Proposal,
    grants: Vec<Grant>,
) -> GenerationRecord {
    GenerationRecord {
        number: record.last + 1,
        digest: loaded.digest.to_string(),
        bytes: proposal.bytes.len() as u64,
        staged_at: now(),
        grants,
        forced_by: proposal.forced_by.clone(),
    }
}

/// Fails when the candidate was proved against a generation that is no longer active.
fn check_unchanged(record: &GuestRecord, seen: &GuestRecord) -> Result<(), Error> {
    match (record.last, record.active) == (seen.last, seen.active) {
        true => Ok(()),
        false => Err(changed_meanwhile()),
    }
}

fn compile_error(error: CompileError) -> Error {
    match error {
        CompileError::TooLarge { allowed, used } => {
            Error::too_large("component_bytes", allowed, used)
        }
        CompileError::Failed(reason) => Error::internal(reason),
        refused => Error::new(Code::IncompatibleComponent, refused.to_string()),
    }
}
