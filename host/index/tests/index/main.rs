//! Tests of the index through its public API, one file per guarantee.

mod filters;
mod hostile;
mod matching;
mod nearest;
mod revisions;
mod support;
mod threads;
