//! A host that dies in the middle of a swap: what the record in Redis says, the next
//! start serves, whole.

use std::time::Duration;

use anyhow::Result;
use kenning_runtime::compiler::digest;
use kenning_tests::{Caller, Fault, FaultProxy, RedisServer, Server, Setup, until};
use tempfile::TempDir;

use super::{ANY_TIME, Place, asked, promoted};

/// Longer than any test: what is delayed so does not come.
const NEVER: Duration = Duration::from_secs(3_600);

/// A Redis, and a host that reaches it through what can fail.
struct World {
    redis: RedisServer,
    proxy: FaultProxy,
    data: TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let redis = RedisServer::start();
        let proxy = FaultProxy::start(redis.port()).await?;
        Ok(Self { redis, proxy, data: tempfile::tempdir()? })
    }

    async fn serve(&self) -> Result<Server> {
        let (storage, data_dir) = (Some(self.proxy.url()), Some(self.data.path().join("data")));
        Server::start_with(Setup { storage, data_dir, ..Setup::patient() }).await
    }

    /// A host with a first generation is killed while it replaces it with a second: the
    /// write of the record meets `fault`.
    async fn crash(&self, place: Place, fault: Fault) -> Result<()> {
        let server = self.serve().await?;
        asked(&server, &["cat"]).await?;
        promoted(&place.put(&server, place.component("first")?, ANY_TIME).await?, place.first());
        place.serves(&server, place.first()).await?;

        self.proxy.count_only(record(place));
        let before = self.proxy.commands();
        self.proxy.set(fault);
        let (caller, second) = (Caller::clone(&server), place.component("second")?);
        let swap = tokio::spawn(async move { place.put(&caller, second, ANY_TIME).await });
        until("the record is sent", async || {
            assert!(!swap.is_finished(), "the swap has ended before");
            Ok((self.proxy.commands() > before).then_some(()))
        })
        .await?;
        // Its bytes were kept before.
        assert!(self.keeps("component/", &digest(&place.component("second")?)), "{place:?}");
        if fault != Fault::Swallow {
            until("the record is written", async || Ok(self.is_written(place).then_some(())))
                .await?;
        }
        server.kill().await?;
        assert!(swap.await?.is_err(), "nobody was told");
        self.proxy.heal();
        Ok(())
    }

    fn is_written(&self, place: Place) -> bool {
        let document = match place {
            Place::Logic => "logic",
            Place::Extension => "extensions/default",
        };
        let key = format!("kenning:control:{{control}}:document:{document}");
        self.redis.command(&["HGET", &key, "bytes"]).contains(record(place))
    }

    fn keeps(&self, kind: &str, digest: &str) -> bool {
        let names = self.redis.command(&["HKEYS", "kenning:control:{control}:versions"]);
        let digest = digest.trim_start_matches("sha256:");
        names.lines().any(|name| name.starts_with(kind) && name.ends_with(digest))
    }

    /// Asserts that a new host serves generation `number` with all there is, and takes the next.
    async fn serves_after(&self, place: Place, number: u64, note: &str) -> Result<Server> {
        let server = self.serve().await?;
        // The very first answer has it.
        place.serves(&server, number).await?;
        let listed = place.listed(&server).await?;
        assert_eq!(listed["active"], number, "{listed}");
        assert_eq!(listed["live"]["digest"], digest(&place.component(note)?), "{listed}");
        for id in ["cat", "dog", "tea"] {
            assert_eq!(server.get(&format!("/v1/facts/{id}")).await?.status, 200, "{id}");
        }
        let next = place.put(&server, place.component("third")?, ANY_TIME).await?;
        promoted(&next, number + 1);
        place.serves(&server, number + 1).await?;
        Ok(server)
    }
}

/// What only the write of the record of a second generation holds.
fn record(place: Place) -> &'static str {
    match place {
        Place::Logic => "\"active\":3",
        Place::Extension => "\"active\":2",
    }
}

#[tokio::test]
async fn a_crash_between_persist_and_promote_leaves_the_new_one_serving() -> Result<()> {
    for place in Place::BOTH {
        let world = World::start().await?;
        world.crash(place, Fault::Delay(NEVER)).await?;
        assert!(world.is_written(place));
        let server = world.serves_after(place, place.first() + 1, "second").await?;
        let listed = place.listed(&server).await?;
        assert_eq!(listed["events"].as_array().map(Vec::len), Some(3), "{listed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_between_keeping_and_recording_leaves_the_old_one_serving() -> Result<()> {
    for place in Place::BOTH {
        let world = World::start().await?;
        world.crash(place, Fault::Swallow).await?;
        assert!(!world.is_written(place));
        let server = world.serves_after(place, place.first(), "first").await?;
        let listed = place.listed(&server).await?;
        assert_eq!(listed["events"].as_array().map(Vec::len), Some(2), "{listed}");
    }
    Ok(())
}
