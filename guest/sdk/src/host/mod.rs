//! The functions a hook may call, one file per interface.
//!
//! In a component they call its imports; in native tests, the fake host of `testing`.

pub mod budget;
pub mod context;
pub mod embedding;
#[cfg(feature = "http")]
pub mod http;
pub mod index;
pub mod log;
pub mod settings;
pub mod state;
pub mod storage;

#[cfg(target_family = "wasm")]
use crate::component::imports as provider;
#[cfg(not(target_family = "wasm"))]
use crate::testing::fake as provider;
