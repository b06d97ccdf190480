//! Gives one tenant an older generation of the server-wide logic, until the others change theirs.

use kenning_storage::TenantId;

use super::{Swapper, changed_meanwhile};
use crate::registry::{BUILT_IN, Owner, Pin};
use kenning_core::error::Error;

impl Swapper {
    /// Pins a tenant that fails with generation `from` to the one that a rollback would go to. Does
    /// nothing if the tenant does not use `from`.
    ///
    /// # Errors
    /// When `from` is not active any more, or storage fails.
    pub(super) async fn pin(
        &self,
        tenant: &TenantId,
        from: u64,
        reason: &str,
    ) -> Result<(), Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _lock = self.lock(&owner).await;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let server = self.storage(archive.logic(&Owner::Server).await)?.value;
        if server.active != Some(from) {
            return Err(changed_meanwhile());
        }
        let live = self.live(tenant).await?.logic;
        if !std::sync::Arc::ptr_eq(&live, &registry.server_wide().logic) {
            return Ok(());
        }
        let to = server.older().next().map_or(BUILT_IN, |generation| generation.number);
        let pin = Pin { from, to };
        let Some(logic) = self.load(registry.pinned(pin).await)? else {
            return Err(changed_meanwhile());
        };
        let changed = archive.change_logic(&owner, |record| {
            record.pin(pin, reason.to_string());
            Ok(())
        });
        let ((), version) = self.written(changed.await)?;
        registry.set_pin(tenant, from, logic, version);
        tracing::error!(%tenant, component = "logic", generation = from, to, reason, "rolled back");
        metrics::counter!("kenning_rollbacks_total", "component" => "logic").increment(1);
        Ok(())
    }

    /// Ends a pin: the tenant uses the server-wide logic again. Returns its generation.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) async fn unpin(&self, tenant: &TenantId) -> Result<u64, Error> {
        let owner = Owner::Tenant(tenant.clone());
        let _lock = self.lock(&owner).await;
        self.live(tenant).await?;
        let (registry, archive) = (self.registry(), &self.registry().archive);
        let changed = archive.change_logic(&owner, |record| {
            record.pinned = None;
            Ok(record.active.is_none())
        });
        let (uses_server_wide, version) = self.written(changed.await)?;
        if uses_server_wide {
            registry.set_logic(&owner, None, version);
        }
        Ok(self.live_logic(&owner).await?.guest.reference.number)
    }
}
