//! What every crate of the host shares: errors, limits, provenance, and the semaphore that is fair
//! to tenants.
//!
//! - [`error`]: [`error::Error`], the one error that callers see, with its [`error::Code`].
//! - [`limits`]: [`limits::Limits`], every number that the server enforces.
//! - [`provenance`]: [`provenance::ServedBy`], the guests that served a call.
//! - [`fair_semaphore`]: [`fair_semaphore::FairSemaphore`], by which tenants share what is scarce.
//! - [`json_schema`]: checks an extension's settings and options by its own schemas.
//!
//! The crate exists so that the crates above it need not depend on each other to name these types.
//!
//! ```
//! use kenning_core::error::{Code, Error};
//! use kenning_core::limits::Limits;
//!
//! let limits = Limits { query_bytes: 1_024, ..Limits::default() };
//! assert_eq!(limits.validate(), Ok(()));
//!
//! let error = Error::too_large("query_bytes", limits.query_bytes as u64, 2_000);
//! assert_eq!(error.code, Code::TooLarge);
//! assert_eq!(error.code.status(), 413);
//! assert_eq!(error.body()["details"]["allowed"], 1_024);
//! ```

#![deny(missing_docs)]

pub mod error;
pub mod fair_semaphore;
pub mod json_schema;
mod limit_ranges;
pub mod limits;
mod milliseconds;
pub mod provenance;
