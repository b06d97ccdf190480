//! The index through its public API. One file for each promise.

mod filters;
mod hostile;
mod matching;
mod nearest;
mod revisions;
mod support;
mod threads;
