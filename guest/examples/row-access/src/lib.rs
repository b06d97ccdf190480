//! Lets out only facts that are labelled for everybody.
//!
//! The label is the field `visibility` of a fact's metadata. What is not labelled stays
//! in: forgetting a label must not publish a fact.
//!
//! Two hooks do one thing. `on-query` adds a filter, so that a search finds its `top_k`
//! among the facts that may leave. `on-read` drops the others on every way out, also by
//! get, list and export, and is what the promise rests on.

use kenning_extension::json::json;
use kenning_extension::{Fact, OnQuery, OnRead, Query, Refusal, log};

/// The field of the metadata that labels a fact.
const FIELD: &str = "visibility";

/// The labels of facts that may leave.
const OPEN: &[&str] = &["public"];

/// The extension.
pub struct RowAccess;

impl OnQuery for RowAccess {
    fn on_query(mut query: Query) -> Result<Query, Refusal> {
        query.require(json!({ FIELD: { "in": OPEN } }));
        Ok(query)
    }
}

impl OnRead for RowAccess {
    fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
        let all = facts.len();
        let open: Vec<Fact> = facts.into_iter().filter(may_leave).collect();
        if open.len() < all {
            log::debug(format!("held {} of {all} facts back", all - open.len()));
        }
        open
    }
}

kenning_extension::export!(RowAccess: OnQuery, OnRead);

/// A list of labels, or anything else that is not one of them, is no label: the filter
/// would let a list through that holds one, and this does not.
fn may_leave(fact: &Fact) -> bool {
    fact.metadata.get_str(FIELD).is_some_and(|label| OPEN.contains(&label.as_str()))
}

#[cfg(test)]
mod tests {
    use kenning_extension::testing::Host;

    use super::*;

    fn ids(facts: Vec<Fact>) -> Vec<String> {
        facts.into_iter().map(|fact| fact.id).collect()
    }

    #[test]
    fn only_labelled_facts_leave_in_their_order() {
        let facts = vec![
            Fact::new("b", "x").with(FIELD, "public"),
            Fact::new("none", "x"),
            Fact::new("other", "x").with(FIELD, "internal"),
            Fact::new("near", "x").with(FIELD, "Public"),
            Fact::new("list", "x").with(FIELD, json!(["public"])),
            Fact::new("bool", "x").with(FIELD, true),
            Fact::new("a", "x").with(FIELD, "public"),
        ];
        let host = Host::new();
        assert_eq!(ids(host.run(|| RowAccess::on_read(facts))), ["b", "a"]);
        assert_eq!(host.lines(), ["held 5 of 7 facts back"]);
        assert!(RowAccess::on_read(Vec::new()).is_empty());
    }

    #[test]
    fn a_query_keeps_its_own_filter_and_gets_ours() {
        let filter = |theirs: Option<&str>| {
            let query = Query { filter: theirs.map(Into::into), ..Query::new("tea") };
            RowAccess::on_query(query).unwrap().filter.unwrap()
        };
        let ours = r#"{"visibility":{"in":["public"]}}"#;
        assert_eq!(filter(None), ours);
        let theirs = r#"{"OR":[{"visibility":"internal"},{"n":1.0}]}"#;
        assert_eq!(filter(Some(theirs)), format!(r#"{{"AND":[{theirs},{ours}]}}"#));
    }
}
