//! Returns only facts that are labelled as public.
//!
//! The label is the field `visibility` of a fact's metadata. Facts without a label are
//! withheld, so a forgotten label never publishes a fact.
//!
//! Two hooks work together. `on-query` adds a filter, so that a search fills its `top_k` with
//! visible facts. `on-read` drops all other facts from every response, including get, list
//! and export, and is what enforces the rule.

use kenning_extension::json::json;
use kenning_extension::{Fact, OnQuery, OnRead, Query, Refusal, log};

/// The metadata field that holds a fact's label.
const FIELD: &str = "visibility";

/// The labels of visible facts.
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
        let open: Vec<Fact> = facts.into_iter().filter(is_visible).collect();
        if open.len() < all {
            log::debug(format!("withheld {} of {all} facts", all - open.len()));
        }
        open
    }
}

kenning_extension::export!(RowAccess: OnQuery, OnRead);

/// Whether the label is exactly one of [`OPEN`]. A list that contains one of them does not
/// count, although the filter of `on-query` matches it.
fn is_visible(fact: &Fact) -> bool {
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
    fn only_public_facts_are_returned_and_in_their_order() {
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
        assert_eq!(host.lines(), ["withheld 5 of 7 facts"]);
        assert!(RowAccess::on_read(Vec::new()).is_empty());
    }

    #[test]
    fn the_filter_is_added_to_the_query_filter() {
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
