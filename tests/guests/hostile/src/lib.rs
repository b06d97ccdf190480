//! A logic that misbehaves on request, to test what the host withstands.
//!
//! The first word of a draft's or a query's text is a command, and an optional number after
//! it is an amount. Every other text is stored and searched correctly, so that a test can
//! check that the server keeps serving. What an import returned to a command is reported in
//! `degraded`.
//!
//! | file | commands |
//! |---|---|
//! | `resources` | use resources: computation, time, memory, stack |
//! | `imports` | call the imports and WASI |
//! | `answers` | return invalid answers |
//! | `isolation` | try to reach another tenant's data through the imports |
//! | `correct` | none: facts as the contract requires |

#![cfg(target_family = "wasm")]

mod answers;
mod correct;
mod imports;
mod isolation;
mod resources;

use bindings::exports::kenning::knowledge::{facts, search};
use bindings::kenning::knowledge::types::{
    Answer, Change, Draft, Entry, Error, Fact, FactPage, Query, Stored,
};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: ["../../../wit", "../../../wit/retrieval"],
        world: "kenning:retrieval/ranking-logic",
        generate_all,
    });

    use super::Component;
    export!(Component);
}

struct Component;

/// The amount of a command, or `default`.
fn amount(text: &str, default: usize) -> usize {
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// Runs the command in `text`, if there is one, and returns its results.
fn perform(text: &str) -> Option<Vec<String>> {
    let performed = resources::perform(text);
    performed.or_else(|| imports::perform(text)).or_else(|| isolation::perform(text))
}

impl facts::Guest for Component {
    fn store_drafts(drafts: Vec<Draft>) -> Result<Vec<Result<Stored, Error>>, Error> {
        let command = drafts.first().map(|draft| draft.text.clone()).unwrap_or_default();
        match command.split_whitespace().next() {
            Some("write-one-then-trap") => {
                correct::write(&drafts[..1])?;
                std::process::abort();
            }
            Some("acknowledge-unwritten") => return Ok(correct::unwritten(drafts)),
            _ => {}
        }
        let outcomes = correct::store(drafts)?;
        perform(&command);
        Ok(answers::outcomes(&command, outcomes))
    }

    fn get(ids: Vec<String>) -> Result<Vec<Option<Fact>>, Error> {
        answers::facts(&ids, correct::get(&ids)?)
    }

    fn list(
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<FactPage, Error> {
        let command = containing.unwrap_or_default();
        perform(&command);
        answers::page(&command, correct::list(limit, cursor.as_deref())?)
    }

    fn update(_id: String, _change: Change) -> Result<Stored, Error> {
        Err(Error::Other("the hostile logic does not support updates".into()))
    }

    fn delete(id: String) -> Result<(), Error> {
        correct::delete(id)
    }

    fn entries(ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        correct::entries(&ids)
    }
}

impl search::Guest for Component {
    fn search(query: Query) -> Result<Answer, Error> {
        if let Some(degraded) = perform(&query.text) {
            return Ok(Answer { hits: Vec::new(), degraded });
        }
        match answers::answer(&query) {
            Some(answer) => answer,
            None => correct::search(&query),
        }
    }
}
