//! Lines for the tenant who brought the extension, and for the operator.
//!
//! A line holds at most 1 KiB and a call at most 100 lines; what is over is cut or
//! dropped. Never log what a fact or a query says.

use super::provider;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks into something.
    Debug,
    /// What went as it should.
    Info,
    /// What went on, but not as it should.
    Warn,
    /// What failed.
    Error,
}

/// Writes one line.
pub fn log(level: Level, message: impl AsRef<str>) {
    provider::log(level, message.as_ref());
}

/// Writes one line at [`Level::Debug`].
pub fn debug(message: impl AsRef<str>) {
    log(Level::Debug, message);
}

/// Writes one line at [`Level::Info`].
pub fn info(message: impl AsRef<str>) {
    log(Level::Info, message);
}

/// Writes one line at [`Level::Warn`].
pub fn warn(message: impl AsRef<str>) {
    log(Level::Warn, message);
}

/// Writes one line at [`Level::Error`].
pub fn error(message: impl AsRef<str>) {
    log(Level::Error, message);
}
