//! An extension whose hooks return their input unchanged, to measure the cost of a hook call.

#![cfg(target_family = "wasm")]

use bindings::exports::kenning::knowledge::{on_query, on_read, on_store, rerank};
use bindings::kenning::knowledge::types::{Draft, Fact, Hit, Query, Ranked, Refusal};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package kenning:passing;
            world passing {
                export kenning:knowledge/on-store@0.1.0;
                export kenning:knowledge/on-query@0.1.0;
                export kenning:knowledge/on-read@0.1.0;
                export kenning:knowledge/rerank@0.1.0;
            }
        ",
        world: "kenning:passing/passing",
        generate_all,
    });

    use super::Component;
    export!(Component);
}

struct Component;

impl on_store::Guest for Component {
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal> {
        Ok(vec![draft])
    }
}

impl on_query::Guest for Component {
    fn on_query(query: Query) -> Result<Query, Refusal> {
        Ok(query)
    }
}

impl on_read::Guest for Component {
    fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
        facts
    }
}

impl rerank::Guest for Component {
    fn rerank(_: Query, hits: Vec<Hit>) -> Vec<Ranked> {
        hits.into_iter().map(|hit| Ranked { id: hit.fact.id, score: hit.score }).collect()
    }
}
