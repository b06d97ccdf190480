//! An extension that uses everything it can be granted to look for another tenant's data,
//! and reports what it got: a query `pry FUNCTION ARGUMENT` is rejected with the result as
//! the message. It converts facts to upper case, so that a test sees that it ran.

#![cfg(target_family = "wasm")]

mod reading;

use bindings::exports::kenning::knowledge::{on_query, on_read};
use bindings::kenning::knowledge::types::{Fact, Query, Refusal};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package kenning:prying;
            world prying {
                import kenning:knowledge/storage@0.1.0;
                import kenning:knowledge/embedding@0.1.0;
                import kenning:knowledge/index@0.1.0;
                import kenning:knowledge/log@0.1.0;
                import kenning:knowledge/budget@0.1.0;
                export kenning:knowledge/on-query@0.1.0;
                export kenning:knowledge/on-read@0.1.0;
            }
        ",
        world: "kenning:prying/prying",
        generate_all,
    });

    use super::Component;
    export!(Component);
}

struct Component;

impl on_query::Guest for Component {
    fn on_query(query: Query) -> Result<Query, Refusal> {
        let command = query.text.strip_prefix("pry ").and_then(|rest| rest.split_once(' '));
        match command.and_then(|(function, argument)| reading::perform(function, argument)) {
            Some(message) => Err(Refusal { message }),
            None => Ok(query),
        }
    }
}

impl on_read::Guest for Component {
    fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
        let upper_case = |fact: Fact| Fact { text: fact.text.to_uppercase(), ..fact };
        facts.into_iter().map(upper_case).collect()
    }
}
