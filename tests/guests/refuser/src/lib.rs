//! An extension that rejects every draft and every query.

#![cfg(target_family = "wasm")]

use bindings::exports::kenning::knowledge::{on_query, on_store};
use bindings::kenning::knowledge::types::{Draft, Query, Refusal};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package kenning:refuser;
            world refuser {
                export kenning:knowledge/on-store@0.1.0;
                export kenning:knowledge/on-query@0.1.0;
            }
        ",
        world: "kenning:refuser/refuser",
        generate_all,
    });

    use super::Component;
    export!(Component);
}

struct Component;

impl on_store::Guest for Component {
    fn on_store(_: Draft) -> Result<Vec<Draft>, Refusal> {
        Err(Refusal { message: "this extension rejects every draft".into() })
    }
}

impl on_query::Guest for Component {
    fn on_query(_: Query) -> Result<Query, Refusal> {
        Err(Refusal { message: "this extension rejects every query".into() })
    }
}
