//! Runs a recorded call again, on an author's machine: with this binary's engine, and without a
//! server.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kenning_embedder::EmbedderChoice;
use kenning_runtime::{Demand, Recording, Replayed, Urgency, replay};

use crate::config::{Config, Settings};
use crate::opening::{Guests, guests};
use crate::registry::Owner;

/// Replays `recording` with the component in `bytes`. What is compiled is kept in `data_dir`, as a
/// server does; by default in the same directory.
///
/// # Errors
/// When the component does not compile, or the recording cannot be replayed with it.
pub async fn run(
    data_dir: Option<PathBuf>,
    recording: Arc<Recording>,
    bytes: Bytes,
) -> anyhow::Result<Replayed> {
    let folder = tempfile::tempdir()?;
    let config = Config::load(Settings { data_dir, ..Settings::default() }, None)?;
    let mut limits = recording.limits.clone();
    // One guest runs; a server's pool may be larger than this machine allows.
    (limits.guests, limits.guests_per_tenant) = (1, 1);
    let config = Config {
        storage: format!("embedded:{}", folder.path().display()),
        embedder: EmbedderChoice::Hash,
        limits,
        ..config
    };
    let Guests { services, loader, runtime } = guests(&config).await?;
    let demand = Demand { tenant: Owner::Server.tenant(), urgency: Urgency::First };
    let loaded = loader.load(demand, bytes).await?;
    let replayed = replay(&runtime, &loaded, recording).await;
    services.storage.close().await;
    Ok(replayed?)
}
