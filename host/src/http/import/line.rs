//! One line of an import.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::body::{metadata, parse};
use crate::http::facts::NewFact;
use kenning_core::error::Error;
use kenning_runtime::wit::Draft;

/// A line: a draft as `POST /v1/facts` takes it, or a fact as the export gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct ImportLine {
    #[serde(alias = "id")]
    fact_id: Option<String>,
    #[serde(alias = "content")]
    text: Option<String>,
    metadata: Option<Box<RawValue>>,
    timestamp: Option<String>,
}

/// The schema of an [`ImportLine`]: a draft's, with the names that an export uses.
pub(super) enum ImportFact {}

impl PartialSchema for ImportFact {
    fn schema() -> RefOr<Schema> {
        let mut schema = NewFact::schema();
        let RefOr::T(Schema::Object(fact)) = &mut schema else { return schema };
        fact.description = Some(
            "One line of an import, at most 1 MiB long: a fact as an export writes it, or a draft \
             as `POST /v1/facts` takes it. `content` is the same as `text`, and `id` as `fact_id`; \
             one of `content` and `text` is required."
                .into(),
        );
        fact.required.clear();
        for (name, same) in [("content", "text"), ("id", "fact_id")] {
            let member = fact.properties.get(same).cloned().unwrap_or_default();
            fact.properties.insert(name.into(), member);
        }
        let timestamp = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(
                "When the fact was first stored, in RFC 3339 with an offset; now if left out.",
            ));
        fact.properties.insert("timestamp".into(), timestamp.into());
        schema
    }
}

impl ToSchema for ImportFact {}

/// Reads a line.
pub(in crate::http) fn to_draft(line: &[u8]) -> Result<Draft, Error> {
    let line: ImportLine = parse(line)?;
    Ok(Draft {
        id: line.fact_id,
        text: line.text.ok_or_else(|| Error::invalid("/text", "text is required"))?,
        metadata: metadata(line.metadata)?.unwrap_or_else(|| "{}".into()),
        timestamp: line.timestamp,
    })
}
