//! JSON schemas of what the tools take and return.

use serde_json::{Value, json};

/// An object that has only these members.
fn closed(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// An object that may get more members with a later version.
fn open(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn id(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": description })
}

fn metadata(description: &str) -> Value {
    json!({ "type": "object", "description": description })
}

fn content() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "description": "What the fact says, in one or a few sentences.",
    })
}

fn filter() -> Value {
    json!({
        "type": "object",
        "description": "Only facts whose metadata match, such as {\"topic\":\"network\"} or \
                        {\"year\":{\"gte\":2025}}. Operators: eq, ne, gt, gte, lt, lte, in, nin, \
                        contains, icontains, exists, between; AND, OR and NOT combine. \
                        $timestamp is when the fact was stored.",
    })
}

fn cursor() -> Value {
    json!({
        "type": "string",
        "description": "next_cursor of the page before, to go on; all else as it was.",
    })
}

fn next_cursor() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "Where the next page begins; null if there is no more.",
    })
}

pub(super) fn nothing() -> Value {
    closed(json!({}), &[])
}

pub(super) fn id_only() -> Value {
    closed(json!({ "id": id("The fact's id.") }), &["id"])
}

pub(super) fn new_fact() -> Value {
    let properties = json!({
        "content": content(),
        "metadata": metadata(
            "What searches can filter by, such as {\"topic\":\"network\",\"year\":2026}."
        ),
        "id": id("The fact's id; the server makes one if it is left out. Storing the same content \
                  under the same id again changes nothing."),
    });
    closed(properties, &["content"])
}

pub(super) fn change() -> Value {
    let properties = json!({
        "id": id("The fact's id."),
        "content": content(),
        "metadata": metadata("Replaces the whole object."),
    });
    closed(properties, &["id"])
}

pub(super) fn search() -> Value {
    let properties = json!({
        "query": {
            "type": "string",
            "minLength": 1,
            "description": "What is searched for, in words.",
        },
        "top_k": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 10,
            "description": "How many hits at most.",
        },
        "mode": {
            "type": "string",
            "enum": ["hybrid", "vector", "text"],
            "default": "hybrid",
            "description": "By meaning (vector), by words (text), or both.",
        },
        "filter": filter(),
        "min_relevance": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Leaves out hits of a lower relevance.",
        },
        "cursor": cursor(),
    });
    closed(properties, &["query"])
}

pub(super) fn listing() -> Value {
    let properties = json!({
        "query": {
            "type": "string",
            "description": "Only facts whose content contains this, ignoring case.",
        },
        "filter": filter(),
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 50,
            "description": "How many facts the page holds at most.",
        },
        "cursor": cursor(),
    });
    closed(properties, &[])
}

pub(super) fn fact() -> Value {
    let (properties, required) = fact_members();
    open(properties, required)
}

fn fact_members() -> (Value, &'static [&'static str]) {
    let properties = json!({
        "id": id("The fact's id."),
        "content": { "type": "string", "description": "What the fact says." },
        "metadata": metadata("What was stored with it."),
        "timestamp": { "type": "string", "description": "When it was first stored." },
    });
    (properties, &["id", "content", "metadata", "timestamp"])
}

pub(super) fn stored() -> Value {
    let properties = json!({
        "id": id("The fact's id."),
        "indexed": {
            "type": "boolean",
            "description": "Whether search by meaning finds it already. If not, it will without \
                            another call; search by words finds it now.",
        },
        "ids": {
            "type": "array",
            "items": { "type": "string" },
            "description": "All ids, where an extension split what was stored.",
        },
    });
    open(properties, &["id", "indexed"])
}

pub(super) fn deleted() -> Value {
    let properties = json!({
        "id": id("The fact's id."),
        "deleted": { "type": "boolean" },
    });
    open(properties, &["id", "deleted"])
}

pub(super) fn found() -> Value {
    let (mut properties, required) = fact_members();
    properties["relevance"] = json!({
        "type": "number",
        "description": "How likely it answers the query, from 0 to 1.",
    });
    properties["score"] = json!({
        "type": "number",
        "description": "Larger is better; comparable within one answer only.",
    });
    let required: Vec<&str> = required.iter().copied().chain(["relevance", "score"]).collect();
    let properties = json!({
        "results": { "type": "array", "items": open(properties, &required) },
        "degraded": {
            "type": "array",
            "items": { "type": "string" },
            "description": "One sentence for each part of the search that failed or was left out; \
                            empty when the answer is complete.",
        },
        "next_cursor": next_cursor(),
    });
    open(properties, &["results", "degraded", "next_cursor"])
}

pub(super) fn page() -> Value {
    let properties = json!({
        "facts": { "type": "array", "items": fact() },
        "next_cursor": next_cursor(),
    });
    open(properties, &["facts", "next_cursor"])
}

pub(super) fn stats() -> Value {
    let count =
        |description: &str| json!({ "type": "integer", "minimum": 0, "description": description });
    let properties = json!({
        "tenant": { "type": "string", "description": "Whose facts these are." },
        "facts": count("Facts stored."),
        "indexed": count("Facts that search by meaning finds."),
        "pending": count("Facts that it will find when their vectors are made."),
        "language": { "type": "string", "description": "The language of the texts." },
        "model": { "type": "string", "description": "What makes the vectors." },
        "quotas": {
            "type": "object",
            "description": "Each quota that is set, with what is used of it.",
        },
        "version": { "type": "string", "description": "The server's version." },
    });
    let required =
        ["tenant", "facts", "indexed", "pending", "language", "model", "quotas", "version"];
    open(properties, &required)
}
