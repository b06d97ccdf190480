//! What this host may use of one quota without asking storage, and what it has used of it.

use std::time::Duration;

use kenning_storage::{Draw, Drawn};

/// How long an allowance lasts. Storage counts it as used if the host has not drawn again by then.
pub(super) const LASTS: Duration = Duration::from_secs(3);

/// After so long without use, an allowance is given back.
pub(super) const IDLE: Duration = Duration::from_millis(500);

/// The use that an allowance is to suffice for.
const AHEAD: Duration = Duration::from_secs(1);

/// The shortest time over which use is measured.
const MEASURED: Duration = Duration::from_millis(100);

/// How long a refusal is repeated before storage is asked again: other hosts may give back what
/// they hold at any time.
const REFUSES: Duration = Duration::from_millis(100);

/// One host's part in one quota.
#[derive(Default)]
pub(super) struct Allowance {
    /// What this host has used since it started.
    used: u64,
    /// When it last used some.
    used_at: Duration,
    /// The last draw that succeeded.
    last: Last,
    /// Uses per second, of late.
    speed: f64,
    /// Whether more is being asked for because little is left.
    is_asked: bool,
}

/// The last draw.
#[derive(Default)]
struct Last {
    /// The quota then.
    allowed: Option<u64>,
    /// What this host had used.
    used: u64,
    /// What it may use from there on, and until when.
    granted: u64,
    ends: Duration,
    /// How much of `used` storage has counted, or will when the allowance ends.
    counted: u64,
    at: Duration,
    /// What all hosts had used, and what they had used or might.
    by_all: u64,
    taken: u64,
    /// When some will be free again, if none was.
    free_at: Option<Duration>,
    is_ahead: bool,
    is_plenty: bool,
}

impl Allowance {
    /// What may be used now.
    pub(super) fn left(&self, now: Duration, allowed: Option<u64>) -> u64 {
        if now >= self.last.ends || self.last.allowed != allowed {
            return 0;
        }
        self.last.granted.saturating_sub(self.spent())
    }

    /// What was used since the last draw.
    fn spent(&self) -> u64 {
        self.used.saturating_sub(self.last.used)
    }

    /// Counts what is used.
    pub(super) fn count(&mut self, now: Duration, amount: u64) {
        self.used = self.used.saturating_add(amount);
        self.used_at = now;
    }

    /// Counts what was used before storage was told of any use.
    pub(super) fn begin(&mut self, now: Duration, recent: u64) {
        self.last.counted = self.used;
        self.last.used = self.used;
        self.count(now, recent);
    }

    /// Whether more should be asked for, or what was used reported, without waiting. Once after
    /// each draw.
    pub(super) fn runs_low(&mut self) -> bool {
        let (spent, granted) = (self.spent(), self.last.granted);
        let is_low = if self.last.is_ahead { spent > granted / 2 } else { spent > granted };
        is_low && !std::mem::replace(&mut self.is_asked, true)
    }

    /// What is used or may be used by any host, and how long until some is free, if there was none
    /// at the last draw and storage need not be asked again: `has_waited` for that draw, or it was
    /// a moment ago.
    pub(super) fn refusal(
        &self,
        now: Duration,
        allowed: u64,
        has_waited: bool,
    ) -> Option<(u64, Duration)> {
        let free_at = self.last.free_at.filter(|_| self.last.allowed == Some(allowed))?;
        let is_recent = now < free_at.min(self.last.at + REFUSES);
        (has_waited || is_recent).then(|| (self.last.taken, free_at.saturating_sub(now)))
    }

    /// Whether a call may begin before storage was asked: the first after some time, if the quota
    /// is large and nothing is known against it. What it uses is reported at once.
    pub(super) fn gives_credit(&self, now: Duration, allowed: u64) -> bool {
        let last = &self.last;
        let is_free = last.free_at.is_none_or(|at| at <= now);
        last.is_plenty && last.allowed == Some(allowed) && is_free && self.is_idle(now)
    }

    fn is_idle(&self, now: Duration) -> bool {
        now.saturating_sub(self.used_at) >= IDLE
    }

    /// What all hosts had used at the last draw.
    pub(super) fn by_all(&self) -> u64 {
        self.last.by_all
    }

    /// What to ask storage for. An allowance that was not used lately is given back: it must not
    /// be used from now on.
    pub(super) fn plan(&mut self, now: Duration, allowed: Option<u64>, needed: u64) -> Draw {
        let elapsed = now.saturating_sub(self.last.at).max(MEASURED).as_secs_f64();
        let faded = self.speed * (-elapsed / AHEAD.as_secs_f64()).exp();
        self.speed = faded.max(self.spent() as f64 / elapsed);
        let is_idle = needed == 0 && self.is_idle(now);
        if is_idle {
            self.last.granted = 0;
        }
        let wanted = match is_idle {
            true => 0,
            false => (self.speed * AHEAD.as_secs_f64()).ceil().max(1.0) as u64,
        };
        let (used, counted, kept) = (self.used, self.last.counted, self.left(now, allowed));
        Draw { allowed, used, counted, kept, needed, wanted }
    }

    /// Takes what storage gave for a draw that was planned at `planned`.
    pub(super) fn receive(&mut self, planned: Duration, draw: &Draw, drawn: &Drawn) {
        let Drawn { granted, used: by_all, held, after, is_ahead, is_plenty } = *drawn;
        self.last = Last {
            allowed: draw.allowed,
            used: draw.used,
            granted,
            ends: planned + LASTS,
            counted: draw.used.saturating_add(granted),
            at: planned,
            by_all,
            taken: by_all.saturating_add(held),
            free_at: (!after.is_zero()).then(|| planned + after),
            is_ahead,
            is_plenty,
        };
        self.is_asked = false;
    }

    /// Whether storage knows of everything that was used, and holds nothing for this host.
    pub(super) fn is_settled(&self) -> bool {
        self.last.granted == 0 && self.spent() == 0
    }

    /// Gives up reporting what was used; it was too long ago to count.
    pub(super) fn forget(&mut self) {
        self.last.counted = self.used;
        self.last.used = self.used;
        self.last.granted = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const ALLOWED: Option<u64> = Some(1_000);

    fn drawn(granted: u64) -> Drawn {
        Drawn { granted, held: granted, is_ahead: true, is_plenty: true, ..Drawn::default() }
    }

    /// One that drew `granted` at 1 s.
    fn with(granted: u64) -> Allowance {
        let mut allowance = Allowance::default();
        let draw = allowance.plan(at(1_000), ALLOWED, 1);
        allowance.receive(at(1_000), &draw, &drawn(granted));
        allowance
    }

    #[test]
    fn an_allowance_lasts_for_its_time_and_only_of_the_quota_it_was_given_for() {
        let mut allowance = with(10);
        allowance.count(at(1_001), 4);
        assert_eq!(allowance.left(at(3_999), ALLOWED), 6);
        assert_eq!(allowance.left(at(4_000), ALLOWED), 0);
        assert_eq!(allowance.left(at(1_001), Some(999)), 0);
        allowance.count(at(1_001), 100);
        assert_eq!(allowance.left(at(1_002), ALLOWED), 0);
    }

    #[test]
    fn more_is_asked_for_once_when_half_is_used() {
        let mut allowance = with(10);
        allowance.count(at(1_001), 5);
        assert!(!allowance.runs_low());
        allowance.count(at(1_001), 1);
        assert!(allowance.runs_low());
        assert!(!allowance.runs_low());
        let draw = allowance.plan(at(1_100), ALLOWED, 0);
        assert_eq!((draw.used, draw.counted, draw.kept, draw.wanted), (6, 10, 4, 60));
        allowance.receive(at(1_100), &draw, &drawn(20));
        assert_eq!(allowance.left(at(1_100), ALLOWED), 20);
    }

    #[test]
    fn what_is_used_during_a_draw_counts_against_what_it_brings() {
        let mut allowance = with(10);
        let draw = allowance.plan(at(1_100), ALLOWED, 1);
        allowance.count(at(1_101), 3);
        allowance.receive(at(1_100), &draw, &drawn(10));
        assert_eq!(allowance.left(at(1_101), ALLOWED), 7);
    }

    #[test]
    fn what_is_idle_is_given_back_and_not_used_meanwhile() {
        let mut allowance = with(10);
        allowance.count(at(1_200), 1);
        assert!(allowance.plan(at(1_699), ALLOWED, 0).wanted > 0);
        let draw = allowance.plan(at(1_700), ALLOWED, 0);
        assert_eq!((draw.kept, draw.wanted), (0, 0));
        assert_eq!(allowance.left(at(1_700), ALLOWED), 0);
        allowance.receive(at(1_700), &draw, &drawn(0));
        assert!(allowance.is_settled());
    }

    #[test]
    fn a_refusal_is_repeated_for_a_moment_and_gives_no_credit_until_some_is_free() {
        let mut allowance = with(10);
        assert!(allowance.gives_credit(at(9_000), 1_000));
        assert!(!allowance.gives_credit(at(9_000), 999), "another quota");
        let draw = allowance.plan(at(9_000), ALLOWED, 1);
        let refused = Drawn { used: 990, held: 10, after: at(30_000), ..drawn(0) };
        allowance.receive(at(9_000), &draw, &refused);
        let refusal = Some((1_000, at(29_950)));
        assert_eq!(allowance.refusal(at(9_050), 1_000, false), refusal);
        assert_eq!(allowance.refusal(at(9_050), 1_001, false), None);
        assert_eq!(allowance.refusal(at(9_100), 1_000, false), None);
        assert_eq!(allowance.refusal(at(9_100), 1_000, true), Some((1_000, at(29_900))));
        assert!(!allowance.gives_credit(at(38_999), 1_000));
        assert!(allowance.gives_credit(at(39_000), 1_000));
        allowance.count(at(39_000), 0);
        assert!(!allowance.gives_credit(at(39_001), 1_000), "one call");
    }
}
