//! `kenning restore`: puts backups into an empty storage, without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kenning_backup::{Manifest, Reader, verify};
use kenning_storage::{
    DocumentName, Layout, OpenError, RESTORING, Restored, Restorer, Storage, StorageLimits,
};
use serde_json::json;

use super::storage::StorageFlags;
use crate::config::Config;
use crate::serve::{keep_to_this_user, only_for_this_user};

pub(super) const HELP: &str = "\
Examples:
  kenning restore /backups/monday --data-dir /var/lib/kenning
  kenning restore /backups/monday /backups/tuesday --storage redis://127.0.0.1:6379
  KENNING_STORAGE=rediss://user:pass@redis.example:6380 kenning restore /backups/monday

The storage must be empty, and no server may use it. The backups are verified first. A restore that
was interrupted begins anew when the same command runs again.";

/// How long one operation of storage may take.
const OPERATION: Duration = Duration::from_secs(30);

/// What to restore, and where to.
#[derive(Args)]
pub(super) struct Restore {
    /// Folders that `kenning backup` wrote: a whole backup, and then those made --since, in order
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    storage: StorageFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Restores, and says what was.
///
/// # Errors
/// When a backup is damaged, or the storage is not empty or fails.
pub(super) async fn run(restore: Restore) -> anyhow::Result<ExitCode> {
    let Restore { folders, storage, json } = restore;
    if storage.storage.is_none() && storage.data_dir.is_none() {
        bail!("name where to: --data-dir DIR, or --storage URL");
    }
    let (_, manifests) = Reader::open(&folders)?;
    for folder in &folders {
        let verified = verify(folder)?;
        if let Some(damage) = verified.damage.first() {
            bail!("{} is damaged, and nothing was restored: {damage}", folder.display());
        }
    }
    let (config, layout) = storage.load()?;
    keep_private(&config)?;
    let limits = StorageLimits {
        operation: OPERATION,
        tls: config.storage_tls.clone(),
        allow_eviction: config.allow_eviction,
        ..StorageLimits::default()
    };
    let storage = open(&config.storage, layout, limits).await?;
    let begun = Instant::now();
    let restored = match into(&storage, &folders, &manifests).await {
        Ok(read) => stored(&storage).await.map(|stored| (read, stored)),
        Err(error) => Err(error),
    };
    storage.close().await;
    let (read, stored) = restored?;
    print(&read, &stored, begun.elapsed(), json);
    Ok(ExitCode::SUCCESS)
}

/// As a server does: nobody else may read what this process writes. A data directory that has
/// nothing of the storage is left alone.
fn keep_private(config: &Config) -> anyhow::Result<()> {
    only_for_this_user();
    let data_dir = &config.data_dir;
    let facts = config.storage.strip_prefix("embedded:").map(Path::new);
    if facts.is_some_and(|facts| facts.starts_with(data_dir)) {
        keep_to_this_user(data_dir)
            .with_context(|| format!("cannot use {}", data_dir.display()))?;
    }
    Ok(())
}

/// What is in a storage.
struct Stored {
    /// Tenants with facts.
    tenants: u64,
    facts: u64,
}

async fn stored(storage: &Arc<dyn Storage>) -> anyhow::Result<Stored> {
    let mut stored = Stored { tenants: 0, facts: 0 };
    for tenant in storage.tenants(soon()).await? {
        let facts = storage.count(&tenant, soon()).await?;
        stored.tenants += u64::from(facts > 0);
        stored.facts += facts;
    }
    Ok(stored)
}

async fn open(
    url: &str,
    layout: Layout,
    limits: StorageLimits,
) -> anyhow::Result<Arc<dyn Storage>> {
    let opened = async {
        kenning_storage::answers(url, layout, &limits.tls).await?;
        kenning_storage::open(url, layout, limits).await
    };
    opened.await.map_err(|error| {
        let what = match error {
            OpenError::InUse(_) => "cannot restore while a server uses the storage; stop it first",
            _ => "cannot restore",
        };
        anyhow::Error::new(error).context(what)
    })
}

async fn into(
    storage: &Arc<dyn Storage>,
    folders: &[PathBuf],
    manifests: &[Manifest],
) -> anyhow::Result<Restored> {
    let (mark, name) = (mark(manifests), DocumentName::parse(RESTORING)?);
    make_empty(storage, &name, mark.as_bytes()).await?;
    let facts = manifests.iter().map(|manifest| manifest.facts).sum();
    let progress = progress(facts);
    let mut restorer = Restorer::new(storage.clone(), OPERATION);
    restorer.keep(RESTORING);
    for record in Reader::open(folders)?.0 {
        restorer.push(record?).await?;
        progress.set_position(restorer.restored().facts);
    }
    progress.finish_and_clear();
    let restored = restorer.restored().clone();
    if !restored.is_complete {
        bail!("the backup is incomplete: its last record is missing");
    }
    delete(storage, &name).await?;
    Ok(restored)
}

/// Names the backup that is being restored.
fn mark(manifests: &[Manifest]) -> String {
    manifests.last().map(Manifest::sha256).unwrap_or_default()
}

/// Refuses a storage with something in it, except what an earlier attempt at the same left there.
async fn make_empty(
    storage: &Arc<dyn Storage>,
    name: &DocumentName,
    mark: &[u8],
) -> anyhow::Result<()> {
    let tenants = storage.tenants(soon()).await?;
    let documents = storage.list_documents("", soon()).await?;
    let is_empty = tenants.is_empty() && documents.is_empty();
    let before = storage.read_document(name, mark.len(), soon()).await.ok().flatten();
    if !is_empty && before.is_none_or(|before| before.bytes != mark) {
        let described = storage.describe();
        bail!(
            "the {} storage at {} is not empty: it has {} tenants with facts and {} documents. \
             `kenning restore` only writes into an empty one",
            described.backend,
            described.address,
            tenants.len(),
            documents.len()
        );
    }
    for tenant in tenants {
        while storage.delete_tenant(&tenant, soon()).await? {}
    }
    for (document, version) in documents.iter().filter(|(document, _)| document != name) {
        storage.delete_document(document, *version, soon()).await?;
    }
    let version =
        documents.iter().find(|(document, _)| document == name).map(|(_, version)| *version);
    let written = storage.write_document(name, mark, version, soon()).await?;
    written.context("somebody else writes into this storage").map(drop)
}

async fn delete(storage: &Arc<dyn Storage>, name: &DocumentName) -> anyhow::Result<()> {
    let listed = storage.list_documents(name.as_str(), soon()).await?;
    for (document, version) in listed.iter().filter(|(document, _)| document == name) {
        storage.delete_document(document, *version, soon()).await?;
    }
    Ok(())
}

fn progress(facts: u64) -> ProgressBar {
    // Draws on standard error, and only on a terminal.
    let bar = ProgressBar::new(facts);
    let template = "{elapsed_precise} [{bar:30}] {human_pos} of {human_len} facts, {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn print(read: &Restored, stored: &Stored, took: Duration, json: bool) {
    let Restored { facts, documents, state, .. } = read;
    let rate = (*facts as f64 / took.as_secs_f64().max(0.001)) as u64;
    match json {
        true => println!(
            "{}",
            json!({ "tenants": stored.tenants, "facts": stored.facts,
                "read": { "facts": facts, "documents": documents, "state": state },
                "took_ms": took.as_millis() as u64 })
        ),
        false => println!(
            "read {facts} facts, {state} keys of extensions and {documents} documents in {:.1} s \
             ({rate} facts a second); the storage has {} facts of {} tenants",
            took.as_secs_f64(),
            stored.facts,
            stored.tenants
        ),
    }
}

fn soon() -> Instant {
    Instant::now() + OPERATION
}
