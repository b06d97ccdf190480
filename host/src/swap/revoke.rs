//! Finds out who runs a digest, and refuses a digest everywhere.

use kenning_storage::TenantId;

use super::report::Report;
use super::{Rollback, Swapper, verify};
use crate::registry::{BUILT_IN, GuestRecord, Owner, Revocation, now};
use kenning_core::error::{Code, Error};

/// A generation with a given digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// `None` for the server-wide logic.
    pub tenant: Option<TenantId>,
    /// The extension's name; `None` for a logic.
    pub extension: Option<String>,
    /// The generation's number.
    pub generation: u64,
    /// Whether it is live.
    pub active: bool,
    /// Whether the tenant alone uses this older generation of the server-wide logic.
    pub pinned: bool,
}

/// What became of a live generation that was revoked.
#[derive(Debug)]
pub struct Replaced {
    /// The generation that was live.
    pub was: Use,
    /// The generation that is live instead; `None` if the extension was removed. Or why it is still
    /// live.
    pub now: Result<Option<u64>, Error>,
}

impl Swapper {
    /// All generations with this digest, of all tenants.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn uses(&self, digest: &str) -> Result<Vec<Use>, Error> {
        let archive = &self.registry().archive;
        let server = self.storage(archive.logic(&Owner::Server).await)?.value;
        let mut uses = generations(&server, digest, None, None);
        if *self.registry().built_in().guest.reference.digest == *digest {
            uses.insert(0, logic_use(None, BUILT_IN, server.active.is_none()));
        }
        let mut tenants: Vec<_> = self.storage(archive.tenants().await)?.into_keys().collect();
        tenants.sort();
        for tenant in tenants {
            let owner = Owner::Tenant(tenant.clone());
            let logic = self.storage(archive.logic(&owner).await)?.value;
            uses.extend(generations(&logic, digest, Some(&tenant), None));
            uses.extend(pinned(&server, &logic, digest, &tenant));
            let records = self.storage(archive.extensions(&tenant).await)?.value;
            for (name, record) in &records.extensions {
                uses.extend(generations(&record.guest, digest, Some(&tenant), Some(name)));
            }
        }
        Ok(uses)
    }

    /// When a digest was revoked, if it was.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn revocation(&self, digest: &str) -> Result<Option<Revocation>, Error> {
        let revoked = self.storage(self.registry().archive.revoked().await)?;
        Ok(revoked.digests.get(digest).cloned())
    }

    /// Refuses a digest from now on, and replaces every live generation that has it: a logic by an
    /// older one, an extension by an older one or by none. May be repeated if some are still live.
    ///
    /// # Errors
    /// When it is the logic that comes with this server, or storage fails.
    pub async fn revoke(
        &self,
        digest: &str,
        by: &str,
        reason: Option<String>,
    ) -> Result<Vec<Replaced>, Error> {
        if *self.registry().built_in().guest.reference.digest == *digest {
            let message = "the logic that comes with the server is what every other falls back to; \
                           start the server with another one (`--logic`) to revoke it";
            return Err(Error::new(Code::Conflict, message));
        }
        let revocation = Revocation { at: now(), by: by.to_string(), reason };
        let changed = self.registry().archive.change_revoked(|revoked| {
            revoked.digests.entry(digest.to_string()).or_insert_with(|| revocation.clone());
            Ok(())
        });
        self.written(changed.await)?;
        tracing::warn!(digest, by, "digest revoked");
        self.replace_revoked(digest, by).await
    }

    /// Allows a revoked digest again. Returns whether it was revoked.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn allow(&self, digest: &str) -> Result<bool, Error> {
        let changed = self
            .registry()
            .archive
            .change_revoked(|revoked| Ok(revoked.digests.remove(digest).is_some()));
        Ok(self.written(changed.await)?.0)
    }

    /// Replaces every live generation with a revoked digest.
    async fn replace_revoked(&self, digest: &str, by: &str) -> Result<Vec<Replaced>, Error> {
        let mut replaced = Vec::new();
        for was in self.uses(digest).await?.into_iter().filter(|one| one.active) {
            let now = self.replace(&was, digest, by).await;
            replaced.push(Replaced { was, now });
        }
        Ok(replaced)
    }

    async fn replace(&self, was: &Use, digest: &str, by: &str) -> Result<Option<u64>, Error> {
        let owner = was.tenant.clone().map_or(Owner::Server, Owner::Tenant);
        let reason = format!("{digest} was revoked by {by}");
        let rollback = Rollback::revoked(was.generation, reason);
        match (&was.tenant, &was.extension) {
            (Some(tenant), Some(name)) => {
                match self.rollback_extension(tenant, name, rollback).await {
                    Ok(back) => Ok(Some(back.now.number)),
                    // There is none that it may be rolled back to.
                    Err(error) if error.code == Code::Conflict => {
                        // Its state is for the version that the operator installs instead.
                        self.remove_extension(tenant, name, true).await.map(|()| None)
                    }
                    Err(error) => Err(error),
                }
            }
            (Some(tenant), None) if was.pinned => self.unpin(tenant).await.map(Some),
            _ => Ok(Some(self.rollback_logic(&owner, rollback).await?.now.number)),
        }
    }

    /// Fails when the candidate's digest is revoked.
    pub(super) async fn check_revoked(
        &self,
        digest: &str,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(Revocation { at, by, reason }) = self.revocation(digest).await? else {
            return Ok(());
        };
        let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = format!("its digest {digest} was revoked by {by} at {at}{why}");
        Err(verify::refuse("revoked", message, report))
    }

    /// Replaces a generation that was promoted while its digest was revoked. The caller holds no
    /// lock.
    pub(super) async fn replace_if_revoked(&self, digest: &str) -> Result<(), Error> {
        let Some(revocation) = self.revocation(digest).await? else { return Ok(()) };
        self.replace_revoked(digest, &revocation.by).await?;
        Err(Error::new(Code::Conflict, format!("{digest} was revoked meanwhile")))
    }
}

fn logic_use(tenant: Option<&TenantId>, generation: u64, active: bool) -> Use {
    Use { tenant: tenant.cloned(), extension: None, generation, active, pinned: false }
}

/// The generations of a guest with this digest.
fn generations(
    record: &GuestRecord,
    digest: &str,
    tenant: Option<&TenantId>,
    extension: Option<&str>,
) -> Vec<Use> {
    let with = record.generations.iter().filter(|generation| generation.digest == digest);
    let found = with.map(|generation| Use {
        extension: extension.map(str::to_string),
        ..logic_use(tenant, generation.number, record.active == Some(generation.number))
    });
    found.collect()
}

/// The generation that a tenant is pinned to, if it has this digest.
fn pinned(
    server: &GuestRecord,
    logic: &GuestRecord,
    digest: &str,
    tenant: &TenantId,
) -> Option<Use> {
    let pin = logic.pinned.filter(|pin| server.active == Some(pin.from))?;
    let generation = server.generation(pin.to)?;
    let is_it = generation.digest == digest;
    is_it.then(|| Use { pinned: true, ..logic_use(Some(tenant), pin.to, true) })
}
