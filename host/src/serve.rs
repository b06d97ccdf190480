//! `kenning serve`: puts the parts together, in the order of their dependencies.

use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kenning_storage::private;
use kenning_trace::{Queue, Tracer};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listen};
use crate::feed::Feeds;
use crate::http::{App, BodyBudget, Imports, Observing, OriginPolicy, Uploads};
use crate::journal::{Audit, Failures, host_name};
use crate::kb::Kb;
use crate::local_socket::Claim;
use crate::mcp::Mcp;
use crate::opening::{COMPONENTS, Guests, guests};
use crate::registry::{Archive, Owner, Preparation, Registry};
use crate::server::unix_socket::{self, SocketFile};
use crate::server::{Listener, Routes};
use crate::swap::Swapper;
use crate::tasks::follow_registry::follow_registry;
use crate::tasks::keep_journals::keep_journals;
use crate::tasks::purge_tenants::purge_tenants;
use crate::tasks::tell_changes::tell_changes;
use crate::tasks::{heartbeat, indexer};
use crate::telemetry::{Exporter, Metrics, TenantSeries};
use crate::tls::Tls;
use crate::{http, server, systemd, telemetry};
use kenning_core::provenance::GenerationRef;
use kenning_runtime::compiler;
use kenning_runtime::tenant_indexes::WarmUp;
use kenning_runtime::{Demand, Generation, Guest, Loader, Urgency};

/// The built-in logic; empty when its component did not exist at build time.
const LOGIC: &[u8] = include_bytes!(env!("KENNING_LOGIC_COMPONENT"));

/// How long the line "listening on" waits for the indexes that a start loads. The server responds
/// before the line is printed, and a storage that is down must not delay it for ever.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Files that are open besides connections: storage, the log, loaded components.
const OTHER_FILES: u64 = 64;

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When the server cannot start: the address is taken, a setting is wrong, or storage, model or
/// logic cannot be opened.
pub fn serve(config: Config) -> BoxFuture<'static, anyhow::Result<()>> {
    // Boxed, so that its code is generated with this crate, not once more with the binary.
    Box::pin(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let metrics = begin_process(&config)?;
    let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    // The file of a socket is removed at the end.
    let Front { listener, url, name, _file } = listen(&config.listen, tls.as_deref()).await?;
    let mut listeners = vec![listener];
    // Held until the storage is closed.
    let claim = claim(&config.data_dir, &mut listeners);
    warn_of_exposure(&config);
    let host = host_name(name);
    let serving = Serving { host, listeners, announced: Some(url), tls };
    let ended = serve_on(&config, metrics, serving, stopped).await;
    drop(claim);
    ended
}

/// What callers connect to.
struct Front {
    listener: Listener,
    /// What is printed once it serves.
    url: String,
    /// What tells this process from others on the machine.
    name: String,
    _file: Option<SocketFile>,
}

async fn listen(listen: &Listen, tls: Option<&Tls>) -> anyhow::Result<Front> {
    let address = match listen {
        Listen::Tcp(address) => address,
        Listen::Unix(path) => {
            let (listener, file) = unix_socket::bind(path)?;
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            let name = path.to_string_lossy().chars().map(plain).collect();
            let (listener, url) = (Listener::Unix(listener), listen.to_string());
            return Ok(Front { listener, url, name, _file: Some(file) });
        }
    };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let (listener, scheme) = match tls {
        Some(tls) => (Listener::Tls(listener, tls.acceptor()?), "https"),
        None => (Listener::Tcp(listener), "http"),
    };
    let (url, name) = (format!("{scheme}://{address}"), address.port().to_string());
    Ok(Front { listener, url, name, _file: None })
}

/// Prepares this process for serving: logs, limits, who may read its files, metrics.
///
/// # Errors
/// When one of them cannot be set up.
pub fn begin_process(config: &Config) -> anyhow::Result<Metrics> {
    config.check_directories()?;
    telemetry::start_logs(&config.log, config.log_format, config.access_log)?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let metrics = telemetry::start_metrics()?;
    allow_open_files(config.limits.connections as u64);
    survive_file_size_limit()?;
    keep_to_this_user(&config.data_dir)
        .with_context(|| format!("cannot use {}", config.data_dir.display()))?;
    Ok(metrics)
}

/// Listens on the socket of the data directory, too, unless another process does. A server whose
/// facts are elsewhere may share its directory with others.
fn claim(data_dir: &Path, listeners: &mut Vec<Listener>) -> Option<Claim> {
    let claimed = Claim::take(data_dir).and_then(|claim| match claim {
        None => Ok(None),
        Some(claim) => {
            listeners.push(Listener::Unix(claim.listen()?));
            Ok(Some(claim))
        }
    });
    claimed.unwrap_or_else(|error| {
        tracing::warn!(%error, "no socket in the data directory: `kenning mcp` needs --server");
        None
    })
}

/// Where to serve, and as whom.
pub struct Serving {
    /// The name of this process among the hosts on one storage.
    pub host: String,
    /// What connections come from.
    pub listeners: Vec<Listener>,
    /// The URL that is printed when the indexes are ready.
    pub announced: Option<String>,
    /// The certificate of the listeners that speak TLS.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until the end of what `stopped` returns, then drains and closes everything. `stopped` is
/// called when everything is open.
///
/// # Errors
/// When storage, model or logic cannot be opened.
pub async fn serve_on<S: Future<Output = ()>>(
    config: &Config,
    metrics: Metrics,
    serving: Serving,
    stopped: impl FnOnce() -> anyhow::Result<S>,
) -> anyhow::Result<()> {
    let Serving { host, listeners, announced, tls } = serving;
    let kb = Arc::new(knowledge_base(config, host.clone()).await?);
    let indexer = indexer::start(kb.clone());
    let following = tokio::spawn(follow_registry(kb.registry().clone(), host.clone()));
    let (before_ready, compiles) = (config.limits.compile_before_ready, config.limits.compiles);
    let preparing = tokio::spawn(kb.registry().clone().prepare(before_ready, compiles));
    let tenants = tokio::spawn(purge_tenants(kb.clone()));
    let telling = tokio::spawn(tell_changes(kb.clone(), host.clone()));
    let swapper = Swapper::new(kb.clone());
    let quarantines = tokio::spawn(swapper.clone().follow_failing());
    let limits = config.limits.clone();
    let bodies = BodyBudget::new(limits.bodies_bytes);
    let storage = &kb.services().storage;
    let audit = Arc::new(Audit::new(storage.clone(), host.clone(), &limits));
    let failures = kb.failures().clone();
    let journals = tokio::spawn(keep_journals(audit.clone(), failures.clone()));
    let origins = origin_policy(config);
    let proxies = config.trusted_proxies.clone();
    let compressions = Arc::new(Semaphore::new(limits.compressions));
    let certificate = tls.clone().map(|tls| tokio::spawn(tls.follow()));
    let uploads = Uploads::new(&limits);
    let copies = Arc::new(Semaphore::new(1));
    let feeds = Feeds::new(kb.clone(), &limits);
    let reading = tokio::spawn(feeds.clone().read());
    let (imports, stopping) = (Imports::default(), CancellationToken::new());
    let mcp = Arc::new(Mcp::new(kb.clone(), &limits));
    let spans = config.otlp.as_ref().map(|_| Queue::new(limits.trace_spans));
    let observing = observing(config, spans.clone(), kb.tenant_series().cloned());
    let app = App {
        kb: kb.clone(),
        swapper,
        limits,
        bodies,
        copies,
        uploads,
        origins,
        proxies,
        compressions,
        tls,
        audit,
        failures,
        imports,
        feeds,
        stopping: stopping.clone(),
        observing,
        metrics_by_extension: config.metrics_by_extension,
        metrics: metrics.handle,
    };
    let app = Arc::new(app);
    let exporter = config.otlp.clone().zip(spans).map(|(otlp, spans)| {
        let app = app.clone();
        Exporter::start(otlp, &host, spans, metrics.since, move || app.render_metrics())
    });
    let exporter = exporter.transpose()?;
    let failures = app.failures.clone();
    let (heartbeat, watchdog) = (heartbeat::start(), systemd::keep_watchdog());
    // Before "listening on" is printed: who waits for that line may send a signal at once.
    let stopped = stopped()?.inspect(move |()| stopping.cancel());
    let announcing = announced.map(|at| tokio::spawn(announce(at, kb.clone())));
    let routes = Routes { all: http::router(app.clone(), mcp), rejected: http::without_place(app) };
    let proxies = config.trusted_proxies.clone();
    let drained = server::run(listeners, routes, &config.limits, proxies, stopped).await;
    if !drained {
        tracing::warn!("some calls were still running when the drain ended (shutdown_drain_ms)");
    }
    announcing.inspect(|task| task.abort());
    certificate.inspect(|task| task.abort());
    heartbeat.abort();
    indexer.abort();
    following.abort();
    reading.abort();
    preparing.abort();
    tenants.abort();
    telling.abort();
    quarantines.abort();
    journals.abort();
    let until = Instant::now() + config.limits.storage_operation;
    // Otherwise others would wait for this host until its lease ends.
    let _ = kb.services().storage.end_lease(until).await;
    // What is not said counts as used up to what this host was allowed.
    let _ = timeout(config.limits.storage_operation, kb.tenants().end()).await;
    // What cannot be written is lost with this process.
    let _ = timeout(config.limits.storage_operation, failures.flush()).await;
    if timeout(config.limits.storage_operation, kb.services().indexes.flush()).await.is_err() {
        tracing::warn!("some vectors were not stored; they are computed again at the next start");
    }
    kb.services().storage.close().await;
    // Last, so that no other process waits for the storage meanwhile.
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    watchdog.abort();
    Ok(())
}

/// Nobody else may read what this process writes, whatever the umask was, nor what earlier
/// versions wrote.
pub(crate) fn keep_to_this_user(data_dir: &Path) -> io::Result<()> {
    only_for_this_user();
    private::directory(data_dir)?;
    let components = data_dir.join(COMPONENTS);
    // What is behind a link may be somebody else's too.
    if std::fs::symlink_metadata(&components).is_ok_and(|found| found.is_dir()) {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", components.display()))
        };
        private::directory(&components).map_err(named)?;
        private::files_in(&components).map_err(named)?;
    }
    Ok(())
}

/// Nobody else may use the files that this process makes from now on.
pub(crate) fn only_for_this_user() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Raises the limit of open files to the system's maximum: each connection and each loaded
/// component needs one, and the usual default is 1,024.
fn allow_open_files(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    if maximum < connections + OTHER_FILES {
        tracing::warn!(
            maximum,
            connections,
            "this process may open fewer files (RLIMIT_NOFILE, `ulimit -n`) than its connections \
             need; raise that limit, or lower `connections`"
        );
    }
}

fn observing(
    config: &Config,
    spans: Option<Queue>,
    tenants: Option<Arc<TenantSeries>>,
) -> Observing {
    let share = config.otlp.as_ref().map_or(0.0, |otlp| otlp.sample);
    let tracer = spans.map_or_else(Tracer::off, |spans| Tracer::new(spans, share));
    Observing::new(tracer, config.access_log, tenants)
}

fn origin_policy(config: &Config) -> OriginPolicy {
    OriginPolicy {
        is_open: config.admin_keys.is_none(),
        hosts: config.allowed_hosts.clone(),
        origins: config.allowed_origins.clone(),
    }
}

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail, like one on a full disk. By
/// default the system ends the process.
fn survive_file_size_limit() -> std::io::Result<()> {
    /// SIGXFSZ on Linux.
    const FILE_SIZE_EXCEEDED: i32 = 25;
    // The handler stays when the value is dropped.
    signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)).map(drop)
}

fn warn_of_exposure(config: &Config) {
    if config.admin_keys.is_none() {
        tracing::warn!(
            "no keys are configured: anyone on this machine may read, write and administer anything"
        );
    } else if !config.listen.is_loopback() && config.tls.is_none() {
        tracing::warn!(
            address = %config.listen,
            "keys and facts travel unencrypted; give a certificate with --tls-cert, or put a \
             proxy that ends TLS in front"
        );
    }
}

/// Opens storage, embedder and runtime, and loads the logic, for the host of this name.
///
/// # Errors
/// When one of them cannot be opened.
pub async fn knowledge_base(config: &Config, host: String) -> anyhow::Result<Kb> {
    let Guests { services, loader, runtime } = guests(config).await?;
    let built_in = load_logic(config, &loader).await?;
    tracing::info!(digest = &*built_in.guest.reference.digest, "logic loaded");
    let limits = &services.limits;
    let archive =
        Archive::new(services.storage.clone(), limits.storage_operation, limits.component_bytes);
    let records = services.tenants.clone();
    let registry = Arc::new(Registry::new(archive, loader, Arc::new(built_in), records));
    let failures = Arc::new(Failures::new(services.storage.clone(), host, limits));
    let named = limits.metrics_tenants;
    let series = config.metrics_by_tenant.then(|| Arc::new(TenantSeries::new(named)));
    Ok(Kb::new(runtime, registry, services, failures, series))
}

async fn load_logic(config: &Config, loader: &Loader) -> anyhow::Result<Generation> {
    let given = config.logic.as_ref().map(|path| {
        let read = compiler::read(path, &config.limits);
        read.with_context(|| format!("cannot read the logic {}", path.display()))
    });
    let bytes = given.transpose()?.map_or_else(built_in_logic, |bytes| Ok(Bytes::from(bytes)))?;
    let demand = Demand { tenant: Owner::Server.tenant(), urgency: Urgency::First };
    let loaded = loader.load(demand, bytes).await?;
    let reference = GenerationRef { number: 1, digest: loaded.digest.clone() };
    let guest = match config.logic {
        Some(_) => Guest::logic(reference),
        None => Guest::built_in(reference),
    };
    let linked = loaded.logic();
    linked
        .map(|linked| Generation::new(guest, linked))
        .map_err(|error| anyhow::anyhow!("the logic does not fit this host: {error}"))
}

/// Whether the built-in logic was there when this binary was built.
pub(crate) fn has_logic() -> bool {
    !LOGIC.is_empty()
}

fn built_in_logic() -> anyhow::Result<Bytes> {
    anyhow::ensure!(
        !LOGIC.is_empty(),
        "this binary was built without the logic: run `make logic` and build again, \
         or name a component with --logic"
    );
    Ok(Bytes::from_static(LOGIC))
}

/// Prints "listening on" once the server is ready; scripts wait for this line. The service manager
/// is told then, too.
async fn announce(address: String, kb: Arc<Kb>) {
    let mut warm_up = kb.services().indexes.warm_up();
    let mut ready = kb.registry().ready();
    let mut preparation = kb.registry().preparation();
    let settled = async {
        let _ = warm_up.wait_for(|now| *now != WarmUp::Running).await;
        let stalled = *warm_up.borrow() == WarmUp::Stalled;
        if !stalled {
            let _ = ready.wait_for(|ready| *ready).await;
            let _ = preparation.wait_for(|now| *now == Preparation::Over).await;
        }
    };
    // The server responds by now, whether or not everything is ready.
    let _ = timeout(READY_WAIT, settled).await;
    // Whoever started the server may have closed this end; that is no reason not to serve.
    let line = writeln!(std::io::stdout(), "listening on {address}");
    if let Err(error) = line.and_then(|()| std::io::stdout().flush()) {
        tracing::warn!(%address, %error, "listening, which cannot be written to standard output");
    }
    systemd::ready(address).await;
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
        // Not waited for: the drain begins at once.
        tokio::spawn(systemd::stopping());
    })
}
