//! `kill -9` at any moment under mixed load: see [`kenning_tests::crash`].

use anyhow::Result;
use kenning_tests::Backend;
use kenning_tests::crash::{Victim, crash};

async fn nothing_breaks(mut backend: Backend, rounds: usize, victims: &[Victim]) -> Result<()> {
    let tally = crash(&mut backend, rounds, victims).await?;
    assert!(tally.broken().is_empty(), "{tally:#?}");
    assert!(tally.acknowledged > 0 && tally.searched > 0, "{tally:#?}");
    Ok(())
}

#[tokio::test]
async fn a_killed_server_on_embedded_storage_breaks_nothing() -> Result<()> {
    nothing_breaks(Backend::embedded()?, 4, &[Victim::Server]).await
}

#[tokio::test]
async fn a_killed_server_on_redis_breaks_nothing() -> Result<()> {
    nothing_breaks(Backend::redis()?, 3, &[Victim::Server]).await
}

#[tokio::test]
async fn a_redis_and_then_a_server_killed_break_nothing() -> Result<()> {
    nothing_breaks(Backend::redis()?, 4, &[Victim::Redis, Victim::Server]).await
}

#[tokio::test]
async fn a_server_and_a_redis_killed_together_break_nothing() -> Result<()> {
    nothing_breaks(Backend::redis()?, 2, &[Victim::Both]).await
}
