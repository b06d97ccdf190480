//! What is measured: each row is a search with other members.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// A way to search.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// Members of the search, besides `query` and `top_k`.
    members: Map<String, Value>,
}

impl Row {
    /// The two retrievers alone, the default, and rank fusion.
    pub fn base() -> Vec<Self> {
        vec![
            Self::new("text", json!({ "mode": "text" })),
            Self::new("vector", json!({ "mode": "vector" })),
            Self::new("hybrid", json!({})),
            Self::new("rank fusion", json!({ "fusion": "rank" })),
        ]
    }

    /// The default with an option: `diversity=0.3`, `min_relevance=0.1`, `recency=30d`, or
    /// `recency=30d@FIELD` for the time in a metadata field.
    ///
    /// # Errors
    /// What is wrong with it. Whether a number is in its range the server says.
    pub fn option(given: &str) -> Result<Self> {
        let (name, value) = given.split_once('=').context("an option is NAME=VALUE")?;
        ensure!(!value.is_empty(), "{name} has no value");
        let value = match name {
            "diversity" | "min_relevance" => {
                let number: f64 =
                    value.parse().with_context(|| format!("{given}: not a number"))?;
                json!(number)
            }
            "recency" => match value.split_once('@') {
                Some((half_life, field)) => json!({ "half_life": half_life, "field": field }),
                None => json!({ "half_life": value }),
            },
            _ => bail!("there is no option {name:?}: diversity, min_relevance or recency"),
        };
        Ok(Self::new(given, json!({ name: value })))
    }

    fn new(name: &str, members: Value) -> Self {
        let members = members.as_object().cloned().unwrap_or_default();
        Self { name: name.to_string(), members }
    }

    /// The body of `POST /v1/search`.
    pub fn search(&self, query: &str, top_k: usize) -> Value {
        let mut search = self.members.clone();
        search.insert("query".into(), query.into());
        search.insert("top_k".into(), top_k.into());
        Value::Object(search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_a_row_of_its_own() -> Result<()> {
        let search = Row::option("diversity=0.3")?.search("tea", 10);
        assert_eq!(search, json!({ "query": "tea", "top_k": 10, "diversity": 0.3 }));
        let search = Row::option("recency=30d@checked")?.search("tea", 1);
        assert_eq!(search["recency"], json!({ "half_life": "30d", "field": "checked" }));
        assert_eq!(Row::option("recency=2w")?.search("tea", 1)["recency"]["half_life"], "2w");
        for wrong in ["diversity", "diversity=", "diversity=much", "facets=topic"] {
            assert!(Row::option(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
