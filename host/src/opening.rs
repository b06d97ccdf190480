//! Opens what runs guests: storage, embedder, compiler and runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kenning_embedder::{
    Cached, Embedder, EmbedderChoice, HashEmbedder, LocalEmbedder, RemoteEmbedder,
};
use kenning_runtime::compiler::Compiler;
use kenning_runtime::tenant_indexes::TenantIndexes;
use kenning_runtime::{Embedders, Engines, Loader, Outbound, Recordings, Runtime, Services};
use kenning_storage::{HALF_RESTORED, RESTORING, Storage, StorageLimits};
use kenning_tenants::{Tenants, Tokens};
use tokio::sync::broadcast;

use crate::config::Config;

/// Where compiled components are, below the data directory.
pub(crate) const COMPONENTS: &str = "components";

/// Most quarantines that wait to be recorded; of more, the oldest are dropped.
const FAILING_QUEUED: usize = 256;

/// What runs guests.
pub(crate) struct Guests {
    pub(crate) services: Arc<Services>,
    pub(crate) loader: Loader,
    pub(crate) runtime: Runtime,
}

/// Opens storage, embedder and runtime.
///
/// # Errors
/// When one of them cannot be opened.
pub(crate) async fn guests(config: &Config) -> anyhow::Result<Guests> {
    let storage = storage(config).await?;
    refuse_half_restored(&*storage, config.limits.storage_operation).await?;
    let embedder = embedder(config)?;
    let limits = config.limits.clone();
    let (keys, operation) = (config.admin_keys.clone(), limits.storage_operation);
    let tenants = Tenants::new(storage.clone(), keys, tokens(config).await?, operation);
    let embedders = Arc::new(Embedders::new(embedder, tenants.clone()));
    let indexes = TenantIndexes::start(storage.clone(), embedders.clone(), &limits);
    let io = tokio::runtime::Handle::current();
    if let Err(error) = tenants.refresh().await {
        tracing::warn!(%error, "cannot read the tenants yet");
    }
    let failing = broadcast::Sender::new(FAILING_QUEUED);
    let secrets = config.secrets.clone();
    let recordings = Recordings::new(&limits);
    let outbound = Outbound::new(config.private_hosts.clone());
    let services = Services {
        storage,
        embedders,
        indexes,
        tenants,
        secrets,
        outbound,
        recordings,
        limits,
        failing,
        io,
    };
    let services = Arc::new(services);
    let engines = Engines::new(&config.limits).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let loader = Loader::new(compiler(config)?, engines.first().clone(), &config.limits);
    let runtime = Runtime::new(engines, services.clone())?;
    Ok(Guests { services, loader, runtime })
}

/// Refuses a storage that has not all of a backup yet. One that does not answer may be served once
/// it does.
async fn refuse_half_restored(storage: &dyn Storage, operation: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + operation;
    let found = storage.list_documents(RESTORING, until).await.unwrap_or_default();
    if found.iter().any(|(name, _)| name.as_str() == RESTORING) {
        bail!(HALF_RESTORED);
    }
    Ok(())
}

/// What checks tokens, if there are any. A file of keys must be there; a URL may be away for now.
async fn tokens(config: &Config) -> anyhow::Result<Option<Tokens>> {
    let Some(settings) = config.tokens.clone() else { return Ok(None) };
    let (jwks, failed) = (settings.jwks.clone(), anyhow::Error::msg::<String>);
    let tokens = Tokens::new(settings).map_err(failed)?;
    match tokens.load().await {
        Err(error) if jwks.is_remote() => {
            tracing::warn!(%jwks, error, "cannot read the keys of tokens yet");
        }
        read => drop(read.map_err(failed).with_context(|| format!("--jwt-jwks {jwks}"))?),
    }
    Ok(Some(tokens))
}

async fn storage(config: &Config) -> anyhow::Result<Arc<dyn Storage>> {
    let operation = config.limits.storage_operation;
    let allow_eviction = config.allow_eviction;
    let (changes, change_age) = (config.limits.stream_changes, config.limits.stream_age);
    let limits = StorageLimits {
        operation,
        allow_eviction,
        tls: config.storage_tls.clone(),
        changes,
        change_age,
        ..StorageLimits::default()
    };
    Ok(kenning_storage::open(&config.storage, config.layout.into(), limits).await?)
}

/// The embedder that the settings name.
///
/// # Errors
/// When it cannot be loaded.
pub(crate) fn embedder(config: &Config) -> anyhow::Result<Arc<dyn Embedder>> {
    let cache = config.limits.embedding_cache_bytes;
    Ok(match config.embedder {
        EmbedderChoice::Hash => {
            tracing::warn!(
                "the embedder is `hash`, which is for tests: its vectors have no meaning"
            );
            Arc::new(Cached::new(HashEmbedder, cache))
        }
        EmbedderChoice::Local => {
            let directory = kenning_model::locate(config.model_dir.as_deref())?;
            let threads = config.embedder_threads;
            let local = LocalEmbedder::load(&directory, threads, config.limits.embedding_queue)?;
            Arc::new(Cached::new(local, cache))
        }
        EmbedderChoice::Remote { .. } => {
            let settings = config.remote_embedder()?;
            Arc::new(Cached::new(RemoteEmbedder::new(settings)?, cache))
        }
    })
}

fn compiler(config: &Config) -> anyhow::Result<Compiler> {
    Compiler::new(this_program()?, &config.data_dir, config.limits.clone()).with_context(|| {
        let folder = config.data_dir.join(COMPONENTS);
        format!("cannot keep compiled components in {}", folder.display())
    })
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}
