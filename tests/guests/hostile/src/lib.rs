//! A logic that misbehaves on request: what the host must withstand.
//!
//! The first word of a draft's or a query's text names a deed, and a number after
//! it says how much of it; every other text is stored and searched honestly, so
//! that a test sees the server serve on. What an import answered to a deed comes
//! back in `degraded`.
//!
//! | file | deeds |
//! |---|---|
//! | `burning` | with the guest's own means: work, time, memory, stack |
//! | `calling` | with the imports and with WASI |
//! | `lying` | with the answer |
//! | `prying` | asks the imports for what is another tenant's |
//! | `honest` | none: facts as the contract wants them |

#![cfg(target_family = "wasm")]

mod burning;
mod calling;
mod honest;
mod lying;
mod prying;

use bindings::exports::kenning::knowledge::{facts, search};
use bindings::kenning::knowledge::types::{
    Answer, Change, Draft, Entry, Error, Fact, FactPage, Query, Stored,
};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({ path: "../../../wit", world: "logic" });

    use super::Component;
    export!(Component);
}

struct Component;

/// A deed's first number, or `default`.
fn amount(text: &str, default: usize) -> usize {
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// Does what the text says, if it names a deed, and notes what came of it.
fn perform(text: &str) -> Option<Vec<String>> {
    let burned = burning::perform(text);
    burned.or_else(|| calling::perform(text)).or_else(|| prying::perform(text))
}

impl facts::Guest for Component {
    fn store_drafts(drafts: Vec<Draft>) -> Result<Vec<Result<Stored, Error>>, Error> {
        let told = drafts.first().map(|draft| draft.text.clone()).unwrap_or_default();
        match told.split_whitespace().next() {
            Some("write-one-then-trap") => {
                honest::write(&drafts[..1])?;
                std::process::abort();
            }
            Some("acknowledge-unwritten") => return Ok(honest::unwritten(drafts)),
            _ => {}
        }
        let outcomes = honest::store(drafts)?;
        perform(&told);
        Ok(lying::outcomes(&told, outcomes))
    }

    fn get(ids: Vec<String>) -> Result<Vec<Option<Fact>>, Error> {
        lying::facts(&ids, honest::get(&ids)?)
    }

    fn list(
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<FactPage, Error> {
        let told = containing.unwrap_or_default();
        perform(&told);
        lying::page(&told, honest::list(limit, cursor.as_deref())?)
    }

    fn update(_id: String, _change: Change) -> Result<Stored, Error> {
        Err(Error::Other("the hostile logic changes no facts".into()))
    }

    fn delete(id: String) -> Result<(), Error> {
        honest::delete(id)
    }

    fn entries(ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        honest::entries(&ids)
    }
}

impl search::Guest for Component {
    fn search(query: Query) -> Result<Answer, Error> {
        if let Some(degraded) = perform(&query.text) {
            return Ok(Answer { hits: Vec::new(), degraded });
        }
        match lying::answer(&query) {
            Some(answer) => answer,
            None => honest::search(&query),
        }
    }
}
