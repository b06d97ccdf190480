//! The routes, from outside: one file for each group of them, and for what crosses
//! them all.

mod bad_input;
mod batch;
mod broken;
mod export;
mod facts;
mod filters;
mod given;
mod health;
mod idempotency;
mod import;
mod isolation;
mod list;
mod modes;
mod request;
mod search;
mod search_options;
mod stats;
mod web_pages;
