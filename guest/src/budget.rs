//! Noticing that little is left of a call, so as to answer with less rather than be
//! stopped where one stands.

use std::ops::Range;

use crate::limits;
use crate::ports::{Allowance, Budget};

/// What a call may still use, measured against what it began with.
#[derive(Debug)]
pub struct Watch {
    begin: Allowance,
    last: Allowance,
    /// The most fuel that went between two looks.
    step: u64,
}

impl Watch {
    /// The first look.
    pub fn begin(budget: &impl Budget) -> Self {
        let begin = budget.remaining();
        Self { begin, last: begin, step: 0 }
    }

    /// Another look: whether what was done since the last one should not be begun again.
    pub fn is_low(&mut self, budget: &impl Budget) -> bool {
        let now = budget.remaining();
        self.step = self.step.max(self.last.fuel.saturating_sub(now.fuel));
        self.last = now;
        let fuel = self.begin.fuel / 100 * limits::LOW_FUEL_PERCENT;
        let milliseconds = limits::LOW_MILLISECONDS.min(self.begin.milliseconds / 4);
        now.fuel < fuel.max(self.step.saturating_mul(2))
            || now.milliseconds < milliseconds
            || now.host_calls < limits::LOW_HOST_CALLS
    }

    /// Room for one answer.
    pub fn room(&self) -> Room {
        Room { left: planned(self.begin.bytes), most: self.begin.bytes, is_empty: true }
    }
}

/// The bytes that an answer may still take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    left: usize,
    most: u64,
    is_empty: bool,
}

/// Whether something had room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is counted.
    Fits,
    /// It would, in an answer with less before it.
    Full,
    /// It never will.
    Never,
}

impl Room {
    /// Counts `bytes` if they fit. The first thing may be larger than what is planned for,
    /// or a fact as large as facts may be could never leave.
    pub fn take(&mut self, bytes: usize) -> Fit {
        if bytes <= self.left {
            self.left -= bytes;
            self.is_empty = false;
            return Fit::Fits;
        }
        if bytes as u64 > self.most {
            return Fit::Never;
        }
        if !self.is_empty {
            return Fit::Full;
        }
        self.left = 0;
        self.is_empty = false;
        Fit::Fits
    }
}

/// What is planned of the bytes that one argument list or result may take.
fn planned(bytes: u64) -> usize {
    let (part, of) = limits::PLANNED_BYTES;
    usize::try_from(bytes / of * part).unwrap_or(usize::MAX)
}

/// Cuts a list whose elements take `sizes` bytes into runs that fit one argument list each.
pub fn runs(budget: &impl Budget, sizes: &[usize]) -> Vec<Range<usize>> {
    if sizes.len() <= 1 {
        return Vec::from_iter((!sizes.is_empty()).then_some(0..sizes.len()));
    }
    let allowed = planned(budget.remaining().bytes);
    let (mut runs, mut start, mut used) = (Vec::new(), 0, 0_usize);
    for (at, size) in sizes.iter().enumerate() {
        if at > start && used.saturating_add(*size) > allowed {
            runs.push(start..at);
            (start, used) = (at, 0);
        }
        used = used.saturating_add(*size);
    }
    runs.push(start..sizes.len());
    runs
}
