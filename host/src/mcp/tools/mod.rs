//! The tools: what models are told of them, and what they do.

mod definition;
mod facts;
mod schemas;

use rmcp::model::{JsonObject, Tool};

use super::context::{Face, Hints};
use super::{Agent, Options, Profile, memory};
use definition::check_names;
pub(super) use definition::{Definition, Done, Effect, read};
pub(super) use facts::fact;
use kenning_core::error::{Code, Error};
use kenning_tenants::Scope;

const TOOLS: [Definition; 7] = [
    Definition {
        name: "store_fact",
        title: "Store a fact",
        description: "Store one fact so that it can be found later by meaning and by its words. \
                      Write it so that it is understood on its own: full names instead of \
                      pronouns, dates instead of \"yesterday\". Search first, and change an \
                      existing fact with update_fact instead of storing it twice.",
        effect: Effect::Adds,
        input: schemas::new_fact,
        output: schemas::stored,
    },
    Definition {
        name: "get_fact",
        title: "Read a fact",
        description: "Read one fact by its id.",
        effect: Effect::Reads,
        input: schemas::id_only,
        output: schemas::fact,
    },
    Definition {
        name: "search_facts",
        title: "Search facts",
        description: "Find facts by meaning and by words, best first. Ask as one would ask a \
                      person. Each hit has a relevance from 0 to 1: below about 0.3 it rarely \
                      answers the question.",
        effect: Effect::Reads,
        input: schemas::search,
        output: schemas::found,
    },
    Definition {
        name: "list_facts",
        title: "List facts",
        description: "List facts, newest first, a page at a time. Use search_facts to find \
                      something; this is for looking through what there is.",
        effect: Effect::Reads,
        input: schemas::listing,
        output: schemas::page,
    },
    Definition {
        name: "update_fact",
        title: "Change a fact",
        description: "Change a fact's content, its metadata, or both. What is left out stays; \
                      metadata that is given replaces the whole object.",
        effect: Effect::Changes,
        input: schemas::change,
        output: schemas::stored,
    },
    Definition {
        name: "delete_fact",
        title: "Delete a fact",
        description: "Delete one fact by its id. It cannot be undone.",
        effect: Effect::Changes,
        input: schemas::id_only,
        output: schemas::deleted,
    },
    Definition {
        name: "kb_stats",
        title: "Figures of the knowledge base",
        description: "How many facts there are, how many of them search by meaning finds already, \
                      and what is used of each quota.",
        effect: Effect::Reads,
        input: schemas::nothing,
        output: schemas::stats,
    },
];

/// The tools that a request may call, of one with these scopes.
pub(super) fn list(options: Options, may: impl Fn(Scope) -> bool) -> Vec<Tool> {
    available(options).filter(|tool| may(tool.effect.scope())).map(Definition::to_tool).collect()
}

fn available(options: Options) -> impl Iterator<Item = &'static Definition> {
    all(options.profile)
        .iter()
        .filter(move |tool| !options.read_only || tool.effect == Effect::Reads)
}

/// The tools of a profile.
fn all(profile: Profile) -> &'static [Definition] {
    match profile {
        Profile::Facts => &TOOLS,
        Profile::Memory => &memory::TOOLS,
    }
}

/// The profile's tool of this name.
pub(super) fn find(name: &str, options: Options) -> Option<&'static Definition> {
    all(options.profile).iter().find(|tool| tool.name == name)
}

/// Calls a tool.
///
/// # Errors
/// As the verb of the knowledge base that it calls, and if an argument is wrong.
pub(super) async fn call(
    face: &Face,
    tool: &Definition,
    arguments: JsonObject,
    agent: &Agent,
    hints: &Hints,
) -> Result<Done, Error> {
    if agent.options.read_only && tool.effect != Effect::Reads {
        let message = format!("{} is not available: this connection only reads", tool.name);
        return Err(Error::new(Code::Forbidden, message));
    }
    agent.who.check(tool.effect.scope(), tool.name)?;
    check_names(tool, &arguments)?;
    let called = match tool.name {
        "store_fact" => facts::store(face, &arguments, agent, hints).await,
        "get_fact" => facts::get(face, &arguments, agent).await,
        "search_facts" => facts::search(face, &arguments, agent).await,
        "list_facts" => facts::list(face, &arguments, agent).await,
        "update_fact" => facts::update(face, &arguments, agent).await,
        "delete_fact" => facts::delete(face, &arguments, agent, hints).await,
        "kb_stats" => facts::stats(face, agent).await,
        name => memory::call(face, name, &arguments, agent, hints).await,
    };
    called.map_err(by_arguments)
}

/// Names the arguments that are wrong as the tools do, and not as the logic.
fn by_arguments(mut error: Error) -> Error {
    let pointer = error.details.as_deref_mut().and_then(|details| details.get_mut("pointer"));
    if let Some(pointer) = pointer {
        match pointer.as_str() {
            Some("/text") => *pointer = "/content".into(),
            Some("/fact_id") => *pointer = "/id".into(),
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::definition::object;
    use super::*;

    #[test]
    fn a_reader_sees_only_tools_that_read() {
        let names = |options, may: fn(Scope) -> bool| -> Vec<_> {
            list(options, may).into_iter().map(|tool| tool.name.into_owned()).collect()
        };
        let all = Options::default();
        assert_eq!(names(all, |_| true).len(), TOOLS.len());
        let reading = ["get_fact", "search_facts", "list_facts", "kb_stats"];
        assert_eq!(names(Options { read_only: true, ..all }, |_| true), reading);
        assert_eq!(names(all, |scope| scope == Scope::Read), reading);
        let writing = names(all, |scope| scope == Scope::Write);
        assert_eq!(writing, ["store_fact", "update_fact", "delete_fact"]);
    }

    #[test]
    fn every_required_argument_and_member_is_described() {
        for tool in TOOLS.iter().chain(&memory::TOOLS) {
            for schema in [(tool.input)(), (tool.output)()] {
                assert_eq!(schema["type"], "object", "{}", tool.name);
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                for name in required {
                    let described = &schema["properties"][name.as_str().unwrap()];
                    assert!(described.is_object(), "{}: {name}", tool.name);
                }
            }
        }
    }

    #[test]
    fn an_unknown_argument_is_named_with_those_that_there_are() {
        let arguments = object(serde_json::json!({ "content": "a", "tags": [] }));
        let error = check_names(&TOOLS[0], &arguments).unwrap_err();
        assert!(error.message.contains("`tags`") && error.message.contains("metadata"), "{error}");
        assert!(check_names(&TOOLS[6], &object(serde_json::json!({ "a": 1 }))).is_err());
    }
}
