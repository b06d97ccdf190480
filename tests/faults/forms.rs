//! Redis over a socket, over TLS, behind Sentinels and as a cluster: the same faults, and those
//! that only these have.

use anyhow::{Context, Result, ensure};
use kenning_storage::testing::{RedisCluster, RedisSentinels};
use kenning_tests::{
    Crowd, Fault, FaultProxy, RedisCertificates, RedisServer, Server, Setup, TlsRedis, until,
};

use super::support::{CALLERS, FACTS, fails_with, recovers, short_operations, works};

const UNAVAILABLE: [&str; 2] = ["storage_unavailable", "timeout"];

/// A server on such a Redis, and callers who know what they did.
struct World<R> {
    redis: R,
    // Dropped after the callers.
    _server: Server,
    crowd: Crowd,
}

impl<R> World<R> {
    async fn start(redis: R, url: String, setup: Setup) -> Result<Self> {
        let server = Server::start_with(Setup { storage: Some(url), ..setup }).await?;
        let mut crowd = Crowd::new(&server, CALLERS, 1);
        crowd.settle_in(FACTS).await?;
        Ok(Self { redis, _server: server, crowd })
    }
}

/// What every form has to endure of one server.
async fn endures_its_server(mut world: World<RedisServer>) -> Result<()> {
    works(&mut world.crowd).await?;
    world.redis.kill();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    world.redis.restart();
    recovers(&mut world.crowd).await?;
    world.redis.stop();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    world.redis.cont();
    recovers(&mut world.crowd).await
}

#[tokio::test]
async fn over_a_socket() -> Result<()> {
    let redis = RedisServer::start_with_options(&["--unixsocket", "DIR/redis.sock"]);
    let url = format!("redis+unix://{}/redis.sock", redis.dir().display());
    endures_its_server(World::start(redis, url, short_operations()).await?).await
}

#[tokio::test]
async fn over_tls() -> Result<()> {
    let TlsRedis { redis, url, environment, _files } = TlsRedis::start();
    let setup = Setup { environment, ..short_operations() };
    endures_its_server(World::start(redis, url, setup).await?).await
}

/// The master is killed, and what it becomes when it is back takes no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinels_is_killed_and_comes_back() -> Result<()> {
    let redis = RedisSentinels::start();
    let url = redis.url();
    let mut world = World::start(redis, url, short_operations()).await?;
    works(&mut world.crowd).await?;
    replicated(|| world.redis.servers[0].command(&["INFO", "replication"])).await?;
    world.redis.servers[0].kill();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    recovers(&mut world.crowd).await?;
    let master = world.redis.master();
    ensure!(master.is_some_and(|master| master != 0), "another master: {master:?}");
    world.redis.servers[0].restart();
    recovers(&mut world.crowd).await
}

/// The Sentinels, the servers and the callers speak TLS with each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinels_over_tls_is_killed() -> Result<()> {
    let certificates = RedisCertificates::make();
    let redis = RedisSentinels::start_over_tls(&certificates.options());
    let url = redis.url();
    ensure!(url.starts_with("rediss+sentinel://"), "{url}");
    let environment = certificates.environment.clone();
    let mut world = World::start(redis, url, Setup { environment, ..short_operations() }).await?;
    works(&mut world.crowd).await?;
    replicated(|| world.redis.servers[0].command(&["INFO", "replication"])).await?;
    world.redis.servers[0].kill();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    recovers(&mut world.crowd).await?;
    let master = world.redis.master();
    ensure!(master.is_some_and(|master| master != 0), "another master: {master:?}");
    Ok(())
}

/// Over TLS, each node is met at its port for TLS, also where a slot went to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_moves_a_slot_and_loses_a_node_for_a_while() -> Result<()> {
    let certificates = RedisCertificates::make();
    let cluster = RedisCluster::start_over_tls(&certificates.options());
    let url = cluster.url();
    ensure!(url.starts_with("rediss+cluster://"), "{url}");
    let environment = certificates.environment.clone();
    let setup = Setup { environment, ..short_operations() };
    let mut world = World::start(cluster, url, setup).await?;
    works(&mut world.crowd).await?;
    world.redis.move_slot("{m0}", || {});
    recovers(&mut world.crowd).await?;
    let node = world.redis.owner_of("{m0}");
    world.redis.nodes[node].kill();
    world.redis.nodes[node].restart();
    world.redis.until_agreed();
    recovers(&mut world.crowd).await
}

/// It says nothing, so that only the Sentinels know that there is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_behind_sentinels_stands_still() -> Result<()> {
    let redis = RedisSentinels::start();
    let url = redis.url();
    let mut world = World::start(redis, url, short_operations()).await?;
    replicated(|| world.redis.servers[0].command(&["INFO", "replication"])).await?;
    world.redis.servers[0].stop();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    recovers(&mut world.crowd).await?;
    world.redis.servers[0].cont();
    recovers(&mut world.crowd).await
}

async fn on_a_cluster(cluster: RedisCluster) -> Result<World<RedisCluster>> {
    let url = cluster.url();
    World::start(cluster, url, short_operations()).await
}

/// Waits until a replica has what its master has now, as the master says. What was acknowledged and
/// is not on a replica yet, Redis may lose.
async fn replicated(info: impl Fn() -> String) -> Result<()> {
    let offset = |text: &str, after: &str| -> Option<u64> {
        let rest = text.split(after).nth(1)?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    if info().contains("role:slave") {
        return Ok(());
    }
    let wanted = offset(&info(), "master_repl_offset:").context("an offset")?;
    until("a replica has it", async || {
        let has = offset(&info(), ",offset=");
        Ok(has.is_some_and(|has| has >= wanted).then_some(()))
    })
    .await
}

/// Each master in turn, one of which has what all hosts share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_of_a_cluster_are_killed_and_replaced() -> Result<()> {
    let mut world = on_a_cluster(RedisCluster::start_replicated()).await?;
    works(&mut world.crowd).await?;
    let masters = [world.redis.owner_of("kenning:{control}"), world.redis.owner_of("{m0}")];
    for master in masters {
        replicated(|| world.redis.nodes[master].command(&["INFO", "replication"])).await?;
        world.redis.nodes[master].kill();
        recovers(&mut world.crowd).await?;
        world.redis.nodes[master].restart();
        world.redis.until_agreed();
        recovers(&mut world.crowd).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_stands_still() -> Result<()> {
    let mut world = on_a_cluster(RedisCluster::start_replicated()).await?;
    let master = world.redis.owner_of("{m0}");
    replicated(|| world.redis.nodes[master].command(&["INFO", "replication"])).await?;
    world.redis.nodes[master].stop();
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    recovers(&mut world.crowd).await?;
    world.redis.nodes[master].cont();
    recovers(&mut world.crowd).await
}

/// Every caller's slot, while they call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_cluster_are_moved_under_load() -> Result<()> {
    let mut world = on_a_cluster(RedisCluster::start()).await?;
    let cluster = world.redis;
    let moving = tokio::task::spawn_blocking(move || {
        for caller in 0..CALLERS {
            cluster.move_slot(&format!("{{m{caller}}}"), || {});
        }
        // What all hosts share.
        cluster.move_slot("{control}", || {});
        cluster
    });
    while !moving.is_finished() {
        world.crowd.call(4).await;
        let tally = world.crowd.tally();
        tally.assert_kept();
        let others = tally.errors_but(&["storage_unavailable", "timeout", "unknown outcome"]);
        ensure!(others.is_empty(), "other errors: {tally:#?}");
    }
    let _cluster = moving.await?;
    recovers(&mut world.crowd).await
}

/// The way to each node, which stays up, and is not replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_to_a_cluster_are_cut() -> Result<()> {
    let cluster = RedisCluster::start();
    let mut ways = Vec::new();
    for node in &cluster.nodes {
        let way = FaultProxy::start(node.port()).await?;
        let port = way.url().rsplit(':').next().unwrap_or_default().to_owned();
        node.command(&["CONFIG", "SET", "cluster-announce-port", &port]);
        ways.push(way);
    }
    // Nodes tell each other of it now and then.
    until("every node names the proxies", async || {
        let named = cluster.nodes.iter().all(|node| {
            let slots = node.command(&["CLUSTER", "SLOTS"]);
            ways.iter().all(|way| slots.contains(way.url().rsplit(':').next().unwrap_or("none")))
        });
        Ok(named.then_some(()))
    })
    .await?;
    let url = ways[0].url().replace("redis://", "redis+cluster://");
    let mut world = World::start(cluster, url, short_operations()).await?;
    works(&mut world.crowd).await?;
    for fault in [Fault::HangUp, Fault::Hold, Fault::CutReply, Fault::LoseReply] {
        ways.iter().for_each(|way| way.set(fault));
        fails_with(&mut world.crowd, &UNAVAILABLE).await?;
        ways.iter().for_each(FaultProxy::heal);
        recovers(&mut world.crowd).await?;
    }
    ways.iter().for_each(FaultProxy::forget);
    fails_with(&mut world.crowd, &UNAVAILABLE).await?;
    recovers(&mut world.crowd).await
}
