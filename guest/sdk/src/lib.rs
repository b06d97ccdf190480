//! Write Kenning extensions in Rust.
//!
//! An extension changes how one tenant's facts and queries are processed. It is a struct
//! that implements one trait per hook, and one macro call that exports the hooks:
//!
//! ```
//! use kenning_extension::{Draft, OnStore, Refusal, log};
//!
//! /// Rejects drafts in all capitals and marks the others as checked.
//! struct Polite;
//!
//! impl OnStore for Polite {
//!     fn on_store(mut draft: Draft) -> Result<Vec<Draft>, Refusal> {
//!         if !draft.text.chars().any(char::is_lowercase) {
//!             return Err(Refusal::new("please do not write in all capitals"));
//!         }
//!         draft.metadata.set("checked_by", "polite");
//!         log::info("checked a draft");
//!         Ok(vec![draft])
//!     }
//! }
//!
//! kenning_extension::export!(Polite: OnStore);
//!
//! // In a native test, a hook is an ordinary function.
//! let stored = Polite::on_store(Draft::new("Tea is hot.")).unwrap();
//! assert_eq!(stored[0].metadata.as_str(), r#"{"checked_by":"polite"}"#);
//! assert!(Polite::on_store(Draft::new("TEA!")).is_err());
//! ```
//!
//! Build the extension with the crate type `cdylib` for the target `wasm32-wasip2`.
//!
//! | hook | may | if it fails |
//! |---|---|---|
//! | [`OnStore`] | change, split, enrich or reject a draft | the write is rejected |
//! | [`OnQuery`] | rewrite a query, add a filter, reject it | the query is rejected |
//! | [`OnRead`] | redact or drop facts before they are returned | the facts are withheld |
//! | [`Rerank`] | reorder and drop hits | the host's order is kept |
//! | [`OnDelete`] | refuse to have a fact deleted | the deletion is rejected |
//! | [`OnChange`] | do something after a fact has changed | it is called again |
//!
//! Each call runs in a fresh instance, so a `static` has its initial value in every call; what is
//! to last goes into [`state`]. Memory is handed out of an arena that goes with the instance;
//! without the default feature `arena`, an extension may have an allocator of its own.
//!
//! A hook may always call [`log`], [`budget`], [`context`] and [`settings`]. It may call
//! [`embedding`], [`index`], [`state`] and [`storage`] if the operator grants them. Calling one of
//! these four imports it, and an import needs its grant, so an extension requests only what it
//! uses. With the feature `http` there is a module `http`, which sends requests to the hosts that
//! the operator grants.
//!
//! In native tests there is no host; the module `testing` provides a fake one.

#![deny(missing_docs)]

#[cfg(any(test, all(target_family = "wasm", feature = "arena")))]
mod arena;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
mod error;
mod hooks;
mod host;
mod metadata;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod types;

#[cfg(all(target_family = "wasm", feature = "arena"))]
#[global_allocator]
static ARENA: arena::Arena = arena::Arena::new();

pub use error::{Backend, Error, Exceeded, Failure, Problem};
pub use hooks::*;
#[cfg(feature = "http")]
pub use host::http;
pub use host::{budget, context, embedding, index, log, settings, state, storage};
pub use metadata::Metadata;
/// The JSON library whose values [`Metadata`] and filters use.
pub use serde_json as json;
pub use types::{
    Allowance, Caller, Candidate, Change, ChangeKind, DeletionRefusal, Draft, Embeddings,
    Explanation, Fact, Fusion, Hash, Hit, IdPage, KeyPage, Leg, Mode, Query, Ranked, Refusal,
    Request, StateEntry, Verb,
};
