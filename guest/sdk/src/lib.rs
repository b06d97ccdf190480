//! Write Kenning extensions in Rust.
//!
//! An extension changes what happens to one tenant's facts and queries. It is a struct
//! that implements a trait for each hook it wants, and one line that exports them:
//!
//! ```
//! use kenning_extension::{Draft, OnStore, Refusal, log};
//!
//! /// Keeps shouting out of the knowledge base, and says where a fact came from.
//! struct Polite;
//!
//! impl OnStore for Polite {
//!     fn on_store(mut draft: Draft) -> Result<Vec<Draft>, Refusal> {
//!         if !draft.text.chars().any(char::is_lowercase) {
//!             return Err(Refusal::new("please write in lower case too"));
//!         }
//!         draft.metadata.set("checked_by", "polite");
//!         log::info("a fact was polite");
//!         Ok(vec![draft])
//!     }
//! }
//!
//! kenning_extension::export!(Polite: OnStore);
//!
//! // On the author's machine a hook is a function like any other.
//! let stored = Polite::on_store(Draft::new("Tea is hot.")).unwrap();
//! assert_eq!(stored[0].metadata.as_str(), r#"{"checked_by":"polite"}"#);
//! assert!(Polite::on_store(Draft::new("TEA!")).is_err());
//! ```
//!
//! In the author's own project the crate type is `cdylib`, the target `wasm32-wasip2`.
//!
//! | hook | may | when it fails |
//! |---|---|---|
//! | [`OnStore`] | change, split, enrich or refuse a draft | the write is refused |
//! | [`OnQuery`] | rewrite a query, add a filter, refuse it | the query is refused |
//! | [`OnRead`] | redact or drop facts that leave | the facts are withheld |
//! | [`Rerank`] | reorder and drop hits | the host's order stands |
//!
//! Each call runs in a fresh instance: a `static` is as it was at the start, every time.
//!
//! What a hook may call: [`log`] and [`budget`] always; [`embedding`], [`index`] and
//! [`storage`] if the operator grants them. Who calls one of these three imports it, and
//! who imports it needs the grant, so an extension asks for no more than it uses.
//!
//! In tests on the author's own machine there is no host; `testing` stands in for it.

#![warn(missing_docs)]

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
mod error;
mod export;
mod hooks;
mod host;
mod metadata;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod types;

pub use error::{Backend, Error, Exceeded, Failure, Problem};
pub use hooks::{OnQuery, OnRead, OnStore, Rerank};
pub use host::{budget, embedding, index, log, storage};
pub use metadata::Metadata;
/// JSON, as [`Metadata`] and filters speak it.
pub use serde_json as json;
pub use types::{
    Allowance, Candidate, Draft, Embeddings, Explanation, Fact, Fusion, Hash, Hit, IdPage, Leg,
    Mode, Query, Ranked, Refusal,
};
