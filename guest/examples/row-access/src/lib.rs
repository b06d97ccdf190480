//! Returns only facts that the caller may see: those that are labelled as public, and those whose
//! readers include one of the caller's groups.
//!
//! The label is the field `visibility` of a fact's metadata, its readers are the list `readers`.
//! The caller's groups are the attribute `groups` of its key, which only the operator can set.
//! Facts without a label and without readers are withheld, so a forgotten label never publishes a
//! fact.
//!
//! Two hooks work together. `on-query` adds a filter, so that a search fills its `top_k` with
//! visible facts. `on-read` drops all other facts from every response, including get, list
//! and export, and is what enforces the rule.

use kenning_extension::json::{Value, json};
use kenning_extension::{Fact, Metadata, OnQuery, OnRead, Query, Refusal, context, log};

/// The metadata field that holds a fact's label.
const FIELD: &str = "visibility";

/// The labels of facts that everybody sees.
const OPEN: &[&str] = &["public"];

/// The metadata field with the groups that a fact is for.
const READERS: &str = "readers";

/// The attribute of a key with the groups of its holder.
const GROUPS: &str = "groups";

/// The extension.
pub struct RowAccess;

impl OnQuery for RowAccess {
    fn on_query(mut query: Query) -> Result<Query, Refusal> {
        let open = json!({ FIELD: { "in": OPEN } });
        let groups = texts(&context::caller().attributes, GROUPS);
        query.require(match groups.is_empty() {
            true => open,
            false => json!({ "OR": [open, { READERS: { "in": groups } }] }),
        });
        Ok(query)
    }
}

impl OnRead for RowAccess {
    fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
        let groups = texts(&context::caller().attributes, GROUPS);
        let all = facts.len();
        let visible: Vec<Fact> =
            facts.into_iter().filter(|fact| is_visible(fact, &groups)).collect();
        if visible.len() < all {
            log::debug(format!("withheld {} of {all} facts", all - visible.len()));
        }
        visible
    }
}

kenning_extension::export!(RowAccess: OnQuery, OnRead);

/// Whether the label is exactly one of [`OPEN`], or a reader is one of `groups`. A label that is a
/// list does not count, although the filter of `on-query` matches it.
fn is_visible(fact: &Fact, groups: &[String]) -> bool {
    let label = fact.metadata.get_str(FIELD);
    label.is_some_and(|label| OPEN.contains(&label.as_str()))
        || texts(&fact.metadata, READERS).iter().any(|reader| groups.contains(reader))
}

/// The texts in a field that is a text or a list of them.
fn texts(metadata: &Metadata, field: &str) -> Vec<String> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    match metadata.get(field) {
        Some(Value::Array(values)) => values.into_iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use kenning_extension::Caller;
    use kenning_extension::testing::Host;

    use super::*;

    fn ids(facts: Vec<Fact>) -> Vec<String> {
        facts.into_iter().map(|fact| fact.id).collect()
    }

    fn member_of(groups: Value) -> Host {
        Host::new().with_caller(Caller::new("key").with(GROUPS, groups))
    }

    #[test]
    fn without_groups_only_public_facts_are_returned_and_in_their_order() {
        let facts = vec![
            Fact::new("b", "x").with(FIELD, "public"),
            Fact::new("none", "x"),
            Fact::new("other", "x").with(FIELD, "internal"),
            Fact::new("near", "x").with(FIELD, "Public"),
            Fact::new("list", "x").with(FIELD, json!(["public"])),
            Fact::new("bool", "x").with(FIELD, true),
            Fact::new("readers", "x").with(READERS, json!(["board"])),
            Fact::new("a", "x").with(FIELD, "public"),
        ];
        let host = Host::new();
        assert_eq!(ids(host.run(|| RowAccess::on_read(facts))), ["b", "a"]);
        assert_eq!(host.lines(), ["withheld 6 of 8 facts"]);
        assert!(RowAccess::on_read(Vec::new()).is_empty());
    }

    #[test]
    fn a_group_sees_what_it_is_a_reader_of_and_nothing_of_others() {
        let facts = || {
            vec![
                Fact::new("board", "x").with(READERS, json!(["board", "audit"])),
                Fact::new("staff", "x").with(READERS, "staff"),
                Fact::new("odd", "x").with(READERS, json!([1, null, {"board": true}])),
                Fact::new("open", "x").with(FIELD, "public"),
            ]
        };
        let seen = |host: Host| ids(host.run(|| RowAccess::on_read(facts())));
        assert_eq!(seen(member_of(json!(["audit"]))), ["board", "open"]);
        assert_eq!(seen(member_of(json!("staff"))), ["staff", "open"]);
        for nobody in [json!([]), json!("Board"), json!({"board": true}), json!(1)] {
            assert_eq!(seen(member_of(nobody)), ["open"]);
        }
    }

    #[test]
    fn the_filter_is_added_to_the_query_filter() {
        let filter = |host: Host, theirs: Option<&str>| {
            let query = Query { filter: theirs.map(Into::into), ..Query::new("tea") };
            host.run(|| RowAccess::on_query(query)).unwrap().filter.unwrap()
        };
        let ours = r#"{"visibility":{"in":["public"]}}"#;
        assert_eq!(filter(Host::new(), None), ours);
        let theirs = r#"{"OR":[{"visibility":"internal"},{"n":1.0}]}"#;
        let both = format!(r#"{{"AND":[{theirs},{ours}]}}"#);
        assert_eq!(filter(Host::new(), Some(theirs)), both);
        let of_board = filter(member_of(json!(["board"])), None);
        assert_eq!(of_board, format!(r#"{{"OR":[{ours},{{"readers":{{"in":["board"]}}}}]}}"#));
    }
}
