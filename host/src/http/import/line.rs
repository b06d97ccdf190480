//! One line of an import.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::body::parse;
use crate::http::facts::NewFact;
use crate::kb::{StoreMode, Submission};
use kenning_core::error::Error;

/// A line: a draft as `POST /v1/facts` takes it, or a fact as the export gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct ImportLine {
    text: Option<String>,
    content: Option<String>,
    metadata: Option<Box<RawValue>>,
    fact_id: Option<String>,
    id: Option<String>,
    doc_id: Option<String>,
    mode: Option<StoreMode>,
    vector: Option<Vec<f32>>,
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
             as `POST /v1/facts` takes it."
                .into(),
        );
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

/// Reads a line; `mode` is that of a line which does not say.
pub(in crate::http) fn to_submission(line: &[u8], mode: StoreMode) -> Result<Submission, Error> {
    let line: ImportLine = parse(line)?;
    let fact = NewFact {
        text: line.text,
        content: line.content,
        metadata: line.metadata,
        fact_id: line.fact_id,
        id: line.id,
        doc_id: line.doc_id,
        mode: line.mode,
        vector: line.vector,
    };
    let mut submission = fact.into_submission(None, mode)?;
    submission.draft.timestamp = line.timestamp;
    Ok(submission)
}
