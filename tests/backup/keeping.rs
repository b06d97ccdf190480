//! What extensions keep, how far they were told of changes, and what they did not take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use kenning_tests::backups::{copied, copied_at, difference, operate, told_up_to};
use kenning_tests::{Backend, Caller, Server, all_indexed, on_both_backends};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::support::{other, restore, verify};
use crate::extensions::events::{told, until_told};
use crate::extensions::keeping::{ask, install};

on_both_backends!(
    what_extensions_keep_goes_from_storage_to_storage_and_back,
    an_extension_that_was_behind_learns_that_it_missed_changes,
);

/// Backs up until the backup has an extension that was told of everything.
async fn backup_once_told(server: &Server, home: &Path, name: &str) -> Result<PathBuf> {
    for n in 0..300 {
        let folder = home.join(format!("{name}-{n}"));
        operate(server.url(), "", &["backup", &folder.display().to_string()]).await?;
        let told = told_up_to(&copied(&[&folder])?, "default", "keeping")?;
        if told == copied_at(&folder, "default")? {
            return Ok(folder);
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("the extension is never told of everything")
}

/// What the extension keeps and was told, and what it did not take.
async fn seen(server: &Server, caller: &Caller, tenant: &str) -> Result<Value> {
    let get = async |key: Value| ask(caller, json!({ "do": "get", "key": key })).await;
    let letters = format!("/v1/admin/tenants/{tenant}/extensions/keeping/dead-letters");
    let letters = server.get(&letters).await?.json["dead_letters"].clone();
    Ok(json!({
        "wild": get(json!([0, 255, 123])).await?["ok"]["value"],
        "short": get(json!("short")).await?["ok"],
        "counted": get(json!("told")).await?["ok"]["value"],
        "told": told(caller).await?,
        "letters": letters,
    }))
}

/// The next change is told, once, and nothing else is.
async fn goes_on(server: &Server, caller: &Caller, tenant: &str, before: &Value) -> Result<()> {
    caller.store(json!({ "id": "new", "text": "fresh" })).await?;
    until_told(caller, json!(["new", "Stored", "fresh"])).await?;
    let after = seen(server, caller, tenant).await?;
    let mut expected = before["told"].as_array().cloned().unwrap_or_default();
    expected.push(json!(["new", "Stored", "fresh"]));
    assert_eq!(after["told"], json!(expected));
    assert_eq!(after["letters"], before["letters"]);
    Ok(())
}

async fn what_extensions_keep_goes_from_storage_to_storage_and_back(
    backend: &Backend,
) -> Result<()> {
    let (server, home) = (backend.serve().await?, tempfile::tempdir()?);
    install(&server, "default", "?grant=state").await?;
    for (id, text) in [("a", "tea"), ("p", "poison"), ("z", "after")] {
        server.store(json!({ "id": id, "text": text })).await?;
    }
    until_told(&server, json!(["z", "Stored", "after"])).await?;
    let set = async |key: Value, ttl: u64| {
        let asked = json!({ "do": "set", "key": key, "value": "kept", "ttl": ttl });
        ask(&server, asked).await
    };
    set(json!([0, 255, 123]), 3_600_000).await?;
    set(json!("short"), 1).await?;
    set(json!("dropped"), 3_600_000).await?;
    all_indexed(&server).await?;
    let base = backup_once_told(&server, home.path(), "base").await?;
    ask(&server, json!({ "do": "delete", "key": "dropped" })).await?;
    set(json!("later"), 3_600_000).await?;
    let (more, first) = (home.path().join("more"), home.path().join("first"));
    let shown = [&base, &more].map(|folder| folder.display().to_string());
    operate(server.url(), "", &["backup", &shown[1], "--since", &shown[0]]).await?;
    operate(server.url(), "", &["backup", &first.display().to_string()]).await?;
    let everything = copied(&[&first])?;
    assert_eq!(difference(&everything, &copied(&[&base, &more])?), None);
    let before = seen(&server, &server, "default").await?;
    assert_eq!((&before["wild"], &before["short"]), (&json!("kept"), &Value::Null), "{before}");
    assert_eq!(before["letters"][0]["fact_id"], "p", "{before}");
    let verified = verify(&first).await?;
    assert!(verified.code == Some(0) && verified.out.contains("keys of extensions"));

    // To the other storage, from the backup and the one that continues it.
    let there = other(backend)?;
    let restored = restore(&[&shown[0], &shown[1]], &there).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let moved = there.serve().await?;
    assert_eq!(seen(&moved, &moved, "default").await?, before);
    let second = backup_once_told(&moved, home.path(), "second").await?;
    assert_eq!(difference(&everything, &copied(&[&second])?), None);
    goes_on(&moved, &moved, "default", &before).await?;

    // And back.
    let back = other(&there)?;
    let restored = restore(&[&second.display().to_string()], &back).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let returned = back.serve().await?;
    let third = backup_once_told(&returned, home.path(), "third").await?;
    assert_eq!(difference(&everything, &copied(&[&third])?), None);
    goes_on(&returned, &returned, "default", &before).await?;
    ask(&returned, json!({ "do": "set", "key": "antidote" })).await?;
    let replay = "/v1/admin/tenants/default/extensions/keeping/dead-letters/replay";
    let replayed = returned.post(replay, json!({})).await?;
    assert_eq!(replayed.json, json!({ "taken": 1, "failed": 0, "more": false }));

    // The tenant alone, to a server that has others.
    let file = home.path().join("default.kenning").display().to_string();
    operate(server.url(), "", &["tenant", "export", "default", &file]).await?;
    operate(moved.url(), "", &["tenant", "import", &file, "--name", "guest"]).await?;
    let guest = moved.tenant("guest");
    assert_eq!(seen(&moved, &guest, "guest").await?, before);
    goes_on(&moved, &guest, "guest", &before).await
}

async fn an_extension_that_was_behind_learns_that_it_missed_changes(
    backend: &Backend,
) -> Result<()> {
    let (server, home) = (backend.serve().await?, tempfile::tempdir()?);
    install(&server, "default", "?grant=state").await?;
    server.store(json!({ "id": "a", "text": "tea" })).await?;
    until_told(&server, json!(["a", "Stored", "tea"])).await?;
    backup_once_told(&server, home.path(), "up").await?;
    let extension = "/v1/admin/tenants/default/extensions/keeping";
    let paused = server.patch(extension, json!({ "paused": true })).await?;
    assert_eq!(paused.status, 200, "{}", paused.text);
    server.store(json!({ "id": "b", "text": "not told" })).await?;
    let folder = home.path().join("behind").display().to_string();
    operate(server.url(), "", &["backup", &folder]).await?;

    let there = other(backend)?;
    let restored = restore(&[&folder], &there).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let moved = there.serve().await?;
    let resumed = moved.patch(extension, json!({ "paused": false })).await?;
    assert_eq!(resumed.status, 200, "{}", resumed.text);
    let told = until_told(&moved, json!(["", "Missed", null])).await?;
    assert_eq!(told, [json!(["a", "Stored", "tea"]), json!(["", "Missed", null])]);
    Ok(())
}
