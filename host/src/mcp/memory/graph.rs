//! Entities, observations and relations as facts, and back.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use kenning_runtime::wit::{Draft, Fact};

/// The namespace of the ids (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6b65_6e6e_696e_4760_9a2b_1d64_6d65_6d6f);

/// The metadata field that says what a fact is in the graph.
pub(super) const KIND: &str = "memory";

pub(super) const ENTITY: &str = "entity";
pub(super) const OBSERVATION: &str = "observation";
pub(super) const RELATION: &str = "relation";

/// An entity with what is known of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) entity_type: String,
    #[serde(default)]
    pub(super) observations: Vec<String>,
}

/// A relation of two entities.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Relation {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) relation_type: String,
}

/// Entities and relations, each in the order in which they were stored.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Graph {
    pub(super) entities: Vec<Entity>,
    pub(super) relations: Vec<Relation>,
}

pub(super) fn entity_id(name: &str) -> String {
    id(ENTITY, &[name])
}

pub(super) fn observation_id(entity: &str, content: &str) -> String {
    id(OBSERVATION, &[entity, content])
}

impl Relation {
    pub(super) fn id(&self) -> String {
        id(RELATION, &[&self.from, &self.to, &self.relation_type])
    }

    pub(super) fn draft(&self) -> Draft {
        let Self { from, to, relation_type } = self;
        let metadata =
            json!({ KIND: RELATION, "from": from, "to": to, "relation_type": relation_type });
        draft(self.id(), format!("{from} {relation_type} {to}"), &metadata)
    }
}

impl Entity {
    /// The observations, and behind them the entity itself: it is not there before they are.
    pub(super) fn drafts(&self) -> Vec<Draft> {
        let observations = self.observations.iter();
        let observations =
            observations.map(|content| observation(&self.name, &self.entity_type, content));
        let metadata =
            json!({ KIND: ENTITY, "entity": self.name, "entity_type": self.entity_type });
        let text = format!("{} ({})", self.name, self.entity_type);
        observations.chain([draft(entity_id(&self.name), text, &metadata)]).collect()
    }
}

pub(super) fn observation(entity: &str, entity_type: &str, content: &str) -> Draft {
    let metadata = json!({ KIND: OBSERVATION, "entity": entity, "entity_type": entity_type });
    let id = observation_id(entity, content);
    draft(id, format!("{}{content}", beginning(entity)), &metadata)
}

/// What an observation's fact begins with, so that it is understood on its own.
fn beginning(entity: &str) -> String {
    format!("{entity}: ")
}

fn draft(id: String, text: String, metadata: &Value) -> Draft {
    Draft { id: Some(id), text, metadata: metadata.to_string(), timestamp: None }
}

/// An id of what is said; the lengths keep apart what would be the same when joined.
fn id(kind: &str, parts: &[&str]) -> String {
    let mut said = kind.to_owned();
    for part in parts {
        said.push_str(&format!("\n{}\n{part}", part.len()));
    }
    Uuid::new_v5(&NAMESPACE, said.as_bytes()).to_string()
}

impl Graph {
    /// The graph in these facts, in their order. What is no part of a graph is left out.
    pub(super) fn of(facts: &[Fact]) -> Self {
        let mut graph = Self::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        for fact in facts {
            let metadata: Value = serde_json::from_str(&fact.metadata).unwrap_or_default();
            let field = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
            match metadata[KIND].as_str() {
                Some(kind @ (ENTITY | OBSERVATION)) => {
                    let name = field("entity");
                    let place = *places.entry(name.clone()).or_insert_with(|| {
                        let entity_type = field("entity_type");
                        let observations = Vec::new();
                        graph.entities.push(Entity {
                            name: name.clone(),
                            entity_type,
                            observations,
                        });
                        graph.entities.len() - 1
                    });
                    if kind == OBSERVATION {
                        let text = fact.text.strip_prefix(&beginning(&name));
                        let content = text.unwrap_or(&fact.text).to_owned();
                        graph.entities[place].observations.push(content);
                    }
                }
                Some(RELATION) => graph.relations.push(Relation {
                    from: field("from"),
                    to: field("to"),
                    relation_type: field("relation_type"),
                }),
                _ => {}
            }
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(drafts: Vec<Draft>) -> Vec<Fact> {
        let fact = |Draft { id, text, metadata, .. }| {
            let (id, timestamp) = (id.unwrap_or_default(), String::new());
            Fact { id, text, metadata, timestamp }
        };
        drafts.into_iter().map(fact).collect()
    }

    #[test]
    fn a_graph_survives_its_facts() {
        let ada = Entity {
            name: "Ada".into(),
            entity_type: "person".into(),
            observations: vec!["prefers tea".into(), "Ada: said so".into()],
        };
        let tea = Entity { name: "tea".into(), entity_type: "drink".into(), observations: vec![] };
        let relation =
            Relation { from: "Ada".into(), to: "tea".into(), relation_type: "likes".into() };
        let mut drafts = [ada.drafts(), tea.drafts()].concat();
        drafts.push(relation.draft());
        let mut facts = stored(drafts);
        facts.push(Fact {
            id: "other".into(),
            text: "no part of it".into(),
            metadata: "{}".into(),
            timestamp: String::new(),
        });
        let graph = Graph::of(&facts);
        assert_eq!(graph, Graph { entities: vec![ada, tea], relations: vec![relation] });
    }

    #[test]
    fn ids_are_of_what_is_said() {
        assert_eq!(entity_id("Ada"), entity_id("Ada"));
        assert_ne!(entity_id("Ada"), entity_id("ada"));
        assert_ne!(observation_id("a", "b\n1\nc"), observation_id("a\n1\nb", "c"));
        let relation = |from: &str, to: &str| Relation {
            from: from.into(),
            to: to.into(),
            relation_type: "knows".into(),
        };
        assert_ne!(relation("a", "b").id(), relation("b", "a").id());
    }

    #[test]
    fn what_an_entity_says_is_there_before_the_entity() {
        let entity = Entity {
            name: "Ada".into(),
            entity_type: "person".into(),
            observations: vec!["prefers tea".into()],
        };
        let texts: Vec<_> = entity.drafts().into_iter().map(|draft| draft.text).collect();
        assert_eq!(texts, ["Ada: prefers tea", "Ada (person)"]);
    }
}
