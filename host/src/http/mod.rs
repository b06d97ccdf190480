//! HTTP with JSON, under `/v1`. `router` is the table of routes; each of the other
//! files holds one group of them, or one thing that all of them share.

mod admin;
mod answer;
mod bodies;
mod body;
mod export;
mod facts;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod health;
mod import;
mod lines;
mod request;
mod router;
mod search;
mod stats;
mod who;

pub use bodies::Bodies;
pub use router::{router, without_place};
