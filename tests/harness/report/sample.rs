//! Measured times.

use std::time::Duration;

/// Times of calls of one kind, sorted.
#[derive(Clone)]
pub struct Timings(Vec<Duration>);

impl Timings {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that `percent` of all do not exceed (nearest rank); zero of none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Zero of none.
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.iter().sum::<Duration>().checked_div(count).unwrap_or_default()
    }

    pub fn median(&self) -> Duration {
        self.percentile(50.0)
    }
}

/// Microseconds, with the digits that can mean something.
pub fn us(time: Duration) -> String {
    micros(time.as_secs_f64() * 1e6)
}

/// The same of a number that may be negative.
pub fn micros(us: f64) -> String {
    match us.abs() {
        size if size < 9.95 => format!("{us:.2}"),
        size if size < 99.5 => format!("{us:.1}"),
        _ => format!("{us:.0}"),
    }
}

/// Milliseconds.
pub fn ms(time: Duration) -> String {
    micros(time.as_secs_f64() * 1e3)
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
