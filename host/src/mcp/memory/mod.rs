//! The profile `memory`: the nine tools of the protocol's reference memory server, over facts.
//!
//! An entity, an observation and a relation are a fact each, with an id that is made of what they
//! say. So two agents may add to one entity at the same time, and the same call twice does the same
//! as once; and search finds each observation by its meaning.
//!
//! | file | holds |
//! |---|---|
//! | `graph` | entities, observations and relations as facts, and back |
//! | `reading` | `read_graph`, `search_nodes`, `open_nodes` |
//! | `writing` | what creates, adds and deletes |
//! | `schemas` | what the tools take and return |
//! | `file` | the reference server's file as facts |

mod file;
mod graph;
mod reading;
mod schemas;
mod writing;

use rmcp::model::JsonObject;

use super::Agent;
use super::context::{Face, Hints};
use super::tools::{Definition, Done, Effect};
pub(crate) use file::{Converted, convert};
use kenning_core::error::Error;

pub(super) const TOOLS: [Definition; 9] = [
    Definition {
        name: "create_entities",
        title: "Create entities",
        description: "Create new entities with their observations. An entity whose name exists \
                      already is left as it is.",
        effect: Effect::Adds,
        input: schemas::entities,
        output: schemas::entities,
    },
    Definition {
        name: "create_relations",
        title: "Create relations",
        description: "Create relations between entities, in active voice, such as works_at. A \
                      relation that exists already is left as it is.",
        effect: Effect::Adds,
        input: schemas::relations,
        output: schemas::relations,
    },
    Definition {
        name: "add_observations",
        title: "Add observations",
        description: "Add observations to entities that exist: one thing each, understandable on \
                      its own.",
        effect: Effect::Adds,
        input: schemas::added,
        output: schemas::results,
    },
    Definition {
        name: "delete_entities",
        title: "Delete entities",
        description: "Delete entities with their observations and relations.",
        effect: Effect::Changes,
        input: schemas::entity_names,
        output: schemas::success,
    },
    Definition {
        name: "delete_observations",
        title: "Delete observations",
        description: "Delete observations of entities, by what they say.",
        effect: Effect::Changes,
        input: schemas::deletions,
        output: schemas::success,
    },
    Definition {
        name: "delete_relations",
        title: "Delete relations",
        description: "Delete relations.",
        effect: Effect::Changes,
        input: schemas::relations,
        output: schemas::success,
    },
    Definition {
        name: "read_graph",
        title: "Read the graph",
        description: "Read all entities and relations. Use search_nodes to find something; this \
                      is for looking through a small graph.",
        effect: Effect::Reads,
        input: schemas::nothing,
        output: schemas::graph,
    },
    Definition {
        name: "search_nodes",
        title: "Search nodes",
        description: "Find entities by meaning and by words of their names, types and \
                      observations, with their relations.",
        effect: Effect::Reads,
        input: schemas::query,
        output: schemas::graph,
    },
    Definition {
        name: "open_nodes",
        title: "Open nodes",
        description: "Read entities by their names, with their relations.",
        effect: Effect::Reads,
        input: schemas::names,
        output: schemas::graph,
    },
];

/// Calls one of [`TOOLS`].
///
/// # Errors
/// As the verbs of the knowledge base that it calls, and if an argument is wrong.
pub(super) async fn call(
    face: &Face,
    name: &str,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    match name {
        "create_entities" => writing::create_entities(face, arguments, agent, hints).await,
        "create_relations" => writing::create_relations(face, arguments, agent, hints).await,
        "add_observations" => writing::add_observations(face, arguments, agent, hints).await,
        "delete_entities" => writing::delete_entities(face, arguments, agent).await,
        "delete_observations" => writing::delete_observations(face, arguments, agent).await,
        "delete_relations" => writing::delete_relations(face, arguments, agent).await,
        "search_nodes" => reading::search_nodes(face, arguments, agent).await,
        "open_nodes" => reading::open_nodes(face, arguments, agent).await,
        _ => reading::read_graph(face, agent).await,
    }
}
