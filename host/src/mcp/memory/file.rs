//! The reference server's file as facts: JSON Lines of entities and relations.

use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::{Entity, Relation};
use kenning_runtime::wit::Draft;

/// One line of the file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Item {
    Entity(Entity),
    Relation(Relation),
}

/// What a file says, as lines of an import.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Converted {
    pub(crate) lines: Vec<String>,
    pub(crate) entities: usize,
    pub(crate) observations: usize,
    pub(crate) relations: usize,
}

/// Makes an import of the text of such a file.
///
/// # Errors
/// Names the line that is none of such a file.
pub(crate) fn convert(text: &str) -> Result<Converted, String> {
    let mut converted = Converted::default();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let item = serde_json::from_str(line);
        let item: Item = item.map_err(|error| format!("line {}: {error}", number + 1))?;
        let drafts = match item {
            Item::Entity(entity) => {
                converted.entities += 1;
                converted.observations += entity.observations.len();
                entity.drafts()
            }
            Item::Relation(relation) => {
                converted.relations += 1;
                vec![relation.draft()]
            }
        };
        converted.lines.extend(drafts.into_iter().map(line_of));
    }
    Ok(converted)
}

fn line_of(draft: Draft) -> String {
    let metadata: Value = serde_json::from_str(&draft.metadata).unwrap_or_default();
    json!({ "fact_id": draft.id, "text": draft.text, "metadata": metadata }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line() {
        let file = r#"
{"type":"entity","name":"Ada","entityType":"person","observations":["prefers tea"]}
{"type":"relation","from":"Ada","to":"tea","relationType":"likes"}
"#;
        let converted = convert(file).unwrap();
        assert_eq!((converted.entities, converted.observations, converted.relations), (1, 1, 1));
        let texts: Vec<Value> =
            converted.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let texts: Vec<_> = texts.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["Ada: prefers tea", "Ada (person)", "Ada likes tea"]);
        assert_eq!(convert("").unwrap(), Converted::default());
    }

    #[test]
    fn a_line_that_is_none_of_it_is_named() {
        for file in ["{}", "\n{\"type\":\"thing\"}", "{\"type\":\"entity\",\"name\":1}", "x"] {
            let error = convert(file).unwrap_err();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
