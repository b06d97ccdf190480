//! Finds the server, or becomes it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kenning_client::ServerAddress;
use reqwest::ClientBuilder;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::journal::host_name;
use crate::local_socket::{Claim, SocketPath};
use crate::serve::{Serving, serve_on};
use crate::server::Listener;
use crate::telemetry::Metrics;

/// How often it is looked whether the server is there, while another process may be starting it.
const POLL: Duration = Duration::from_millis(20);

/// The pause before a server on the network is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the server is.
pub(super) enum Home {
    Remote { base: String, address: ServerAddress },
    Directory(Box<Directory>),
}

/// A data directory, and the server in this process, if it is the one that opened it.
pub(super) struct Directory {
    config: Arc<Config>,
    metrics: Metrics,
    socket: SocketPath,
    own: Mutex<Option<Own>>,
}

/// The server in this process.
struct Own {
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Home {
    /// A server on the network.
    ///
    /// # Errors
    /// When `url` is none of a server.
    pub(super) fn remote(url: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let address = ServerAddress::parse(url, ca).context("--server")?;
        let base = address.base().as_str().trim_end_matches('/');
        let base = base.strip_suffix("/mcp").unwrap_or(base).to_owned();
        Ok(Self::Remote { base, address })
    }

    /// The server that has the data directory open, or one in this process.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub(super) fn in_directory(config: Config, metrics: Metrics) -> anyhow::Result<Self> {
        let socket = SocketPath::new(&config.data_dir);
        let socket =
            socket.with_context(|| format!("cannot open {}", config.data_dir.display()))?;
        let config = Arc::new(config);
        Ok(Self::Directory(Box::new(Directory { config, metrics, socket, own: Mutex::default() })))
    }

    /// The URL of the server, without a path.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Remote { base, .. } => base,
            Self::Directory(_) => "http://localhost",
        }
    }

    /// An HTTP client that reaches the server.
    ///
    /// # Errors
    /// When the certificates that are named cannot be read.
    pub(super) fn reached_by(&self, client: ClientBuilder) -> anyhow::Result<ClientBuilder> {
        match self {
            Self::Remote { address, .. } => Ok(address.reached_by(client)?),
            Self::Directory(directory) => {
                let client = client.tls_certs_only([]).no_proxy();
                Ok(client.unix_socket(directory.socket.path().to_owned()))
            }
        }
    }

    /// Waits until a server is there to be asked, or becomes it. Of one on the network nothing is
    /// known before it is asked.
    ///
    /// # Errors
    /// Says why there is none at `until`, or why this process cannot become it.
    pub(super) async fn reach(&self, until: Instant) -> Result<(), String> {
        match self {
            Self::Remote { .. } => Ok(()),
            Self::Directory(directory) => directory.reach(until).await,
        }
    }

    /// The pause before the server is asked again.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Remote { .. } => PAUSE,
            Self::Directory(_) => POLL,
        }
    }

    /// Ends the server in this process, if there is one: calls of others are answered first.
    pub(super) async fn close(&self) {
        let Self::Directory(directory) = self else { return };
        let Some(Own { stop, serving }) = directory.own.lock().await.take() else { return };
        stop.cancel();
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the server ended: {error:#}"),
            Err(error) => tracing::error!(%error, "the server ended"),
        }
    }
}

impl Directory {
    async fn reach(&self, until: Instant) -> Result<(), String> {
        loop {
            if UnixStream::connect(self.socket.path()).await.is_ok() {
                return Ok(());
            }
            // One at a time: the others find its server.
            let mut own = self.own.lock().await;
            let claim = Claim::take(&self.config.data_dir);
            let cannot = |error| {
                let directory = self.config.data_dir.display();
                format!("cannot use the data directory {directory}: {error}")
            };
            if let Some(claim) = claim.map_err(cannot)? {
                *own = Some(self.serve(claim).await.map_err(|error| format!("{error:#}"))?);
                return Ok(());
            }
            drop(own);
            if Instant::now() >= until {
                return Err(format!(
                    "another process has the data directory {} open and does not answer",
                    self.config.data_dir.display()
                ));
            }
            sleep(POLL).await;
        }
    }

    /// Becomes the server of the directory; returns when everything is open.
    async fn serve(&self, claim: Claim) -> anyhow::Result<Own> {
        let listener =
            claim.listen().context("cannot listen on the socket of the data directory")?;
        let host = host_name(format_args!("mcp-{}", std::process::id()));
        let serving =
            Serving { host, listeners: vec![Listener::Unix(listener)], announced: None, tls: None };
        let (config, metrics) = (self.config.clone(), self.metrics.clone());
        let (opened, is_open) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut serving = tokio::spawn(async move {
            let ended = serve_on(&config, metrics, serving, move || {
                let _ = opened.send(());
                Ok(stopped.cancelled_owned())
            });
            let ended = ended.await;
            // Not before: who takes the lock next opens the storage.
            drop(claim);
            ended
        });
        tokio::select! {
            Ok(()) = is_open => Ok(Own { stop, serving }),
            ended = &mut serving => match ended.context("the server failed")? {
                Ok(()) => bail!("the server ended before it began"),
                Err(error) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_with_or_without_the_route() {
        for url in ["http://127.0.0.1:7171", "http://127.0.0.1:7171/", "http://127.0.0.1:7171/mcp"]
        {
            let home = Home::remote(url, None).unwrap();
            assert_eq!(home.base(), "http://127.0.0.1:7171");
        }
        let remote = Home::remote("https://kb.example/base", None).unwrap();
        assert_eq!(remote.base(), "https://kb.example/base");
        assert_eq!(Home::remote("127.0.0.1:1", None).unwrap().base(), "http://127.0.0.1:1");
    }

    #[test]
    fn an_unusable_url_is_refused_and_a_password_not_repeated() {
        let refused = |url| format!("{:#}", Home::remote(url, None).err().unwrap());
        for url in ["ftp://kb.example", "", "http://kb.example/?a"] {
            assert!(refused(url).starts_with("--server"), "{url}");
        }
        assert!(!refused("http://ada:hunter2@kb.example").contains("hunter2"));
    }
}
