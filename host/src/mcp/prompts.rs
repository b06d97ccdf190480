//! Texts for people to begin with: `remember` and `recall`.

use rmcp::model::{
    ContentBlock, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage,
    ResourceContents, Role,
};
use serde_json::json;

use super::context::Face;
use super::tools::{fact, read};
use super::{Agent, Options, Profile, resources};
use crate::http::SearchRequest;
use kenning_core::error::Error;
use kenning_tenants::Scope;

const REMEMBER: &str = "remember";
const RECALL: &str = "recall";

/// Facts that are given to the model with a question.
const RECALLED: usize = 8;

/// The prompts that a request may use.
pub(super) fn list(options: Options) -> Vec<Prompt> {
    if options.profile != Profile::Facts {
        // They speak of the tools over facts.
        return Vec::new();
    }
    let argument =
        |name, text| PromptArgument::new(name).with_description(text).with_required(true);
    let remember = Prompt::new(
        REMEMBER,
        Some("Keep something for later, without storing it twice"),
        Some(vec![argument("what", "What to remember, in your own words")]),
    );
    let recall = Prompt::new(
        RECALL,
        Some("Answer a question from what is known"),
        Some(vec![argument("question", "What you want to know")]),
    );
    let remember = (!options.read_only).then(|| remember.with_title("Remember"));
    remember.into_iter().chain([recall.with_title("Recall")]).collect()
}

/// Makes a prompt.
///
/// # Errors
/// When there is none of that name, an argument is missing, or the search for `recall` fails.
pub(super) async fn get(
    face: &Face,
    name: &str,
    arguments: &JsonObject,
    agent: &Agent,
) -> Result<GetPromptResult, Error> {
    if name == RECALL {
        // Its text has facts in it.
        agent.who.check(Scope::Read, "the prompt `recall`")?;
    }
    let known = list(agent.options).into_iter().any(|prompt| prompt.name == name);
    match name {
        REMEMBER if known => Ok(remember(argument(arguments, "what")?)),
        RECALL if known => recall(face, argument(arguments, "question")?, agent).await,
        _ => Err(Error::invalid(
            "/name",
            format!("there is no prompt `{name}`; prompts/list names those that there are"),
        )),
    }
}

fn argument<'a>(arguments: &'a JsonObject, name: &str) -> Result<&'a str, Error> {
    let given = arguments.get(name).and_then(|given| given.as_str()).map(str::trim);
    given
        .filter(|given| !given.is_empty())
        .ok_or_else(|| Error::invalid(&format!("/arguments/{name}"), format!("{name} is required")))
}

fn remember(what: &str) -> GetPromptResult {
    let text = format!(
        "Remember this:\n\n{what}\n\nFirst look with search_facts whether it is known already. If \
         a fact says the same, leave it; if one says something older, change it with update_fact. \
         Otherwise store it with store_fact: one thing a fact, understandable on its own, with \
         metadata by which it can be filtered. Then say in one sentence what you kept."
    );
    GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)])
        .with_description("Keep something for later")
}

/// The question, with the facts that a search finds for it.
async fn recall(face: &Face, question: &str, agent: &Agent) -> Result<GetPromptResult, Error> {
    let mut search = JsonObject::new();
    search.insert("query".into(), question.into());
    search.insert("top_k".into(), RECALLED.min(face.limits.search_hits).into());
    let search = read::<SearchRequest>(&search)?.into_search(&face.limits)?;
    let found = face.kb.search(&agent.who.within(face.limits.search), search).await?.value;
    let mut messages = Vec::new();
    let count = found.hits.len();
    for found in found.hits {
        let address = resources::uri(&found.hit.fact.id);
        let mut value = fact(found.hit.fact)?;
        value["relevance"] = json!(found.relevance);
        let contents = ResourceContents::text(value.to_string(), address);
        let contents = contents.with_mime_type("application/json");
        messages.push(PromptMessage::new(Role::User, ContentBlock::resource(contents)));
    }
    let facts = match count {
        0 => "Nothing was found for it; try search_facts with other words.".to_owned(),
        _ => format!(
            "The {count} facts above were found for it, best first; search_facts finds others."
        ),
    };
    let text = format!(
        "{question}\n\n{facts} Answer from facts only and name the ids of those that you used. If \
         they do not answer it, say so."
    );
    messages.push(PromptMessage::new_text(Role::User, text));
    Ok(GetPromptResult::new(messages).with_description("Answer a question from what is known"))
}
