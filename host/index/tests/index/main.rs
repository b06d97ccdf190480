//! Tests of the index through its public API, one file per guarantee.

mod filters;
mod hostile;
mod matching;
mod nearest;
mod random_filters;
mod retrieving;
mod revisions;
mod support;
mod threads;
mod windows;
