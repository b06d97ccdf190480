//! HTTP with JSON, under `/v1`. `router` is the table of routes; each of the other files holds one
//! group of routes, or something that all of them share.

mod admin;
mod answer;
mod app;
mod auth;
mod body;
mod body_budget;
mod export;
mod facts;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod health;
mod import;
mod lines;
mod openapi;
mod request;
mod router;
mod search;
mod stats;

pub use app::App;
pub use body_budget::BodyBudget;
pub use router::{router, without_place};
