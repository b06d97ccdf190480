//! The report of a swap, for the caller who asked for it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// One step and how it went.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SwapCheck)]
struct Check {
    /// The step's name.
    check: &'static str,
    passed: bool,
    detail: String,
}

/// The steps of one swap.
#[derive(Debug)]
pub struct Report {
    begun: Instant,
    checks: Vec<Check>,
    generation: Option<GenerationRef>,
    previous: Option<u64>,
    proof: Option<Proof>,
    promoted: Option<Duration>,
    /// What was promoted all the same.
    forced: bool,
    dry: bool,
}

impl Report {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            checks: Vec::new(),
            generation: None,
            previous: None,
            proof: None,
            promoted: None,
            forced: false,
            dry: false,
        }
    }

    pub(super) fn passed(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: true, detail: detail.into() });
    }

    /// A check that speaks against the candidate.
    pub(super) fn objects(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: false, detail: detail.into() });
    }

    pub(super) fn proved(&mut self, proof: Proof) {
        self.proof = Some(proof);
    }

    pub(super) fn force(&mut self) {
        self.forced = true;
    }

    pub(super) fn name(&mut self, generation: &GenerationRef, previous: Option<u64>) {
        self.generation = Some(generation.clone());
        self.previous = previous;
    }

    pub(super) fn promoted(&mut self, took: Duration) {
        self.promoted = Some(took);
        metrics::histogram!("kenning_promotion_seconds").record(took.as_secs_f64());
    }

    pub(super) fn dry(mut self) -> Self {
        self.dry = true;
        self
    }

    /// What speaks against the candidate.
    pub(super) fn objection(&self) -> Option<String> {
        let against = self.checks.iter().filter(|check| !check.passed);
        let against: Vec<_> =
            against.map(|check| format!("{}: {}", check.check, check.detail)).collect();
        (!against.is_empty()).then(|| against.join("; "))
    }

    /// The candidate is refused, with all that was found.
    pub(super) fn refusal(&self, message: String) -> Error {
        Error::new(Code::IncompatibleComponent, message).with_details(self.to_json())
    }

    /// The report in the form that the interface has.
    pub fn to_json(&self) -> Value {
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        json!(SwapReport {
            checks: self.checks.clone(),
            proof: self.proof.clone(),
            promoted: self.promoted.is_some(),
            dry_run: self.dry,
            forced: self.forced,
            took_ms: milliseconds(self.begun.elapsed()),
            generation: self.generation.as_ref().map(|generation| generation.number),
            digest: self.generation.as_ref().map(|generation| generation.digest.to_string()),
            previous: self.previous,
            promotion_ms: self.promoted.map(milliseconds),
        })
    }
}

/// A report as the interface has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SwapReport {
    /// The checks in their order, up to the first that failed.
    checks: Vec<Check>,
    /// `null` if there was no proof.
    #[schema(required)]
    proof: Option<Proof>,
    /// Whether the candidate answers now.
    promoted: bool,
    dry_run: bool,
    /// Whether it was promoted against the proof.
    forced: bool,
    took_ms: f64,
    /// The candidate's number, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    generation: Option<u64>,
    /// SHA-256 of the bytes that were sent, as `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    digest: Option<String>,
    /// The generation that was active before; `null` if there was none.
    #[schema(required)]
    previous: Option<u64>,
    /// How long the change from one generation to the other took, if it was promoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    promotion_ms: Option<f64>,
}

/// Recent requests, replayed with the live generation and with the candidate.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SwapProof)]
pub(super) struct Proof {
    /// Requests that were replayed.
    pub(super) requests: usize,
    pub(super) answered_by_both: usize,
    /// Requests that fail with the candidate and not with the live generation.
    pub(super) worse: usize,
    /// Why some of them failed.
    pub(super) reasons: Vec<String>,
    /// How much of the answers is the same, from 0 to 1; `null` if both answered nothing.
    #[schema(required)]
    pub(super) overlap: Option<f64>,
    /// Fuel of all requests.
    pub(super) fuel: Compared,
    /// Median time of a request, in microseconds.
    pub(super) median_us: Compared,
}

/// A figure of the live generation and of the candidate.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Compared {
    pub(super) live: u64,
    pub(super) candidate: u64,
}
