//! Changes an installed extension without another component: its order, policy and grants, and
//! whether it is paused.
//!
//! Such a change makes no new generation, so it takes no earlier one out of the record.

use std::sync::Arc;

use kenning_storage::TenantId;

use super::report::Report;
use super::rollback::installed;
use super::{Swapper, changed_meanwhile, verify};
use crate::registry::{EventKind, Extension, ExtensionRecord, LoadError, Owner, Settings};
use kenning_core::error::Error;
use kenning_runtime::{Granted, OnFailure, Urgency};

/// What is to be changed; `None` keeps what is there.
#[derive(Clone, Debug, Default)]
pub struct SettingsChange {
    /// The order.
    pub order: Option<i32>,
    /// The policy; `Some(None)` leaves it to each hook's default.
    pub policy: Option<Option<OnFailure>>,
    /// All grants, not only new ones.
    pub grants: Option<Vec<Granted>>,
    /// Whether its hooks are skipped, as if it were not installed.
    pub paused: Option<bool>,
}

/// An extension's grants and settings.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtensionState {
    /// The live generation.
    pub generation: u64,
    /// Its grants.
    pub grants: Vec<Granted>,
    /// Its order and policy.
    pub settings: Settings,
    /// Whether its hooks are skipped.
    pub paused: bool,
}

impl SettingsChange {
    fn apply(&self, record: &mut ExtensionRecord) {
        let before = ExtensionState::of(record);
        let settings = Settings {
            order: self.order.unwrap_or(before.settings.order),
            policy: self.policy.unwrap_or(before.settings.policy),
        };
        record.set_active(self.grants.clone().unwrap_or(before.grants), settings);
        record.paused = self.paused.unwrap_or(before.paused);
    }
}

impl ExtensionState {
    fn of(record: &ExtensionRecord) -> Self {
        let active = record.guest.active();
        Self {
            generation: record.guest.active.unwrap_or_default(),
            grants: active.map(|active| active.grants.clone()).unwrap_or_default(),
            settings: Settings { order: record.order, policy: record.policy },
            paused: record.paused,
        }
    }

    /// Whether `after` has the same grants and is as paused, so that only order or policy differ.
    fn keeps_running_as(&self, after: &Self) -> bool {
        names(&self.grants) == names(&after.grants) && self.paused == after.paused
    }

    /// What differs from `before`, for the record; `None` if nothing does.
    fn difference(&self, before: &Self) -> Option<String> {
        let policy = |state: &Self| match state.settings.policy {
            None => "each hook's own",
            Some(OnFailure::Close) => "close",
            Some(OnFailure::LeaveOut) => "leave-out",
        };
        let paused = |state: &Self| if state.paused { "yes" } else { "no" };
        let changes = [
            ("order", before.settings.order.to_string(), self.settings.order.to_string()),
            ("on failure", policy(before).into(), policy(self).into()),
            ("grants", names(&before.grants), names(&self.grants)),
            ("paused", paused(before).into(), paused(self).into()),
        ];
        let changes = changes.into_iter().filter(|(_, before, now)| before != now);
        let changes: Vec<_> =
            changes.map(|(what, before, now)| format!("{what}: {before} → {now}")).collect();
        (!changes.is_empty()).then(|| changes.join(", "))
    }
}

/// Grants by name, whatever their order.
fn names(grants: &[Granted]) -> String {
    let mut names: Vec<&str> = grants.iter().map(|grant| grant.name()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "none".into() } else { names.join(",") }
}

impl Swapper {
    /// Changes an installed extension's settings; calls that run keep the old ones.
    ///
    /// # Errors
    /// When it is not installed, its component needs a grant that is taken away, another change is
    /// in progress, or storage fails.
    pub async fn change_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        change: SettingsChange,
        by: &str,
    ) -> Result<ExtensionState, Error> {
        self.change_settings_of(tenant, name, change, by).await.map(|(state, _)| state)
    }

    /// The same. Also returns what changed, in words.
    pub(super) async fn change_settings_of(
        &self,
        tenant: &TenantId,
        name: &str,
        change: SettingsChange,
        by: &str,
    ) -> Result<(ExtensionState, Option<String>), Error> {
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let mut records = self.storage(archive.extensions(tenant).await)?.value;
        let seen = installed(&mut records, name)?.clone();
        let mut after = seen.clone();
        change.apply(&mut after);
        let (before, state) = (ExtensionState::of(&seen), ExtensionState::of(&after));
        let Some(difference) = state.difference(&before) else {
            // Whoever changed it may have failed before other hosts had to see it.
            self.storage(archive.enforce(tenant).await)?;
            return Ok((state, None));
        };
        let extension = match self.relinked(tenant, name, &after).await {
            // What starts no guest and gives none more needs none: a pause is what lets the
            // tenant's other guests run. One that runs here goes on, with the new settings.
            Err(LoadError::Lost { .. }) if after.paused || before.keeps_running_as(&state) => {
                self.running(tenant, name, &after).await
            }
            relinked => Some(self.load(relinked)??),
        };
        let reason = format!("{difference}; requested by {by}");
        let _lock = self.lock(&Owner::Tenant(tenant.clone())).await;
        let changed = archive.change_extensions(tenant, |records| {
            let record = installed(records, name)?;
            if ExtensionState::of(record) != before {
                return Err(changed_meanwhile());
            }
            change.apply(record);
            let event = (EventKind::Changed, state.generation, Some(reason.clone()));
            record.guest.add_event(event.0, event.1, event.2);
            Ok(())
        });
        let ((), version) = self.written(changed.await)?;
        registry.set_extension(tenant, name, extension, version);
        Ok((state, Some(difference)))
    }

    /// The extension, if it is loaded on this host.
    async fn running(
        &self,
        tenant: &TenantId,
        name: &str,
        record: &ExtensionRecord,
    ) -> Option<Arc<Extension>> {
        let owner = Owner::Tenant(tenant.clone());
        let active = record.guest.active()?;
        self.registry().extension(&owner, name, record, active, Urgency::First).await.ok()
    }

    /// The active generation with the grants of `record`, which must suffice.
    async fn relinked(
        &self,
        tenant: &TenantId,
        name: &str,
        record: &ExtensionRecord,
    ) -> Result<Result<Arc<Extension>, Error>, LoadError> {
        let (registry, owner) = (self.registry(), Owner::Tenant(tenant.clone()));
        let Some(active) = record.guest.active() else { return Ok(Err(changed_meanwhile())) };
        let loaded = registry.component(&owner, name, &active.digest, Urgency::First).await?;
        let fits = verify::fits_extension(&loaded.inspection, &active.grants, &mut Report::new());
        if let Err(error) = fits {
            return Ok(Err(error));
        }
        registry.extension(&owner, name, record, active, Urgency::First).await.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_runtime::Grant;

    fn state(order: i32, grants: &[Grant]) -> ExtensionState {
        let settings = Settings { order, policy: None };
        let grants = grants.iter().map(|grant| (*grant).into()).collect();
        ExtensionState { generation: 1, grants, settings, paused: false }
    }

    #[test]
    fn a_difference_names_what_changed_and_the_order_of_grants_is_none() {
        let (one, other) = ([Grant::Index, Grant::Storage], [Grant::Storage, Grant::Index]);
        assert_eq!(state(0, &one).difference(&state(0, &other)), None);
        let difference = state(5, &[]).difference(&state(0, &one)).unwrap();
        assert_eq!(difference, "order: 0 → 5, grants: index,storage → none");
    }
}
