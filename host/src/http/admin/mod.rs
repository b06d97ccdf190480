//! `/v1/admin`: what operators may do. One file for each group of routes.

pub(in crate::http) mod extensions;
pub(in crate::http) mod logic;
mod parameters;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Value, json};

use super::answer::Refusal;
use crate::app::App;
use crate::registry::GuestRecord;
use crate::runtime::Guest;

/// Someone who may operate this server.
pub(in crate::http) struct Admin;

impl Admin {
    /// For records of who did what.
    pub(in crate::http) fn name(&self) -> &'static str {
        "anyone on this machine"
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(_parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Refusal> {
        Ok(Self)
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
        let meter = live.meter.reading();
        let quarantined = live.meter.quarantined().map(|until| {
            until.saturating_duration_since(std::time::Instant::now()).as_millis() as u64
        });
        listed["live"] = json!({
            "generation": live.reference.number,
            "digest": &*live.reference.digest,
            "calls": meter.calls,
            "failures": meter.failures,
            "mean_us": meter.mean_us().round(),
            "mean_fuel": meter.mean_fuel().round(),
            "quarantined_for_ms": quarantined,
        });
    }
    listed
}
