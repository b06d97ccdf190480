//! Every function that a guest may import, called by one tenant's guests with what they
//! could know of another's: ids, texts, the place of a listing.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{Backend, Caller, component, on_both_backends};
use serde_json::json;
use wit_parser::{Resolve, WorldItem};

use super::{OWNER, World, installed};

on_both_backends!(no_import_gives_or_changes_what_another_tenant_has);

/// What each function that an extension may have answers, where it is told to ask for
/// the other's; in each, what the answer begins with.
fn reading(cursor: &str) -> [(&'static str, String, &'static str); 7] {
    [
        ("read", OWNER.fact.into(), "Ok([None])"),
        ("page", cursor.into(), "Ok(IdPage { ids: []"),
        ("embed", OWNER.word.into(), "Ok(Embeddings"),
        ("nearest", OWNER.word.into(), "Ok([Candidate { id: \"mine\""),
        ("matching", OWNER.word.into(), "Ok([])"),
        ("log", OWNER.word.into(), "()"),
        ("remaining", OWNER.word.into(), "Allowance"),
    ]
}

/// The same of those that only a logic has, one after the other.
const OF_LOGIC: [(&str, &str); 8] = [
    ("examine", "Ok(Some(1.0))"),
    ("retrieve", "Ok(Retrieved { ids: [\"mine\""),
    ("delete", "Ok(false)"),
    // Not there for one who asks whether it is.
    ("upsert", "Ok([false]) Err("),
    ("write", "Ok([true])"),
    ("upsert", "Ok([true]) Ok("),
    ("remove", "Ok([true]) Ok("),
    ("delete", "Ok(true)"),
];

/// The functions that a logic may import, from the text of the contract and the further package.
fn imported() -> Result<BTreeSet<String>> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    resolve.push_path(&wit)?;
    let (package, _) = resolve.push_path(wit.join("retrieval"))?;
    let world = &resolve.worlds[resolve.select_world(&[package], Some("ranking-logic"))?];
    let interfaces = world.imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
        _ => None,
    });
    Ok(interfaces.flat_map(|interface| interface.functions.keys().cloned()).collect())
}

/// What a guest of `caller` got from an imported function: the extension refuses with
/// it, and the logic says it in `degraded`.
async fn pry(caller: &Caller, function: &str, argument: &str) -> Result<String> {
    let query = json!({ "query": format!("pry {function} {argument}"), "mode": "text" });
    let answer = caller.post("/v1/search", query).await?.json;
    let got = answer["degraded"][0].as_str().or_else(|| answer["message"].as_str());
    Ok(got.with_context(|| format!("{function}: {answer}"))?.to_string())
}

async fn no_import_gives_or_changes_what_another_tenant_has(backend: &Backend) -> Result<()> {
    let world = World::start(backend).await?;
    let (before, cursor) = (world.owned().await?, world.cursor().await?);
    let mut tried = BTreeSet::new();
    for guest in ["extension", "logic"] {
        for (function, argument, expected) in reading(&cursor) {
            let got = pry(&world.other, function, &argument).await?;
            assert!(got.starts_with(expected), "{guest}, {function}: {got}");
            assert!(!got.contains("quokka"), "{guest}, {function}: {got}");
            tried.insert(function.to_string());
        }
        if guest == "extension" {
            // In its place the logic, which may do more.
            let loud = "/v1/admin/tenants/badger/extensions/loud";
            assert_eq!(world.admin.delete(loud).await?.status, 200);
            let hostile = std::fs::read(component("hostile")?)?;
            let parameters = "?tenant=badger&force=true";
            installed(world.admin.swap_logic(hostile, parameters).await?)?;
        }
    }
    for (function, expected) in OF_LOGIC {
        let got = pry(&world.other, function, OWNER.fact).await?;
        assert!(got.starts_with(expected), "{function}: {got}");
        tried.insert(function.to_string());
    }
    assert_eq!(tried, imported()?, "every function that there is was tried");
    assert_eq!(world.owned().await?, before);
    Ok(())
}
