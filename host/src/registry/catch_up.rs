//! Loads what other hosts changed: the server-wide logic, tenants' guests, and their records.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kenning_storage::{RegistryRevision, TenantId};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{LoadError, Registry, Versions};

/// How long following other hosts waits for guests to be loaded.
const RELOAD: Duration = Duration::from_secs(1);

/// How often guests that could not be loaded are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many tenants' numbers are read at once.
const NUMBERS: usize = 1_000;

/// How far this host has followed the others. Locked while it follows.
#[derive(Default)]
pub(super) struct Following(Mutex<Followed>);

/// What was loaded.
#[derive(Clone, Default)]
struct Followed {
    /// The documents' revision up to which everything is loaded, except of `unfinished`.
    revision: Option<u64>,
    /// The tenants whose guests are being loaded, or cannot be.
    unfinished: Vec<TenantId>,
    /// When loading those was last tried.
    tried: Option<Instant>,
}

impl Registry {
    /// Loads what was changed since the last time. Guests that cannot be loaded affect no other
    /// tenant, and are tried again later; the tenant's calls are refused until then. Returns
    /// whether there was anything to do.
    pub(super) async fn follow(self: &Arc<Self>) -> Result<bool, LoadError> {
        let mut followed = self.following.0.lock().await;
        let revision = self.archive.revision().await?;
        let is_due = followed.tried.is_none_or(|tried| tried.elapsed() >= RETRY);
        let retries = !followed.unfinished.is_empty() && is_due;
        if followed.revision == Some(revision) && !retries {
            return Ok(false);
        }
        self.records.refresh().await?;
        let recorded = self.load().await?;
        let unfinished = self.reload(&recorded, &followed.unfinished).await?;
        self.lease.say(revision, &unfinished);
        let (revision, tried) = (Some(revision), Some(Instant::now()));
        *followed = Followed { revision, unfinished, tried };
        Ok(true)
    }

    /// Loads guests and records again that another host changed, and those in `unfinished`. Returns
    /// the tenants of which they are not loaded: what is still being compiled after [`RELOAD`] goes
    /// on, and delays nothing else.
    async fn reload(
        self: &Arc<Self>,
        recorded: &HashMap<TenantId, Versions>,
        unfinished: &[TenantId],
    ) -> Result<Vec<TenantId>, LoadError> {
        let loaded = self.registries();
        let names: Vec<TenantId> = loaded.iter().map(|(tenant, _)| tenant.clone()).collect();
        let mut in_force: Vec<RegistryRevision> = Vec::with_capacity(names.len());
        for names in names.chunks(NUMBERS) {
            in_force.extend(self.archive.registry_revisions(names).await?);
        }
        let changed = loaded.iter().zip(in_force).filter(|((tenant, registry), in_force)| {
            registry != in_force
                || recorded.get(tenant).is_some_and(|now| self.versions(tenant) != Some(*now))
        });
        let loads = changed.map(|((tenant, _), _)| async move {
            let is_loaded = match timeout(RELOAD, self.load_in_background(tenant)).await {
                // Somebody may have waited for a load of an earlier record.
                Ok(Ok(_)) => recorded
                    .get(tenant)
                    .is_none_or(|now| self.versions(tenant).is_none_or(|its| its.cover(now))),
                Ok(Err(error)) => {
                    if !unfinished.contains(tenant) {
                        tracing::warn!(%tenant, %error, "this tenant's guests cannot be loaded");
                    }
                    false
                }
                Err(_) => false,
            };
            (!is_loaded).then(|| tenant.clone())
        });
        Ok(join_all(loads).await.into_iter().flatten().collect())
    }
}
