//! `/v1/admin`: what operators may do. One file for each group of routes.

pub(in crate::http) mod extensions;
pub(in crate::http) mod logic;
mod parameters;
pub(in crate::http) mod tenants;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::auth::{authenticate, forbidden};
use crate::http::App;
use crate::registry::GuestRecord;
use kenning_runtime::Guest;
use kenning_tenants::Principal;

/// Someone who may operate this server: with keys, who shows the admin key.
pub(in crate::http) struct Admin {
    has_key: bool,
}

impl Admin {
    /// For records of who did what.
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
                Err(forbidden("the admin routes need the admin key; this is a tenant's").into())
            }
        }
    }
}

/// A guest's generations and events, with how the live one fares.
fn generations(record: &GuestRecord, live: Option<&Guest>) -> Value {
    let one = |generation: &crate::registry::GenerationRecord| {
        let active = record.active == Some(generation.number);
        let mut value = json!(generation);
        value["active"] = active.into();
        value
    };
    let generations: Vec<Value> = record.generations.iter().map(one).collect();
    let mut listed = json!({
        "active": record.active,
        "generations": generations,
        "events": record.events,
    });
    if let Some(live) = live {
        let health = live.health.reading();
        let quarantined = live.health.quarantined().map(|until| {
            until.saturating_duration_since(std::time::Instant::now()).as_millis() as u64
        });
        listed["live"] = json!({
            "generation": live.reference.number,
            "digest": &*live.reference.digest,
            "calls": health.calls,
            "failures": health.failures,
            "mean_us": health.mean_us().round(),
            "mean_fuel": health.mean_fuel().round(),
            "quarantined_for_ms": quarantined,
        });
    }
    listed
}
