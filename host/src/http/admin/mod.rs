//! `/v1/admin`: the operator's routes, and those with which a tenant manages its extensions. One
//! file for each group of them.

pub(in crate::http) mod audit;
pub(in crate::http) mod backup;
pub(in crate::http) mod costs;
pub(in crate::http) mod dead_letters;
pub(in crate::http) mod digests;
pub(in crate::http) mod extensions;
pub(in crate::http) mod failures;
mod generations;
pub(in crate::http) mod keys;
pub(in crate::http) mod logic;
mod parameters;
pub(in crate::http) mod preview;
pub(in crate::http) mod progress;
pub(in crate::http) mod replay;
pub(in crate::http) mod settings;
mod tenant_answers;
pub(in crate::http) mod tenant_import;
mod tenant_settings;
pub(in crate::http) mod tenants;
mod upload;

pub(in crate::http) use parameters::Path;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use kenning_core::error::Error;
use kenning_runtime::Granted;
use kenning_storage::TenantId;

use super::access::Needs;
use super::answer::Refusal;
use super::auth::{asked_time, authenticate, check_named, forbidden};
use super::observed::Asker;
use crate::http::App;
use kenning_tenants::{Credential, Permit, Principal, Scope};

/// A caller who may do what a route does: on a server with keys, one with an admin key, or a tenant
/// with the scope `admin` where the route is about its own extensions, or what was done to it.
#[derive(Clone)]
pub(in crate::http) struct Admin {
    name: String,
    key_id: Option<String>,
    /// Of a tenant, whose request counts against its quotas until it ends.
    tenant: Option<(TenantId, Option<Arc<Permit>>)>,
}

impl Admin {
    /// How records name this caller.
    pub(in crate::http) fn name(&self) -> &str {
        &self.name
    }

    /// Names the key without being a secret; `None` for a token, and on a server without keys.
    pub(in crate::http) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether it is a tenant, which asks about itself.
    pub(in crate::http) fn is_tenant(&self) -> bool {
        self.tenant.is_some()
    }

    /// What this caller may grant: of a tenant, what the operator lets it; `None` for everything.
    pub(in crate::http) fn may_grant(&self, app: &App) -> Option<Vec<Granted>> {
        let (tenant, _) = self.tenant.as_ref()?;
        let found = app.kb.tenants().get(tenant);
        let allowed = found.map(|tenant| tenant.record.grants.clone()).unwrap_or_default();
        // A later version may have written names that this one does not know.
        Some(allowed.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Fails if one of `grants` is not this caller's to give.
    pub(in crate::http) fn check_grants(&self, grants: &[Granted], app: &App) -> Result<(), Error> {
        let Some(allowed) = self.may_grant(app) else { return Ok(()) };
        let covered = |grant: &Granted| allowed.iter().any(|one| one.covers(grant));
        let Some(grant) = grants.iter().find(|grant| !covered(grant)) else {
            return Ok(());
        };
        let names: Vec<&str> = allowed.iter().map(|grant| grant.name()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(forbidden(&format!(
            "this tenant may not grant `{}` to its extensions; what the operator lets it grant: \
             {names}",
            grant.name()
        )))
    }

    /// Fails if this caller may not choose the bytes of an extension, because they would read what
    /// the operator keeps for it.
    pub(in crate::http) fn check_secrets(&self, extension: &str, app: &App) -> Result<(), Error> {
        match &self.tenant {
            Some((tenant, _)) if app.kb.services().secrets.has_any(tenant, extension) => {
                Err(forbidden(&format!(
                    "the operator keeps secrets for the extension {extension}, so only an admin \
                     key replaces it"
                )))
            }
            _ => Ok(()),
        }
    }

    /// A tenant that may manage its own extensions.
    async fn of_tenant(
        credential: Credential,
        parts: &mut Parts,
        app: &Arc<App>,
    ) -> Result<Self, Error> {
        let (needs, asked) = Needs::of_request(parts)?;
        if needs != Needs::Admin {
            let kind = credential.kind();
            let message = format!("{asked} needs the admin key; this is a tenant's {kind}");
            return Err(forbidden(&message));
        }
        Asker::note(&parts.extensions, Some(&credential.tenant), credential.key_id.as_deref());
        check_named(&parts.headers, &credential)?;
        if tenant_in_path(parts, app).await.as_deref() != Some(credential.tenant.as_str()) {
            let kind = credential.kind();
            return Err(forbidden(&format!(
                "this {kind} does not belong to the tenant in the path"
            )));
        }
        credential.check(Scope::Admin, &asked)?;
        let time = asked_time(&parts.headers)?;
        let permit = app.kb.tenants().admit(&credential.tenant, Some(&credential), time).await?;
        let Credential { tenant, key_id, subject, .. } = credential;
        let name = match (&key_id, subject) {
            (Some(_), _) => format!("a key of the tenant {tenant}"),
            (None, Some(subject)) => format!("{subject}, by a token of the tenant {tenant}"),
            (None, None) => format!("a token of the tenant {tenant}"),
        };
        let key_id = key_id.as_deref().map(str::to_owned);
        Ok(Self { name, key_id, tenant: Some((tenant, permit.map(Arc::new))) })
    }
}

/// The `{t}` of the route.
async fn tenant_in_path(parts: &mut Parts, app: &Arc<App>) -> Option<String> {
    let Path(mut named) =
        Path::<BTreeMap<String, String>>::from_request_parts(parts, app).await.ok()?;
    named.remove("t")
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        // Whoever puts acts on record has found out already.
        if let Some(admin) = parts.extensions.get::<Self>() {
            return Ok(admin.clone());
        }
        let tenants = app.kb.tenants();
        if !tenants.require_keys() {
            let name = "anyone on this machine".to_owned();
            return Ok(Self { name, key_id: None, tenant: None });
        }
        match authenticate(&parts.headers, tenants).await? {
            Principal::Operator(id) => {
                Asker::note(&parts.extensions, None, Some(id.as_str()));
                let name = "the admin key".to_owned();
                Ok(Self { name, key_id: Some(id), tenant: None })
            }
            Principal::Tenant(credential) => Ok(Self::of_tenant(credential, parts, app).await?),
        }
    }
}
