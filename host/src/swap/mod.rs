//! Replacing a guest while serving: check, stage, prove, persist, promote, watch.
//!
//! | file | holds |
//! |---|---|
//! | `check` | whether a component fits where it is to go |
//! | `proof` | what it must show: its own test, and requests that were answered before |
//! | `watch` | what happens after a promotion |
//! | `report` | what whoever asked is told |
//!
//! Whatever fails on the way leaves the live generation as it is. The record in
//! storage is written before the promotion, so after a crash in between the next
//! start, and every other host, finds the new one.

mod check;
mod proof;
mod report;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use serde_json::json;
use tokio::sync::MutexGuard;

use crate::error::{Code, Error};
use crate::kb::{Caller, Kb};
use crate::limits::Limits;
use crate::registry::{
    Extension, ExtensionRecord, GenerationRecord, GuestRecord, LoadError, OnFailure, Owner,
    Registry, Snapshot, TenantGuests, Versioned, Versions, What, now,
};
use crate::runtime::compiler::CompileError;
use crate::runtime::{Generation, GenerationRef, Grant, Guest, Loaded, LogBuffer};

pub use proof::Bounds;
pub use report::Report;

/// How long the steps after compiling may take, beside the proof.
const STEPS: Duration = Duration::from_secs(30);

/// A component to put in a guest's place.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub bytes: bytes::Bytes,
    /// `sha256:…` that the bytes must have, if whoever sends them says so.
    pub digest: Option<String>,
    pub bounds: Bounds,
    /// Only report.
    pub dry_run: bool,
    /// Who promotes it even if the proof speaks against it.
    pub forced_by: Option<String>,
}

/// Where an extension goes, and what it may do.
#[derive(Clone, Debug)]
pub struct Place {
    pub tenant: TenantId,
    pub name: String,
    /// `None`: as before, or 0.
    pub order: Option<i32>,
    pub policy: Option<OnFailure>,
    pub grants: Vec<Grant>,
}

/// Replaces guests.
#[derive(Clone)]
pub struct Swapper {
    kb: Arc<Kb>,
}

impl Swapper {
    pub fn new(kb: Arc<Kb>) -> Self {
        Self { kb }
    }

    pub fn kb(&self) -> &Arc<Kb> {
        &self.kb
    }

    fn registry(&self) -> &Arc<Registry> {
        self.kb.registry()
    }

    fn limits(&self) -> &Limits {
        &self.kb.services().limits
    }

    /// Puts a logic in place of the server's or of one tenant's.
    pub async fn logic(&self, owner: Owner, proposal: Proposal) -> Result<Report, Error> {
        let mut report = Report::begin();
        let slot = match &owner {
            Owner::Server => None,
            Owner::Tenant(tenant) => Some(self.registry().slot_or_new(tenant)),
        };
        let _alone = alone(match &slot {
            None => &self.registry().changing_logic,
            Some(slot) => &slot.changing,
        })?;
        let live = self.live_logic(&owner).await?;
        let mut record = self.read(self.registry().archive.logic(&owner).await)?;
        let loaded = self.check(&proposal, &mut report).await?;
        check::fits_logic(&loaded.inspection, &mut report)?;
        let number = record.value.last + 1;
        let reference = GenerationRef { number, digest: loaded.digest.clone() };
        let linked = check::linked(loaded.logic(), &mut report)?;
        let candidate = Arc::new(Generation::new(Guest::logic(reference), linked));
        self.start_logic(&owner, &candidate, &mut report).await?;
        let asked = proof::Asked::Logic { owner: &owner, live: &live, candidate: &candidate };
        self.prove(asked, &proposal, &mut report).await?;
        report.name(&candidate.guest.reference, Some(live.guest.reference.number));
        if proposal.dry_run {
            return Ok(report.dry());
        }
        let generation = new_record(number, &loaded, &proposal, Vec::new());
        let gone = record.value.promote(generation, report.objection());
        let version = self.persist_logic(&owner, &record, &loaded, &proposal.bytes).await?;
        let promoting = Instant::now();
        self.promote_logic(&owner, candidate.clone(), version);
        report.promoted(promoting.elapsed());
        self.clean_up(&owner, gone);
        watch::logic(self.clone(), owner, live, candidate);
        Ok(report)
    }

    /// Installs an extension, or puts another version in its place.
    pub async fn extension(&self, place: Place, proposal: Proposal) -> Result<Report, Error> {
        let mut report = Report::begin();
        check::name(&place.name)?;
        let owner = Owner::Tenant(place.tenant.clone());
        let slot = self.registry().slot_or_new(&place.tenant);
        let _alone = alone(&slot.changing)?;
        let live = self.live(&place.tenant).await?;
        let mut records = self.read(self.registry().archive.extensions(&place.tenant).await)?;
        let most = self.limits().extensions;
        let installed = records.value.installed();
        if !installed.contains(&place.name) && installed.len() >= most {
            return Err(Error::too_large("extensions", most as u64, installed.len() as u64 + 1));
        }
        if !installed.contains(&place.name) {
            let used = installed.len() as u64 + 1;
            self.kb.services().tenants.check_extensions(&place.tenant, used)?;
        }
        let loaded = self.check(&proposal, &mut report).await?;
        check::fits_extension(&loaded.inspection, &place.grants, &mut report)?;
        let record = records.value.extensions.entry(place.name.clone()).or_default();
        record.order = place.order.unwrap_or(record.order);
        record.policy = place.policy.or(record.policy);
        let number = record.guest.last + 1;
        let reference = GenerationRef { number, digest: loaded.digest.clone() };
        let linked = check::linked(loaded.extension(&place.grants), &mut report)?;
        let before = live.extensions.iter().find(|one| one.name() == place.name).cloned();
        let lines = before.as_ref().and_then(|before| before.guest.lines.clone());
        let lines = lines.unwrap_or_else(|| Arc::new(LogBuffer::default()));
        let guest = Guest::extension(&place.name, reference, lines);
        let (order, policy) = (record.order, record.policy);
        let candidate = Arc::new(Extension { guest, linked, order, policy });
        self.start_extension(&place.tenant, &candidate, &mut report).await?;
        let asked = proof::Asked::Extension {
            tenant: &place.tenant,
            live: &live,
            candidate: &candidate,
            is_new: before.is_none(),
        };
        self.prove(asked, &proposal, &mut report).await?;
        let previous = before.as_ref().map(|before| before.guest.reference.number);
        report.name(&candidate.guest.reference, previous);
        if proposal.dry_run {
            return Ok(report.dry());
        }
        let generation = new_record(number, &loaded, &proposal, place.grants.clone());
        let gone = record.guest.promote(generation, report.objection());
        self.keep(&owner, &loaded, &proposal.bytes).await?;
        let saved = self.registry().archive.save_extensions(&place.tenant, &records).await;
        let version = self.saved(saved)?;
        let promoting = Instant::now();
        self.promote_extension(&place.tenant, &place.name, Some(candidate.clone()), version);
        report.promoted(promoting.elapsed());
        self.clean_up(&owner, gone);
        watch::extension(self.clone(), place.tenant, before, candidate);
        Ok(report)
    }

    /// Back to the generation that was active before, or to the one with `number`.
    pub async fn rollback_logic(
        &self,
        owner: Owner,
        number: Option<u64>,
        what: What,
        why: Option<String>,
    ) -> Result<GenerationRef, Error> {
        let slot = match &owner {
            Owner::Server => None,
            Owner::Tenant(tenant) => Some(self.registry().slot_or_new(tenant)),
        };
        let _alone = alone(match &slot {
            None => &self.registry().changing_logic,
            Some(slot) => &slot.changing,
        })?;
        let archive = &self.registry().archive;
        let mut record = self.read(archive.logic(&owner).await)?;
        let Some(active) = record.value.active else { return Err(nothing_before("logic")) };
        let target = target(&record.value, number)?;
        let generation = match &target {
            Some(target) => Some(self.loaded(self.registry().generation(&owner, target).await)?),
            None => None,
        };
        record.value.active = target.as_ref().map(|target| target.number);
        record.value.note(what, active, why);
        let saved = archive.save_logic(&owner, &record).await;
        let version = self.saved(saved)?;
        let generation = generation.or_else(|| match &owner {
            Owner::Server => Some(self.registry().built_in()),
            Owner::Tenant(_) => None,
        });
        match (&owner, generation) {
            (_, Some(generation)) => {
                let reference = generation.guest.reference.clone();
                self.promote_logic(&owner, generation, version);
                Ok(reference)
            }
            (Owner::Tenant(tenant), None) => {
                self.change(
                    tenant,
                    |guests| TenantGuests { logic: None, ..guests },
                    |versions| Versions { logic: version, ..versions },
                );
                Ok(self.registry().server_wide().logic.guest.reference.clone())
            }
            (Owner::Server, None) => Err(Error::internal("the server has no logic")),
        }
    }

    /// The same of an extension.
    pub async fn rollback_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        number: Option<u64>,
        what: What,
        why: Option<String>,
    ) -> Result<GenerationRef, Error> {
        let slot = self.registry().slot_or_new(tenant);
        let _alone = alone(&slot.changing)?;
        self.live(tenant).await?;
        let archive = &self.registry().archive;
        let mut records = self.read(archive.extensions(tenant).await)?;
        let record = installed(&mut records, name)?;
        let active = record.guest.active.unwrap_or_default();
        let Some(target) = target(&record.guest, number)? else {
            return Err(nothing_before(name));
        };
        record.guest.active = Some(target.number);
        record.guest.note(what, active, why);
        let owner = Owner::Tenant(tenant.clone());
        let record = record.clone();
        let extension = self.registry().extension(&owner, name, &record, &target).await;
        let extension = self.loaded(extension)?;
        let saved = archive.save_extensions(tenant, &records).await;
        let version = self.saved(saved)?;
        let reference = extension.guest.reference.clone();
        self.promote_extension(tenant, name, Some(extension), version);
        Ok(reference)
    }

    /// Takes an extension out.
    pub async fn remove_extension(&self, tenant: &TenantId, name: &str) -> Result<(), Error> {
        let slot = self.registry().slot_or_new(tenant);
        let _alone = alone(&slot.changing)?;
        self.live(tenant).await?;
        let archive = &self.registry().archive;
        let mut records = self.read(archive.extensions(tenant).await)?;
        let record = installed(&mut records, name)?;
        let active = record.guest.active.take().unwrap_or_default();
        record.guest.note(What::Removed, active, None);
        // The record stays, without its generations: a number is never used twice.
        let gone = record.guest.generations.drain(..).map(|generation| generation.digest);
        let gone: Vec<String> = gone.collect();
        let saved = archive.save_extensions(tenant, &records).await;
        let version = self.saved(saved)?;
        self.promote_extension(tenant, name, None, version);
        self.clean_up(&Owner::Tenant(tenant.clone()), gone);
        Ok(())
    }

    /// The guests that a tenant's calls have now.
    pub async fn live(&self, tenant: &TenantId) -> Result<Snapshot, Error> {
        self.kb.snapshot(&self.caller(tenant, STEPS)).await
    }

    async fn live_logic(&self, owner: &Owner) -> Result<Arc<Generation>, Error> {
        Ok(self.live(&owner.tenant()).await?.logic)
    }

    fn caller(&self, tenant: &TenantId, time: Duration) -> Caller {
        Caller::within(tenant.clone(), time)
    }

    /// Size, digest, outline and code, in the child process.
    async fn check(&self, proposal: &Proposal, report: &mut Report) -> Result<Arc<Loaded>, Error> {
        check::digest(&proposal.bytes, proposal.digest.as_deref())?;
        let loaded = self.registry().loader.load(&proposal.bytes).await.map_err(compile_error)?;
        report.passed("component", "it is sound, and compiled");
        Ok(loaded)
    }

    /// A guest that cannot start is never promoted.
    async fn start_logic(
        &self,
        owner: &Owner,
        candidate: &Arc<Generation>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let generation = candidate.clone();
        let started =
            self.kb.rehearse(owner.tenant(), self.limits().call, move |mut turn| async move {
                turn.start_logic(&generation).await
            });
        check::started(started.await?, report)
    }

    async fn start_extension(
        &self,
        tenant: &TenantId,
        candidate: &Arc<Extension>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let extension = candidate.clone();
        let started =
            self.kb.rehearse(tenant.clone(), self.limits().call, move |mut turn| async move {
                turn.start_extension(extension.hooks()).await
            });
        check::started(started.await?, report)
    }

    async fn persist_logic(
        &self,
        owner: &Owner,
        record: &Versioned<GuestRecord>,
        loaded: &Loaded,
        bytes: &[u8],
    ) -> Result<u64, Error> {
        self.keep(owner, loaded, bytes).await?;
        let saved = self.registry().archive.save_logic(owner, record).await;
        self.saved(saved)
    }

    async fn keep(&self, owner: &Owner, loaded: &Loaded, bytes: &[u8]) -> Result<(), Error> {
        let archive = &self.registry().archive;
        self.read(archive.keep_component(owner, &loaded.digest, bytes).await)
    }

    fn promote_logic(&self, owner: &Owner, generation: Arc<Generation>, version: u64) {
        match owner {
            Owner::Server => self.registry().promote_logic(generation, version),
            Owner::Tenant(tenant) => {
                let logic = Some(generation);
                self.change(
                    tenant,
                    |guests| TenantGuests { logic, ..guests },
                    |versions| Versions { logic: version, ..versions },
                );
            }
        }
    }

    fn promote_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        extension: Option<Arc<Extension>>,
        version: u64,
    ) {
        self.change(
            tenant,
            |guests| guests.with(name, extension),
            |versions| Versions { extensions: version, ..versions },
        );
    }

    /// Whoever calls it holds the tenant's `changing`.
    fn change(
        &self,
        tenant: &TenantId,
        guests: impl FnOnce(TenantGuests) -> TenantGuests,
        versions: impl FnOnce(Versions) -> Versions,
    ) {
        let registry = self.registry();
        let now = registry.loaded(tenant).map(|now| TenantGuests::clone(&now)).unwrap_or_default();
        registry.promote(tenant, guests(now), versions(registry.versions(tenant)));
    }

    /// Drops components that no generation needs any more, when it suits.
    fn clean_up(&self, owner: &Owner, gone: Vec<String>) {
        let (registry, owner) = (self.registry().clone(), owner.clone());
        tokio::spawn(async move {
            for digest in gone {
                if let Err(error) = registry.archive.drop_component(&owner, &digest).await {
                    tracing::warn!(digest, %error, "an old component stays in storage");
                }
            }
        });
    }

    fn read<T>(&self, read: Result<T, kenning_storage::StorageError>) -> Result<T, Error> {
        read.map_err(|error| self.kb.storage_error(&error))
    }

    fn saved(
        &self,
        saved: Result<Option<u64>, kenning_storage::StorageError>,
    ) -> Result<u64, Error> {
        self.read(saved)?.ok_or_else(|| {
            Error::new(
                Code::Conflict,
                "another host changed this guest meanwhile; look and try again",
            )
        })
    }

    fn loaded<T>(&self, loaded: Result<T, LoadError>) -> Result<T, Error> {
        loaded.map_err(|error| self.kb.load_error(&error))
    }
}

/// One change of a guest at a time: the second is told, not queued.
fn alone(lock: &tokio::sync::Mutex<()>) -> Result<MutexGuard<'_, ()>, Error> {
    lock.try_lock().map_err(|_| {
        Error::new(Code::Conflict, "another change of this guest is under way; try again after it")
    })
}

fn new_record(
    number: u64,
    loaded: &Loaded,
    proposal: &Proposal,
    grants: Vec<Grant>,
) -> GenerationRecord {
    GenerationRecord {
        number,
        digest: loaded.digest.to_string(),
        bytes: proposal.bytes.len() as u64,
        staged_at: now(),
        grants,
        forced_by: proposal.forced_by.clone(),
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

/// The generation to go back to; `None`: the one that comes with the server.
fn target(record: &GuestRecord, number: Option<u64>) -> Result<Option<GenerationRecord>, Error> {
    let Some(number) = number else { return Ok(record.previous().cloned()) };
    if let Some(target) = record.generation(number) {
        return Ok(Some(target.clone()));
    }
    let kept: Vec<u64> = record.generations.iter().map(|generation| generation.number).collect();
    let message = format!("generation {number} is not kept; there are {kept:?}");
    Err(Error::new(Code::NotFound, message).with_details(json!({ "generations": kept })))
}

fn nothing_before(what: &str) -> Error {
    Error::new(Code::Conflict, format!("{what} has no generation before this one"))
}

/// An extension that is there.
fn installed<'a>(
    records: &'a mut Versioned<crate::registry::ExtensionRecords>,
    name: &str,
) -> Result<&'a mut ExtensionRecord, Error> {
    let record = records.value.extensions.get_mut(name);
    record
        .filter(|record| record.guest.active.is_some())
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no extension {name:?}")))
}
