//! The report of a swap, for the caller who requested it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::cost::{self, ExpectedCost};
use super::differing::Differing;
use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// One check and its result.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SwapCheck)]
struct Check {
    /// The step's name.
    check: &'static str,
    passed: bool,
    detail: String,
}

/// The checks of one swap and what became of the candidate.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    checks: Vec<Check>,
    generation: Option<GenerationRef>,
    previous: Option<u64>,
    proof: Option<Proof>,
    costs: Option<Vec<ExpectedCost>>,
    /// How long the promotion took, if there was one.
    promoted: Option<Duration>,
    /// The candidate was promoted although its proof failed.
    forced: bool,
    dry_run: bool,
    /// The candidate is the live generation.
    unchanged: bool,
    /// Hosts that did not follow in time.
    behind: Vec<String>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            checks: Vec::new(),
            generation: None,
            previous: None,
            proof: None,
            costs: None,
            promoted: None,
            forced: false,
            dry_run: false,
            unchanged: false,
            behind: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: true, detail: detail.into() });
    }

    /// A check that the candidate failed.
    pub(super) fn fail(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: false, detail: detail.into() });
    }

    pub(super) fn set_proof(&mut self, proof: Proof) {
        self.proof = Some(proof);
    }

    /// What its hooks are expected to cost. Nothing of it speaks against the candidate.
    pub(super) fn set_costs(&mut self, costs: Vec<ExpectedCost>) {
        self.pass("cost", cost::sentence(&costs));
        self.costs = Some(costs);
    }

    pub(super) fn set_forced(&mut self) {
        self.forced = true;
    }

    pub(super) fn set_generation(&mut self, generation: &GenerationRef, previous: Option<u64>) {
        self.generation = Some(generation.clone());
        self.previous = previous;
    }

    /// The bytes are those of `live`, so there is no new generation; `detail` says what else
    /// changed.
    pub(super) fn set_unchanged(&mut self, live: &GenerationRef, detail: String) {
        let number = live.number;
        self.pass(
            "live",
            format!("these bytes are live already, as generation {number}: {detail}"),
        );
        self.set_generation(live, Some(number));
        self.unchanged = true;
    }

    pub(super) fn set_promoted(&mut self, took: Duration) {
        self.promoted = Some(took);
        metrics::histogram!("kenning_promotion_seconds").record(took.as_secs_f64());
    }

    pub(super) fn into_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Whether what was recorded is to be in force on other hosts, too.
    pub fn waits_for_hosts(&self) -> bool {
        !self.dry_run
    }

    /// The same, with the hosts that did not follow in time.
    #[must_use]
    pub fn followed(self, behind: Vec<String>) -> Self {
        Self { behind, ..self }
    }

    /// The failed checks, if there are any.
    pub(super) fn objection(&self) -> Option<String> {
        let failed = self.checks.iter().filter(|check| !check.passed);
        let failed: Vec<_> =
            failed.map(|check| format!("{}: {}", check.check, check.detail)).collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    /// The error that refuses the candidate, with the report in its details.
    pub(super) fn refusal(&self, message: String) -> Error {
        Error::new(Code::IncompatibleComponent, message).with_details(self.to_json())
    }

    /// The report in the form that the interface has.
    pub fn to_json(&self) -> Value {
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        json!(SwapReport {
            checks: self.checks.clone(),
            proof: self.proof.clone(),
            costs: self.costs.clone(),
            promoted: self.promoted.is_some(),
            dry_run: self.dry_run,
            forced: self.forced,
            unchanged: self.unchanged,
            took_ms: milliseconds(self.started.elapsed()),
            generation: self.generation.as_ref().map(|generation| generation.number),
            digest: self.generation.as_ref().map(|generation| generation.digest.to_string()),
            previous: self.previous,
            promotion_ms: self.promoted.map(milliseconds),
            behind: self.behind.clone(),
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
    /// What an extension's hooks cost in the proof; left out for a logic, and without a proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    costs: Option<Vec<ExpectedCost>>,
    /// Whether the candidate answers now.
    promoted: bool,
    dry_run: bool,
    /// Whether it was promoted against the proof.
    forced: bool,
    /// Whether these bytes were live already, so that there is no new generation.
    unchanged: bool,
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
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
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
    /// Some of the requests whose answers differ.
    #[schema(max_items = 5)]
    pub(super) differing: Vec<Differing>,
    /// How much of what the callers see stays, from 0 to 1: the mean rank-biased overlap of the
    /// searches, or without any the share of facts that the other requests have in common. `null`
    /// if both answered nothing.
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
