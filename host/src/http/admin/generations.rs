//! What the admin routes answer about a guest: its generations, and what happened to them.

use std::time::Instant;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::{Digest, Success};
use crate::registry::{Event, GenerationRecord, GuestRecord};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::Guest;

/// One guest: its generations, what happened to it, and the state of the live generation on this
/// host.
#[derive(Serialize, ToSchema)]
#[schema(as = Guest)]
pub(super) struct GuestAnswer {
    /// `null`: the logic that comes with the server.
    #[schema(required)]
    active: Option<u64>,
    /// Oldest first.
    generations: Vec<Generation>,
    /// Oldest first.
    events: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    live: Option<LiveGeneration>,
    /// The logic that comes with the server; only in the list of the server's logic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) built_in: Option<BuiltIn>,
}

/// One generation.
#[derive(Serialize, ToSchema)]
struct Generation {
    #[serde(flatten)]
    record: GenerationRecord,
    active: bool,
}

/// The state of the generation that answers on this host.
#[derive(Serialize, ToSchema)]
struct LiveGeneration {
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
    calls: u64,
    failures: u64,
    /// Mean time of a call, in microseconds.
    mean_us: f64,
    /// Mean fuel of a call.
    mean_fuel: f64,
    /// How much longer it is in quarantine; `null` if it is not.
    #[schema(required)]
    quarantined_for_ms: Option<u64>,
}

/// The logic that comes with the server.
#[derive(Serialize, ToSchema)]
pub(super) struct BuiltIn {
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
}

/// What answers after a rollback.
#[derive(Serialize, ToSchema)]
pub(super) struct RolledBack {
    status: Success,
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
}

impl GuestAnswer {
    pub(super) fn of(record: &GuestRecord, live: Option<&Guest>) -> Self {
        let generations = record.generations.iter().map(|generation| Generation {
            record: generation.clone(),
            active: record.active == Some(generation.number),
        });
        Self {
            active: record.active,
            generations: generations.collect(),
            events: record.events.clone(),
            live: live.map(LiveGeneration::from),
            built_in: None,
        }
    }
}

impl From<&Guest> for LiveGeneration {
    fn from(guest: &Guest) -> Self {
        let reading = guest.health.reading();
        let quarantined_until = guest.health.quarantined();
        Self {
            generation: guest.reference.number,
            digest: guest.reference.digest.to_string(),
            calls: reading.calls,
            failures: reading.failures,
            mean_us: reading.mean_us().round(),
            mean_fuel: reading.mean_fuel().round(),
            quarantined_for_ms: quarantined_until
                .map(|until| until.saturating_duration_since(Instant::now()).as_millis() as u64),
        }
    }
}

impl From<&GenerationRef> for BuiltIn {
    fn from(reference: &GenerationRef) -> Self {
        Self { generation: reference.number, digest: reference.digest.to_string() }
    }
}

/// The answer to a rollback.
pub(super) fn rolled_back(now: &GenerationRef) -> Json<RolledBack> {
    let GenerationRef { number, digest, .. } = now;
    Json(RolledBack { status: Success::Success, generation: *number, digest: digest.to_string() })
}
