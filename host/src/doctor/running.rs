//! The server that runs with these settings, if there is one, and the address that it listens on.

use std::io;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde::Deserialize;
use tokio::net::{TcpListener, UnixStream};

use super::Finding;
use crate::config::{Config, Listen};
use crate::local_socket::SocketPath;

/// How long a server has for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server said of itself.
pub(super) enum Running {
    /// Nobody has the data directory open.
    Nobody,
    /// Somebody does, and does not answer.
    Silent(String),
    Server(Readiness),
}

#[derive(Deserialize)]
pub(super) struct Readiness {
    status: String,
    reason: Option<String>,
}

impl Running {
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    pub(super) fn report(&self, findings: &mut Vec<Finding>) {
        const CHECK: &str = "server";
        findings.push(match self {
            Self::Nobody => Finding::ok(CHECK, "none runs in this data directory"),
            Self::Silent(why) => Finding::problem(
                CHECK,
                format!("one has the data directory open and does not answer: {why}"),
                "look at its log, and start it again",
            ),
            Self::Server(Readiness { status, .. }) if status == "ready" => {
                Finding::ok(CHECK, "one runs in this data directory and is ready")
            }
            Self::Server(Readiness { reason, .. }) => Finding::warn(
                CHECK,
                format!(
                    "one runs and is not ready: {}",
                    reason.as_deref().unwrap_or("it does not say why")
                ),
                "wait, or mend what it names",
            ),
        });
    }
}

/// Asks the server that has the data directory open, over its socket.
pub(super) async fn find(config: &Config) -> Running {
    let Ok(socket) = SocketPath::new(&config.data_dir) else { return Running::Nobody };
    if UnixStream::connect(socket.path()).await.is_err() {
        return Running::Nobody;
    }
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .tls_certs_only([])
        .no_proxy()
        .unix_socket(socket.path().to_owned());
    let asked = async { client.build()?.get("http://localhost/readyz").send().await?.json().await };
    match asked.await {
        Ok(readiness) => Running::Server(readiness),
        Err(error) => Running::Silent(error.to_string()),
    }
}

/// Whether the address is free, or the server's own.
pub(super) async fn port(config: &Config, running: &Running, findings: &mut Vec<Finding>) {
    const CHECK: &str = "listen";
    let listen = &config.listen;
    let is_taken = match listen {
        Listen::Tcp(address) => match TcpListener::bind(address).await {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => true,
            Err(error) => {
                let message = format!("cannot listen on {listen}: {error}");
                findings.push(Finding::problem(CHECK, message, "choose another with --listen"));
                return;
            }
        },
        Listen::Unix(path) => UnixStream::connect(path).await.is_ok(),
    };
    findings.push(match (is_taken, running.is_there()) {
        (false, _) => Finding::ok(CHECK, format!("{listen} is free")),
        (true, true) => Finding::ok(CHECK, format!("{listen} is in use, as the server runs")),
        (true, false) => Finding::problem(
            CHECK,
            format!("{listen} is in use by another process"),
            "end it, or choose another address with --listen",
        ),
    });
}
