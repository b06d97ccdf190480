//! What a call of an extension's hooks is expected to cost, from the requests that its proof
//! replayed: known before it goes live.

use std::collections::BTreeMap;
use std::time::Duration;

use kenning_runtime::GuestCost;
use serde::Serialize;
use utoipa::ToSchema;

/// What one hook of the candidate cost in the replayed requests.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SwapCost)]
pub(super) struct ExpectedCost {
    hook: &'static str,
    /// Its calls.
    calls: usize,
    /// Half of them used no more fuel.
    fuel_p50: u64,
    /// The most fuel of one call.
    fuel_max: u64,
    /// Half of them took no longer in the guest, in microseconds.
    us_p50: u64,
    /// The longest, in microseconds.
    us_max: u64,
    /// How much of the tenant's quota `fuel_per_minute` a call takes that uses `fuel_p50`, in
    /// percent; `null` without a quota.
    #[schema(required)]
    quota_percent: Option<f64>,
}

/// The costs by hook of the calls in `costs`, beside the tenant's fuel a minute.
pub(super) fn expected(costs: &[GuestCost], fuel_per_minute: Option<u64>) -> Vec<ExpectedCost> {
    let mut hooks: BTreeMap<&'static str, (Vec<u64>, Vec<Duration>)> = BTreeMap::new();
    for cost in costs {
        let (fuel, took) = hooks.entry(cost.operation).or_default();
        fuel.push(cost.fuel);
        took.push(cost.took);
    }
    let cost = |(hook, (mut fuel, mut took)): (_, (Vec<u64>, Vec<Duration>))| {
        let ((fuel_p50, fuel_max), (p50, max)) =
            (middle_and_last(&mut fuel), middle_and_last(&mut took));
        let quota = fuel_per_minute.filter(|quota| *quota > 0);
        let percent = |quota| (1e6 * fuel_p50 as f64 / quota as f64).round() / 1e4;
        ExpectedCost {
            hook,
            calls: fuel.len(),
            fuel_p50,
            fuel_max,
            us_p50: p50.as_micros() as u64,
            us_max: max.as_micros() as u64,
            quota_percent: quota.map(percent),
        }
    };
    hooks.into_iter().map(cost).collect()
}

/// The same for people.
pub(super) fn sentence(costs: &[ExpectedCost]) -> String {
    if costs.is_empty() {
        return "no recent request called it, so nothing is known".into();
    }
    let costs = costs.iter().map(|cost| {
        let ExpectedCost { hook, calls, fuel_p50, fuel_max, us_p50, us_max, quota_percent } = cost;
        let share = quota_percent.map(|percent| format!(", {percent} % of fuel_per_minute"));
        format!(
            "{hook} ({calls} measured): {fuel_p50} fuel (most {fuel_max}), {us_p50} µs (most \
             {us_max} µs){}",
            share.unwrap_or_default()
        )
    });
    costs.collect::<Vec<_>>().join("; ")
}

/// The value in the middle, of an even number the lower one, and the greatest.
fn middle_and_last<T: Copy + Default + Ord>(values: &mut [T]) -> (T, T) {
    values.sort_unstable();
    let middle = values.get(values.len().saturating_sub(1) / 2).copied();
    (middle.unwrap_or_default(), values.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use kenning_core::provenance::GenerationRef;
    use kenning_runtime::Guest;

    use super::*;

    #[test]
    fn costs_are_by_hook_and_beside_the_quota() {
        let guest = Guest::logic(GenerationRef { number: 1, digest: "sha256:0".into() });
        let cost = |operation, fuel| GuestCost {
            guest: guest.clone(),
            operation,
            fuel,
            took: Duration::from_micros(fuel / 10),
        };
        let costs = [cost("rerank", 900), cost("on-read", 50), cost("rerank", 300)];
        let known = expected(&costs, Some(60_000));
        assert_eq!(
            sentence(&known),
            "on-read (1 measured): 50 fuel (most 50), 5 µs (most 5 µs), 0.0833 % of \
             fuel_per_minute; rerank (2 measured): 300 fuel (most 900), 30 µs (most 90 µs), \
             0.5 % of fuel_per_minute"
        );
        for quota in [None, Some(0)] {
            assert!(expected(&costs, quota).iter().all(|cost| cost.quota_percent.is_none()));
        }
        assert!(sentence(&[]).contains("nothing is known"));
    }
}
