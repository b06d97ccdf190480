//! What a tool is: its name, what models are told of it, and what it returns.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::parse;
use crate::kb::Response;
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;
use kenning_storage::Revision;
use kenning_tenants::Scope;

/// One tool.
pub(in crate::mcp) struct Definition {
    pub(in crate::mcp) name: &'static str,
    pub(in crate::mcp) title: &'static str,
    pub(in crate::mcp) description: &'static str,
    pub(in crate::mcp) effect: Effect,
    /// JSON schemas.
    pub(in crate::mcp) input: fn() -> Value,
    pub(in crate::mcp) output: fn() -> Value,
}

/// What a call does to the facts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::mcp) enum Effect {
    /// Nothing.
    Reads,
    /// It adds to them; the same call again adds once more.
    Adds,
    /// It changes or removes some; the same call again changes nothing more.
    Changes,
}

/// What a tool returns, and who served it.
pub(in crate::mcp) struct Done {
    pub(in crate::mcp) value: Value,
    pub(in crate::mcp) served_by: ServedBy,
    pub(in crate::mcp) revision: Option<Revision>,
}

impl Done {
    /// What `convert` makes of the answer.
    pub(super) fn of<T>(
        answered: Response<T>,
        convert: impl FnOnce(T) -> Result<Value, Error>,
    ) -> Result<Self, Error> {
        let Response { value, served_by, revision, .. } = answered;
        let value = convert(value).map_err(|error| error.from_guests(served_by.clone()))?;
        Ok(Self { value, served_by, revision })
    }
}

impl Effect {
    /// What a key or token needs for it.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Reads => Scope::Read,
            Self::Adds | Self::Changes => Scope::Write,
        }
    }
}

impl Definition {
    pub(super) fn to_tool(&self) -> Tool {
        let annotations = ToolAnnotations::with_title(self.title)
            .read_only(self.effect == Effect::Reads)
            .destructive(self.effect == Effect::Changes)
            .idempotent(self.effect != Effect::Adds)
            .open_world(false);
        Tool::new(self.name, self.description, object((self.input)()))
            .with_title(self.title)
            .with_raw_output_schema(object((self.output)()).into())
            .with_annotations(annotations)
    }
}

pub(super) fn object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// Refuses arguments that the tool does not have: a model that misspells one should know.
pub(super) fn check_names(tool: &Definition, arguments: &JsonObject) -> Result<(), Error> {
    let schema = (tool.input)();
    let Some(known) = schema["properties"].as_object() else { return Ok(()) };
    let Some(unknown) = arguments.keys().find(|name| !known.contains_key(*name)) else {
        return Ok(());
    };
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let has =
        if names.is_empty() { "takes none".into() } else { format!("has {}", names.join(", ")) };
    let message = format!("{} has no argument `{unknown}`; it {has}", tool.name);
    Err(Error::invalid(&format!("/{unknown}"), message))
}

/// Reads a tool's arguments.
pub(in crate::mcp) fn read<T: DeserializeOwned>(arguments: &JsonObject) -> Result<T, Error> {
    parse(&serde_json::to_vec(arguments).map_err(Error::internal)?)
}
