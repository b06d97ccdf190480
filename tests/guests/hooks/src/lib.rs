//! An extension with every hook, controlled by the text that it processes. Tests use it as
//! a well-behaved and as a misbehaving extension.
//!
//! Words in the text of a draft, a query or a fact are commands. Everything else passes
//! unchanged, so that a test sees exactly what the hook did.
//!
//! | word | `on-store` | `on-query` | `on-read` | `rerank` |
//! |---|---|---|---|---|
//! | `mark` | metadata gets `"marked": true` | | | |
//! | `split` | each line becomes a draft | | | |
//! | `refuse` | refuses | refuses | | |
//! | `nothing` | returns no draft | | | |
//! | `secret` | | | is replaced by `[hidden]` | |
//! | `withheld` | | | the fact is dropped | |
//! | `veil` | | | metadata becomes `{}` | |
//! | `alias` | | is replaced by `renamed` | | |
//! | `reverse` | | | | reverses the order |
//! | `invent` | | | | ranks an id that does not exist |
//! | `nan` | | | | returns NaN as the scores |
//! | `bad-metadata` | broken metadata | | | |
//! | `bad-id` | an id that is a path | | | |
//! | `bad-text` | a blank text | a blank text | | |
//! | `bad-time` | a time in words | | | |
//! | `bad-filter` | | a broken filter | | |
//! | `bad-top-k` | | asks for no hit | | |
//! | `more` | | asks for three times as many hits | | |
//! | `broken` | | | broken metadata | |
//! | `deep` | | | metadata nested 100,000 deep | |
//! | `huge` | | | a text of 300 KiB | |
//! | `panic-HOOK` | panics with the text | the same | the same | the same |
//! | `trap-HOOK` | traps | traps | traps | traps |
//! | `spin-HOOK` | spins | spins | spins | spins |
//! | `say` | logs a line | logs a line | logs a line | logs a line |
//! | `markup` | logs markup | logs markup | logs markup | logs markup |

#![cfg(target_family = "wasm")]

use bindings::exports::kenning::knowledge::{on_query, on_read, on_store, rerank};
use bindings::kenning::knowledge::log::log;
use bindings::kenning::knowledge::types::{Draft, Fact, Hit, Level, Query, Ranked, Refusal};

mod bindings {
    #![expect(unsafe_code, reason = "the generated glue crosses the component boundary")]

    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package kenning:hooks;
            world every-hook {
                import kenning:knowledge/log@0.1.0;
                export kenning:knowledge/on-store@0.1.0;
                export kenning:knowledge/on-query@0.1.0;
                export kenning:knowledge/on-read@0.1.0;
                export kenning:knowledge/rerank@0.1.0;
            }
        ",
        world: "kenning:hooks/every-hook",
        generate_all,
    });

    use super::Component;
    export!(Component);
}

struct Component;

fn contains(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|one| one == word)
}

/// Runs the commands that every hook supports.
fn misbehave(text: &str, hook: &str) {
    if contains(text, &format!("trap-{hook}")) {
        std::process::abort();
    }
    assert!(!contains(text, &format!("panic-{hook}")), "cannot handle {text:?}");
    if contains(text, &format!("spin-{hook}")) {
        loop {
            std::hint::black_box(());
        }
    }
    if contains(text, "say") {
        log(Level::Info, &format!("said in {hook}"));
    }
    if contains(text, "markup") {
        log(Level::Warn, "<script>document.title = 'taken'</script> said as markup");
    }
}

fn refusal(text: &str) -> Result<(), Refusal> {
    match contains(text, "refuse") {
        true => Err(Refusal { message: "this extension rejects it".into() }),
        false => Ok(()),
    }
}

/// A draft that is not valid, if its text asks for one.
fn wrong(draft: &Draft) -> Option<Draft> {
    let draft = draft.clone();
    Some(match () {
        () if contains(&draft.text, "bad-metadata") => Draft { metadata: "{oops".into(), ..draft },
        () if contains(&draft.text, "bad-id") => Draft { id: Some("../../etc".into()), ..draft },
        () if contains(&draft.text, "bad-text") => Draft { text: " \n".into(), ..draft },
        () if contains(&draft.text, "bad-time") => {
            Draft { timestamp: Some("yesterday".into()), ..draft }
        }
        () => return None,
    })
}

/// A fact without its metadata, if its text asks for that.
fn veiled(fact: Fact) -> Fact {
    match contains(&fact.text, "veil") {
        true => Fact { metadata: "{}".into(), ..fact },
        false => fact,
    }
}

/// A fact as no caller may see it, if its text asks for that.
fn spoilt(fact: Fact) -> Fact {
    let deep = || format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    match () {
        () if contains(&fact.text, "broken") => Fact { metadata: "{oops".into(), ..fact },
        () if contains(&fact.text, "deep") => Fact { metadata: deep(), ..fact },
        () if contains(&fact.text, "huge") => Fact { text: "x".repeat(300 << 10), ..fact },
        () => fact,
    }
}

impl on_store::Guest for Component {
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal> {
        misbehave(&draft.text, "on-store");
        refusal(&draft.text)?;
        if contains(&draft.text, "nothing") {
            return Ok(Vec::new());
        }
        if contains(&draft.text, "split") {
            let line = |(number, text): (usize, &str)| Draft {
                id: draft.id.as_ref().map(|id| format!("{id}-{number}")),
                text: text.into(),
                metadata: draft.metadata.clone(),
                timestamp: draft.timestamp.clone(),
            };
            return Ok(draft.text.lines().enumerate().map(line).collect());
        }
        if let Some(wrong) = wrong(&draft) {
            return Ok(vec![wrong]);
        }
        let marked = contains(&draft.text, "mark") && draft.metadata == "{}";
        let metadata = if marked { "{\"marked\":true}".into() } else { draft.metadata };
        Ok(vec![Draft { metadata, ..draft }])
    }
}

impl on_query::Guest for Component {
    fn on_query(query: Query) -> Result<Query, Refusal> {
        misbehave(&query.text, "on-query");
        refusal(&query.text)?;
        let said = query.text.clone();
        let query = match () {
            () if contains(&said, "bad-text") => Query { text: "\t".into(), ..query },
            () if contains(&said, "bad-filter") => Query { filter: Some("{oops".into()), ..query },
            () if contains(&said, "bad-top-k") => Query { top_k: 0, ..query },
            () if contains(&said, "more") => Query { top_k: query.top_k * 3, ..query },
            () => query,
        };
        let text = match contains(&query.text, "alias") {
            true => query.text.replace("alias", "renamed"),
            false => query.text,
        };
        Ok(Query { text, ..query })
    }
}

impl on_read::Guest for Component {
    fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
        facts.iter().for_each(|fact| misbehave(&fact.text, "on-read"));
        let shown = facts.into_iter().filter(|fact| !contains(&fact.text, "withheld"));
        let shown = shown.map(veiled).map(spoilt);
        shown.map(|fact| Fact { text: fact.text.replace("secret", "[hidden]"), ..fact }).collect()
    }
}

impl rerank::Guest for Component {
    fn rerank(query: Query, hits: Vec<Hit>) -> Vec<Ranked> {
        misbehave(&query.text, "rerank");
        let mut ranked: Vec<Ranked> =
            hits.into_iter().map(|hit| Ranked { id: hit.fact.id, score: hit.score }).collect();
        if contains(&query.text, "reverse") {
            ranked.iter_mut().for_each(|one| one.score = -one.score);
        }
        if contains(&query.text, "invent") {
            ranked.push(Ranked { id: "invented".into(), score: 1e9 });
        }
        if contains(&query.text, "nan") {
            ranked.iter_mut().for_each(|one| one.score = f64::NAN);
        }
        ranked
    }
}
