//! A backup is of one moment, whatever is written meanwhile, and comes back as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use kenning_tests::backups::{Written, copied, copied_at, difference, texts, write_until};
use kenning_tests::{Backend, command, component, kenning, on_both_backends, run};
use serde_json::json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::support::{about, backup, other, restore, seed, serve, tenant, verify};

on_both_backends!(a_backup_under_load_is_restored_as_everything_was_at_its_revision);

async fn a_backup_under_load_is_restored_as_everything_was_at_its_revision(
    backend: &Backend,
) -> Result<()> {
    let (server, admin) = serve(backend).await?;
    let keys = [tenant(&admin, "acme", 100_000).await?, tenant(&admin, "small", 1).await?];
    let [acme, small] = [&keys[0], &keys[1]].map(|key| server.key(key));
    let fact = |id: &str| json!({ "fact_id": id, "text": "the only one" });
    small.store(fact("one")).await?;
    let extension = fs::read(component("passing")?)?;
    assert_eq!(admin.install("acme", "passing", extension, "?order=3").await?.status, 200);
    let mut written = Written::seeds(seed(&acme, "seed", 1_200).await?);
    let home = tempfile::tempdir()?;
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let shown = first.display().to_string();
    let stopped = CancellationToken::new();
    let (writing, made) = tokio::join!(write_until(&acme, "w", 4, &stopped), async {
        let made = backup(&server, &[&shown]).await;
        stopped.cancel();
        made
    });
    assert!(made?.out.starts_with("2\t"));
    written.add(writing?);
    let facts = copied(&[&first])?;
    let expected = written.at(copied_at(&first, "acme")?);
    assert_eq!(texts(&facts["acme"]), expected, "of {} writes", written.len());
    let before = about(&admin, "acme").await?;
    server.stop().await?;

    assert_eq!(verify(&first).await?.code, Some(0));
    let target = other(backend)?;
    if target.redis_server().is_none() {
        interrupt(&shown, &target).await?;
    }
    let restored = restore(&[&shown], &target).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let again = restore(&[&shown], &target).await?;
    assert!(again.code == Some(1) && again.err.contains("not empty"), "{again:?}");

    let (server, admin) = serve(&target).await?;
    assert_eq!(about(&admin, "acme").await?, before);
    assert_eq!(before["extension"][0], "passing", "{before}");
    let [acme, small] = [&keys[0], &keys[1]].map(|key| server.key(key));
    assert_eq!(acme.get("/v1/stats").await?.json["facts"], expected.len());
    small.post("/v1/facts", fact("two")).await?.assert_error(429, "quota_exceeded");
    backup(&server, &[&second.display().to_string()]).await?;
    assert_eq!(difference(&facts, &copied(&[&second])?), None);
    assert!(copied_at(&second, "acme")? >= copied_at(&first, "acme")?);
    server.stop().await?;

    let part = first.join("part-00001.jsonl");
    let mut bytes = fs::read(&part)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes)?;
    let damaged = verify(&first).await?;
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.out.contains("part-00001.jsonl: block"), "{damaged:?}");
    let refused = restore(&[&shown], &Backend::embedded()?).await?;
    assert!(refused.code == Some(1) && refused.err.contains("damaged"), "{refused:?}");
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Ends a restore halfway, by a limit of the file's size. Nothing is served of it.
async fn interrupt(folder: &str, target: &Backend) -> Result<()> {
    let data_dir = target.setup().data_dir.unwrap_or_default();
    let limited = "umask 022 && ulimit -f 8192 && exec \"$0\" restore \"$1\" --data-dir \"$2\"";
    let mut limits = Command::new("sh");
    limits.args(["-c", limited]).arg(kenning()?).arg(folder).arg(&data_dir).stderr(Stdio::null());
    assert!(!limits.status().await?.success());
    assert!(data_dir.join("facts/facts.redb").exists());
    assert_eq!(mode(&data_dir)?, 0o700);
    for file in fs::read_dir(data_dir.join("facts"))? {
        let file = file?.path();
        assert_eq!(mode(&file)?, 0o600, "{}", file.display());
    }
    let shown = data_dir.display().to_string();
    let verified = run(command(&data_dir, &["verify", "--data-dir", &shown])?, b"").await?;
    let is_told = verified.out.contains("damage: a restore into this storage was interrupted");
    assert!(verified.code == Some(1) && is_told, "{verified:?}");
    let mut serve = command(&data_dir, &["serve", "--data-dir", &shown])?;
    serve.env("KENNING_EMBEDDER", "hash").env("KENNING_LISTEN", "127.0.0.1:0");
    let refused = run(serve, b"").await?;
    assert!(refused.err.contains("was interrupted"), "{refused:?}");
    Ok(())
}
