//! A server, its Redis, and callers who know what they did.

use anyhow::{Result, ensure};
use kenning_tests::{Crowd, FaultProxy, RedisServer, Server, Setup, Tally, VERBS, until};

/// So many callers, with so many facts each to begin with.
pub(super) const CALLERS: usize = 6;
pub(super) const FACTS: usize = 3;

pub(super) struct World {
    pub(super) redis: RedisServer,
    pub(super) proxy: FaultProxy,
    pub(super) server: Server,
    pub(super) crowd: Crowd,
}

impl World {
    /// The server reaches Redis by itself.
    pub(super) async fn start(setup: Setup) -> Result<Self> {
        Self::with(RedisServer::start(), setup, |redis, _| redis.url()).await
    }

    /// The server reaches Redis through the proxy.
    pub(super) async fn behind_proxy(setup: Setup) -> Result<Self> {
        Self::with(RedisServer::start(), setup, |_, proxy| proxy.url()).await
    }

    pub(super) async fn with(
        redis: RedisServer,
        setup: Setup,
        url: impl Fn(&RedisServer, &FaultProxy) -> String,
    ) -> Result<Self> {
        let proxy = FaultProxy::start(redis.port()).await?;
        let storage = Some(url(&redis, &proxy));
        let server = Server::start_with(Setup { storage, ..setup }).await?;
        let mut crowd = Crowd::new(&server, CALLERS, 1);
        crowd.settle_in(FACTS).await?;
        Ok(Self { redis, proxy, server, crowd })
    }

    /// Has everyone call every verb while something fails: some calls do, with nothing but these
    /// codes.
    pub(super) async fn fails_with(&mut self, codes: &[&str]) -> Result<Tally> {
        fails_with(&mut self.crowd, codes).await
    }

    /// Has everyone call every verb while nothing fails.
    pub(super) async fn works(&mut self) -> Result<()> {
        works(&mut self.crowd).await
    }

    /// Waits until all works again, and has everyone compare all there is with what must be.
    pub(super) async fn recovers(&mut self) -> Result<()> {
        recovers(&mut self.crowd).await
    }
}

/// Has everyone call every verb while something fails: some calls do, with nothing but these codes.
pub(super) async fn fails_with(crowd: &mut Crowd, codes: &[&str]) -> Result<Tally> {
    crowd.call(VERBS.len()).await;
    let tally = crowd.tally();
    tally.assert_kept();
    let others = tally.errors_but(&[codes, &["unknown outcome"]].concat());
    ensure!(others.is_empty() && !tally.errors.is_empty(), "other errors: {tally:#?}");
    Ok(tally)
}

/// Has everyone call every verb while nothing fails.
pub(super) async fn works(crowd: &mut Crowd) -> Result<()> {
    crowd.call(VERBS.len()).await;
    let tally = crowd.tally();
    tally.assert_kept();
    ensure!(tally.errors.is_empty(), "errors: {tally:#?}");
    Ok(())
}

/// Waits until all works again, and has everyone compare all there is with what must be.
pub(super) async fn recovers(crowd: &mut Crowd) -> Result<()> {
    until("every call works again", async || {
        crowd.call(VERBS.len()).await;
        let tally = crowd.tally();
        tally.assert_kept();
        Ok(tally.errors.is_empty().then_some(()))
    })
    .await?;
    crowd.reckon().await?;
    crowd.tally().assert_kept();
    Ok(())
}

/// Patient but with Redis, which has a second.
pub(super) fn short_operations() -> Setup {
    Setup::patient_but("storage_operation_ms = 1000")
}

/// A crowd that notices nothing would prove nothing.
#[tokio::test]
async fn what_is_wrong_or_lost_is_noticed() -> Result<()> {
    let tampered: [&[&str]; 4] = [
        &["HSET", "kenning:{m0}:fact:m0f1", "content", "fact m1f1 of m1 version 1 wordc"],
        &["HSET", "kenning:{m1}:fact:m1f1", "metadata", "{\"of\":\"m0\"}"],
        &["DEL", "kenning:{m2}:fact:m2f1"],
        &["ZREM", "kenning:{m3}:order", "m3f1"],
    ];
    for (command, is_lost) in tampered.into_iter().zip([false, false, true, true]) {
        let mut world = World::start(Setup::patient()).await?;
        world.redis.command(command);
        world.crowd.reckon().await?;
        let tally = world.crowd.tally();
        let noticed = (!tally.wrong.is_empty(), !tally.lost.is_empty());
        assert!(if is_lost { noticed.1 } else { noticed.0 }, "{command:?}: {tally:#?}");
        world.crowd.call(2 * VERBS.len()).await;
        let tally = world.crowd.tally();
        assert!(!tally.wrong.is_empty() || !tally.lost.is_empty(), "{command:?}: {tally:#?}");
    }
    Ok(())
}
