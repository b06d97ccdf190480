//! The guests of a tenant as they might be: with another generation of its logic, or without some
//! of its extensions.

use std::sync::Arc;

use kenning_storage::TenantId;
use serde_json::json;

use super::{Swapper, no_such_extension};
use crate::registry::{BUILT_IN, Owner, Snapshot};
use kenning_core::error::{Code, Error};
use kenning_runtime::{Generation, Urgency};

impl Swapper {
    /// The live guests of `tenant` with this generation of the logic that it uses, its own or the
    /// server's, and without the extensions that are named.
    ///
    /// # Errors
    /// When there is no such generation or extension, it was revoked, or it cannot be loaded.
    pub async fn variant(
        &self,
        tenant: &TenantId,
        generation: Option<u64>,
        without: &[&str],
    ) -> Result<Snapshot, Error> {
        let live = self.live(tenant).await?;
        let is_there = |name: &&&str| !live.extensions.iter().any(|one| one.name() == **name);
        if let Some(unknown) = without.iter().find(is_there) {
            return Err(no_such_extension(unknown));
        }
        let logic = match generation {
            Some(number) => self.numbered_logic(tenant, number).await?,
            None => live.logic.clone(),
        };
        let kept = live.extensions.iter().filter(|one| !without.contains(&one.name()));
        Ok(Snapshot { logic, extensions: kept.cloned().collect(), registry: None })
    }

    /// A generation of the logic that `tenant` uses.
    async fn numbered_logic(
        &self,
        tenant: &TenantId,
        number: u64,
    ) -> Result<Arc<Generation>, Error> {
        let archive = &self.registry().archive;
        let own = Owner::Tenant(tenant.clone());
        let (owner, record) = match self.storage(archive.logic(&own).await)?.value {
            record if record.active.is_some() => (own, record),
            _ => (Owner::Server, self.storage(archive.logic(&Owner::Server).await)?.value),
        };
        let Some(target) = record.generation(number) else {
            if number == BUILT_IN && owner == Owner::Server {
                return Ok(self.registry().built_in());
            }
            let built_in = (owner == Owner::Server).then_some(BUILT_IN);
            let recorded = record.generations.iter().map(|kept| kept.number);
            let kept: Vec<u64> = built_in.into_iter().chain(recorded).collect();
            let message = format!("there is no generation {number}; available are {kept:?}");
            return Err(
                Error::new(Code::NotFound, message).with_details(json!({ "generations": kept }))
            );
        };
        if self.storage(archive.revoked().await)?.contains(&target.digest) {
            let message = format!("generation {number} is {}, which was revoked", target.digest);
            return Err(Error::new(Code::IncompatibleComponent, message));
        }
        self.load(self.registry().generation(&owner, target, Urgency::First).await)
    }
}
