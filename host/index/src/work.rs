//! Bounds the work of one search: counts it, and asks now and then whether to go on.

use std::cell::{Cell, RefCell};

/// About how many units are done between two questions. A unit takes about a nanosecond, so that is
/// a twentieth of a millisecond.
const PIECE: u64 = 50_000;

/// Counts the work of one search, in units of about a nanosecond that are the same on every
/// machine.
///
/// After each piece of the work it asks the caller whether to go on. Whatever the caller does in
/// between, such as waiting, the search holds the index's lock: writes wait for it.
pub struct Work<'a> {
    /// Units since the caller was asked last.
    since: Cell<u64>,
    is_stopped: Cell<bool>,
    go_on: Option<RefCell<GoOn<'a>>>,
}

/// Given the units since the last call; returns whether to go on.
type GoOn<'a> = &'a mut (dyn FnMut(u64) -> bool + 'a);

impl<'a> Work<'a> {
    /// Work without a bound.
    pub fn unbounded() -> Self {
        Self { since: Cell::new(0), is_stopped: Cell::new(false), go_on: None }
    }

    /// Work that goes on while `go_on` returns `true`. It is given the units that were done since
    /// its last call.
    pub fn bounded(go_on: &'a mut (dyn FnMut(u64) -> bool + 'a)) -> Self {
        Self { go_on: Some(RefCell::new(go_on)), ..Self::unbounded() }
    }

    /// Counts `units` that are about to be done. Returns whether to do them.
    pub(crate) fn spend(&self, units: u64) -> bool {
        let since = self.since.get().saturating_add(units);
        self.since.set(since);
        if since >= PIECE {
            self.ask();
        }
        !self.is_stopped.get()
    }

    /// Reports the last units. Returns whether the search was done to its end.
    pub(crate) fn finish(&self) -> bool {
        let was_stopped = self.is_stopped.get();
        self.ask();
        // If the caller stops it only now, all is done already.
        !was_stopped
    }

    fn ask(&self) {
        let units = self.since.replace(0);
        let Some(go_on) = &self.go_on else { return };
        if !self.is_stopped.get() && !(go_on.borrow_mut())(units) {
            self.is_stopped.set(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_asked_after_each_piece_and_told_all_units() {
        let mut asked = Vec::new();
        let mut go_on = |units| {
            asked.push(units);
            true
        };
        let work = Work::bounded(&mut go_on);
        for _ in 0..5 {
            assert!(work.spend(PIECE / 2));
        }
        assert!(work.finish());
        assert_eq!(asked, [PIECE, PIECE, PIECE / 2]);
    }

    #[test]
    fn work_that_was_stopped_stays_stopped_and_asks_no_more() {
        let mut times = 0;
        let mut go_on = |_| {
            times += 1;
            false
        };
        let work = Work::bounded(&mut go_on);
        assert!(!work.spend(PIECE) && !work.spend(1) && !work.finish());
        assert_eq!(times, 1);
    }

    #[test]
    fn work_without_a_bound_never_stops() {
        let work = Work::unbounded();
        assert!(work.spend(u64::MAX) && work.spend(1) && work.finish());
    }
}
