//! `kenning serve`: puts the parts together, in the order of their dependencies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use kenning_storage::{Layout, Storage, StorageLimits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::config::{Config, LayoutWord};
use crate::http::App;
use crate::http::BodyBudget;
use crate::kb::Kb;
use crate::registry::{Archive, Registry};
use crate::server::Routes;
use crate::swap::Swapper;
use crate::tasks::follow_registry::follow_registry;
use crate::tasks::purge_tenants::purge_tenants;
use crate::tasks::{heartbeat, indexer};
use crate::{http, server, telemetry};
use kenning_core::provenance::GenerationRef;
use kenning_embedder::{
    Cached, Embedder, EmbedderChoice, HashEmbedder, LocalEmbedder, RemoteEmbedder,
};
use kenning_runtime::compiler::{self, Compiler};
use kenning_runtime::tenant_indexes::{Progress, TenantIndexes};
use kenning_runtime::{Generation, Guest, Loader, Runtime, Services, engine};
use kenning_tenants::Tenants;

/// The built-in logic; empty when its component did not exist at build time.
const LOGIC: &[u8] = include_bytes!(env!("KENNING_LOGIC_COMPONENT"));

/// How long the line "listening on" waits for the indexes. The server responds before the line is
/// printed, and a storage that is down must not delay it for ever.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Most quarantines that wait to be recorded; of more, the oldest are dropped.
const QUARANTINES_QUEUED: usize = 256;

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When the server cannot start: the address is taken, a setting is wrong, or storage, model or
/// logic cannot be opened.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::start_logs(&config.log, config.log_format)?;
    let metrics = telemetry::start_metrics()?;
    allow_open_files();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let kb = Arc::new(knowledge_base(&config).await?);
    let indexer = indexer::start(kb.clone());
    let following = tokio::spawn(follow_registry(kb.registry().clone()));
    let tenants = tokio::spawn(purge_tenants(kb.clone()));
    let swapper = Swapper::new(kb.clone());
    let quarantines = tokio::spawn(swapper.clone().follow_quarantines());
    let limits = config.limits.clone();
    let bodies = BodyBudget::new(limits.bodies_bytes);
    let app = Arc::new(App { kb: kb.clone(), swapper, limits, bodies, metrics });
    warn_of_exposure(&config);
    let heartbeat = heartbeat::start();
    // Before "listening on" is printed: who waits for that line may send a signal at once.
    let stopped = stopped()?;
    let announcing = tokio::spawn(announce(address.to_string(), kb.clone()));
    let routes = Routes { all: http::router(app.clone()), rejected: http::without_place(app) };
    let drained = server::run(listener, routes, &config.limits, stopped).await;
    if !drained {
        tracing::warn!("some calls were still running when the drain ended (shutdown_drain_ms)");
    }
    announcing.abort();
    heartbeat.abort();
    indexer.abort();
    following.abort();
    tenants.abort();
    quarantines.abort();
    if timeout(config.limits.storage_operation, kb.services().indexes.flush()).await.is_err() {
        tracing::warn!("some vectors were not stored; they are computed again at the next start");
    }
    kb.services().storage.close().await;
    Ok(())
}

/// Raises the limit of open files to the system's maximum: each connection and each loaded
/// component needs one, and the usual default is 1,024.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn warn_of_exposure(config: &Config) {
    if config.admin_key.is_none() {
        tracing::warn!(
            "no keys are configured: anyone on this machine may read, write and administer anything"
        );
    } else if !config.listen.ip().is_loopback() {
        tracing::warn!(
            address = %config.listen,
            "keys and facts travel unencrypted; put a proxy that ends TLS in front"
        );
    }
}

/// Opens storage, embedder and runtime, and loads the logic.
///
/// # Errors
/// When one of them cannot be opened.
pub async fn knowledge_base(config: &Config) -> anyhow::Result<Kb> {
    let storage = storage(config).await?;
    let embedder = embedder(config)?;
    let limits = config.limits.clone();
    let indexes = TenantIndexes::start(storage.clone(), embedder.clone(), limits.storage_operation);
    let io = tokio::runtime::Handle::current();
    let tenants = Tenants::new(storage.clone(), config.admin_key.clone(), limits.storage_operation);
    if let Err(error) = tenants.refresh().await {
        tracing::warn!(%error, "cannot read the tenants yet");
    }
    let quarantined = broadcast::Sender::new(QUARANTINES_QUEUED);
    let services = Services { storage, embedder, indexes, tenants, limits, quarantined, io };
    let services = Arc::new(services);
    let engine = engine(&config.limits).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let loader = Loader::new(compiler(config)?, engine.clone());
    let built_in = load_logic(config, &loader).await?;
    tracing::info!(digest = &*built_in.guest.reference.digest, "logic loaded");
    let limits = &services.limits;
    let archive =
        Archive::new(services.storage.clone(), limits.storage_operation, limits.component_bytes);
    let registry = Arc::new(Registry::new(archive, loader, Arc::new(built_in)));
    let runtime = Runtime::new(engine, services.clone())?;
    Ok(Kb::new(runtime, registry, services))
}

async fn storage(config: &Config) -> anyhow::Result<Arc<dyn Storage>> {
    let layout = match config.layout {
        LayoutWord::Tenant => Layout::Tenant,
        LayoutWord::Flat => Layout::Flat,
    };
    let operation = config.limits.storage_operation;
    let limits = StorageLimits { operation, ..StorageLimits::default() };
    Ok(kenning_storage::open(&config.storage, layout, limits).await?)
}

fn embedder(config: &Config) -> anyhow::Result<Arc<dyn Embedder>> {
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
    let directory = config.data_dir.join("components");
    Compiler::new(this_program()?, directory.clone(), config.limits.clone())
        .with_context(|| format!("cannot use {}", directory.display()))
}

async fn load_logic(config: &Config, loader: &Loader) -> anyhow::Result<Generation> {
    let given = config.logic.as_ref().map(|path| {
        let read = compiler::read(path, &config.limits);
        read.with_context(|| format!("cannot read the logic {}", path.display()))
    });
    let bytes = given.transpose()?.map_or_else(built_in_logic, |bytes| Ok(Bytes::from(bytes)))?;
    let loaded = loader.load(bytes).await?;
    let reference = GenerationRef { number: 1, digest: loaded.digest.clone() };
    let linked = loaded.logic();
    linked
        .map(|linked| Generation::new(Guest::logic(reference), linked))
        .map_err(|error| anyhow::anyhow!("the logic does not fit this host: {error}"))
}

fn built_in_logic() -> anyhow::Result<Bytes> {
    anyhow::ensure!(
        !LOGIC.is_empty(),
        "this binary was built without the logic: run `make logic` and build again, \
         or name a component with --logic"
    );
    Ok(Bytes::from_static(LOGIC))
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Prints "listening on" once the server is ready; scripts wait for this line.
async fn announce(address: String, kb: Arc<Kb>) {
    let mut progress = kb.services().indexes.progress();
    let mut ready = kb.registry().ready();
    let settled = async {
        let _ = progress.wait_for(|now| !matches!(now, Progress::Building { .. })).await;
        let stalled = matches!(&*progress.borrow(), Progress::Stalled { .. });
        if !stalled {
            let _ = ready.wait_for(|ready| *ready).await;
        }
    };
    // The server responds by now, whether or not everything is ready.
    let _ = timeout(READY_WAIT, settled).await;
    println!("listening on http://{address}");
}

fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}
