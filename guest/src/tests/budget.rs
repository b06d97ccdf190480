//! Noticing that a call is running out of resources.

use crate::budget::{Deadline, Fit, batches};
use crate::ports::{Allowance, Budget};
use std::cell::Cell;

const PLENTY: Allowance =
    Allowance { milliseconds: 5_000, fuel: 1_000_000, host_calls: 1_000, bytes: 1_000 };

struct FakeBudget(Cell<Allowance>);

impl Budget for FakeBudget {
    fn remaining(&self) -> Allowance {
        self.0.get()
    }
}

/// Whether the deadline of a call that started with plenty is near with `then` left.
fn is_near(then: Allowance) -> bool {
    let budget = FakeBudget(Cell::new(PLENTY));
    let mut deadline = Deadline::start(&budget);
    budget.0.set(then);
    deadline.is_near(&budget)
}

#[test]
fn the_deadline_covers_fuel_time_and_host_calls() {
    // Half of the fuel is left, but the last step took the other half.
    assert!(!is_near(Allowance { fuel: 900_000, ..PLENTY }));
    assert!(is_near(Allowance { fuel: 500_000, ..PLENTY }));
    assert!(!is_near(Allowance { milliseconds: 250, ..PLENTY }));
    assert!(is_near(Allowance { milliseconds: 249, ..PLENTY }));
    assert!(!is_near(Allowance { host_calls: 8, ..PLENTY }));
    assert!(is_near(Allowance { host_calls: 7, ..PLENTY }));
}

#[test]
fn the_deadline_is_near_below_fifteen_percent_of_fuel_even_with_small_steps() {
    let budget = FakeBudget(Cell::new(PLENTY));
    let mut deadline = Deadline::start(&budget);
    let low = (0..1_000).map(|steps| 999_000 - steps * 1_000).find(|&fuel| {
        budget.0.set(Allowance { fuel, ..PLENTY });
        deadline.is_near(&budget)
    });
    assert_eq!(low, Some(149_000));
}

#[test]
fn with_little_time_the_deadline_is_near_only_in_the_last_quarter() {
    let budget = FakeBudget(Cell::new(Allowance { milliseconds: 100, ..PLENTY }));
    let mut deadline = Deadline::start(&budget);
    budget.0.set(Allowance { milliseconds: 25, ..PLENTY });
    assert!(!deadline.is_near(&budget));
    budget.0.set(Allowance { milliseconds: 24, ..PLENTY });
    assert!(deadline.is_near(&budget));
}

#[test]
fn a_response_uses_three_quarters_of_the_bytes_unless_its_first_item_is_larger() {
    let deadline = Deadline::start(&FakeBudget(Cell::new(PLENTY)));
    let mut response = deadline.response_budget();
    assert_eq!(response.reserve(700), Fit::Fits);
    assert_eq!(response.reserve(51), Fit::Full);
    assert_eq!(response.reserve(1_001), Fit::TooLarge);
    assert_eq!(response.reserve(50), Fit::Fits);
    let mut response = deadline.response_budget();
    assert_eq!(response.reserve(1_001), Fit::TooLarge);
    assert_eq!(response.reserve(1_000), Fit::Fits);
    assert_eq!(response.reserve(1), Fit::Full);
}

#[test]
fn batches_cover_a_list_in_order_and_fit() {
    let budget = FakeBudget(Cell::new(PLENTY));
    let ends = |sizes: &[usize]| {
        let batches = batches(&budget, sizes);
        let starts = batches.iter().skip(1).map(|batch| batch.start);
        assert!(batches.iter().map(|batch| batch.end).zip(starts).all(|(end, start)| end == start));
        assert!(batches.first().is_none_or(|batch| batch.start == 0));
        batches.into_iter().map(|batch| batch.end).collect::<Vec<_>>()
    };
    assert_eq!(ends(&[]), [0; 0]);
    assert_eq!(ends(&[5_000]), [1]);
    assert_eq!(ends(&[250, 250, 250]), [3]);
    assert_eq!(ends(&[250, 250, 251]), [2, 3]);
    assert_eq!(ends(&[5_000, 1, 5_000, 1, 1]), [1, 2, 3, 5]);
    assert_eq!(ends(&[usize::MAX, usize::MAX]), [1, 2]);
}
