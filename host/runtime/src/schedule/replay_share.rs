//! How much of a core the replays of proofs may take while guests serve callers.
//!
//! Replays already wait behind interactive calls for a permit, and share time slices with them. But
//! a proof asks hundreds of requests one after the other, and a call that has begun takes its
//! milliseconds. So a proof pauses after each replay, for as long as its share demands, unless no
//! other guest runs. Each proof pauses for what it computed itself, so a slow one delays no other;
//! proofs at the same time divide the share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How often a proof that pauses looks whether other guests run.
const LOOK: Duration = Duration::from_millis(5);

/// The share of all proofs of a host.
pub(crate) struct ReplayShare {
    percent: u64,
    proofs: Arc<AtomicU64>,
}

impl ReplayShare {
    /// So many percent of one core.
    pub(crate) fn new(percent: u64) -> Self {
        Self { percent: percent.max(1), proofs: Arc::default() }
    }

    /// A proof begins; it ends when the returned value is dropped.
    pub(crate) fn begin(&self) -> ReplayTurns {
        self.proofs.fetch_add(1, Ordering::Relaxed);
        ReplayTurns { percent: self.percent, proofs: self.proofs.clone() }
    }
}

/// One proof's part of the share.
pub struct ReplayTurns {
    percent: u64,
    proofs: Arc<AtomicU64>,
}

impl ReplayTurns {
    /// Pauses after a replay that computed for so long: not beyond `until`, and not while nothing
    /// else runs, which `is_idle` says.
    pub(crate) async fn pause(
        &self,
        computed: Duration,
        until: Instant,
        is_idle: impl Fn() -> bool,
    ) {
        let proofs = self.proofs.load(Ordering::Relaxed);
        let end = Instant::now().checked_add(pause_after(computed, self.percent, proofs));
        let end = end.map_or(until, |end| end.min(until));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || is_idle() {
                return;
            }
            sleep(LOOK.min(left)).await;
        }
    }
}

impl Drop for ReplayTurns {
    fn drop(&mut self) {
        self.proofs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pause that makes `computed` so many percent of the time, divided by the proofs.
fn pause_after(computed: Duration, percent: u64, proofs: u64) -> Duration {
    let pauses = proofs.saturating_mul(100).saturating_sub(percent) as f64 / percent as f64;
    Duration::try_from_secs_f64(computed.as_secs_f64() * pauses).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    #[test]
    fn proofs_together_take_no_more_than_the_share() {
        for (percent, proofs, pause) in [(50, 1, 8_u32), (25, 1, 24), (100, 1, 0), (50, 3, 40)] {
            let paused = pause_after(8 * MS, percent, proofs);
            assert!(
                paused.abs_diff(pause * MS) < MS / 1_000,
                "{percent} % of {proofs}: {paused:?}"
            );
        }
    }

    #[test]
    fn a_proof_that_ended_has_no_part_in_the_share() {
        let share = ReplayShare::new(50);
        let (first, second) = (share.begin(), share.begin());
        assert_eq!(share.proofs.load(Ordering::Relaxed), 2);
        drop(second);
        assert_eq!(first.proofs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_proof_pauses_only_while_other_guests_run() {
        let share = ReplayShare::new(1);
        let turns = share.begin();
        let hour = Duration::from_secs(3_600);
        assert!(turns.pause(hour, far(), || true).now_or_never().is_some());
        assert!(turns.pause(hour, far(), || false).now_or_never().is_none());
        assert!(turns.pause(hour, Instant::now(), || false).now_or_never().is_some(), "no time");
        let looks = Cell::new(0);
        turns
            .pause(hour, far(), || {
                looks.set(looks.get() + 1);
                looks.get() > 2
            })
            .await;
        assert_eq!(looks.get(), 3, "it ends once the others have ended");
    }
}
