//! JSON schemas of what the tools take and return, as the reference server has them.

use serde_json::{Value, json};

fn object(properties: Value) -> Value {
    let required: Vec<String> =
        properties.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn texts(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn entity() -> Value {
    object(json!({
        "name": text("The name of the entity"),
        "entityType": text("The type of the entity"),
        "observations": texts("What is known of the entity"),
    }))
}

fn relation() -> Value {
    object(json!({
        "from": text("The name of the entity where the relation starts"),
        "to": text("The name of the entity where the relation ends"),
        "relationType": text("The type of the relation"),
    }))
}

pub(super) fn nothing() -> Value {
    json!({ "type": "object", "properties": {} })
}

pub(super) fn entities() -> Value {
    object(json!({ "entities": list(entity()) }))
}

pub(super) fn relations() -> Value {
    object(json!({ "relations": list(relation()) }))
}

pub(super) fn added() -> Value {
    let added = object(json!({
        "entityName": text("The name of the entity to add the observations to"),
        "contents": texts("The observations to add"),
    }));
    object(json!({ "observations": list(added) }))
}

pub(super) fn results() -> Value {
    let result = object(json!({
        "entityName": text("The name of the entity"),
        "addedObservations": texts("The observations that it did not have"),
    }));
    object(json!({ "results": list(result) }))
}

pub(super) fn entity_names() -> Value {
    object(json!({ "entityNames": texts("The names of the entities to delete") }))
}

pub(super) fn deletions() -> Value {
    let deletion = object(json!({
        "entityName": text("The name of the entity with the observations"),
        "observations": texts("The observations to delete"),
    }));
    object(json!({ "deletions": list(deletion) }))
}

pub(super) fn success() -> Value {
    object(json!({ "success": { "type": "boolean" }, "message": { "type": "string" } }))
}

pub(super) fn query() -> Value {
    object(json!({ "query": text("What is searched for, in words") }))
}

pub(super) fn names() -> Value {
    object(json!({ "names": texts("The names of the entities") }))
}

pub(super) fn graph() -> Value {
    object(json!({ "entities": list(entity()), "relations": list(relation()) }))
}
