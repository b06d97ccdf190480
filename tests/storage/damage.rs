//! Bytes of the embedded file that were altered behind Kenning's back.

use std::path::Path;

use anyhow::{Result, ensure};
use kenning_tests::{Ran, Server, Setup, command, run, until};
use serde_json::json;

use super::unreadable::listed;

/// Alters one bit of every copy of `text` in the file.
fn alter(file: &Path, text: &str) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let found: Vec<usize> = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text.as_bytes())
        .map(|(at, _)| at)
        .collect();
    ensure!(!found.is_empty(), "{text} is not in the file");
    for at in found {
        bytes[at] ^= 1;
    }
    Ok(std::fs::write(file, bytes)?)
}

async fn verify(home: &Path, data: &str) -> Result<Ran> {
    run(command(home, &["verify", "--data-dir", data])?, b"").await
}

#[tokio::test]
async fn an_altered_fact_is_named_and_never_served() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data");
    let data = data_dir.display().to_string();
    let setup = || Setup { data_dir: Some(data_dir.clone()), ..Setup::patient() };
    let server = Server::start_with(setup()).await?;
    for n in 0..20 {
        let fact = json!({ "fact_id": format!("f{n:02}"), "text": format!("rivers word{n:02}") });
        server.store(fact).await?;
    }
    kenning_tests::all_indexed(&server).await?;
    let in_use = verify(home.path(), &data).await?;
    assert!(in_use.code == Some(1) && in_use.err.contains("in use"), "{in_use:?}");
    server.stop().await?;
    let intact = verify(home.path(), &data).await?;
    assert!(intact.code == Some(0) && intact.out.contains("20 facts"), "{intact:?}");

    alter(&data_dir.join("facts/facts.redb"), "rivers word07")?;
    let damaged = verify(home.path(), &data).await?;
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.out.contains("damage: the fact f07 of default is damaged"), "{damaged:?}");

    let server = Server::start_with(setup()).await?;
    let refused = server.get("/v1/facts/f07").await?;
    refused.assert_error(500, "internal");
    assert!(refused.text.contains("f07") && refused.text.contains("damaged"), "{}", refused.text);
    assert_eq!(refused.json["blame"], "backend", "{}", refused.text);
    let changed = server.patch("/v1/facts/f07", json!({ "text": "new" })).await?;
    changed.assert_error(500, "internal");
    let kept: Vec<String> = (0..20).filter(|n| *n != 7).map(|n| format!("f{n:02}")).collect();
    assert_eq!(listed(&server).await?, kept);
    let query = json!({ "query": "rivers", "mode": "text", "top_k": 50 });
    assert_eq!(server.search(query).await?.len(), 19);
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["unreadable"]), (&json!(19), &json!(1)));

    assert_eq!(server.delete("/v1/facts/f07").await?.status, 200);
    server.store(json!({ "fact_id": "f07", "text": "rivers word07" })).await?;
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["unreadable"]), (&json!(20), &json!(0)));
    server.stop().await?;
    let mended = verify(home.path(), &data).await?;
    assert_eq!(mended.code, Some(0), "{mended:?}");
    Ok(())
}

/// Claims more entries than a page can hold, on the page of the file with `text`.
fn spoil_page(file: &Path, text: &str) -> Result<()> {
    const PAGE_BYTES: usize = 4_096;
    let mut bytes = std::fs::read(file)?;
    let found: Vec<usize> = (0..bytes.len() / PAGE_BYTES)
        .map(|number| number * PAGE_BYTES)
        .filter(|at| {
            let page = &bytes[*at..at + PAGE_BYTES];
            page.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .collect();
    ensure!(!found.is_empty(), "{text} is not in the file");
    for at in found {
        bytes[at + 2..at + 4].fill(0xff);
    }
    Ok(std::fs::write(file, bytes)?)
}

/// The library panics when it reads such a page.
#[tokio::test]
async fn a_damaged_page_costs_only_the_facts_on_it() -> Result<()> {
    const FACTS: usize = 40;
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data");
    let data = data_dir.display().to_string();
    let setup = || Setup { data_dir: Some(data_dir.clone()), ..Setup::patient() };
    let server = Server::start_with(setup()).await?;
    // A few facts fill a page.
    let padding = "x".repeat(600);
    for n in 0..FACTS {
        let text = format!("rivers word{n:02} {padding}");
        server.store(json!({ "fact_id": format!("f{n:02}"), "text": text })).await?;
    }
    kenning_tests::all_indexed(&server).await?;
    server.stop().await?;
    spoil_page(&data_dir.join("facts/facts.redb"), "word07")?;

    let damaged = verify(home.path(), &data).await?;
    assert_eq!((damaged.code, damaged.err.as_str()), (Some(1), ""), "{damaged:?}");
    assert!(damaged.out.contains("facts cannot be read beyond the first"), "{damaged:?}");

    let server = Server::start_with(setup()).await?;
    let stats = until("the index is built", async || {
        let stats = server.get("/v1/stats").await?.json;
        Ok((stats["index"]["ready"] == true).then_some(stats))
    })
    .await?;
    let unreadable = stats["unreadable"].as_u64().unwrap_or_default() as usize;
    assert!((1..FACTS / 2).contains(&unreadable), "{stats}");
    assert_eq!(stats["facts"], FACTS - unreadable, "{stats}");
    let query = json!({ "query": "rivers", "mode": "text", "top_k": 100 });
    assert_eq!(server.search(query).await?.len(), FACTS - unreadable);
    server.get("/v1/facts/f07").await?.assert_error(500, "internal");
    assert_eq!(server.get("/v1/facts/f30").await?.status, 200);
    Ok(())
}
