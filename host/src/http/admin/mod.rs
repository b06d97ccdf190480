//! `/v1/admin`: the operator's routes. One file for each group of them.

pub(in crate::http) mod audit;
pub(in crate::http) mod digests;
pub(in crate::http) mod extensions;
pub(in crate::http) mod failures;
mod generations;
pub(in crate::http) mod logic;
mod parameters;
pub(in crate::http) mod preview;
pub(in crate::http) mod progress;
pub(in crate::http) mod settings;
mod tenant_settings;
pub(in crate::http) mod tenants;
mod upload;

pub(in crate::http) use parameters::Path;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::answer::Refusal;
use super::auth::{authenticate, forbidden};
use crate::http::App;
use kenning_tenants::Principal;

/// A caller who may operate this server: on a server with keys, one with the admin key.
pub(in crate::http) struct Admin {
    key_id: Option<String>,
}

impl Admin {
    /// How records name this caller.
    pub(in crate::http) fn name(&self) -> &'static str {
        if self.key_id.is_some() { "the admin key" } else { "anyone on this machine" }
    }

    /// Names the admin key without being a secret; `None` on a server without keys.
    pub(in crate::http) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let tenants = app.kb.tenants();
        if !tenants.require_keys() {
            return Ok(Self { key_id: None });
        }
        match authenticate(&parts.headers, tenants)? {
            Principal::Operator => Ok(Self { key_id: tenants.admin_key_id() }),
            Principal::Tenant(_) => {
                Err(forbidden("the admin routes need the admin key; this is a tenant's key").into())
            }
        }
    }
}
