//! What another host on the same storage decided: seen within a second or so, and
//! never in the way of a call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::load::LoadError;
use super::{Owner, Registry};
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
    let revision = registry.archive.revision().await?;
    if *seen == Some(revision) {
        return Ok(());
    }
    registry.learn().await?;
    *seen = Some(revision);
    Ok(())
}

impl Registry {
    /// Reads what is recorded: which logic is the server's, which tenants have guests of
    /// their own. Until it succeeded once, no call runs.
    pub async fn learn(&self) -> Result<(), LoadError> {
        self.follow_logic().await?;
        self.follow_tenants().await?;
        self.known.send_replace(true);
        Ok(())
    }

    async fn follow_logic(&self) -> Result<(), LoadError> {
        let record = self.archive.logic(&Owner::Server).await?;
        let generation = match record.value.active() {
            Some(active) => self.generation(&Owner::Server, active).await?,
            None => self.built_in(),
        };
        self.promote_logic(generation, record.version.unwrap_or_default());
        Ok(())
    }

    /// Tenants with guests of their own have them; others have none. Only of those whose
    /// records changed are the records read: there may be thousands of the others.
    async fn follow_tenants(&self) -> Result<(), LoadError> {
        let recorded = self.archive.tenants().await?;
        for tenant in self.tenants() {
            let Some(versions) = recorded.get(&tenant) else {
                self.forget(&tenant);
                continue;
            };
            if self.loaded(&tenant).is_some()
                && self.versions(&tenant) != *versions
                && let Err(error) = self.load_tenant(&tenant).await
            {
                // What runs goes on; the others are not to wait for this one.
                tracing::warn!(%tenant, %error, "cannot load what another host decided");
            }
        }
        for tenant in recorded.into_keys() {
            // Loaded by its first call.
            self.slot_or_new(&tenant);
        }
        Ok(())
    }
}
