//! `read_graph`, `search_nodes` and `open_nodes`.

use std::collections::BTreeSet;

use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::{ENTITY, Graph, KIND, OBSERVATION, RELATION};
use crate::http::{SearchRequest, filter, parse};
use crate::kb::{Caller, Selection};
use crate::mcp::Agent;
use crate::mcp::context::Face;
use crate::mcp::tools::{Done, read};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::ServedBy;
use kenning_runtime::wit::Fact;

/// Most facts of one answer: more than a model can read.
const MOST: usize = 10_000;

/// Names in one filter.
pub(super) const NAMES: usize = 50;

/// Hits that are looked at for the entities that they are of.
const HITS: usize = 20;

/// Hits of a lower relevance rarely mean what was searched for.
const RELEVANT: f64 = 0.1;

#[derive(Deserialize)]
struct Query {
    query: Option<String>,
}

#[derive(Deserialize)]
struct Names {
    names: Option<Vec<String>>,
}

pub(super) async fn read_graph(face: &Face, agent: &Agent) -> Result<Done, Error> {
    let caller = agent.who.within(face.limits.search);
    let parts = json!({ KIND: { "in": [ENTITY, OBSERVATION, RELATION] } });
    let (facts, served_by) = all(face, &caller, &parts, None).await?;
    done(Graph::of(&facts), served_by)
}

pub(super) async fn open_nodes(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let names = read::<Names>(arguments)?.names;
    let names = names.ok_or_else(|| Error::invalid("/names", "names is required"))?;
    let caller = agent.who.within(face.limits.search);
    let (graph, served_by) = open(face, &caller, names.into_iter().collect()).await?;
    done(graph, served_by)
}

pub(super) async fn search_nodes(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let query = read::<Query>(arguments)?.query;
    let query = query.ok_or_else(|| Error::invalid("/query", "query is required"))?;
    let caller = agent.who.within(face.limits.search);
    let nodes = json!({ KIND: { "in": [ENTITY, OBSERVATION] } });
    let mut found = Vec::new();
    if !query.trim().is_empty() {
        let search = json!({
            "query": query,
            "top_k": HITS.min(face.limits.search_hits),
            "filter": nodes,
            "min_relevance": RELEVANT,
        });
        let search: SearchRequest = parse(search.to_string().as_bytes())?;
        let answered = face.kb.search(&caller, search.into_search(&face.limits)?).await?;
        found.extend(answered.value.hits.into_iter().map(|found| found.hit.fact));
    }
    // What the reference server finds: the query as a part of a text.
    let (containing, _) = all(face, &caller, &nodes, Some(query)).await?;
    found.extend(containing);
    let names = found.iter().filter_map(|fact| {
        let metadata: Value = serde_json::from_str(&fact.metadata).ok()?;
        Some(metadata["entity"].as_str()?.to_owned())
    });
    let (graph, served_by) = open(face, &caller, names.collect()).await?;
    done(graph, served_by)
}

fn done(graph: Graph, served_by: ServedBy) -> Result<Done, Error> {
    let value = serde_json::to_value(graph).map_err(Error::internal)?;
    Ok(Done { value, served_by, revision: None })
}

/// The entities of these names, and the relations of which one end is among them.
async fn open(
    face: &Face,
    caller: &Caller,
    names: BTreeSet<String>,
) -> Result<(Graph, ServedBy), Error> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut served_by = face.kb.snapshot(caller).await?.served_by();
    let listed: Vec<&String> = names.iter().collect();
    for some in listed.chunks(NAMES) {
        let (of_them, served) = all(face, caller, &of(some), None).await?;
        facts.extend(of_them);
        served_by = served;
    }
    let mut graph = Graph::of(&facts);
    graph.entities.retain(|entity| names.contains(&entity.name));
    // A relation of two of them may have been read twice.
    let mut seen = BTreeSet::new();
    graph.relations.retain(|relation| seen.insert(relation.id()));
    Ok((graph, served_by))
}

/// The filter for all that is said of entities.
pub(super) fn of(names: &[&String]) -> Value {
    let among = json!({ "in": names });
    json!({ "AND": [
        { KIND: { "in": [ENTITY, OBSERVATION, RELATION] } },
        { "OR": [{ "entity": among }, { "from": among }, { "to": among }] },
    ] })
}

/// All facts that match, in the order in which they were stored.
async fn all(
    face: &Face,
    caller: &Caller,
    matching: &Value,
    containing: Option<String>,
) -> Result<(Vec<Fact>, ServedBy), Error> {
    let matching = filter(&matching.to_string())?;
    let (mut facts, mut cursor) = (Vec::new(), None);
    let limit = face.limits.page_facts as u32;
    let containing = containing.filter(|containing| !containing.is_empty());
    loop {
        let selection = Selection { containing: containing.clone(), filter: matching.clone() };
        let page = face.kb.list_matching(caller, selection, limit, cursor).await?;
        facts.extend(page.value.facts);
        if facts.len() > MOST {
            let message = format!(
                "this has more than {MOST} observations and relations; search for fewer with \
                 search_nodes, or name the entities with open_nodes"
            );
            return Err(Error::new(Code::TooLarge, message));
        }
        cursor = page.value.cursor;
        if cursor.is_none() {
            facts.reverse();
            return Ok((facts, page.served_by));
        }
    }
}
