//! The file of the reference memory server of the Model Context Protocol: entities with what was
//! observed of them, and relations, one a line.
//!
//! The facts are those that `kenning mcp --profile memory` keeps, so its tools find them.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Converted, Draft};

/// The namespace of the ids (RFC 9562, section 5.5); the same as in the server.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b65_6e6e_696e_4760_9a2b_1d64_6d65_6d6f);

/// One line of the file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Item {
    #[serde(rename_all = "camelCase")]
    Entity {
        name: String,
        entity_type: String,
        #[serde(default)]
        observations: Vec<String>,
    },
    #[serde(rename_all = "camelCase")]
    Relation { from: String, to: String, relation_type: String },
}

pub(super) fn convert(text: &str) -> Converted {
    let mut converted = Converted::default();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let name = format!("line {}", number + 1);
        match serde_json::from_str(line) {
            Ok(item) => add(&name, item, &mut converted),
            Err(error) => converted.refuse(name, format!("it is no entity or relation: {error}")),
        }
    }
    converted
}

fn add(line: &str, item: Item, converted: &mut Converted) {
    match item {
        Item::Entity { name, entity_type, observations } => {
            for (number, content) in observations.iter().enumerate() {
                let label = format!("{line} ({name}, observation {})", number + 1);
                if content.trim().is_empty() {
                    converted.refuse(label, "it has no text");
                    continue;
                }
                let metadata = json!({
                    "memory": "observation",
                    "entity": name,
                    "entity_type": entity_type,
                });
                let id = id("observation", &[&name, content]);
                converted.add(label, draft(id, format!("{name}: {content}"), metadata));
            }
            // Behind its observations: it is not there before they are.
            let metadata =
                json!({ "memory": "entity", "entity": name, "entity_type": entity_type });
            let entity = draft(id("entity", &[&name]), format!("{name} ({entity_type})"), metadata);
            converted.add(format!("{line} ({name})"), entity);
        }
        Item::Relation { from, to, relation_type } => {
            let metadata = json!({
                "memory": "relation",
                "from": from,
                "to": to,
                "relation_type": relation_type,
            });
            let id = id("relation", &[&from, &to, &relation_type]);
            let text = format!("{from} {relation_type} {to}");
            converted.add(format!("{line} ({text})"), draft(id, text, metadata));
        }
    }
}

fn draft(id: String, content: String, metadata: Value) -> Draft {
    let metadata = match metadata {
        Value::Object(metadata) => metadata,
        _ => Map::new(),
    };
    Draft { id: Some(id), content, metadata, timestamp: None }
}

/// An id of what is said; the lengths keep apart what would be the same when joined.
fn id(kind: &str, parts: &[&str]) -> String {
    let mut said = kind.to_owned();
    for part in parts {
        said.push_str(&format!("\n{}\n{part}", part.len()));
    }
    Uuid::new_v5(&NAMESPACE, said.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_observations_and_relations_are_facts() {
        let file = r#"
{"type":"entity","name":"Ada","entityType":"person","observations":["prefers tea",""]}
{"type":"relation","from":"Ada","to":"tea","relationType":"likes"}
{"type":"thing"}
tea
"#;
        let converted = convert(file);
        let texts: Vec<_> = converted.records.iter().map(|record| &record.draft.content).collect();
        assert_eq!(texts, ["Ada: prefers tea", "Ada (person)", "Ada likes tea"]);
        let names: Vec<_> = converted.refused.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["line 2 (Ada, observation 2)", "line 4", "line 5"]);
    }
}
