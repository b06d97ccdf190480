//! The report of a swap, for the caller who requested it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// One check and its result.
#[derive(Clone, Debug, Serialize)]
struct Check {
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
    proof: Value,
    /// How long the promotion took, if there was one.
    promoted: Option<Duration>,
    /// The candidate was promoted although its proof failed.
    forced: bool,
    dry_run: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            checks: Vec::new(),
            generation: None,
            previous: None,
            proof: Value::Null,
            promoted: None,
            forced: false,
            dry_run: false,
        }
    }

    pub(super) fn pass(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: true, detail: detail.into() });
    }

    /// A check that the candidate failed.
    pub(super) fn fail(&mut self, check: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { check, passed: false, detail: detail.into() });
    }

    pub(super) fn set_proof(&mut self, proof: Value) {
        self.proof = proof;
    }

    pub(super) fn set_forced(&mut self) {
        self.forced = true;
    }

    pub(super) fn set_generation(&mut self, generation: &GenerationRef, previous: Option<u64>) {
        self.generation = Some(generation.clone());
        self.previous = previous;
    }

    pub(super) fn set_promoted(&mut self, took: Duration) {
        self.promoted = Some(took);
        metrics::histogram!("kenning_promotion_seconds").record(took.as_secs_f64());
    }

    pub(super) fn into_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
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

    /// The report as the API returns it.
    pub fn to_json(&self) -> Value {
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut report = json!({
            "checks": self.checks,
            "proof": self.proof,
            "promoted": self.promoted.is_some(),
            "dry_run": self.dry_run,
            "forced": self.forced,
            "took_ms": millis(self.started.elapsed()),
        });
        if let Some(generation) = &self.generation {
            report["generation"] = generation.number.into();
            report["digest"] = (&*generation.digest).into();
            report["previous"] = self.previous.into();
        }
        if let Some(took) = self.promoted {
            report["promotion_ms"] = millis(took).into();
        }
        report
    }
}
