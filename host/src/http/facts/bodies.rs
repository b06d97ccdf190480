//! The bodies of stores and changes.
//!
//! Two members have several names: `text` is also `content`, as facts are answered, and `fact_id`
//! also `id`, and `doc_id` as the first service named it in searches.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::body::{self, metadata};
use super::super::openapi::{FactId, Metadata};
use crate::kb::{MetadataPatch, Patch, StoreMode, Submission};
use kenning_core::error::Error;
use kenning_runtime::wit::Draft;

/// A fact to store. One of `text` and `content` is required.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Draft)]
pub(in crate::http) struct NewFact {
    /// What the fact says. Not blank; at most 262,144 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    pub(in crate::http) text: Option<String>,
    /// The same as `text`.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    pub(in crate::http) content: Option<String>,
    #[schema(value_type = Option<Metadata>)]
    pub(in crate::http) metadata: Option<Box<RawValue>>,
    /// The id of the fact; the server makes one if it is left out.
    #[schema(value_type = Option<FactId>)]
    pub(in crate::http) fact_id: Option<String>,
    /// The same as `fact_id`.
    #[schema(value_type = Option<FactId>)]
    pub(in crate::http) id: Option<String>,
    /// The same as `fact_id`.
    #[schema(value_type = Option<FactId>)]
    pub(in crate::http) doc_id: Option<String>,
    #[schema(value_type = Option<StoreMode>)]
    pub(in crate::http) mode: Option<StoreMode>,
    /// The fact's vector, in a tenant that was created with the embedder `given`, where it is
    /// required: as many finite numbers as the tenant's `dimensions`, of any length but zero. Only
    /// its direction is kept.
    #[schema(min_items = 1, max_items = 4096)]
    pub(in crate::http) vector: Option<Vec<f32>>,
}

impl NewFact {
    /// What to store. `id` is the fact's id if the body has none: one that an idempotency key
    /// stands for, whose fact is stored once and never replaced. `mode` is that of a body without
    /// one.
    pub(in crate::http) fn into_submission(
        self,
        id: Option<String>,
        mode: StoreMode,
    ) -> Result<Submission, Error> {
        let Self { text, content, fact_id, id: own, doc_id, vector, .. } = self;
        let text = same([("text", text), ("content", content)])?;
        let text = text.ok_or_else(|| Error::invalid("/text", "text is required"))?;
        let own = same([("fact_id", fact_id), ("id", own), ("doc_id", doc_id)])?;
        let mode = match (self.mode.unwrap_or(mode), &own) {
            (StoreMode::Update, None) => {
                let message = "an update says which fact it changes: fact_id is required";
                return Err(Error::invalid("/fact_id", message));
            }
            (StoreMode::Upsert, None) => StoreMode::Insert,
            (mode, _) => mode,
        };
        let id = own.or(id);
        let metadata = metadata(self.metadata)?.unwrap_or_else(|| "{}".into());
        Ok(Submission { draft: Draft { id, text, metadata, timestamp: None }, mode, vector })
    }
}

/// What to change; what is left out or null stays. At least one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Change, min_properties = 1)]
pub(in crate::http) struct FactChange {
    /// What the fact says. Not blank; at most 262,144 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    text: Option<String>,
    /// The same as `text`.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    content: Option<String>,
    /// Replaces the whole object.
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    /// The vector of the new text, in a tenant that was created with the embedder `given`, where a
    /// change of the text requires it.
    #[schema(min_items = 1, max_items = 4096)]
    vector: Option<Vec<f32>>,
}

impl FactChange {
    /// The change; `merges` says whether the metadata is a merge patch.
    pub(in crate::http) fn into_patch(self, merges: bool) -> Result<Patch, Error> {
        let text = same([("text", self.text), ("content", self.content)])?;
        let patch = if merges { MetadataPatch::Merge } else { MetadataPatch::Replace };
        Ok(Patch { text, metadata: metadata(self.metadata)?.map(patch), vector: self.vector })
    }
}

/// A merge patch (RFC 7396) of a fact: `metadata` is merged into the fact's, and a member of it
/// that is null is removed. What is left out stays. At least one of the two.
#[derive(ToSchema)]
#[schema(as = MergePatch, min_properties = 1)]
#[expect(dead_code, reason = "describes what a `FactChange` is as a merge patch")]
pub(in crate::http) struct FactMergePatch {
    /// What the fact says. Not blank; at most 262,144 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    text: Option<String>,
    /// The same as `text`.
    #[schema(min_length = 1, max_length = 262144, pattern = r"\S")]
    content: Option<String>,
    /// Merged into the fact's metadata.
    #[schema(value_type = Option<Metadata>)]
    metadata: Option<Box<RawValue>>,
    /// The vector of the new text, in a tenant that was created with the embedder `given`, where a
    /// change of the text requires it.
    #[schema(min_items = 1, max_items = 4096)]
    vector: Option<Vec<f32>>,
}

/// Facts to store, each on its own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({ "facts": [
    { "text": "Ada prefers tea." },
    { "text": "The staging server listens on port 7272.", "fact_id": "port-7" },
] })))]
pub(in crate::http) struct Batch {
    #[schema(value_type = Vec<NewFact>, min_items = 1, max_items = 100)]
    facts: Vec<Box<RawValue>>,
}

impl Batch {
    /// The result of parsing each fact, unless there are none or too many.
    pub(in crate::http) fn submissions(
        &self,
        allowed: usize,
    ) -> Result<Vec<Result<Submission, Error>>, Error> {
        match self.facts.len() {
            0 => Err(Error::invalid("/facts", "facts holds at least one fact")),
            used if used > allowed => {
                Err(Error::too_large("batch_facts", allowed as u64, used as u64))
            }
            _ => Ok(self.facts.iter().map(|fact| submission(fact)).collect()),
        }
    }
}

fn submission(fact: &RawValue) -> Result<Submission, Error> {
    let fact: NewFact = body::parse(fact.get().as_bytes())?;
    fact.into_submission(None, StoreMode::default())
}

/// The value of a member that has several names. Where several are given they must be equal.
pub(in crate::http) fn same<const N: usize>(
    given: [(&str, Option<String>); N],
) -> Result<Option<String>, Error> {
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut first: Option<(&str, String)> = None;
    for (name, value) in given {
        match &first {
            None => first = Some((name, value)),
            Some((known, same)) if *same != value => {
                return Err(Error::invalid(
                    &format!("/{name}"),
                    format!("{name} is another name of {known}, and they differ; give one of them"),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(first.map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Submission, Error> {
        let fact: NewFact = body::parse(body.as_bytes())?;
        fact.into_submission(None, StoreMode::default())
    }

    #[test]
    fn every_name_of_a_member_is_read() {
        for body in [
            r#"{"text":"t","fact_id":"a"}"#,
            r#"{"content":"t","id":"a"}"#,
            r#"{"content":"t","doc_id":"a"}"#,
            r#"{"text":"t","content":"t","fact_id":"a","id":"a","doc_id":"a"}"#,
        ] {
            let draft = read(body).unwrap().draft;
            assert_eq!((draft.text.as_str(), draft.id.as_deref()), ("t", Some("a")), "{body}");
        }
    }

    #[test]
    fn two_names_with_different_values_are_refused() {
        for (body, pointer) in [
            (r#"{"text":"t","content":"u"}"#, "/content"),
            (r#"{"text":"t","fact_id":"a","id":"b"}"#, "/id"),
            (r#"{"text":"t","id":"a","doc_id":"b"}"#, "/doc_id"),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.details.unwrap()["pointer"], pointer, "{body}");
        }
    }

    #[test]
    fn an_update_needs_an_id() {
        let error = read(r#"{"text":"t","mode":"update"}"#).unwrap_err();
        assert_eq!(error.details.unwrap()["pointer"], "/fact_id");
        let upsert = r#"{"text":"t","id":"a","mode":"upsert"}"#;
        assert_eq!(read(upsert).unwrap().mode, StoreMode::Upsert);
    }
}
