//! What is known of a tenant, of its guests and of the server. None of this runs a guest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::error::{Code, Error};
use kenning_core::limits::DEFAULT_TENANT;
use kenning_core::provenance::{GenerationRef, ServedBy};
use kenning_embedder::Embedder;
use kenning_index::{FactIndex, Language, Sizes};
use kenning_runtime::held_indexes::HeldFigures;
use kenning_runtime::{Generation, HookCost, LogBuffer, Progress};
use kenning_storage::{Description, StateUsage, TenantId, Usage};
use kenning_tenants::{Record, Tenants};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Caller, Kb};
use crate::registry::{ExtensionRecords, GuestRecord, Owner, Preparation, THE_LOGIC, TenantGuests};
use crate::telemetry::ByTenant;

/// Ids on one page of storage, and pending facts that are counted at most.
const PAGE: usize = 1_000;
const PENDING: u64 = 20_000;

/// Figures of a tenant.
pub struct Figures {
    /// Facts that can be read.
    pub facts: u64,
    /// Records that cannot be read.
    pub unreadable: u64,
    /// Facts that storage has lost.
    pub lost: u64,
    /// Facts that have their vectors; of an index that is not loaded, at most so many.
    pub indexed: usize,
    /// Facts whose vectors are still to be made; of an index that is not loaded, up to 20,000.
    pub pending: u64,
    /// The index on this host.
    pub index: Sizes,
    /// How much of it is loaded.
    pub state: IndexState,
    /// The language of the tenant's texts.
    pub language: Language,
    /// Facts that are indexed for a former language.
    pub outdated: usize,
    /// Facts of which not all text can be found by meaning.
    pub partly_embedded: usize,
    /// The indexes of all tenants on this host.
    pub held: HeldFigures,
    /// Each quota, with what is used of it.
    pub quotas: Value,
}

/// How much of an index is loaded. One that was `refused` takes more memory than
/// `index_tenant_bytes` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// Nothing: nobody uses it on this host.
    NotLoaded,
    /// A part: it is being loaded.
    Loading,
    /// All.
    Ready,
    /// Nothing: it is too large.
    Refused,
}

impl IndexState {
    fn of(progress: &Progress) -> Self {
        match progress {
            Progress::Loading | Progress::Stalled { .. } => Self::Loading,
            Progress::Ready => Self::Ready,
            Progress::Refused(_) => Self::Refused,
            Progress::Dropped => Self::NotLoaded,
        }
    }
}

impl Kb {
    /// The tenants, with their keys and quotas.
    pub fn tenants(&self) -> &Tenants {
        &self.services.tenants
    }

    /// Brings the gauges of what this host holds up to date.
    pub fn measure(&self) {
        let indexes = &self.services.indexes;
        let (mut facts, mut vectors) = (0, 0);
        for tenant in indexes.held().tenants() {
            let Some(index) = indexes.existing(&tenant) else { continue };
            let sizes = index.sizes();
            facts += sizes.facts;
            vectors += sizes.vectors;
        }
        metrics::gauge!("kenning_index_facts").set(facts as f64);
        metrics::gauge!("kenning_index_vectors").set(vectors as f64);
        let held = indexes.held().figures();
        metrics::gauge!("kenning_index_bytes").set(held.bytes as f64);
        metrics::gauge!("kenning_index_budget_bytes").set(held.budget as f64);
        metrics::gauge!("kenning_indexes_ready").set(held.ready as f64);
        metrics::gauge!("kenning_indexes_loading").set(held.loading as f64);
        let behind = indexes.applied().tenants_behind();
        metrics::gauge!("kenning_index_tenants_behind").set(behind as f64);
        let pending = facts.saturating_sub(vectors);
        metrics::gauge!("kenning_index_pending_facts").set(pending as f64);
        let lag = indexes.applied().changes_behind();
        metrics::gauge!("kenning_index_lag_changes").set(lag as f64);
    }

    /// Adds the metrics of each extension that is loaded, which name its tenant.
    pub fn measure_extensions(&self, by_tenant: &mut ByTenant) {
        for (tenant, _) in self.registry.registries() {
            let Some(guests) = self.registry.loaded(&tenant) else { continue };
            for extension in guests.extensions.iter() {
                let Some(stats) = &extension.guest.stats else { continue };
                for cost in stats.costs() {
                    measure(tenant.as_str(), extension.name(), &cost, by_tenant);
                }
            }
        }
    }

    /// What makes a tenant's vectors.
    pub fn embedder_of(&self, tenant: &TenantId) -> Arc<dyn Embedder> {
        self.services.embedders.of(tenant)
    }

    /// Where facts are kept.
    pub fn storage(&self) -> Description {
        self.services.storage.describe()
    }

    /// The longest that another program's change of a fact goes unnoticed, by the last scan; `None`
    /// before that, and without the flat layout.
    pub fn foreign_changes_seen_within(&self) -> Option<Duration> {
        self.services.storage.adoption()?.borrow().seen_within
    }

    /// Changes a tenant's quotas and its language; see [`Tenants::change_settings`].
    ///
    /// # Errors
    /// As there.
    pub async fn change_tenant(
        &self,
        tenant: &TenantId,
        changes: BTreeMap<String, Option<u64>>,
        language: Option<Language>,
        grants: Option<Vec<String>>,
    ) -> Result<Record, Error> {
        let tenants = &self.services.tenants;
        let record = tenants.change_settings(tenant, changes, language, grants).await?;
        self.follow_language(tenant).await;
        if record.quotas.proof_requests == Some(0) {
            self.recorder.forget(tenant);
        }
        Ok(record)
    }

    /// Has the tenant's index follow the language of its texts, which may have changed.
    pub(super) async fn follow_language(&self, tenant: &TenantId) {
        if let Some(index) = self.services.indexes.existing(tenant) {
            index.follow_language(self.services.tenants.language(tenant)).await;
        }
    }

    /// Counts what the caller's tenant has.
    ///
    /// # Errors
    /// When storage fails or the deadline passes.
    pub async fn figures(&self, caller: &Caller) -> Result<Figures, Error> {
        let (services, tenant) = (&self.services, &caller.tenant);
        let lost = services.storage.remove_all_lost(tenant, caller.deadline).await;
        // What storage has lost is removed before it is counted, as far as time and storage permit.
        services.indexes.forget_lost(tenant, &lost.unwrap_or_default()).await;
        let usage = self.usage(tenant, caller.deadline).await?;
        let counts = services.indexes.unreadable().counts(tenant);
        self.follow_language(tenant).await;
        let held = services.indexes.held();
        let (index, state) = match held.state(tenant) {
            None => (Arc::default(), IndexState::NotLoaded),
            Some(index) => {
                let state = IndexState::of(&index.progress());
                (index, state)
            }
        };
        let facts = usage.facts.saturating_sub(counts.unreadable);
        let pending = match state {
            IndexState::Ready => facts.saturating_sub(index.sizes().vectors as u64),
            _ => facts.min(self.count_pending(tenant, caller.deadline).await?),
        };
        let indexed = match state {
            IndexState::Ready => index.sizes().vectors,
            _ => facts.saturating_sub(pending) as usize,
        };
        let language = services.tenants.language(tenant);
        let quotas = self.used_of_quotas(tenant, usage, caller.deadline).await;
        Ok(Figures {
            facts,
            indexed,
            pending,
            unreadable: counts.unreadable + self.skipped(tenant),
            lost: counts.lost,
            index: index.sizes(),
            state,
            language,
            outdated: match index.language() == language {
                true => index.outdated(),
                // The index has not begun to follow a change of the language.
                false => index.sizes().facts,
            },
            partly_embedded: index.partly_embedded(),
            held: held.figures(),
            quotas,
        })
    }

    /// How many facts are marked as pending in storage; of more than [`PENDING`], so many.
    async fn count_pending(&self, tenant: &TenantId, until: Instant) -> Result<u64, Error> {
        let (mut count, mut after) = (0, None);
        while count < PENDING {
            let page = self.services.storage.pending(tenant, after, PAGE, until).await;
            let page = page.map_err(|error| self.storage_error(&error))?;
            let Some((_, last)) = page.last() else { break };
            (count, after) = (count + page.len() as u64, Some(*last));
        }
        Ok(count)
    }

    /// Hashes among the facts of other programs that are no facts.
    fn skipped(&self, tenant: &TenantId) -> u64 {
        match self.services.storage.adoption() {
            Some(adoption) if tenant.as_str() == DEFAULT_TENANT => adoption.borrow().skipped,
            _ => 0,
        }
    }

    async fn usage(&self, tenant: &TenantId, until: Instant) -> Result<Usage, Error> {
        let usage = self.services.storage.usage(tenant, until).await;
        usage.map_err(|error| self.storage_error(&error))
    }

    /// Each quota of a tenant, with what is used of it.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn quotas(&self, tenant: &TenantId) -> Result<Value, Error> {
        let until = Instant::now() + self.services.limits.storage_operation;
        let usage = self.usage(tenant, until).await?;
        Ok(self.used_of_quotas(tenant, usage, until).await)
    }

    async fn used_of_quotas(&self, tenant: &TenantId, usage: Usage, until: Instant) -> Value {
        let known = self.services.tenants.get(tenant);
        let quotas = known.as_ref().map(|known| known.record.quotas.clone()).unwrap_or_default();
        let until = until.min(Instant::now() + self.services.limits.storage_operation);
        let counted = match &known {
            Some(known) => Some(known.meter.used(&quotas, until).await),
            None => None,
        };
        let extensions = self.registry.loaded(tenant).map_or(0, |own| own.extensions.len());
        quotas.with_used(|name| match (name, &counted) {
            ("extensions", _) => extensions as u64,
            ("proof_requests", _) => self.recorder.of(tenant).len() as u64,
            ("facts", _) => usage.facts,
            ("bytes", _) => usage.bytes,
            ("requests_per_second", Some(used)) => used.requests,
            ("concurrent_calls", Some(used)) => used.running,
            ("fuel_per_minute", Some(used)) => used.fuel,
            ("embedding_tokens_per_minute", Some(used)) => used.tokens,
            _ => 0,
        })
    }

    /// Why requests should not be sent to this host now, if they should not.
    pub async fn not_ready(&self) -> Option<String> {
        let storage = &self.services.storage;
        let until = Instant::now() + self.services.limits.storage_operation;
        if let Err(error) = storage.ping(until).await {
            return Some(error.to_string());
        }
        if let Err(error) = storage.check_writable(until).await {
            return Some(format!("writes are refused: {error}"));
        }
        if let Some(reason) = self.guests_not_ready() {
            return Some(reason);
        }
        if let Some(adoption) = storage.adoption()
            && adoption.borrow().scans == 0
        {
            return Some("the first scan for other programs' facts is not complete".into());
        }
        self.services.indexes.applied().lag_of_any()
    }

    fn guests_not_ready(&self) -> Option<String> {
        if !self.registry.is_ready() {
            let problem = self.registry.problem(&Owner::Server, THE_LOGIC);
            return Some(match problem {
                Some(problem) => format!(
                    "the server's logic is damaged in storage: {problem}; roll it back, or \
                     install it again"
                ),
                None => "the tenants' own guests are not loaded yet".into(),
            });
        }
        if !self.registry.has_lease() {
            return Some("this host does not know yet what other hosts changed".into());
        }
        match *self.registry.preparation().borrow() {
            Preparation::Over => None,
            Preparation::Reading => Some("the tenants' own guests are being verified".into()),
            Preparation::Compiling { done, total } => {
                let how_far = format!("{done} of {total} components so far");
                Some(format!("the tenants' own guests are being compiled: {how_far}"))
            }
        }
    }

    /// The guests that answer the tenant's calls, as far as they are loaded.
    pub fn served_by_of(&self, tenant: &TenantId) -> ServedBy {
        let own = self.registry.snapshot(tenant);
        own.map_or_else(|| self.served_by(), |own| own.served_by())
    }

    /// The logic that comes with the server.
    pub fn built_in(&self) -> GenerationRef {
        self.registry.built_in().guest.reference.clone()
    }

    /// The record of an owner's logic, and the one that is live.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn logic_record(
        &self,
        owner: &Owner,
    ) -> Result<(GuestRecord, Option<Arc<Generation>>), Error> {
        let record = self.registry.archive.logic(owner).await;
        let record = record.map_err(|error| self.storage_error(&error))?.value;
        let live = match owner {
            Owner::Server => Some(self.registry.server_wide().logic),
            Owner::Tenant(tenant) => {
                self.registry.loaded(tenant).and_then(|guests| guests.logic.clone())
            }
        };
        Ok((record, live))
    }

    /// The records of a tenant's extensions, and its guests as far as they are loaded.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn extension_records(
        &self,
        tenant: &TenantId,
    ) -> Result<(ExtensionRecords, Option<Arc<TenantGuests>>), Error> {
        let records = self.registry.archive.extensions(tenant).await;
        let records = records.map_err(|error| self.storage_error(&error))?.value;
        Ok((records, self.registry.loaded(tenant)))
    }

    /// What the hooks of an extension cost that is loaded, also of one that is paused.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub fn extension_costs(&self, tenant: &TenantId, name: &str) -> Result<Vec<HookCost>, Error> {
        let guests = self.registry.loaded(tenant);
        let extension = guests.and_then(|guests| guests.named(name));
        let stats = extension.and_then(|extension| extension.guest.stats.clone());
        stats.map(|stats| stats.costs()).ok_or_else(|| no_extension(name))
    }

    /// What an extension's state holds; `None` if it never held anything.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn extension_state(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Option<StateUsage>, Error> {
        let until = Instant::now() + self.services.limits.storage_operation;
        let spaces = self.services.storage.state_spaces(tenant, until).await;
        let spaces = spaces.map_err(|error| self.storage_error(&error))?;
        Ok(spaces.into_iter().find_map(|(space, used)| (space.as_str() == name).then_some(used)))
    }

    /// The log of an extension that is loaded, also of one that is paused.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub fn extension_log(&self, tenant: &TenantId, name: &str) -> Result<Arc<LogBuffer>, Error> {
        let guests = self.registry.loaded(tenant);
        let extension = guests.and_then(|guests| guests.named(name));
        extension
            .and_then(|extension| extension.guest.lines.clone())
            .ok_or_else(|| no_extension(name))
    }
}

fn measure(tenant: &str, extension: &str, cost: &HookCost, by_tenant: &mut ByTenant) {
    let labels = [("tenant", tenant), ("extension", extension), ("hook", cost.hook)];
    by_tenant.counter("kenning_extension_calls_total", &labels, cost.calls);
    by_tenant.counter("kenning_extension_fuel_total", &labels, cost.fuel);
    by_tenant.counter("kenning_extension_given_bytes_total", &labels, cost.bytes);
    by_tenant.gauge("kenning_extension_p50_seconds", &labels, cost.p50_ms / 1e3);
    by_tenant.gauge("kenning_extension_p99_seconds", &labels, cost.p99_ms / 1e3);
    for (kind, count) in &cost.errors {
        let [tenant, extension, hook] = labels;
        let labels = [tenant, extension, hook, ("kind", *kind)];
        by_tenant.counter("kenning_extension_errors_total", &labels, *count);
    }
}

fn no_extension(name: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no extension {name:?}"))
}
