//! What whoever asked for a swap is told.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use kenning_core::error::{Code, Error};
use kenning_core::provenance::GenerationRef;

/// One step and how it went.
#[derive(Clone, Debug, Serialize)]
struct Check {
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
    proof: Value,
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
            proof: Value::Null,
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

    pub(super) fn proved(&mut self, proof: Value) {
        self.proof = proof;
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

    /// As the interface gives it.
    pub fn to_json(&self) -> Value {
        let micros = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut report = json!({
            "checks": self.checks,
            "proof": self.proof,
            "promoted": self.promoted.is_some(),
            "dry_run": self.dry,
            "forced": self.forced,
            "took_ms": micros(self.begun.elapsed()),
        });
        if let Some(generation) = &self.generation {
            report["generation"] = generation.number.into();
            report["digest"] = (&*generation.digest).into();
            report["previous"] = self.previous.into();
        }
        if let Some(took) = self.promoted {
            report["promotion_ms"] = micros(took).into();
        }
        report
    }
}
