//! The settings: from flags, else the environment, else `kenning.toml`, else the defaults. All of
//! them are checked before anything is opened.
//!
//! An empty value is an error in the file and in a flag; an empty environment variable counts as
//! unset, except for the admin key, without which the server would be open. A secret may be in a
//! file that the environment names.

mod check;
mod environment;
mod listen;
mod lists;
mod log_filter;
mod otlp;
mod secrets;
mod tokens;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::BoolishValueParser;
use kenning_index::limits::DIMENSIONS;
use serde::Deserialize;

use crate::origin::{Authority, Origin};
use crate::proxies::TrustedProxies;
use crate::tls::TlsFiles;
use kenning_client::secret;
use kenning_core::limits::Limits;
use kenning_embedder::{EmbedderChoice, RemoteSettings};
use kenning_runtime::{HostPattern, Secrets};
use kenning_tenants::{AdminKeys, TokenSettings};

pub use check::check;
pub(crate) use check::{check_logic, usable_directory};
pub use environment::limit_variables;
pub use listen::Listen;
use lists::{allowed_hosts, allowed_origins, private_hosts, trusted_proxies};
pub use otlp::{Otlp, OtlpSettings};
pub use tokens::JwtSettings;
pub use words::{LayoutWord, LogFormat};

const LISTEN: &str = "127.0.0.1:7171";
const LOG: &str = "info";
/// The most threads that make vectors: more than any machine has cores.
const EMBEDDER_THREADS: usize = 1_024;

/// Flags of `kenning serve`; each has an environment variable and a key of the same
/// name in `kenning.toml`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct Settings {
    /// Address to serve on, or unix:PATH for a socket in the file system that only this user may
    /// use; port 0 picks a free one [default: 127.0.0.1:7171]
    #[arg(long, env = "KENNING_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,

    /// File with the server's certificate in PEM, and those between it and one that callers trust;
    /// then TLS is spoken, with HTTP/2. The file is read again when it changes
    #[arg(long, env = "KENNING_TLS_CERT", value_name = "FILE")]
    #[serde(alias = "tls-cert")]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key in PEM
    #[arg(long, env = "KENNING_TLS_KEY", value_name = "FILE")]
    #[serde(alias = "tls-key")]
    pub tls_key: Option<PathBuf>,

    /// Where facts live: embedded:DIR, redis://[user:pass@]host:port[/db], rediss:// (over TLS),
    /// redis+unix:///path, redis+sentinel://host:port[,host:port...]/NAME or
    /// redis+cluster://host:port[,host:port...] [default: embedded, under the data directory].
    /// A password belongs in the environment or the file, not on the command line
    #[arg(long, env = "KENNING_STORAGE", value_name = "URL", hide_env_values = true)]
    pub storage: Option<String>,

    /// The certificates, in PEM, of the authorities to trust for Redis over TLS [default: the
    /// system's]. This file and the next two are read again for each new connection
    #[arg(long, env = "KENNING_STORAGE_CA", value_name = "FILE")]
    #[serde(alias = "storage-ca")]
    pub storage_ca: Option<PathBuf>,

    /// The certificate, in PEM, that this server shows to Redis over TLS
    #[arg(long, env = "KENNING_STORAGE_CERT", value_name = "FILE")]
    #[serde(alias = "storage-cert")]
    pub storage_cert: Option<PathBuf>,

    /// The private key, in PEM, of the certificate that this server shows to Redis
    #[arg(long, env = "KENNING_STORAGE_KEY", value_name = "FILE")]
    #[serde(alias = "storage-key")]
    pub storage_key: Option<PathBuf>,

    /// How facts are laid out in Redis; flat shares the tenant `default` with a
    /// service that keeps facts at fact:ID [default: tenant]
    #[arg(long, env = "KENNING_LAYOUT", value_name = "LAYOUT")]
    pub layout: Option<LayoutWord>,

    /// Serve on a Redis that evicts facts when its memory is full (maxmemory-policy allkeys-*),
    /// and accept that they vanish; without this the server does not start there
    #[arg(
        long,
        env = "KENNING_ALLOW_EVICTION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
    )]
    #[serde(alias = "allow-eviction")]
    pub allow_eviction: Option<bool>,

    /// Also say in /metrics what each extension costs, with the names of tenants and extensions as
    /// labels: one series for each hook, and anyone who may read /metrics sees the names
    #[arg(
        long,
        env = "KENNING_METRICS_BY_EXTENSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
    )]
    #[serde(alias = "metrics-by-extension")]
    pub metrics_by_extension: Option<bool>,

    /// Also count in /metrics what each tenant asks, and name it in spans: anyone who may read
    /// those sees the names. Of many tenants, the first metrics_tenants have series of their own
    #[arg(
        long,
        env = "KENNING_METRICS_BY_TENANT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
    )]
    #[serde(alias = "metrics-by-tenant")]
    pub metrics_by_tenant: Option<bool>,

    /// What embeds: local (all-MiniLM-L6-v2 in this process), openai:BASE_URL,
    /// ollama:BASE_URL or tei:BASE_URL (a remote one, such as
    /// openai:https://api.openai.com/v1 or ollama:http://127.0.0.1:11434), or hash (for
    /// tests; its vectors have no meaning) [default: local]. A remote embedder's key, if it
    /// needs one, comes from the environment variable KENNING_EMBEDDING_KEY
    #[arg(long, env = "KENNING_EMBEDDER", value_name = "SPEC", hide_env_values = true)]
    pub embedder: Option<String>,

    /// The remote embedder's model; with tei, which serves only one, any name for it. After a
    /// change of the name all vectors are computed again
    #[arg(long, env = "KENNING_EMBEDDING_MODEL", value_name = "NAME")]
    #[serde(alias = "embedding-model")]
    pub embedding_model: Option<String>,

    /// Numbers in each of the remote embedder's vectors, if its model lets you choose
    /// [default: the model's own]
    #[arg(long, env = "KENNING_EMBEDDING_DIMENSIONS", value_name = "N")]
    #[serde(alias = "embedding-dimensions")]
    pub embedding_dimensions: Option<usize>,

    /// Threads of the local embedder [default: one for each core]
    #[arg(long, env = "KENNING_EMBEDDER_THREADS", value_name = "N")]
    #[serde(alias = "embedder-threads")]
    pub embedder_threads: Option<usize>,

    /// Directory of the embedding model's files [default: found in the cache]
    #[arg(long, env = "KENNING_MODEL_DIR", value_name = "DIR")]
    #[serde(alias = "model-dir")]
    pub model_dir: Option<PathBuf>,

    /// Directory for facts and compiled components [default: ~/.local/share/kenning]
    #[arg(long, env = "KENNING_DATA_DIR", value_name = "DIR")]
    #[serde(alias = "data-dir")]
    pub data_dir: Option<PathBuf>,

    /// A component to use as the logic instead of the built-in one
    #[arg(long, env = "KENNING_LOGIC", value_name = "FILE.wasm")]
    pub logic: Option<PathBuf>,

    /// What to log, such as warn or info,kenning=debug [default: info]
    #[arg(long, env = "KENNING_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to log [default: text]
    #[arg(long, env = "KENNING_LOG_FORMAT", value_name = "FORMAT")]
    #[serde(alias = "log-format")]
    pub log_format: Option<LogFormat>,

    /// Log a line for each request, as the target access, whatever else is logged: who asked for
    /// which route, with what result. Never what was asked
    #[arg(
        long,
        env = "KENNING_ACCESS_LOG",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
    )]
    #[serde(alias = "access-log")]
    pub access_log: Option<bool>,

    /// Where traces and metrics are sent
    #[command(flatten)]
    pub otlp: OtlpSettings,

    /// Hosts that requests may be for, besides loopback, with or without a port and separated by
    /// commas, such as kb.internal. Without keys all other hosts are refused, so that no web page
    /// can use the server by pointing its own name at it; with keys only if this is set
    #[arg(long, env = "KENNING_ALLOWED_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    #[serde(alias = "allowed-hosts")]
    pub allowed_hosts: Option<Vec<String>>,

    /// Origins whose web pages may use the server, besides its own, separated by commas, such as
    /// http://localhost:3000. Their browsers are told so (CORS)
    #[arg(long, env = "KENNING_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    #[serde(alias = "allowed-origins")]
    pub allowed_origins: Option<Vec<String>>,

    /// Proxies whose X-Forwarded-For, -Proto and -Host are believed: addresses and networks,
    /// separated by commas, such as 10.0.0.0/8; unix for those on a socket in the file system
    #[arg(long, env = "KENNING_TRUSTED_PROXIES", value_name = "PROXIES", value_delimiter = ',')]
    #[serde(alias = "trusted-proxies")]
    pub trusted_proxies: Option<Vec<String>>,

    /// Hosts that extensions may send requests to although their addresses are private: this
    /// machine's or its network's. Names or addresses with a port, separated by commas, such as
    /// 127.0.0.1:8080. An extension needs the grant for the host as well
    #[arg(long, env = "KENNING_PRIVATE_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    #[serde(alias = "private-hosts")]
    pub private_hosts: Option<Vec<String>>,

    /// Tokens that stand for keys
    #[command(flatten)]
    pub jwt: JwtSettings,

    /// The operator's keys. Only from KENNING_ADMIN_KEY or the file: others can read flags
    #[arg(skip)]
    #[serde(alias = "admin-key")]
    pub admin_key: Option<AdminKeys>,

    /// The limits: from the file, or each from a variable of its own
    #[arg(skip)]
    pub limits: Option<Limits>,

    /// Where the secrets of extensions are, which only the file can say
    #[arg(skip)]
    pub secrets: Option<BTreeMap<String, String>>,
}

/// Settings with every default filled in and every value checked.
#[derive(Debug)]
pub struct Config {
    /// Address to serve on.
    pub listen: Listen,
    /// The certificate, if TLS is spoken there.
    pub tls: Option<TlsFiles>,
    /// Where facts are kept.
    pub storage: String,
    /// The files for Redis over TLS.
    pub storage_tls: kenning_storage::TlsFiles,
    /// How facts are laid out in Redis.
    pub layout: LayoutWord,
    /// Whether Redis may evict facts.
    pub allow_eviction: bool,
    /// Whether `/metrics` names extensions.
    pub metrics_by_extension: bool,
    /// Whether `/metrics` and spans name tenants.
    pub metrics_by_tenant: bool,
    /// What computes vectors.
    pub embedder: EmbedderChoice,
    /// Model of the remote embedder.
    pub embedding_model: Option<String>,
    /// Numbers in a vector of the remote embedder; `None` for the model's own length.
    pub embedding_dimensions: Option<usize>,
    /// Threads of the local embedder, at least 1.
    pub embedder_threads: usize,
    /// Directory of the local model's files; `None` to look in the cache.
    pub model_dir: Option<PathBuf>,
    /// Directory for facts and compiled components.
    pub data_dir: PathBuf,
    /// Component to use instead of the built-in logic.
    pub logic: Option<PathBuf>,
    /// Filter of the log.
    pub log: String,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Whether each request is logged.
    pub access_log: bool,
    /// Where traces and metrics are sent, if they are.
    pub otlp: Option<Otlp>,
    /// Hosts that requests may be for, besides loopback.
    pub allowed_hosts: Vec<Authority>,
    /// Origins whose pages may use the server, besides its own.
    pub allowed_origins: Vec<Origin>,
    /// Proxies that are believed.
    pub trusted_proxies: TrustedProxies,
    /// Hosts that extensions may reach at private addresses.
    pub private_hosts: Vec<HostPattern>,
    /// Without a key anyone may do anything, and the server listens on loopback only.
    pub admin_keys: Option<AdminKeys>,
    /// Tokens that stand for keys.
    pub tokens: Option<TokenSettings>,
    /// The limits.
    pub limits: Limits,
    /// The secrets of extensions.
    pub secrets: Secrets,
    /// What the operator should know before anything is served, one sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Merges `flags`, which include the environment, with the file at `path`, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or a setting is wrong.
    pub fn load(flags: Settings, path: Option<&Path>) -> anyhow::Result<Self> {
        let admin_keys = environment::admin_keys()?.or(flags.admin_key);
        let file = path.map(read_file).transpose()?.unwrap_or_default();
        let exposed = path.and_then(|path| check::exposed(path, &file));
        let tokens = tokens::tokens(flags.jwt, file.jwt)?;
        let warnings = exposed.into_iter().chain(tokens::warning(tokens.as_ref())).collect();
        let data_dir = match flags.data_dir.or(file.data_dir) {
            Some(directory) => directory,
            None => default_data_dir()?,
        };
        let storage = secret("KENNING_STORAGE")?;
        let default_storage = || format!("embedded:{}", data_dir.join("facts").display());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Self {
            listen: Listen::parse(flags.listen.or(file.listen).as_deref().unwrap_or(LISTEN))?,
            tls: tls(flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key))?,
            storage: flags.storage.or(storage).or(file.storage).unwrap_or_else(default_storage),
            storage_tls: kenning_storage::TlsFiles {
                ca: flags.storage_ca.or(file.storage_ca),
                cert: flags.storage_cert.or(file.storage_cert),
                key: flags.storage_key.or(file.storage_key),
            },
            layout: flags.layout.or(file.layout).unwrap_or(LayoutWord::Tenant),
            allow_eviction: flags.allow_eviction.or(file.allow_eviction).unwrap_or(false),
            metrics_by_extension: flags
                .metrics_by_extension
                .or(file.metrics_by_extension)
                .unwrap_or(false),
            metrics_by_tenant: flags.metrics_by_tenant.or(file.metrics_by_tenant).unwrap_or(false),
            embedder: {
                // A mistake in the file is an error even if a flag overrides it.
                let in_file = embedder(file.embedder.as_deref())?;
                match &flags.embedder {
                    Some(flag) => embedder(Some(flag))?,
                    None => in_file,
                }
            },
            embedding_model: flags.embedding_model.or(file.embedding_model),
            embedding_dimensions: flags.embedding_dimensions.or(file.embedding_dimensions),
            embedder_threads: flags.embedder_threads.or(file.embedder_threads).unwrap_or(cores),
            model_dir: flags.model_dir.or(file.model_dir),
            data_dir,
            logic: flags.logic.or(file.logic),
            log: flags.log.or(file.log).unwrap_or_else(|| LOG.into()),
            log_format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            access_log: flags.access_log.or(file.access_log).unwrap_or(false),
            otlp: otlp::otlp(flags.otlp, file.otlp)?,
            allowed_hosts: allowed_hosts(flags.allowed_hosts.or(file.allowed_hosts))?,
            allowed_origins: allowed_origins(flags.allowed_origins.or(file.allowed_origins))?,
            trusted_proxies: trusted_proxies(flags.trusted_proxies.or(file.trusted_proxies))?,
            private_hosts: private_hosts(flags.private_hosts.or(file.private_hosts))?,
            admin_keys: admin_keys.or(file.admin_key),
            tokens,
            limits: environment::limits(file.limits.unwrap_or_default())?,
            secrets: secrets::read(&file.secrets.unwrap_or_default())?,
            warnings,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.admin_keys.is_none() && self.tokens.is_some() {
            bail!(
                "tokens (--jwt-issuer) are for servers with keys: set KENNING_ADMIN_KEY, with \
                 which the tenants are created that tokens name"
            );
        }
        if self.admin_keys.is_none() && !self.listen.is_loopback() {
            bail!(
                "without keys the server listens on loopback only, and {} is not loopback; set \
                 KENNING_ADMIN_KEY to serve other machines, which then need keys",
                self.listen
            );
        }
        if let (Listen::Unix(path), Some(_)) = (&self.listen, &self.tls) {
            bail!(
                "--tls-cert has no effect on unix:{}, which never leaves this machine; leave one \
                 of them out",
                path.display()
            );
        }
        if !(1..=EMBEDDER_THREADS).contains(&self.embedder_threads) {
            let given = self.embedder_threads;
            bail!("--embedder-threads must be 1 to {EMBEDDER_THREADS}, and is {given}");
        }
        log_filter::check(&self.log)?;
        if matches!(self.embedder, EmbedderChoice::Remote { .. }) {
            self.remote_embedder()?;
        } else if self.embedding_model.is_some() || self.embedding_dimensions.is_some() {
            bail!(
                "--embedding-model and --embedding-dimensions are for a remote embedder; \
                 choose one with --embedder"
            );
        }
        self.limits.validate().map_err(anyhow::Error::msg)
    }
}

/// Errors do not repeat the value, which may contain a password.
fn embedder(spec: Option<&str>) -> anyhow::Result<EmbedderChoice> {
    let Some(spec) = spec else { return Ok(EmbedderChoice::Local) };
    spec.parse().map_err(|wrong| anyhow::anyhow!("--embedder: {wrong}"))
}

/// Most bytes of a model's name, which is stored with every vector.
const MODEL_NAME_BYTES: usize = 200;

impl Config {
    /// The settings of the remote embedder.
    ///
    /// # Errors
    /// When the embedder is not a remote one, or one of its settings is missing or wrong.
    pub fn remote_embedder(&self) -> anyhow::Result<RemoteSettings> {
        let EmbedderChoice::Remote { protocol, base } = &self.embedder else {
            bail!("--embedder is not a remote embedder");
        };
        let model = self.embedding_model.clone().unwrap_or_default();
        if model.is_empty() || model.len() > MODEL_NAME_BYTES || model.contains(char::is_control) {
            bail!(
                "a remote embedder needs --embedding-model NAME, of 1 to {MODEL_NAME_BYTES} bytes \
                 without control characters"
            );
        }
        if self.embedding_dimensions.is_some_and(|wanted| !(1..=DIMENSIONS).contains(&wanted)) {
            bail!("--embedding-dimensions must be 1 to {DIMENSIONS}");
        }
        Ok(RemoteSettings {
            protocol: *protocol,
            base: base.clone(),
            model,
            dimensions: self.embedding_dimensions,
            key: environment::embedding_key()?,
            requests: self.limits.embedding_requests,
            texts: self.limits.embedding_queue,
            window_bytes: self.limits.embedding_window_bytes,
        })
    }
}

fn read_file(path: &Path) -> anyhow::Result<Settings> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    check::no_empty_values(path, &text)?;
    toml::from_str(&text).map_err(|error| {
        let location = location(&text, error.span().map_or(0, |span| span.start));
        anyhow::anyhow!("in {}, {location}: {}", path.display(), error.message())
    })
}

/// The line number and the key at byte `at`, without the value, which may be a secret.
fn location(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = line.split_once('=').map_or("", |(key, _)| key.trim());
    format!("line {number} {key}").trim_end().to_owned()
}

fn tls(certificate: Option<PathBuf>, key: Option<PathBuf>) -> anyhow::Result<Option<TlsFiles>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("--tls-cert needs --tls-key, the certificate's private key"),
        (None, Some(_)) => bail!("--tls-key needs --tls-cert, the key's certificate"),
    }
}

/// The user's data directory, by the XDG base directory specification.
fn default_data_dir() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local").join("share")));
    let base = base.context("HOME is not set; use --data-dir")?;
    Ok(base.join("kenning"))
}

#[cfg(test)]
mod tests;
