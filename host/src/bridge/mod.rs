//! `kenning mcp`: the protocol on standard input and output, passed on to a server.
//!
//! The server is one on the network, the one that has the data directory open, or one in this
//! process. When it goes away, messages under way are sent again to the next one, and a session
//! that it kept is opened again; the client notices neither.
//!
//! | file | holds |
//! |---|---|
//! | `lines` | messages as lines |
//! | `message` | what is read and changed in a message on its way |
//! | `upstream` | one message over HTTP, and what can go wrong |
//! | `home` | finds the server, or becomes it |
//! | `importing` | the reference memory server's file |
//! | `relay` | passes messages on, with their session, and repeats them where that is safe |

mod home;
mod importing;
mod lines;
mod message;
mod relay;
mod upstream;

use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::config::{Config, LogFormat};
use crate::mcp::Options;
use crate::{serve, telemetry};
use home::Home;
pub use importing::import_memory;
use lines::{Line, Lines};
use relay::Relay;
use upstream::Upstream;

/// How long messages under way may take when the client has closed its side.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What `kenning mcp` is started with.
pub struct Settings {
    /// Where the server is.
    pub server: ServerPlace,
    /// The tenant, for a server without keys.
    pub tenant: Option<String>,
    /// The tenant's key.
    pub key: Option<String>,
    /// What the client may do.
    pub options: Options,
}

/// Where a server is.
pub enum ServerPlace {
    /// At an address.
    Remote {
        /// What was typed.
        address: String,
        /// The file of certificates that are trusted besides the system's.
        ca: Option<PathBuf>,
        /// The filter of this process's log.
        log: String,
    },
    /// In the data directory of these settings: another process's, or this one's.
    Directory(Box<Config>),
}

/// Passes messages on until the client closes standard input or this process is told to stop.
///
/// # Errors
/// When a setting is wrong, or a standard stream cannot be used.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let (home, upstream) = settings.open()?;
    if std::io::stdin().is_terminal() {
        eprintln!("kenning mcp: waiting for an MCP client's messages on standard input");
    }
    let (out, written) = lines::write_to(stdout());
    let relay = Arc::new(Relay::new(home, upstream, out));
    // So that the client's first message finds the server there.
    let warming = tokio::spawn({
        let relay = relay.clone();
        async move { relay.reach().await }
    });
    let stopped = stopped()?;
    tokio::select! {
        read = read_all(&relay) => read?,
        () = stopped => {}
    }
    if timeout(LAST_ANSWERS, relay.finish()).await.is_err() {
        tracing::warn!("some calls were still under way when the client left");
    }
    warming.abort();
    relay.close().await;
    // All that hold the other end are gone with the relay.
    drop(relay);
    match timeout(LAST_ANSWERS, written).await {
        Ok(written) => written.context("the writer failed")?,
        // The client does not read any more.
        Err(_) => Ok(()),
    }
}

impl Settings {
    /// Begins this process's logs, and finds the way to the server.
    fn open(self) -> anyhow::Result<(Home, Upstream)> {
        let home = match self.server {
            ServerPlace::Remote { address, ca, log } => {
                telemetry::start_logs(&log, LogFormat::Text, false)?;
                Home::remote(&address, ca.as_deref())?
            }
            ServerPlace::Directory(config) => {
                let metrics = serve::begin_process(&config)?;
                Home::in_directory(*config, metrics)?
            }
        };
        let (tenant, key) = (self.tenant.as_deref(), self.key.as_deref());
        let upstream = Upstream::new(&home, tenant, key, self.options)?;
        Ok((home, upstream))
    }
}

async fn read_all(relay: &Arc<Relay>) -> anyhow::Result<()> {
    let mut lines = Lines::new(stdin());
    while let Some(line) = lines.next().await.context("cannot read standard input")? {
        match line {
            Line::Whole(text) => relay.take(text).await,
            Line::TooLong => relay.refuse_line().await,
        }
    }
    Ok(())
}

fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let (terminated, interrupted) = (pin!(terminate.recv()), pin!(interrupt.recv()));
        futures::future::select(terminated, interrupted).await;
    })
}
