//! What the calls of an extension's hooks cost. Kept in memory over its generations, and lost when
//! the process ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// Times are counted in classes, four for each doubling: a percentile is at most a fifth too long.
const CLASSES_OF_DOUBLING: f64 = 4.0;

/// The classes reach to an hour, in microseconds.
const CLASSES: usize = 128;

/// The costs of one extension's hooks.
#[derive(Debug, Default)]
pub struct HookStats(Mutex<BTreeMap<&'static str, Counts>>);

#[derive(Debug)]
struct Counts {
    calls: u64,
    errors: BTreeMap<&'static str, u64>,
    fuel: u64,
    bytes: u64,
    most_memory: usize,
    times: [u32; CLASSES],
}

/// What the calls of one hook cost so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HookCost {
    /// The hook.
    pub hook: &'static str,
    /// Its calls.
    pub calls: u64,
    /// Those that failed, by how.
    pub errors: BTreeMap<&'static str, u64>,
    /// Fuel of all calls.
    pub fuel: u64,
    /// Bytes of text and metadata that the calls were given.
    pub bytes: u64,
    /// The most memory of one call, in bytes.
    pub memory_bytes: usize,
    /// Half of the calls took no longer in the guest, in milliseconds.
    pub p50_ms: f64,
    /// Of a hundred calls 99 took no longer.
    pub p99_ms: f64,
}

/// One call of a hook.
pub(crate) struct HookCall {
    pub(crate) hook: &'static str,
    /// How it failed, if it did.
    pub(crate) error: Option<&'static str>,
    pub(crate) fuel: u64,
    pub(crate) bytes: usize,
    pub(crate) memory: usize,
    pub(crate) took: Duration,
}

impl HookStats {
    pub(crate) fn count(&self, call: &HookCall) {
        let mut hooks = self.hooks();
        let counts = hooks.entry(call.hook).or_default();
        counts.calls += 1;
        if let Some(error) = call.error {
            *counts.errors.entry(error).or_default() += 1;
        }
        counts.fuel += call.fuel;
        counts.bytes += call.bytes as u64;
        counts.most_memory = counts.most_memory.max(call.memory);
        counts.times[class(call.took)] += 1;
    }

    /// What a hook returned was refused.
    pub(crate) fn count_refused(&self, hook: &'static str) {
        *self.hooks().entry(hook).or_default().errors.entry("invalid_answer").or_default() += 1;
    }

    /// The costs of each hook that was called.
    pub fn costs(&self) -> Vec<HookCost> {
        let hooks = self.hooks();
        let cost = |(hook, counts): (&&'static str, &Counts)| HookCost {
            hook,
            calls: counts.calls,
            errors: counts.errors.clone(),
            fuel: counts.fuel,
            bytes: counts.bytes,
            memory_bytes: counts.most_memory,
            p50_ms: counts.percentile(0.50),
            p99_ms: counts.percentile(0.99),
        };
        hooks.iter().map(cost).collect()
    }

    fn hooks(&self) -> MutexGuard<'_, BTreeMap<&'static str, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Counts {
    fn default() -> Self {
        let (calls, errors, fuel, bytes, most_memory) = Default::default();
        Self { calls, errors, fuel, bytes, most_memory, times: [0; CLASSES] }
    }
}

impl Counts {
    /// The end of the class in which this part of the calls has ended, in milliseconds.
    fn percentile(&self, part: f64) -> f64 {
        let all: u64 = self.times.iter().map(|times| u64::from(*times)).sum();
        let (wanted, mut ended) = ((all as f64 * part).ceil() as u64, 0);
        let class = self.times.iter().position(|times| {
            ended += u64::from(*times);
            ended >= wanted
        });
        let micros = 2_f64.powf((class.unwrap_or_default() + 1) as f64 / CLASSES_OF_DOUBLING);
        if all == 0 { 0.0 } else { micros.round() / 1e3 }
    }
}

fn class(took: Duration) -> usize {
    let micros = (took.as_secs_f64() * 1e6).max(1.0);
    ((micros.log2() * CLASSES_OF_DOUBLING) as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(took: Duration, error: Option<&'static str>) -> HookCall {
        HookCall { hook: "on-read", error, fuel: 10, bytes: 3, memory: 65_536, took }
    }

    #[test]
    fn what_calls_cost_is_counted_by_hook() {
        let stats = HookStats::default();
        for n in 1..=100 {
            stats.count(&call(Duration::from_millis(n), None));
        }
        stats.count(&call(Duration::from_secs(2), Some("out_of_fuel")));
        stats.count_refused("on-read");
        let [cost] = stats.costs().try_into().unwrap();
        assert_eq!((cost.calls, cost.fuel, cost.bytes), (101, 1_010, 303));
        assert_eq!(cost.errors, BTreeMap::from([("invalid_answer", 1), ("out_of_fuel", 1)]));
        assert!((50.0..=62.0).contains(&cost.p50_ms), "{}", cost.p50_ms);
        assert!((99.0..=120.0).contains(&cost.p99_ms), "{}", cost.p99_ms);
    }
}
