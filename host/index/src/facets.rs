//! Facets: how many facts have which value of a metadata field.

use std::cmp::Reverse;

use serde_json::Value;

use crate::error::IndexError;
use crate::filter::Filter;
use crate::index::Index;
use crate::work::Work;

/// The values of one field over the facts that were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Facet {
    /// The most frequent values, and by value where counts are equal.
    pub values: Vec<FacetValue>,
    /// How many different values there are.
    pub distinct: usize,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetValue {
    /// A text, a number, a boolean or null.
    pub value: Value,
    /// How many facts have it.
    pub count: u64,
}

impl Index {
    /// Counts the values of each of `fields` over the facts that match `filter`, and returns the
    /// `limit` most frequent of each. A field is named as in a filter. A fact whose field is a list
    /// counts once for each different element.
    ///
    /// # Errors
    /// [`IndexError::Stopped`] if `work` was stopped.
    pub fn facets(
        &self,
        fields: &[String],
        filter: Option<&Filter>,
        limit: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Facet>, IndexError> {
        let state = self.read();
        let allowed = filter.map(|filter| state.metadata.select(filter, &self.hasher, work));
        let facet = |field: &String| {
            let counts = state.metadata.counts(field, allowed.as_ref(), &self.hasher, work);
            let distinct = counts.len();
            let mut values: Vec<_> = counts.into_iter().collect();
            // Stable, and the values are in their order.
            values.sort_by_key(|(_, count)| Reverse(*count));
            values.truncate(limit);
            let value = |(scalar, count): (crate::metadata::Scalar, u64)| FacetValue {
                value: scalar.to_json(),
                count,
            };
            Facet { values: values.into_iter().map(value).collect(), distinct }
        };
        let facets = fields.iter().map(facet).collect();
        if work.finish() { Ok(facets) } else { Err(IndexError::Stopped) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Entry, FactIndex};

    fn index(facts: &[&str]) -> Index {
        let index = Index::new();
        for (number, metadata) in facts.iter().enumerate() {
            let id = number.to_string();
            let entry = Entry { id: &id, revision: 1, text: "x", metadata, vector: None };
            index.upsert(&entry).unwrap();
        }
        index
    }

    fn counts(index: &Index, field: &str, filter: Option<&str>) -> Vec<(Value, u64)> {
        let filter = filter.map(|filter| Filter::parse_text(filter).unwrap());
        let fields = [field.to_string()];
        let facets = index.facets(&fields, filter.as_ref(), 3, &Work::unbounded()).unwrap();
        facets[0].values.iter().map(|value| (value.value.clone(), value.count)).collect()
    }

    #[test]
    fn values_are_counted_over_the_facts_that_match() {
        let index = index(&[
            r#"{"topic":"tea","year":2024}"#,
            r#"{"topic":"tea","year":2025.0}"#,
            r#"{"topic":["tea","cups","tea"],"year":2025}"#,
            r#"{"topic":{"deep":"tea"}}"#,
            "{}",
        ]);
        let tea = [(json!("tea"), 3), (json!("cups"), 1)];
        assert_eq!(counts(&index, "topic", None), tea);
        assert_eq!(counts(&index, "topic.deep", None), [(json!("tea"), 1)]);
        assert_eq!(counts(&index, "topic", Some(r#"{"year":2024}"#)), [(json!("tea"), 1)]);
        let years = counts(&index, "year", None);
        assert_eq!(years.iter().map(|year| year.1).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(counts(&index, "missing", None), []);
    }

    #[test]
    fn a_dotted_name_is_resolved_as_in_a_filter_and_a_fact_counts_once() {
        let index = index(&[
            r#"{"a.b":1,"a":{"b":2}}"#,
            r#"{"a":{"b":2}}"#,
            r#"{"a":[{"b":2},{"b":[2,3]}]}"#,
        ]);
        assert_eq!(counts(&index, "a.b", None), [(json!(2), 2), (json!(1), 1), (json!(3), 1)]);
    }

    #[test]
    fn the_most_frequent_values_come_first_and_the_rest_is_counted() {
        let facts = ["b", "a", "d", "c", "c"].map(|topic| format!(r#"{{"topic":"{topic}"}}"#));
        let index = index(&facts.each_ref().map(String::as_str));
        let facets = index.facets(&["topic".into()], None, 2, &Work::unbounded()).unwrap();
        assert_eq!(facets[0].distinct, 4);
        let first: Vec<_> = facets[0].values.iter().map(|value| &value.value).collect();
        assert_eq!(first, [&json!("c"), &json!("a")]);
    }
}
