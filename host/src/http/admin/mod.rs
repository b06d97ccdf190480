//! `/v1/admin`: the operator's routes. One file for each group of them.

pub(in crate::http) mod extensions;
mod generations;
pub(in crate::http) mod logic;
mod parameters;
pub(in crate::http) mod tenants;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::answer::Refusal;
use super::auth::{authenticate, forbidden};
use crate::http::App;
use kenning_tenants::Principal;

/// A caller who may operate this server: on a server with keys, one with the admin key.
pub(in crate::http) struct Admin {
    has_key: bool,
}

impl Admin {
    /// How records name this caller.
    pub(in crate::http) fn name(&self) -> &'static str {
        if self.has_key { "the admin key" } else { "anyone on this machine" }
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let tenants = &app.kb.services().tenants;
        if !tenants.require_keys() {
            return Ok(Self { has_key: false });
        }
        match authenticate(&parts.headers, tenants)? {
            Principal::Operator => Ok(Self { has_key: true }),
            Principal::Tenant(_) => {
                Err(forbidden("the admin routes need the admin key; this is a tenant's key").into())
            }
        }
    }
}
