//! Noticing that a call is running out of resources, so that it can return less instead
//! of being terminated.

use std::ops::Range;

use crate::limits;
use crate::ports::{Allowance, Budget};

/// When a call should stop and return what it has: near the end of its time, its fuel or
/// its host calls.
#[derive(Debug)]
pub struct Deadline {
    start: Allowance,
    last: Allowance,
    /// The most fuel used between two checks.
    step: u64,
}

impl Deadline {
    /// Records what the call has left now as its full budget.
    pub fn start(budget: &impl Budget) -> Self {
        let start = budget.remaining();
        Self { start, last: start, step: 0 }
    }

    /// Whether another step like those since the previous check might not finish.
    pub fn is_near(&mut self, budget: &impl Budget) -> bool {
        let now = budget.remaining();
        self.step = self.step.max(self.last.fuel.saturating_sub(now.fuel));
        self.last = now;
        let fuel = self.start.fuel / 100 * limits::LOW_FUEL_PERCENT;
        let milliseconds = limits::LOW_MILLISECONDS.min(self.start.milliseconds / 4);
        now.fuel < fuel.max(self.step.saturating_mul(2))
            || now.milliseconds < milliseconds
            || now.host_calls < limits::LOW_HOST_CALLS
    }

    /// The size budget for one response of this call.
    pub fn response_budget(&self) -> ResponseBudget {
        let max = self.start.bytes;
        ResponseBudget { left: planned(max), max, is_empty: true }
    }
}

/// How many more bytes a response may hold.
#[derive(Debug, Clone, Copy)]
pub struct ResponseBudget {
    left: usize,
    /// The hard limit for one response, in bytes.
    max: u64,
    is_empty: bool,
}

/// Whether an item fits into a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It fits, and its bytes are reserved.
    Fits,
    /// It would fit only into a response that holds less already.
    Full,
    /// It is too large for any response.
    TooLarge,
}

impl ResponseBudget {
    /// Reserves `bytes` if they fit.
    ///
    /// The first item may exceed the planned size, up to the hard limit: otherwise a fact
    /// of the maximum size could never be returned.
    pub fn reserve(&mut self, bytes: usize) -> Fit {
        if bytes <= self.left {
            self.left -= bytes;
            self.is_empty = false;
            return Fit::Fits;
        }
        if bytes as u64 > self.max {
            return Fit::TooLarge;
        }
        if !self.is_empty {
            return Fit::Full;
        }
        self.left = 0;
        self.is_empty = false;
        Fit::Fits
    }
}

/// The part of `bytes`, the limit for one argument list or result, that is planned for.
fn planned(bytes: u64) -> usize {
    let (part, of) = limits::PLANNED_BYTES;
    usize::try_from(bytes / of * part).unwrap_or(usize::MAX)
}

/// Splits a list whose elements take `sizes` bytes into batches that each fit one argument
/// list. The ranges are consecutive and cover the list.
pub fn batches(budget: &impl Budget, sizes: &[usize]) -> Vec<Range<usize>> {
    if sizes.len() <= 1 {
        return Vec::from_iter((!sizes.is_empty()).then_some(0..sizes.len()));
    }
    let allowed = planned(budget.remaining().bytes);
    let (mut batches, mut start, mut used) = (Vec::new(), 0, 0_usize);
    for (at, size) in sizes.iter().enumerate() {
        if at > start && used.saturating_add(*size) > allowed {
            batches.push(start..at);
            (start, used) = (at, 0);
        }
        used = used.saturating_add(*size);
    }
    batches.push(start..sizes.len());
    batches
}
