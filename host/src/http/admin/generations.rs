//! What the admin routes answer about a guest: its generations, and what happened to them.

use std::time::Instant;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::{Digest, Success};
use crate::registry::{Event, GenerationRecord, GuestRecord, Pin, Settings};
use crate::swap::RolledBack;
use kenning_core::provenance::GenerationRef;
use kenning_runtime::{Granted, Guest};

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
    /// The older generation of the server's logic that this tenant uses, because it alone failed
    /// with the newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pinned: Option<Pin>,
    /// The logic that comes with the server; only in the list of the server's logic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) built_in: Option<BuiltIn>,
    /// Why storage cannot give this host the active component, if that was tried in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<String>,
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
#[schema(as = RolledBack)]
pub(super) struct RollbackAnswer {
    status: Success,
    /// The generation that answered before.
    from: u64,
    /// The generation that answers now.
    to: u64,
    /// The same as `to`.
    generation: u64,
    #[schema(value_type = Digest)]
    digest: String,
    /// What an extension is granted now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<String>>)]
    grants: Option<Vec<Granted>>,
    /// Where an extension runs now, and what happens when it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    settings: Option<Settings>,
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

impl GuestAnswer {
    /// `problem` is why the last attempt to load it failed, and is left out if the active
    /// generation is live.
    pub(super) fn of(record: &GuestRecord, live: Option<&Guest>, problem: Option<String>) -> Self {
        let is_live = live.map(|live| live.reference.number) == record.active;
        let generations = record.generations.iter().map(|generation| Generation {
            record: GenerationRecord {
                rolled_back: Some(record.was_rolled_back(generation)),
                ..generation.clone()
            },
            active: record.active == Some(generation.number),
        });
        Self {
            active: record.active,
            generations: generations.collect(),
            events: record.events.clone(),
            live: live.map(LiveGeneration::from),
            pinned: record.pinned,
            built_in: None,
            problem: problem.filter(|_| record.active.is_some() && !is_live),
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
pub(super) fn rolled_back(made: RolledBack, behind: Vec<String>) -> Json<RollbackAnswer> {
    let RolledBack { from, now, extension } = made;
    let (grants, settings) = extension.unzip();
    let (to, digest) = (now.number, now.digest.to_string());
    let status = Success::Success;
    Json(RollbackAnswer { status, from, to, generation: to, digest, grants, settings, behind })
}
