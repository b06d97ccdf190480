//! HTTP with JSON, under `/v1`. `router` is the table of routes; each of the other files holds one
//! group of routes, or something that all of them share.

mod access;
mod access_log;
mod admin;
mod answer;
mod app;
mod auth;
mod batch_as_id;
mod body;
mod body_budget;
mod changes;
mod client;
mod console;
mod cors;
mod export;
mod facts;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gzip;
mod head;
mod health;
mod id;
mod import;
mod lines;
mod matching;
mod mcp;
mod observed;
mod openapi;
mod request;
mod router;
mod same_origin;
mod search;
mod stats;
mod uploads;
mod whole;

pub use app::App;
pub(crate) use auth::Who;
pub(crate) use body::{metadata, parse};
pub use body_budget::BodyBudget;
pub(crate) use facts::id_of_key;
pub use import::Imports;
pub(crate) use matching::filter;
pub use observed::Observing;
pub use router::{router, without_place};
pub use same_origin::OriginPolicy;
pub(crate) use search::Request as SearchRequest;
pub use uploads::Uploads;
pub(crate) use whole::Whole;
