//! What another host on the same storage decided: seen within a second or so, and
//! never in the way of a call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kenning_storage::TenantId;
use tokio::time::sleep;

use super::load::LoadError;
use super::{Owner, Registry, Versions};
use crate::kb::Kb;

/// How often storage is asked whether anything changed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps up with other hosts, for ever. What cannot be read is tried again; until
/// then what runs goes on.
pub async fn follow(kb: Arc<Kb>) {
    let mut seen = None;
    let mut said = false;
    loop {
        match catch_up(kb.registry(), &mut seen).await {
            Ok(()) => said = false,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "cannot see what other hosts decided");
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn catch_up(registry: &Registry, seen: &mut Option<u64>) -> Result<(), LoadError> {
    if *seen == Some(registry.archive.revision().await?) {
        return Ok(());
    }
    let recorded = registry.learn().await?;
    registry.reload(&recorded.tenants).await?;
    *seen = Some(recorded.revision);
    Ok(())
}

/// What was recorded at one moment.
pub(crate) struct Recorded {
    /// Of before the rest was read: what changed since has a later one.
    revision: u64,
    /// Tenants with guests of their own, and the versions of their records.
    tenants: HashMap<TenantId, Versions>,
}

impl Registry {
    /// Reads what is recorded: which logic is the server's, which tenants have guests of
    /// their own. Until it succeeded once, no call runs.
    pub(crate) async fn learn(&self) -> Result<Recorded, LoadError> {
        let revision = self.archive.revision().await?;
        let logic = self.archive.logic(&Owner::Server).await?;
        let version = logic.version.unwrap_or_default();
        let logic = match logic.value.active() {
            Some(active) => Some(self.generation(&Owner::Server, active).await?),
            None => None,
        };
        self.set_logic(&Owner::Server, logic, version);
        let tenants = self.archive.tenants().await?;
        for gone in self.tenants().iter().filter(|tenant| !tenants.contains_key(tenant)) {
            // What this host itself promoted meanwhile is not in the list.
            if self.versions(gone).unwrap_or_default().are_of(revision) {
                self.forget(gone);
            }
        }
        for tenant in tenants.keys() {
            // Loaded by its first call.
            self.slot_or_new(tenant);
        }
        self.known.send_replace(true);
        Ok(Recorded { revision, tenants })
    }

    /// Loads again what another host changed. What cannot be loaded keeps no other
    /// tenant waiting, and what runs goes on.
    async fn reload(&self, tenants: &HashMap<TenantId, Versions>) -> Result<(), LoadError> {
        let mut outcome = Ok(());
        for (tenant, now) in tenants {
            if self.versions(tenant).is_some_and(|loaded| loaded != *now) {
                outcome = outcome.and(self.load_tenant(tenant).await);
            }
        }
        outcome
    }
}
