//! What a hook may call, one file for each interface of the contract.
//!
//! In a component these are its imports; on the author's machine, `testing`
//! stands in for the host.

pub mod budget;
pub mod embedding;
pub mod index;
pub mod log;
pub mod storage;

#[cfg(target_family = "wasm")]
use crate::component::imports as provider;
#[cfg(not(target_family = "wasm"))]
use crate::testing::stand_in as provider;
