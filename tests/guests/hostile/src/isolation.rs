//! Tries to reach another tenant's data through an import: `pry FUNCTION ARGUMENT`.

#[path = "../../prying/src/reading.rs"]
mod reading;

use crate::bindings::kenning::knowledge::embedding::{self, Purpose};
use crate::bindings::kenning::knowledge::index_write;
use crate::bindings::kenning::knowledge::storage_write::{self, Condition, HashWrite};
use crate::bindings::kenning::knowledge::types::{Entry, Field};
use crate::bindings::kenning::retrieval::retrieval;

pub(crate) fn perform(text: &str) -> Option<Vec<String>> {
    let (function, argument) = text.strip_prefix("pry ")?.split_once(' ')?;
    let answer = reading::perform(function, argument).or_else(|| as_logic(function, argument));
    answer.map(|answer| vec![answer])
}

/// The functions that only a logic may import.
fn as_logic(function: &str, id: &str) -> Option<String> {
    Some(match function {
        "examine" => format!("{:?}", retrieval::examine(id, None)),
        "retrieve" => match embedding::embed(&[id.into()], Purpose::Query) {
            Ok(target) => format!("{:?}", retrieval::retrieve(id, Some(&target), None, 1_000)),
            Err(error) => format!("{error:?}"),
        },
        "write" => format!("{:?}", write(id, Condition::Absent)),
        "delete" => format!("{:?}", storage_write::delete(id)),
        // The index accepts only facts that the same call wrote.
        "upsert" => {
            let entry = Entry { id: id.into(), text: "taken".into(), metadata: "{}".into() };
            format!("{:?} {:?}", write(id, Condition::Present), index_write::upsert(&[entry], None))
        }
        "remove" => {
            format!("{:?} {:?}", write(id, Condition::Present), index_write::remove(&[id.into()]))
        }
        _ => return None,
    })
}

fn write(id: &str, condition: Condition) -> impl std::fmt::Debug + use<> {
    let field = |name: &str, value: &str| Field { name: name.into(), value: value.into() };
    storage_write::write(&[HashWrite {
        id: id.into(),
        fields: vec![field("content", "taken"), field("metadata", "{}")],
        condition,
        order: 1,
    }])
}
