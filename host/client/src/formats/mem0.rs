//! Memories of mem0: what `get_all` and `GET /v1/memories/` return, and the payloads that its
//! vector stores keep.

use serde_json::{Map, Value};

use super::json::{is_filled, objects, text};
use super::{Converted, Draft, Metadata, identify, time};

/// Where the list is: of the library, of the platform, and of exports that people make.
const LISTS: [&str; 3] = ["results", "memories", "data"];

/// Names of the text: of the API, of the vector stores' payloads, and of older versions.
const TEXTS: [&str; 3] = ["memory", "data", "text"];

/// What of a memory becomes metadata under its own name.
const KEPT: [&str; 10] = [
    "user_id",
    "agent_id",
    "app_id",
    "run_id",
    "actor_id",
    "role",
    "categories",
    "immutable",
    "expiration_date",
    "updated_at",
];

pub(super) fn convert(text: &str) -> Result<Converted, String> {
    let mut converted = Converted::default();
    for (name, memory) in objects(text, &LISTS)? {
        match memory {
            Value::Object(memory) => add(name, memory, &mut converted),
            _ => converted.refuse(name, "it is no JSON object"),
        }
    }
    Ok(converted)
}

fn add(name: String, memory: Map<String, Value>, converted: &mut Converted) {
    let payload = memory.get("payload").and_then(Value::as_object);
    let fields = payload.unwrap_or(&memory);
    let Some(content) = text(fields, &TEXTS) else {
        return converted.refuse(name, "it has no memory, the member with the text");
    };
    let id = text(&memory, &["id"]);
    let name = id.map_or(name.clone(), |id| format!("{name} ({id})"));
    let id = id.map_or_else(|| identify("mem0", &[content]), str::to_owned);
    let mut metadata = Metadata::new();
    if let Some(Value::Object(own)) = fields.get("metadata") {
        metadata.extend(own.clone());
    }
    for kept in KEPT {
        if let Some(value) = fields.get(kept).filter(|value| is_filled(value)) {
            metadata.insert(kept.to_owned(), value.clone());
        }
    }
    let created = fields.get("created_at").filter(|value| is_filled(value));
    let timestamp = created.and_then(time::rfc3339);
    if let (Some(created), None) = (created, &timestamp) {
        metadata.insert("created_at".to_owned(), created.clone());
    }
    converted.add(name, Draft { id: Some(id), content: content.to_owned(), metadata, timestamp });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memories_of_the_library_and_of_the_platform_are_facts() {
        let dump = json!({
            "results": [{
                "id": "bf4d4092-cf91-4181-bfeb-b6fa2ed3061b",
                "memory": "Likes to play cricket on weekends",
                "hash": "cd3f7b",
                "metadata": { "category": "hobbies" },
                "created_at": "2024-07-26T08:44:41.039788-07:00",
                "updated_at": null,
                "user_id": "alice",
                "categories": ["sports"],
            }],
            "relations": [],
        });
        let converted = convert(&dump.to_string()).unwrap();
        let draft = &converted.records[0].draft;
        assert_eq!(draft.content, "Likes to play cricket on weekends");
        assert_eq!(draft.id.as_deref(), Some("bf4d4092-cf91-4181-bfeb-b6fa2ed3061b"));
        assert_eq!(draft.timestamp.as_deref(), Some("2024-07-26T08:44:41.039788-07:00"));
        let metadata =
            json!({ "category": "hobbies", "user_id": "alice", "categories": ["sports"] });
        assert_eq!(Value::from(draft.metadata.clone()), metadata);
    }

    #[test]
    fn payloads_of_a_vector_store_are_memories_too() {
        let dump = "{\"id\":\"7\",\"payload\":{\"data\":\"Drinks tea\",\"user_id\":\"ada\"}}\n";
        let converted = convert(dump).unwrap();
        assert_eq!(converted.records[0].draft.content, "Drinks tea");
        assert_eq!(converted.records[0].draft.metadata["user_id"], "ada");
    }

    #[test]
    fn what_is_no_memory_is_named() {
        let converted = convert(r#"[{"id":"a","memory":"x"},{"id":"b"},7,{"memory":""}]"#).unwrap();
        assert_eq!(converted.records.len(), 1);
        let names: Vec<_> = converted.refused.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["element 2", "element 3", "element 4"]);
        assert!(convert("not JSON").is_err());
    }
}
