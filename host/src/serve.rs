//! `kenning serve`: puts the parts together, in the order they need each other.

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

use crate::app::App;
use crate::config::{Config, LayoutWord};
use crate::embedder::{
    Cached, Embedder, EmbedderChoice, HashEmbedder, LocalEmbedder, RemoteEmbedder,
};
use crate::http::Bodies;
use crate::indexing::{Indexing, Progress};
use crate::kb::Kb;
use crate::registry::{Archive, Registry, follow};
use crate::runtime::compiler::{self, Compiler};
use crate::runtime::{Generation, GenerationRef, Guest, Loader, Runtime, Services, engine};
use crate::server::Routes;
use crate::swap::Swapper;
use crate::tenants::Tenants;
use crate::{heartbeat, http, indexer, server, telemetry, tenants};

/// The logic that comes with the host; empty when its component did not exist at build time.
const LOGIC: &[u8] = include_bytes!(env!("KENNING_LOGIC_COMPONENT"));

/// How long the line that says "listening" waits for the indexes. The server
/// answers before it is printed; a storage that is down must not hold it back.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Guests that went into quarantine, until it is seen to; of more only the last are.
const RESTED: usize = 256;

/// Serves until SIGTERM or SIGINT, then drains.
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
    let following = tokio::spawn(follow::follow(kb.clone()));
    let tenants = tenants::start(kb.clone());
    let swapper = Swapper::new(kb.clone());
    let quarantines = tokio::spawn(swapper.clone().see_to_quarantines());
    let limits = config.limits.clone();
    let bodies = Bodies::new(limits.bodies_bytes);
    let app = Arc::new(App { kb: kb.clone(), swapper, limits, bodies, metrics });
    warn_of_exposure(&config);
    let heartbeat = heartbeat::start();
    // Before it says that it listens: whoever waits for that may stop it at once.
    let stopped = stopped()?;
    let announcing = tokio::spawn(announce(address.to_string(), kb.clone()));
    let routes = Routes { all: http::router(app.clone()), without_place: http::without_place(app) };
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
    if timeout(config.limits.storage_operation, kb.services().indexing.flush()).await.is_err() {
        tracing::warn!("some vectors were not stored; they will be made again");
    }
    kb.services().storage.close().await;
    Ok(())
}

/// As many as the system allows at all. Each caller holds one and so does each component
/// that is loaded, and the usual limit of 1,024 is only a program's own to raise.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
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

/// Everything behind the verbs.
pub async fn knowledge_base(config: &Config) -> anyhow::Result<Kb> {
    let storage = storage(config).await?;
    let embedder = embedder(config)?;
    let limits = config.limits.clone();
    let indexing = Indexing::start(storage.clone(), embedder.clone(), limits.storage_operation);
    let io = tokio::runtime::Handle::current();
    let tenants = Tenants::new(storage.clone(), config.admin_key.clone(), limits.storage_operation);
    if let Err(error) = tenants.refresh().await {
        tracing::warn!(%error, "the tenants are not read yet");
    }
    let rested = broadcast::Sender::new(RESTED);
    let services = Services { storage, embedder, indexing, tenants, limits, rested, io };
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
            tracing::warn!("the embedder is `hash`, which knows no meaning; it is for tests");
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

/// Tells standard output once the server is ready: scripts wait for this line.
async fn announce(address: String, kb: Arc<Kb>) {
    let mut progress = kb.services().indexing.progress();
    let mut known = kb.registry().known();
    let settled = async {
        let _ = progress.wait_for(|now| !matches!(now, Progress::Building { .. })).await;
        let stalled = matches!(&*progress.borrow(), Progress::Stalled { .. });
        if !stalled {
            let _ = known.wait_for(|known| *known).await;
        }
    };
    // Either way the server answers by now.
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
