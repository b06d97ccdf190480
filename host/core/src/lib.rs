//! What every crate of the host names: the error that leaves the product, the limits, and which
//! guests served a call.

pub mod error;
pub mod limits;
pub mod provenance;
