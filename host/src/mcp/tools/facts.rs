//! What the tools over facts do.

use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::definition::{Done, read};
use crate::http::{SearchRequest, Whole, filter, id_of_key, metadata};
use crate::kb::{Found, FoundHit, MetadataPatch, Patch, Response, Selection, StoreOutcome};
use crate::mcp::Agent;
use crate::mcp::context::{Face, Hints};
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::{Draft, Fact};

const LIST_LIMIT: i64 = 50;

#[derive(Deserialize)]
struct NewFact {
    content: Option<String>,
    metadata: Option<Box<RawValue>>,
    id: Option<String>,
}

/// Stores one fact. A key makes a repeated call safe, as the header Idempotency-Key does.
pub(super) async fn store(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    let NewFact { content, metadata: given, id } = read(arguments)?;
    let draft = Draft {
        id: id.or_else(|| hints.key.as_ref().map(|key| id_of_key(key.as_bytes()))),
        text: content.ok_or_else(|| Error::invalid("/content", "content is required"))?,
        metadata: metadata(given)?.unwrap_or_else(|| "{}".into()),
        timestamp: None,
    };
    let answered =
        face.kb.store(&agent.who.within(face.limits.call), vec![Ok(draft.into())]).await?;
    Done::of(answered, |outcomes| {
        let outcome = outcomes.into_iter().next();
        stored(outcome.unwrap_or_else(|| Err(Error::internal("no outcome for a draft")))?)
    })
}

fn stored(outcome: StoreOutcome) -> Result<Value, Error> {
    let StoreOutcome { ids, indexed, .. } = outcome;
    let mut stored = json!({ "id": ids.first(), "indexed": indexed });
    if ids.len() > 1 {
        stored["ids"] = ids.into();
    }
    Ok(stored)
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

fn required_id(id: Option<String>) -> Result<String, Error> {
    id.ok_or_else(|| Error::invalid("/id", "id is required"))
}

pub(super) async fn get(face: &Face, arguments: &JsonObject, agent: &Agent) -> Result<Done, Error> {
    let id = required_id(read::<Named>(arguments)?.id)?;
    let answered = face.kb.get(&agent.who.within(face.limits.call), id).await?;
    Done::of(answered, fact)
}

/// A fact as the tools return it.
pub(in crate::mcp) fn fact(fact: Fact) -> Result<Value, Error> {
    let Fact { id, text, metadata, timestamp } = fact;
    let metadata = match serde_json::from_str(&metadata) {
        Ok(Value::Object(object)) => object,
        _ => {
            let message = "the logic gave metadata that is no JSON object";
            return Err(Error::new(Code::GuestInvalid, message));
        }
    };
    Ok(json!({ "id": id, "content": text, "metadata": metadata, "timestamp": timestamp }))
}

pub(super) async fn search(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let search = read::<SearchRequest>(arguments)?.into_search(&face.limits)?;
    let answered = face.kb.search(&agent.who.within(face.limits.search), search).await?;
    Done::of(answered, found)
}

fn found(found: Found) -> Result<Value, Error> {
    let results: Result<Vec<_>, Error> = found.hits.into_iter().map(hit).collect();
    Ok(json!({
        "results": results?,
        "degraded": found.degraded,
        "next_cursor": found.next_cursor,
    }))
}

fn hit(found: FoundHit) -> Result<Value, Error> {
    let FoundHit { hit, relevance, .. } = found;
    let mut value = fact(hit.fact)?;
    value["relevance"] = relevance.into();
    value["score"] = hit.score.into();
    Ok(value)
}

#[derive(Deserialize)]
struct Listing {
    query: Option<String>,
    filter: Option<Box<RawValue>>,
    limit: Option<Whole>,
    cursor: Option<String>,
}

pub(super) async fn list(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let Listing { query, filter: given, limit, cursor } = read(arguments)?;
    let most = face.limits.page_facts as i64;
    let limit = limit.map_or(LIST_LIMIT.min(most), |limit| limit.0);
    if !(1..=most).contains(&limit) {
        let message = format!("limit is a whole number from 1 to {most}");
        return Err(Error::invalid("/limit", message));
    }
    let containing = query.filter(|query| !query.is_empty());
    let caller = agent.who.within(face.limits.call);
    let answered = match given {
        None => face.kb.list(&caller, containing, limit as u32, cursor).await?,
        Some(given) => {
            let selection = Selection { containing, filter: filter(given.get())? };
            face.kb.list_matching(&caller, selection, limit as u32, cursor).await?
        }
    };
    Done::of(answered, |page| {
        let facts: Result<Vec<_>, Error> = page.facts.into_iter().map(fact).collect();
        Ok(json!({ "facts": facts?, "next_cursor": page.cursor }))
    })
}

#[derive(Deserialize)]
struct FactChange {
    id: Option<String>,
    content: Option<String>,
    metadata: Option<Box<RawValue>>,
}

pub(super) async fn update(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let FactChange { id, content, metadata: given } = read(arguments)?;
    let id = required_id(id)?;
    let metadata = metadata(given)?.map(MetadataPatch::Replace);
    let patch = Patch { text: content, metadata, vector: None };
    let answered = face.kb.update(&agent.who.within(face.limits.call), id, patch).await?;
    Done::of(answered, stored)
}

pub(super) async fn delete(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    let id = required_id(read::<Named>(arguments)?.id)?;
    let caller = agent.who.within(face.limits.call);
    let answered = match face.kb.delete(&caller, id.clone()).await {
        // The first attempt may have deleted it.
        Err(error) if hints.is_retry && error.code == Code::NotFound => {
            Response::whole((), face.kb.snapshot(&caller).await?.served_by())
        }
        answered => answered?,
    };
    Done::of(answered, |()| Ok(json!({ "id": id, "deleted": true })))
}

/// The quotas that the tenant has: of the others nothing can be used up.
fn set(quotas: Value) -> Value {
    let Value::Object(mut quotas) = quotas else { return json!({}) };
    quotas.retain(|_, quota| !quota["value"].is_null());
    quotas.into()
}

pub(super) async fn stats(face: &Face, agent: &Agent) -> Result<Done, Error> {
    let caller = agent.who.within(face.limits.storage_operation);
    face.kb.check_caller(&caller).await?;
    let figures = face.kb.figures(&caller).await?;
    let served_by = face.kb.snapshot(&caller).await?.served_by();
    let stats = json!({
        "tenant": caller.tenant.as_str(),
        "facts": figures.facts,
        "indexed": figures.index.vectors,
        "pending": figures.facts.saturating_sub(figures.index.vectors as u64),
        "language": figures.language.code(),
        "model": face.kb.embedder_of(&caller.tenant).model(),
        "quotas": set(figures.quotas),
        "version": env!("CARGO_PKG_VERSION"),
    });
    Done::of(Response::whole(stats, served_by), Ok)
}
