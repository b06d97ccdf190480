//! A backup that was interrupted goes on, and one that is made since another holds what changed.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::Result;
use kenning_tests::backups::{copied, difference};
use kenning_tests::{Backend, Caller, all_indexed, on_both_backends};
use serde_json::json;

use super::support::{backup, other, restore, seed, serve, tenant, verify};

on_both_backends!(an_interrupted_backup_goes_on_and_a_later_one_holds_what_changed);

/// Leaves of a backup what a process that was killed after so many bytes leaves.
fn interrupt(folder: &Path, bytes: u64) -> Result<()> {
    fs::remove_file(folder.join("manifest.json"))?;
    let part = OpenOptions::new().write(true).open(folder.join("part-00001.jsonl"))?;
    Ok(part.set_len(bytes)?)
}

/// Stores, changes and deletes facts of the first and of the last page of a listing.
async fn change(caller: &Caller, round: usize) -> Result<()> {
    for n in [round, 1_400 + round] {
        let path = format!("/v1/facts/seed-{n}");
        let text = json!({ "text": format!("changed in round {round}") });
        assert_eq!(caller.patch(&path, text).await?.status, 200);
        let path = format!("/v1/facts/seed-{}", n + 20);
        assert_eq!(caller.delete(&path).await?.status, 200);
    }
    let text = format!("new in round {round}");
    caller.store(json!({ "fact_id": format!("new-{round}"), "text": text })).await?;
    all_indexed(caller).await.map(drop)
}

async fn an_interrupted_backup_goes_on_and_a_later_one_holds_what_changed(
    backend: &Backend,
) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let acme = server.key(&tenant(&admin, "acme", 100_000).await?);
    let idle = server.key(&tenant(&admin, "idle", 10).await?);
    idle.store(json!({ "fact_id": "only", "text": "stays" })).await?;
    seed(&acme, "seed", 1_500).await?;
    all_indexed(&acme).await?;
    let home = tempfile::tempdir()?;
    let folder = |name: &str| home.path().join(name);
    let made = async |name: &str, since: &[&str]| {
        let shown = folder(name).display().to_string();
        backup(&server, &[&[shown.as_str()], since].concat()).await
    };
    made("first", &[]).await?;
    let length = fs::metadata(folder("first").join("part-00001.jsonl"))?.len();
    interrupt(&folder("first"), length * 9 / 10)?;
    let incomplete = verify(&folder("first")).await?;
    assert!(incomplete.err.contains("goes on where it was"), "{incomplete:?}");
    change(&acme, 1).await?;
    let resumed = made("first", &[]).await?;
    assert!(resumed.err.contains("are there already"), "{resumed:?}");
    let sent = fs::metadata(folder("first").join("part-00002.jsonl"))?.len();
    assert!(sent < length / 2, "{sent} of {length} bytes were sent again");
    made("whole", &[]).await?;
    assert_eq!(difference(&copied(&[&folder("whole")])?, &copied(&[&folder("first")])?), None);

    change(&acme, 2).await?;
    assert_eq!(admin.delete("/v1/admin/tenants/idle").await?.status, 200);
    let first = folder("first").display().to_string();
    made("more", &["--since", &first]).await?;
    let more = fs::metadata(folder("more").join("part-00001.jsonl"))?.len();
    assert!(more < length / 10, "{more} of {length} bytes changed");
    made("now", &[]).await?;
    let now = copied(&[&folder("now")])?;
    assert_eq!(difference(&now, &copied(&[&folder("first"), &folder("more")])?), None);
    server.stop().await?;

    let (more, target) = (folder("more").display().to_string(), other(backend)?);
    let alone = restore(&[&more], &target).await?;
    assert!(alone.code == Some(1) && alone.err.contains(&first), "{alone:?}");
    let restored = restore(&[&first, &more], &target).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    // 1,500, of which two rounds deleted two each and added one each.
    assert!(restored.out.contains("has 1498 facts of 1 tenants"), "{restored:?}");
    let (server, _admin) = serve(&target).await?;
    backup(&server, &[&folder("again").display().to_string()]).await?;
    assert_eq!(difference(&now, &copied(&[&folder("again")])?), None);
    let strange = folder("strange").display().to_string();
    let since = backup(&server, &[strange.as_str(), "--since", &first, "--json"]).await?;
    let told = &since.json()["copied_as_a_whole"][0];
    assert_eq!(told["tenant"], "acme", "{since:?}");
    let because = told["message"].as_str().unwrap_or_default();
    let warning = format!("copied as a whole: acme, because {because}");
    assert!(!because.is_empty() && since.err.contains(&warning), "{since:?}");
    Ok(())
}
