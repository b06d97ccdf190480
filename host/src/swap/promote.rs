//! Promotes a new generation of a guest, step by step.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::proof::Subject;
use super::report::Report;
use super::watch::{Promoted, watch};
use super::{ExtensionTarget, Proposal, SettingsChange, Step, Swapper, changed_meanwhile, verify};
use crate::registry::{
    Components, Extension, ExtensionRecord, ExtensionRecords, GenerationRecord, GuestRecord,
    LoadError, Owner, Settings, now,
};
use kenning_core::error::{Code, Error};
use kenning_runtime::compiler::{CompileError, digest_of};
use kenning_runtime::{Demand, Generation, Granted, Guest, Loaded, Urgency};

impl Swapper {
    /// Replaces the server-wide logic, or one tenant's.
    ///
    /// # Errors
    /// When the component is refused (the report is in the error's details), another change is in
    /// progress, or storage fails. The live generation stays.
    pub async fn promote_logic(&self, owner: Owner, proposal: Proposal) -> Result<Report, Error> {
        let mut report = Report::new();
        let _swap = self.begin_swap(&owner)?;
        proposal.steps.begin(Step::Loading);
        let live = self.live_logic(&owner).await?;
        let archive = &self.registry().archive;
        let seen = self.storage(archive.logic(&owner).await)?.value;
        let loaded = self.compile(&owner, &proposal, &mut report).await?;
        verify::fits_logic(&loaded.inspection, &mut report)?;
        if !proposal.dry_run && self.is_live(&owner, &seen, &loaded) {
            if let Owner::Tenant(tenant) = &owner {
                // Whoever promoted it may have failed before other hosts had to see it.
                self.storage(archive.enforce(tenant).await)?;
            }
            report.set_unchanged(&live.guest.reference, "nothing changed".into());
            return Ok(report);
        }
        let next = next(&seen, &loaded, &proposal, (Vec::new(), None));
        let linked = verify::linked(loaded.logic(), &mut report)?;
        let candidate = Arc::new(Generation::new(Guest::logic(next.reference()), linked));
        proposal.steps.begin(Step::Proving);
        self.start_logic(&owner, &candidate, &mut report).await?;
        let subject = Subject::Logic { owner: &owner, live: &live, candidate: &candidate };
        self.prove(subject, &proposal, &mut report).await?;
        report.set_generation(&candidate.guest.reference, Some(live.guest.reference.number));
        if proposal.dry_run {
            return Ok(report.into_dry_run());
        }
        proposal.steps.begin(Step::Promoting);
        let lock = self.lock(&owner).await;
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
        drop(lock);
        self.replace_if_revoked(&loaded.digest).await?;
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
        let _swap = self.begin_swap(&owner)?;
        proposal.steps.begin(Step::Loading);
        let live = self.live_if_intact(&target.tenant).await?;
        let archive = &self.registry().archive;
        let records = self.storage(archive.extensions(&target.tenant).await)?.value;
        self.check_extension_count(&target, &records)?;
        let loaded = self.compile(&owner, &proposal, &mut report).await?;
        verify::fits_extension(&loaded.inspection, &target.grants, &mut report)?;
        let seen = records.extensions.get(&target.name).cloned().unwrap_or_default();
        let before = self.registry().loaded(&target.tenant);
        let before = before.and_then(|guests| guests.named(&target.name));
        let values = target.values(&seen)?;
        if let Some(before) = &before
            && !proposal.dry_run
            && has_active(&seen.guest, &loaded)
            && seen.guest.active().is_some_and(|active| active.values == values)
        {
            return self.change_settings(target, &proposal, &before.guest, report).await;
        }
        let settings = target.settings(&seen);
        let next = next(&seen.guest, &loaded, &proposal, (target.grants.clone(), Some(settings)));
        let next = GenerationRecord { values, ..next };
        let linked = verify::linked(loaded.extension(&target.grants), &mut report)?;
        let former = before.as_ref().map(|before| &*before.guest);
        let guest = Guest::extension(&target.name, next.reference(), former, next.values_text());
        let Settings { order, policy } = settings;
        let (grants, paused) = (target.grants.clone(), seen.paused);
        let options = OnceLock::new();
        let candidate =
            Arc::new(Extension { guest, linked, grants, order, policy, paused, options });
        proposal.steps.begin(Step::Proving);
        self.start_extension(&target, &candidate, &mut report).await?;
        self.check_values(&target.tenant, &candidate, next.values.as_ref(), &mut report).await?;
        self.check_options_schema(&target.tenant, &candidate, &mut report).await?;
        let subject = Subject::Extension {
            tenant: &target.tenant,
            live: live.as_ref(),
            candidate: &candidate,
            // A paused one has no part in what callers see.
            is_new: before.as_ref().is_none_or(|before| before.paused),
        };
        self.prove(subject, &proposal, &mut report).await?;
        let previous = seen.guest.active;
        report.set_generation(&candidate.guest.reference, previous);
        if proposal.dry_run {
            return Ok(report.into_dry_run());
        }
        proposal.steps.begin(Step::Promoting);
        let lock = self.lock(&owner).await;
        let stored = self.store_component(&owner, &loaded, &proposal).await?;
        let reason = report.objection();
        self.prepare_state(&target.tenant, &candidate, &seen).await?;
        let changed = archive.change_extensions(&target.tenant, |records| {
            let record = records.extensions.entry(target.name.clone()).or_default();
            check_unchanged(&record.guest, &seen.guest)?;
            Ok(record.promote(next.clone(), reason.clone()))
        });
        let (unused, version) = self.written(changed.await)?;
        let (started, promoted) = (Instant::now(), Some(candidate.clone()));
        self.registry().set_extension(&target.tenant, &target.name, promoted, version);
        report.set_promoted(started.elapsed());
        if seen.paused {
            report.pass("paused", "it stays paused; `kenning extension resume` ends that");
        }
        self.clean_up(&owner, unused, stored);
        // A first generation has nothing to roll back to; if it fails, quarantine stops it.
        if let Some(before) = before {
            watch(self.clone(), &before.guest, Promoted::Extension(target.tenant, candidate));
        }
        drop(lock);
        self.replace_if_revoked(&loaded.digest).await?;
        Ok(report)
    }

    /// Whether these bytes are the owner's live logic.
    fn is_live(&self, owner: &Owner, seen: &GuestRecord, loaded: &Loaded) -> bool {
        match (seen.active, owner) {
            (None, Owner::Server) => {
                self.registry().built_in().guest.reference.digest == loaded.digest
            }
            _ => has_active(seen, loaded),
        }
    }

    /// Installs bytes that are live already: only the settings may change.
    async fn change_settings(
        &self,
        target: ExtensionTarget,
        proposal: &Proposal,
        live: &Guest,
        mut report: Report,
    ) -> Result<Report, Error> {
        let change = SettingsChange {
            order: target.order,
            policy: target.policy.map(Some),
            grants: Some(target.grants),
            paused: None,
        };
        let changed = self
            .change_settings_of(&target.tenant, &target.name, change, &proposal.sent_by)
            .await?
            .1;
        let detail = match changed {
            None => "nothing changed".into(),
            Some(changed) => format!("only its settings changed: {changed}"),
        };
        report.set_unchanged(&live.reference, detail);
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
        owner: &Owner,
        proposal: &Proposal,
        report: &mut Report,
    ) -> Result<Arc<Loaded>, Error> {
        proposal.steps.begin(Step::Compiling);
        let bytes = || proposal.bytes.clone();
        if let Some(expected) = &proposal.digest {
            verify::digest(&digest_of(bytes()).await.map_err(compile_error)?, expected)?;
        }
        let urgency = match owner {
            Owner::Server => Urgency::First,
            Owner::Tenant(_) => Urgency::Usual,
        };
        let demand = Demand { tenant: owner.tenant(), urgency };
        let loaded = self.registry().loader.load(demand, bytes()).await;
        let loaded = loaded.map_err(|error| match error {
            LoadError::Compile(
                error @ (CompileError::TooLarge { .. } | CompileError::Failed(_)),
            ) => compile_error(error),
            LoadError::Compile(refused) => verify::refuse("component", refused.to_string(), report),
            other => self.kb().load_error(&other),
        })?;
        report.pass("component", "valid, and compiled");
        self.check_revoked(&loaded.digest, report).await?;
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
    /// The extension's order and policy; `before` supplies what the target leaves open, if the
    /// extension is installed.
    fn settings(&self, before: &ExtensionRecord) -> Settings {
        let before = match before.guest.active {
            Some(_) => Settings { order: before.order, policy: before.policy },
            None => Settings::default(),
        };
        Settings {
            order: self.order.unwrap_or(before.order),
            policy: self.policy.or(before.policy),
        }
    }
}

/// The next generation of `record`.
fn next(
    record: &GuestRecord,
    loaded: &Loaded,
    proposal: &Proposal,
    (grants, settings): (Vec<Granted>, Option<Settings>),
) -> GenerationRecord {
    GenerationRecord {
        number: record.last + 1,
        digest: loaded.digest.to_string(),
        bytes: proposal.bytes.len() as u64,
        staged_at: now(),
        grants,
        settings,
        values: None,
        rolled_back: Some(false),
        forced_by: proposal.forced_by.clone(),
    }
}

/// Whether these bytes are the active generation's.
fn has_active(record: &GuestRecord, loaded: &Loaded) -> bool {
    record.active().is_some_and(|active| active.digest == *loaded.digest)
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
