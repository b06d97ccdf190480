//! Backups under full write load, some of them killed and resumed, each restored and compared fact
//! by fact with what was written up to its revision; and facts from storage to storage and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenning_tests::backups::{
    Copied, Written, copied, copied_at, difference, operate, texts, write_until,
};
use kenning_tests::report::Table;
use kenning_tests::{Backend, Server, all_indexed, command, run};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Backups of each storage, and how many of them go on before one is killed.
const BACKUPS: usize = 20;
const KILLED_EACH: usize = 4;

/// The bytes after which it is killed.
const KILLED_AFTER: u64 = 5 << 20;

const WRITERS: usize = 16;
const SEEDS: usize = 5_000;

/// Facts that go from storage to storage.
const MOVED: usize = 50_000;

pub(crate) async fn run_all() -> Result<()> {
    let columns =
        ["storage", "backups", "killed", "writes meanwhile", "facts at the end", "facts/s"];
    let mut table = Table::new("Backups under load", 1, &columns);
    table.note(format!("{WRITERS} writers; each backup restored into the other storage"));
    table.row(under_load("embedded", &Backend::embedded()?).await?);
    table.row(under_load("redis", &Backend::redis()?).await?);
    table.print();
    let mut table = Table::new("From storage to storage", 1, &["step", "facts/s"]);
    table.note(format!("{MOVED} facts with vectors, embedded to Redis to embedded, 0 differences"));
    for row in there_and_back().await? {
        table.row(row);
    }
    table.print();
    Ok(())
}

async fn under_load(name: &str, backend: &Backend) -> Result<Vec<String>> {
    let server = backend.serve().await?;
    let mut written = Written::seeds(seed(&server, SEEDS).await?);
    let home = tempfile::tempdir()?;
    let (mut killed, mut spent, mut facts) = (0, Duration::ZERO, 0);
    for n in 0..BACKUPS {
        let folder = home.path().join(n.to_string());
        let stopped = CancellationToken::new();
        let round = format!("w{n}");
        let writing = write_until(&server, &round, WRITERS, &stopped);
        let (writing, made) = tokio::join!(writing, async {
            let begun = Instant::now();
            let made = back_up(&server, &folder, n % KILLED_EACH == KILLED_EACH - 1).await;
            stopped.cancel();
            made.map(|was_killed| (was_killed, begun.elapsed()))
        });
        let (was_killed, took) = made?;
        killed += usize::from(was_killed);
        spent += took;
        written.add(writing?);
        let found = copied(&[&folder])?;
        let at = copied_at(&folder, "default")?;
        ensure!(texts(&found["default"]) == written.at(at), "backup {n} is not of revision {at}");
        facts += found["default"].len();
        restored_is_same(&found, &folder, backend).await?;
        fs::remove_dir_all(&folder)?;
    }
    Ok(vec![
        name.into(),
        BACKUPS.to_string(),
        killed.to_string(),
        (written.len() - SEEDS).to_string(),
        written.at(u64::MAX).len().to_string(),
        format!("{:.0}", facts as f64 / spent.as_secs_f64()),
    ])
}

/// Makes a backup; kills the command once when it has written a part. Returns whether it was
/// killed before its end.
async fn back_up(server: &Server, folder: &Path, kills: bool) -> Result<bool> {
    let shown = folder.display().to_string();
    let mut was_killed = false;
    if kills {
        let home = tempfile::tempdir()?;
        let mut command = command(home.path(), &["backup", &shown])?;
        let mut child = command.env("KENNING_SERVER", server.url()).spawn()?;
        let part = folder.join("part-00001.jsonl");
        let is_half_way = || fs::metadata(&part).is_ok_and(|part| part.len() > KILLED_AFTER);
        while child.try_wait()?.is_none() && !is_half_way() {
            sleep(Duration::from_millis(1)).await;
        }
        child.kill().await?;
        was_killed = !folder.join("manifest.json").exists();
    }
    if !kills || was_killed {
        operate(server.url(), "", &["backup", &shown]).await?;
    }
    Ok(was_killed)
}

async fn restored_is_same(found: &Copied, folder: &Path, source: &Backend) -> Result<()> {
    let target = match source.redis_server() {
        Some(_) => Backend::embedded()?,
        None => Backend::redis()?,
    };
    let home = tempfile::tempdir()?;
    let after = round_trip(folder, &target, &home.path().join("after")).await?.1;
    let difference = difference(found, &after);
    ensure!(difference.is_none(), "restored otherwise: {difference:?}");
    Ok(())
}

/// Restores a backup, and makes one of what was restored. Gives how long restoring took, and what
/// is in the new backup.
async fn round_trip(folder: &Path, target: &Backend, to: &Path) -> Result<(Duration, Copied)> {
    let setup = target.setup();
    let data_dir = setup.data_dir.context("a data directory")?.display().to_string();
    let shown = folder.display().to_string();
    let mut arguments = vec!["restore", &shown, "--data-dir", &data_dir];
    arguments.extend(setup.storage.iter().flat_map(|url| ["--storage", url.as_str()]));
    let (home, begun) = (tempfile::tempdir()?, Instant::now());
    let restored = run(command(home.path(), &arguments)?, b"").await?;
    ensure!(restored.code == Some(0), "{restored:?}");
    let took = begun.elapsed();
    let server = target.serve().await?;
    operate(server.url(), "", &["backup", &to.display().to_string()]).await?;
    server.stop().await?;
    Ok((took, copied(&[to])?))
}

async fn there_and_back() -> Result<Vec<Vec<String>>> {
    let (source, home) = (Backend::embedded()?, tempfile::tempdir()?);
    let server = source.serve().await?;
    seed(&server, MOVED).await?;
    all_indexed(&server).await?;
    let folder = |name: &str| -> PathBuf { home.path().join(name) };
    let begun = Instant::now();
    operate(server.url(), "", &["backup", &folder("first").display().to_string()]).await?;
    let made = begun.elapsed();
    server.stop().await?;
    let first = copied(&[&folder("first")])?;
    ensure!(first["default"].len() == MOVED, "{} facts", first["default"].len());
    let (redis, embedded) = (Backend::redis()?, Backend::embedded()?);
    let (there, second) = round_trip(&folder("first"), &redis, &folder("second")).await?;
    let (back, third) = round_trip(&folder("second"), &embedded, &folder("third")).await?;
    for (step, after) in [("Redis", &second), ("embedded", &third)] {
        let difference = difference(&first, after);
        ensure!(difference.is_none(), "not the same in {step}: {difference:?}");
    }
    let row = |step: &str, took: Duration| {
        vec![step.to_owned(), format!("{:.0}", MOVED as f64 / took.as_secs_f64())]
    };
    Ok(vec![
        row("backup of embedded", made),
        row("restore into Redis", there),
        row("restore into embedded", back),
    ])
}

async fn seed(server: &Server, facts: usize) -> Result<Vec<(String, String)>> {
    let seeds: Vec<(String, String)> = (0..facts)
        .map(|n| (format!("seed-{n}"), format!("seed {n} {}", "of a river ".repeat(20))))
        .collect();
    let line = |(id, text): &(String, String)| {
        json!({ "fact_id": id, "text": text, "metadata": { "x": 1.10 } }).to_string() + "\n"
    };
    let imported =
        server.post_raw("/v1/import", seeds.iter().map(line).collect::<String>()).await?;
    ensure!(imported.status == 200, "not imported: {}", imported.text);
    Ok(seeds)
}
