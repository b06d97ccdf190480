//! What the Python service that Kenning grew out of promised, and where it failed.
//!
//! Its 45 checks are kept under their names, without `test_`, against the public
//! interface and a real Redis: 16 in [`unit`], 22 in [`integration`] and the 7 that its
//! guide shows in [`guide`]. What its users lost time to is in [`traps`], a test each.
//! Tables say where a check of ours deliberately differs; four differences run through all:
//!
//! | the seed | ours |
//! |---|---|
//! | `[]` for whatever went wrong | an error with a code: `not_found`, `timeout`, … |
//! | `{"status": "error", "message"}` | the same, with `code`, `retryable`, `blame`, `details` |
//! | a slow Redis is a mock that sleeps | a Redis that is stopped (SIGSTOP) |
//! | durations are measured | the server enforces them, as deadlines |

mod guide;
mod integration;
mod monitor;
mod support;
mod traps;
mod unit;
