//! Memories of Redis' agent-memory-server: what its searches of long-term memory return, and the
//! working memory of sessions with the memories that wait in it.

use serde_json::{Map, Value};

use super::json::{is_filled, objects, text};
use super::{Converted, Draft, Metadata, identify, time};

/// What of a memory becomes metadata under its own name.
const KEPT: [&str; 12] = [
    "session_id",
    "user_id",
    "namespace",
    "topics",
    "entities",
    "memory_type",
    "event_date",
    "extracted_from",
    "extraction_strategy",
    "last_accessed",
    "updated_at",
    "pinned",
];

pub(super) fn convert(text: &str) -> Result<Converted, String> {
    let mut converted = Converted::default();
    for (name, memory) in objects(text, &["memories"])? {
        match memory {
            // A session's working memory, one of several.
            Value::Object(session) if session.get("memories").is_some_and(Value::is_array) => {
                add_session(&name, session, &mut converted);
            }
            Value::Object(memory) => add(name, &memory, &Metadata::new(), &mut converted),
            _ => converted.refuse(name, "it is no JSON object"),
        }
    }
    Ok(converted)
}

/// Its memories belong to the session, whether or not they say so.
fn add_session(name: &str, mut session: Map<String, Value>, converted: &mut Converted) {
    let memories = session.remove("memories");
    let of_session = ["session_id", "user_id", "namespace"];
    let mut shared = Metadata::new();
    for member in of_session {
        if let Some(value) = session.get(member).filter(|value| is_filled(value)) {
            shared.insert(member.to_owned(), value.clone());
        }
    }
    for (number, memory) in memories.iter().filter_map(Value::as_array).flatten().enumerate() {
        let name = format!("{name}, memory {}", number + 1);
        match memory {
            Value::Object(memory) => add(name, memory, &shared, converted),
            _ => converted.refuse(name, "it is no JSON object"),
        }
    }
}

fn add(name: String, memory: &Map<String, Value>, shared: &Metadata, converted: &mut Converted) {
    let Some(content) = text(memory, &["text"]) else {
        return converted.refuse(name, "it has no text");
    };
    // `id_` is what the server called it at first.
    let id = text(memory, &["id", "id_"]).filter(|id| !id.is_empty());
    let name = id.map_or(name.clone(), |id| format!("{name} ({id})"));
    let id = id.map_or_else(|| identify("memory", &[content]), str::to_owned);
    let mut metadata = shared.clone();
    for kept in KEPT {
        let value = memory.get(kept).filter(|value| is_filled(value));
        // What is not pinned is what all are.
        if let Some(value) = value.filter(|value| **value != Value::Bool(false)) {
            metadata.insert(kept.to_owned(), value.clone());
        }
    }
    let created = memory.get("created_at").filter(|value| is_filled(value));
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
    fn memories_that_a_search_returned_are_facts() {
        let dump = json!({
            "memories": [{
                "id": "01HXE2B1234567890ABCDEF",
                "text": "User prefers dark mode interfaces",
                "session_id": null,
                "user_id": "user_123",
                "namespace": "ux",
                "last_accessed": "2026-01-16T08:00:00Z",
                "created_at": "2026-01-15T10:30:00Z",
                "pinned": false,
                "access_count": 3,
                "topics": ["preferences", "ui"],
                "entities": [],
                "memory_hash": "9f86",
                "discrete_memory_extracted": "t",
                "memory_type": "semantic",
                "dist": 0.12,
            }],
            "total": 1,
            "next_offset": null,
        });
        let converted = convert(&dump.to_string()).unwrap();
        let draft = &converted.records[0].draft;
        assert_eq!(draft.id.as_deref(), Some("01HXE2B1234567890ABCDEF"));
        assert_eq!(draft.timestamp.as_deref(), Some("2026-01-15T10:30:00Z"));
        let metadata = json!({
            "user_id": "user_123",
            "namespace": "ux",
            "topics": ["preferences", "ui"],
            "memory_type": "semantic",
            "last_accessed": "2026-01-16T08:00:00Z",
        });
        assert_eq!(Value::from(draft.metadata.clone()), metadata);
    }

    #[test]
    fn memories_that_wait_in_sessions_belong_to_them() {
        let sessions = json!([
            { "session_id": "s1", "messages": [], "memories": [{ "id": "a", "text": "one" }] },
            { "session_id": "s2", "user_id": "u", "memories": [{ "text": "two" }, { "id": "c" }] },
        ]);
        let converted = convert(&sessions.to_string()).unwrap();
        let of: Vec<_> =
            converted.records.iter().map(|record| &record.draft.metadata["session_id"]).collect();
        assert_eq!(of, ["s1", "s2"]);
        assert_eq!(converted.refused[0].name, "element 2, memory 2");
    }
}
