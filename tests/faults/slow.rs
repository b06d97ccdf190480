//! A Redis that answers slowly: in time, or when nobody waits any more.

use std::time::Duration;

use anyhow::Result;
use kenning_tests::{Fault, Setup};

use super::support::{World, short_operations};

#[tokio::test]
async fn replies_that_are_slow_and_in_time() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    for fault in [Fault::Delay(Duration::from_millis(50)), Fault::Trickle] {
        world.proxy.set(fault);
        world.works().await?;
    }
    world.proxy.heal();
    world.recovers().await
}

/// Each reply comes while the next calls wait on the same connection, and must not be taken for
/// one of theirs.
#[tokio::test]
async fn replies_that_come_when_their_callers_are_gone() -> Result<()> {
    let mut world = World::behind_proxy(short_operations()).await?;
    world.proxy.set(Fault::Delay(Duration::from_millis(1_500)));
    world.fails_with(&["timeout"]).await?;
    world.proxy.heal();
    world.recovers().await
}
