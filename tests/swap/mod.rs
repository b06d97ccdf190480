//! Replacing the logic while it serves.

mod crash;
mod earlier;
mod proof;
mod refused;
mod serving;
mod watch;

use anyhow::{Context, Result};
use kenning_tests::{Answer, Caller, component, noted};
use serde_json::{Value, json};

/// How long a replay takes must not decide a test.
const ANY_TIME: &str = "?max_time_percent=1000000";

/// The logic that comes with the server, with a digest of its own for each note.
fn logic(note: &str) -> Result<Vec<u8>> {
    Ok(noted(&std::fs::read(component("logic")?)?, note))
}

/// Which guest is replaced, where it does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The server's logic.
    Logic,
    /// The extension `hooks` of `default`.
    Extension,
}

impl Place {
    const BOTH: [Self; 2] = [Self::Logic, Self::Extension];

    /// A component that fits, with a digest of its own for each note.
    fn component(self, note: &str) -> Result<Vec<u8>> {
        match self {
            Self::Logic => logic(note),
            Self::Extension => Ok(noted(&std::fs::read(component("hooks")?)?, note)),
        }
    }

    async fn put(self, caller: &Caller, component: Vec<u8>, parameters: &str) -> Result<Answer> {
        match self {
            Self::Logic => caller.swap_logic(component, parameters).await,
            Self::Extension => caller.install("default", "hooks", component, parameters).await,
        }
    }

    /// The number of the first generation that is put there.
    fn first(self) -> u64 {
        match self {
            Self::Logic => 2,
            Self::Extension => 1,
        }
    }

    /// Asserts that this generation answers, and does what it is there for.
    async fn serves(self, caller: &Caller, number: u64) -> Result<()> {
        caller.store(json!({ "text": "mark this", "fact_id": "marked" })).await?;
        let fact = caller.get("/v1/facts/marked").await?;
        let served = match self {
            Self::Logic => fact.header("x-kenning-generation").to_string(),
            Self::Extension => {
                assert_eq!(fact.json["metadata"], json!({ "marked": true }), "{}", fact.text);
                fact.header("x-kenning-extensions").replace("hooks=", "")
            }
        };
        assert_eq!(served, number.to_string(), "{self:?}: {:?}", fact.headers);
        Ok(())
    }

    /// What an operator sees of the guest.
    async fn listed(self, caller: &Caller) -> Result<Value> {
        Ok(match self {
            Self::Logic => caller.get("/v1/admin/logic").await?.json,
            Self::Extension => {
                let listed = caller.get("/v1/admin/tenants/default/extensions").await?.json;
                listed["extensions"].get(0).context("an extension")?.clone()
            }
        })
    }
}

/// A logic that behaves unless a text names a command.
fn hostile() -> Result<Vec<u8>> {
    Ok(std::fs::read(component("hostile")?)?)
}

#[track_caller]
fn promoted(answer: &Answer, generation: u64) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["generation"], generation, "{}", answer.text);
    assert_eq!(answer.json["promoted"], true, "{}", answer.text);
}

/// The generation that answers now.
async fn generation(caller: &Caller) -> Result<String> {
    let answer = caller.get("/v1/facts").await?;
    Ok(answer.header("x-kenning-generation").to_string())
}

/// Facts to search, and searches to be asked again.
async fn asked(caller: &Caller, queries: &[&str]) -> Result<()> {
    for (id, text) in [
        ("cat", "The cat sleeps on the windowsill."),
        ("dog", "The dog sleeps in the kitchen."),
        ("tea", "Tea is made with boiling water."),
    ] {
        caller.store(json!({ "text": text, "fact_id": id })).await?;
    }
    for query in queries {
        let answer = caller.post("/v1/search", json!({ "query": query, "mode": "text" })).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    Ok(())
}
