//! Noticing that little is left.

use crate::budget::{Fit, Watch, runs};
use crate::ports::{Allowance, Budget};
use std::cell::Cell;

const PLENTY: Allowance =
    Allowance { milliseconds: 5_000, fuel: 1_000_000, host_calls: 1_000, bytes: 1_000 };

struct Purse(Cell<Allowance>);

impl Budget for Purse {
    fn remaining(&self) -> Allowance {
        self.0.get()
    }
}

/// Whether a call that began with plenty is low with `then`.
fn is_low(then: Allowance) -> bool {
    let purse = Purse(Cell::new(PLENTY));
    let mut watch = Watch::begin(&purse);
    purse.0.set(then);
    watch.is_low(&purse)
}

#[test]
fn each_kind_of_budget_is_watched() {
    // Half of the fuel is left, but the step took the other half.
    assert!(!is_low(Allowance { fuel: 900_000, ..PLENTY }));
    assert!(is_low(Allowance { fuel: 500_000, ..PLENTY }));
    assert!(!is_low(Allowance { milliseconds: 250, ..PLENTY }));
    assert!(is_low(Allowance { milliseconds: 249, ..PLENTY }));
    assert!(!is_low(Allowance { host_calls: 8, ..PLENTY }));
    assert!(is_low(Allowance { host_calls: 7, ..PLENTY }));
}

#[test]
fn fuel_is_low_under_fifteen_percent_however_small_the_steps() {
    let purse = Purse(Cell::new(PLENTY));
    let mut watch = Watch::begin(&purse);
    let low = (0..1_000).map(|steps| 999_000 - steps * 1_000).find(|&fuel| {
        purse.0.set(Allowance { fuel, ..PLENTY });
        watch.is_low(&purse)
    });
    assert_eq!(low, Some(149_000));
}

#[test]
fn a_short_deadline_is_low_only_in_its_last_quarter() {
    let purse = Purse(Cell::new(Allowance { milliseconds: 100, ..PLENTY }));
    let mut watch = Watch::begin(&purse);
    purse.0.set(Allowance { milliseconds: 25, ..PLENTY });
    assert!(!watch.is_low(&purse));
    purse.0.set(Allowance { milliseconds: 24, ..PLENTY });
    assert!(watch.is_low(&purse));
}

#[test]
fn an_answer_is_planned_for_three_quarters_but_holds_one_large_thing() {
    let watch = Watch::begin(&Purse(Cell::new(PLENTY)));
    let mut room = watch.room();
    assert_eq!(room.take(700), Fit::Fits);
    assert_eq!(room.take(51), Fit::Full);
    assert_eq!(room.take(1_001), Fit::Never);
    assert_eq!(room.take(50), Fit::Fits);
    let mut room = watch.room();
    assert_eq!(room.take(1_001), Fit::Never);
    assert_eq!(room.take(1_000), Fit::Fits);
    assert_eq!(room.take(1), Fit::Full);
}

#[test]
fn runs_cover_a_list_in_order_and_fit() {
    let purse = Purse(Cell::new(PLENTY));
    let ends = |sizes: &[usize]| {
        let runs = runs(&purse, sizes);
        let starts = runs.iter().skip(1).map(|run| run.start);
        assert!(runs.iter().map(|run| run.end).zip(starts).all(|(end, start)| end == start));
        assert!(runs.first().is_none_or(|run| run.start == 0));
        runs.into_iter().map(|run| run.end).collect::<Vec<_>>()
    };
    assert_eq!(ends(&[]), [0; 0]);
    assert_eq!(ends(&[5_000]), [1]);
    assert_eq!(ends(&[250, 250, 250]), [3]);
    assert_eq!(ends(&[250, 250, 251]), [2, 3]);
    assert_eq!(ends(&[5_000, 1, 5_000, 1, 1]), [1, 2, 3, 5]);
    assert_eq!(ends(&[usize::MAX, usize::MAX]), [1, 2]);
}
