//! A logic that was built before the host offered more runs on.

use std::path::Path;

use anyhow::Result;
use kenning_tests::{Caller, Server, Setup, command, run};
use serde_json::json;

use super::{ANY_TIME, asked, logic, promoted};

/// The logic as it was built when only `kenning:knowledge@0.1.0` was offered.
fn earlier() -> Result<Vec<u8>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    Ok(std::fs::read(fixtures.join("logic-0.1.0/logic.wasm"))?)
}

/// Every mode and fusion finds the fact that has both the words and the meaning.
async fn searched(caller: &Caller) -> Result<()> {
    for mode in ["hybrid", "vector", "text"] {
        for fusion in ["score", "rank"] {
            let query = json!({
                "query": "cat windowsill", "mode": mode, "fusion": fusion, "explain": true,
            });
            let answer = caller.post("/v1/search", query).await?;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.json["results"][0]["doc_id"], "cat", "{}", answer.text);
            assert_eq!(answer.json["degraded"], json!([]), "{}", answer.text);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_logic_built_against_the_first_release_is_promoted_and_searches() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    asked(&server, &["cat"]).await?;
    searched(&server).await?;
    promoted(&server.swap_logic(earlier()?, ANY_TIME).await?, 2);
    searched(&server).await?;
    server.store(json!({ "text": "The bird sleeps on the roof.", "fact_id": "bird" })).await?;
    let found = server.search(json!({ "query": "bird roof" })).await?;
    assert_eq!(found[0], "bird", "what it stored is found");
    promoted(&server.swap_logic(logic("later")?, ANY_TIME).await?, 3);
    searched(&server).await
}

#[tokio::test]
async fn kenning_check_accepts_a_logic_of_the_first_release_and_the_present_one() -> Result<()> {
    let home = tempfile::tempdir()?;
    for (component, retrieves) in [(earlier()?, false), (logic("present")?, true)] {
        let path = home.path().join("logic.wasm");
        std::fs::write(&path, component)?;
        let path = path.display().to_string();
        let ran = run(command(home.path(), &["check", &path, "--json"])?, b"").await?;
        let report: serde_json::Value = ran.out.parse()?;
        assert_eq!((ran.code, &report["accepted"]), (Some(0), &json!(true)), "{}", ran.out);
        let imports = report["imports"].as_array().cloned().unwrap_or_default();
        assert_eq!(imports.contains(&json!("kenning:retrieval/retrieval@0.1.0")), retrieves);
    }
    Ok(())
}
