//! Calls that failed in every way in which a guest can misbehave, replayed on an author's machine.

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};
use kenning_tests::{Author, MISBEHAVIOURS, SOON, Server, Setup, component};

/// How many calls fail and are replayed.
const CALLS: usize = 1_000;

/// How many at once.
const AT_ONCE: usize = 4;

pub(crate) async fn run() -> Result<()> {
    println!("\nreplays: {CALLS} calls that fail, each replayed by a program of its own");
    let logic = Some(component("hostile")?);
    let server = Server::start_with(Setup { logic, ..Setup::patient_but(SOON) }).await?;
    let author = Author::of(&server)?;
    let kinds = MISBEHAVIOURS.into_iter().cycle().take(CALLS);
    let replayed = stream::iter(kinds).map(|kind| author.provoke(&server, kind));
    let replayed: Vec<_> = replayed.buffer_unordered(AT_ONCE).try_collect().await?;
    println!("  {} ended as they did, with the same fuel", replayed.len());
    Ok(())
}
