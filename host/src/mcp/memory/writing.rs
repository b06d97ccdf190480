//! What creates, adds and deletes.

use std::collections::BTreeSet;

use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::graph::{Entity, Relation, entity_id, observation, observation_id};
use super::reading::{NAMES, of};
use crate::http::filter;
use crate::kb::Caller;
use crate::mcp::Agent;
use crate::mcp::context::{Face, Hints};
use crate::mcp::tools::{Done, read};
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Draft;

#[derive(Deserialize)]
struct Entities {
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
struct Relations {
    relations: Vec<Relation>,
}

#[derive(Deserialize)]
struct Additions {
    observations: Vec<Addition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Addition {
    entity_name: String,
    contents: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntityNames {
    entity_names: Vec<String>,
}

#[derive(Deserialize)]
struct Deletions {
    deletions: Vec<ObservationsOf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObservationsOf {
    entity_name: String,
    observations: Vec<String>,
}

pub(super) async fn create_entities(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    let Entities { entities } = named(arguments, "entities")?;
    if let Some(at) = entities.iter().position(|entity| entity.name.trim().is_empty()) {
        let pointer = format!("/entities/{at}/name");
        return Err(Error::invalid(&pointer, "an entity needs a name"));
    }
    let caller = agent.who.within(face.limits.call);
    let ids = entities.iter().map(|entity| entity_id(&entity.name)).collect();
    let known = known(face, &caller, ids, hints).await?;
    let mut seen = known;
    let new: Vec<Entity> =
        entities.into_iter().filter(|entity| seen.insert(entity_id(&entity.name))).collect();
    store(face, &caller, new.iter().flat_map(Entity::drafts).collect()).await?;
    done(face, &caller, json!({ "entities": new })).await
}

pub(super) async fn create_relations(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    let Relations { relations } = named(arguments, "relations")?;
    let caller = agent.who.within(face.limits.call);
    let ids = relations.iter().map(Relation::id).collect();
    let mut seen = known(face, &caller, ids, hints).await?;
    let new: Vec<Relation> =
        relations.into_iter().filter(|relation| seen.insert(relation.id())).collect();
    store(face, &caller, new.iter().map(Relation::draft).collect()).await?;
    done(face, &caller, json!({ "relations": new })).await
}

pub(super) async fn add_observations(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    let Additions { observations } = named(arguments, "observations")?;
    let caller = agent.who.within(face.limits.call);
    let ids = observations
        .iter()
        .flat_map(|of| of.contents.iter().map(|content| observation_id(&of.entity_name, content)));
    let mut seen = known(face, &caller, ids.collect(), hints).await?;
    let (mut drafts, mut results) = (Vec::new(), Vec::new());
    for Addition { entity_name, contents } in observations {
        let entity_type = type_of(face, &caller, &entity_name).await?;
        let new = |content: &String| seen.insert(observation_id(&entity_name, content));
        let added: Vec<String> = contents.into_iter().filter(new).collect();
        drafts.extend(added.iter().map(|content| observation(&entity_name, &entity_type, content)));
        results.push(json!({ "entityName": entity_name, "addedObservations": added }));
    }
    store(face, &caller, drafts).await?;
    done(face, &caller, json!({ "results": results })).await
}

/// The type of an entity.
async fn type_of(face: &Face, caller: &Caller, name: &str) -> Result<String, Error> {
    match face.kb.get(caller, entity_id(name)).await {
        Ok(entity) => {
            let metadata: Value = serde_json::from_str(&entity.value.metadata).unwrap_or_default();
            Ok(metadata["entity_type"].as_str().unwrap_or_default().to_owned())
        }
        Err(error) if error.code == Code::NotFound => Err(Error::new(
            Code::NotFound,
            format!("there is no entity `{name}`; create it with create_entities"),
        )),
        Err(error) => Err(error),
    }
}

pub(super) async fn delete_entities(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let EntityNames { entity_names } = named(arguments, "entityNames")?;
    let caller = agent.who.within(face.limits.call);
    let names: Vec<&String> = entity_names.iter().collect();
    for some in names.chunks(NAMES) {
        let matching = filter(&of(some).to_string())?;
        let deletion = face.kb.delete_matching(&caller, matching, None).await?.value;
        if let Some(rest) = deletion.rest {
            return Err(rest.stopped_by.unwrap_or_else(|| {
                let message = format!(
                    "{} parts of these entities were deleted before the call's time was up; call \
                     again for the rest",
                    deletion.deleted
                );
                Error::new(Code::Timeout, message)
            }));
        }
    }
    succeeded(face, &caller, "Entities deleted successfully").await
}

pub(super) async fn delete_observations(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let Deletions { deletions } = named(arguments, "deletions")?;
    let caller = agent.who.within(face.limits.call);
    for ObservationsOf { entity_name, observations } in &deletions {
        for content in observations {
            delete(face, &caller, observation_id(entity_name, content)).await?;
        }
    }
    succeeded(face, &caller, "Observations deleted successfully").await
}

pub(super) async fn delete_relations(
    face: &Face,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<Done, Error> {
    let Relations { relations } = named(arguments, "relations")?;
    let caller = agent.who.within(face.limits.call);
    for relation in &relations {
        delete(face, &caller, relation.id()).await?;
    }
    succeeded(face, &caller, "Relations deleted successfully").await
}

/// Reads the arguments of a tool that has one, which is required.
fn named<T: DeserializeOwned>(arguments: &JsonObject, name: &str) -> Result<T, Error> {
    match arguments.contains_key(name) {
        true => read(arguments),
        false => Err(Error::invalid(&format!("/{name}"), format!("{name} is required"))),
    }
}

/// Which of the facts are there already. A call that comes again is answered as the first one was:
/// none were.
async fn known(
    face: &Face,
    caller: &Caller,
    ids: Vec<String>,
    hints: &Hints,
) -> Result<BTreeSet<String>, Error> {
    let mut known = BTreeSet::new();
    if hints.is_retry {
        return Ok(known);
    }
    for some in ids.chunks(face.limits.batch_facts) {
        known.extend(face.kb.visible(caller, some.to_vec()).await?);
    }
    Ok(known)
}

/// Stores all of them, in their order.
async fn store(face: &Face, caller: &Caller, drafts: Vec<Draft>) -> Result<(), Error> {
    for some in drafts.chunks(face.limits.batch_facts) {
        let drafts = some.iter().map(|draft| Ok(draft.clone().into())).collect();
        for outcome in face.kb.store(caller, drafts).await?.value {
            outcome?;
        }
    }
    Ok(())
}

async fn delete(face: &Face, caller: &Caller, id: String) -> Result<(), Error> {
    match face.kb.delete(caller, id).await {
        // It is gone, which is what was agent for.
        Err(error) if error.code == Code::NotFound => Ok(()),
        deleted => deleted.map(drop),
    }
}

async fn succeeded(face: &Face, caller: &Caller, message: &str) -> Result<Done, Error> {
    done(face, caller, json!({ "success": true, "message": message })).await
}

async fn done(face: &Face, caller: &Caller, value: Value) -> Result<Done, Error> {
    let served_by = face.kb.snapshot(caller).await?.served_by();
    Ok(Done { value, served_by, revision: None })
}
