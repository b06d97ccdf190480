//! What was used lately, counted by one host: of a second, and of a minute.

use std::time::Duration;

use super::quotas::QuotaExceeded;

/// `Retry-After` when a quota is zero.
pub(super) const ZERO_QUOTA_WAIT: Duration = Duration::from_secs(60);

/// A token bucket that holds one second's requests. It counts what was taken instead of what is
/// left, so that it also measures usage without a quota, which library buckets do not.
#[derive(Default)]
pub(super) struct Bucket {
    /// Requests taken and not yet refilled.
    taken: f64,
    rate: f64,
    at: Duration,
}

impl Bucket {
    /// Refills the bucket for the time since the last request.
    fn settle(&mut self, now: Duration, allowed: Option<u64>) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        // Without a quota, everything is refilled within a second.
        let rate = allowed.map_or(self.taken.max(1.0), |allowed| allowed as f64);
        self.taken = (self.taken - elapsed * rate).max(0.0);
        (self.rate, self.at) = (rate, now);
    }

    pub(super) fn take(
        &mut self,
        now: Duration,
        allowed: Option<u64>,
    ) -> Result<(), QuotaExceeded> {
        self.settle(now, allowed);
        if let Some(allowed) = allowed
            && self.taken + 1.0 > allowed as f64
        {
            let beyond = self.taken + 1.0 - allowed as f64;
            let after = match allowed {
                0 => ZERO_QUOTA_WAIT,
                _ => Duration::from_secs_f64(beyond / allowed as f64),
            };
            let used = self.taken.ceil() as u64;
            return Err(QuotaExceeded { quota: "requests_per_second", allowed, used, after });
        }
        self.taken += 1.0;
        Ok(())
    }

    /// Counts a request that may be made in any case.
    pub(super) fn count(&mut self, now: Duration, allowed: Option<u64>) {
        self.settle(now, allowed);
        self.taken += 1.0;
    }

    pub(super) fn used(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        (self.taken - elapsed * self.rate).max(0.0).ceil() as u64
    }
}

const SECONDS: usize = 60;

/// What was used in each of the last 60 seconds.
pub(super) struct Minute {
    seconds: [u64; SECONDS],
    last: u64,
}

impl Default for Minute {
    fn default() -> Self {
        Self { seconds: [0; SECONDS], last: 0 }
    }
}

impl Minute {
    /// Clears the seconds that are older than a minute.
    fn settle(&mut self, now: Duration) {
        let second = now.as_secs().max(self.last);
        let passed = (second - self.last).min(SECONDS as u64);
        for back in 0..passed {
            self.seconds[slot(second - back)] = 0;
        }
        self.last = second;
    }

    pub(super) fn add(&mut self, now: Duration, used: u64) {
        self.settle(now);
        let second = &mut self.seconds[slot(self.last)];
        *second = second.saturating_add(used);
    }

    pub(super) fn sum(&mut self, now: Duration) -> u64 {
        self.settle(now);
        self.seconds.iter().fold(0, |sum, used| sum.saturating_add(*used))
    }

    pub(super) fn check(
        &mut self,
        now: Duration,
        quota: &'static str,
        allowed: Option<u64>,
    ) -> Result<(), QuotaExceeded> {
        let Some(allowed) = allowed else { return Ok(()) };
        let used = self.sum(now);
        if used < allowed {
            return Ok(());
        }
        Err(QuotaExceeded { quota, allowed, used, after: self.wait(used, allowed) })
    }

    /// How long until enough of `used` is older than a minute.
    fn wait(&self, mut used: u64, allowed: u64) -> Duration {
        for age in (0..SECONDS as u64).rev() {
            if age > self.last {
                continue;
            }
            used = used.saturating_sub(self.seconds[slot(self.last - age)]);
            if used < allowed {
                return Duration::from_secs(SECONDS as u64 - age);
            }
        }
        ZERO_QUOTA_WAIT
    }
}

fn slot(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn one_seconds_requests_are_admitted_obeyed() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            bucket.take(at(5.0), Some(10)).unwrap();
        }
        assert_eq!(bucket.used(at(5.0)), 10);
        bucket.take(at(5.1), Some(10)).expect("a tenth of a second refills one");
    }

    #[test]
    fn requests_above_the_rate_are_refused_with_a_wait_violated() {
        let mut bucket = Bucket::default();
        let refused = (0..11).find_map(|_| bucket.take(at(5.0), Some(10)).err()).unwrap();
        assert_eq!((refused.quota, refused.allowed), ("requests_per_second", 10));
        assert_eq!((refused.used, refused.after), (10, at(0.1)));
        assert_eq!(bucket.take(at(5.0), Some(0)).unwrap_err().after, ZERO_QUOTA_WAIT);
    }

    #[test]
    fn without_a_quota_requests_are_counted_and_admitted() {
        let mut bucket = Bucket::default();
        for _ in 0..100 {
            bucket.take(at(1.0), None).unwrap();
        }
        assert_eq!(bucket.used(at(1.0)), 100);
        bucket.take(at(9.0), None).unwrap();
        assert_eq!(bucket.used(at(9.0)), 1);
    }

    #[test]
    fn usage_older_than_a_minute_is_not_counted() {
        let mut minute = Minute::default();
        minute.add(at(3.9), 5);
        minute.add(at(62.0), 7);
        assert_eq!(minute.sum(at(62.9)), 12);
        assert_eq!(minute.sum(at(63.0)), 7);
        assert_eq!(minute.sum(at(121.9)), 7);
        assert_eq!(minute.sum(at(1_000.0)), 0);
    }

    #[test]
    fn a_call_may_begin_while_some_of_the_quota_is_left_obeyed_and_violated() {
        let mut minute = Minute::default();
        minute.add(at(10.0), 99);
        assert_eq!(minute.check(at(10.0), "fuel_per_minute", Some(100)), Ok(()));
        minute.add(at(20.0), 50);
        let refused = minute.check(at(30.0), "fuel_per_minute", Some(100)).unwrap_err();
        assert_eq!((refused.allowed, refused.used), (100, 149));
        assert_eq!(refused.after, Duration::from_secs(40), "then the first 99 are a minute old");
        assert_eq!(minute.check(at(70.0), "fuel_per_minute", Some(100)), Ok(()));
        assert_eq!(minute.check(at(30.0), "fuel_per_minute", None), Ok(()));
    }

    #[test]
    fn a_quota_of_zero_refuses_everything() {
        let refused = Minute::default().check(at(0.0), "fuel_per_minute", Some(0)).unwrap_err();
        assert_eq!((refused.used, refused.after), (0, ZERO_QUOTA_WAIT));
    }
}
