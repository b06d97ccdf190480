//! The adapter to WebAssembly: the only file that names the contract in `wit/`.
//!
//! It turns the contract's types into ours and back, by moving, and decides nothing. Each
//! hook is a world of its own, so that a component exports the hooks alone that
//! [`export!`](crate::export) was given.

mod convert;
pub(crate) mod imports;

use world::kenning::knowledge::types;

use crate::{OnQuery, OnRead, OnStore, Rerank};

/// The types, and what an extension may import.
mod world {
    wit_bindgen::generate!({ path: "wit", world: "extension", generate_unused_types: true });
}

#[doc(hidden)]
pub mod on_store {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package kenning:hooks;
            world on-store-only {
              export kenning:knowledge/on-store@0.1.0;
            }
        ",
        with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
        pub_export_macro: true,
    });
}

impl<T: OnStore> on_store::exports::kenning::knowledge::on_store::Guest for T {
    fn on_store(draft: types::Draft) -> Result<Vec<types::Draft>, types::Refusal> {
        let drafts = T::on_store(draft.into())?;
        Ok(drafts.into_iter().map(Into::into).collect())
    }
}

#[doc(hidden)]
pub mod on_query {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package kenning:hooks;
            world on-query-only {
              export kenning:knowledge/on-query@0.1.0;
            }
        ",
        with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
        pub_export_macro: true,
    });
}

impl<T: OnQuery> on_query::exports::kenning::knowledge::on_query::Guest for T {
    fn on_query(query: types::Query) -> Result<types::Query, types::Refusal> {
        Ok(T::on_query(query.into())?.into())
    }
}

#[doc(hidden)]
pub mod on_read {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package kenning:hooks;
            world on-read-only {
              export kenning:knowledge/on-read@0.1.0;
            }
        ",
        with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
        pub_export_macro: true,
    });
}

impl<T: OnRead> on_read::exports::kenning::knowledge::on_read::Guest for T {
    fn on_read(facts: Vec<types::Fact>) -> Vec<types::Fact> {
        let facts = T::on_read(facts.into_iter().map(Into::into).collect());
        facts.into_iter().map(Into::into).collect()
    }
}

#[doc(hidden)]
pub mod rerank {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package kenning:hooks;
            world rerank-only {
              export kenning:knowledge/rerank@0.1.0;
            }
        ",
        with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
        pub_export_macro: true,
    });
}

impl<T: Rerank> rerank::exports::kenning::knowledge::rerank::Guest for T {
    fn rerank(query: types::Query, hits: Vec<types::Hit>) -> Vec<types::Ranked> {
        let ranked = T::rerank(&query.into(), hits.into_iter().map(Into::into).collect());
        ranked.into_iter().map(Into::into).collect()
    }
}
