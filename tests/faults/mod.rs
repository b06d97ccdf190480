//! A Redis that fails in every way and in every form, callers who leave, and time that runs out.
//!
//! Each fault meets callers who check every answer (`kenning_tests::Crowd`): a call ends in an
//! error that says what it is, an error without `"outcome":"unknown"` changed nothing, no answer
//! goes to another call, service is back without a restart, and what was acknowledged is there.
//! How long calls took is measured by `make soak`, and judged by nobody here.

mod cancel;
mod deadlines;
mod foreign;
mod forms;
mod halfway;
mod outage;
mod refusing;
mod silent;
mod slow;
mod support;
