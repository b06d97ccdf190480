//! What is kept for an extension in storage, when it comes and when it goes: its own state, and how
//! far it was told of changes.

use std::time::Instant;

use kenning_storage::{SpaceName, StorageError, TenantId};

use super::Swapper;
use crate::journal::{ToldChanges, space_name};
use crate::registry::{Extension, ExtensionRecord};
use kenning_core::error::Error;
use kenning_runtime::Hook;

impl Swapper {
    /// Before an extension is promoted: nothing of a removed one of its name is left, unless that
    /// was kept, and it is told of the changes from now on.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) async fn prepare_state(
        &self,
        tenant: &TenantId,
        extension: &Extension,
        seen: &ExtensionRecord,
    ) -> Result<(), Error> {
        let name = extension.name();
        if seen.guest.active.is_none() {
            // Calls of the removed one may have written after it was removed.
            self.delete_state(tenant, name, seen.keeps_state).await?;
        }
        if !extension.has(Hook::OnChange) {
            return Ok(());
        }
        let storage = &self.kb().services().storage;
        let tenants = std::slice::from_ref(tenant);
        let last = self.storage(storage.last_revisions(tenants, self.until()).await)?;
        let last = last.first().copied().unwrap_or_default();
        let told = self.storage(ToldChanges::of(storage, self.limits(), tenant, name))?;
        self.storage(told.begin(last).await)
    }

    /// Deletes what is kept for a removed extension, except for its own state if that `stays`.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) async fn delete_state(
        &self,
        tenant: &TenantId,
        name: &str,
        stays: bool,
    ) -> Result<(), Error> {
        let told = self.storage(space_name(name))?;
        let own = SpaceName::parse(name).map_err(|error| StorageError::Corrupt(error.to_string()));
        let own = self.storage(own)?;
        for space in [told].into_iter().chain((!stays).then_some(own)) {
            let storage = &self.kb().services().storage;
            while self.storage(storage.delete_state(tenant, &space, self.until()).await)? {}
        }
        Ok(())
    }

    fn until(&self) -> Instant {
        Instant::now() + self.limits().storage_operation
    }
}
