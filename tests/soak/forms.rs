//! How long calls take while a Redis of each form fails, and how soon it is used again.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::join;
use kenning_storage::testing::{RedisCluster, RedisSentinels};
use kenning_tests::report::{Table, ms};
use kenning_tests::{Crowd, RedisServer, Server, Setup, Tally, TlsRedis, VERBS};

/// Callers at once, each of a tenant of its own.
const CROWD: usize = 32;

/// Facts of each, before anything fails.
const FACTS: usize = 3;

/// A Redis of one form.
enum Redis {
    One(RedisServer),
    Tls(TlsRedis),
    Sentinels(RedisSentinels),
    Cluster(RedisCluster),
}

/// A fault, and its end, which is another thing.
struct Trial {
    form: &'static str,
    fault: &'static str,
    start: fn() -> Redis,
    /// Runs beside the callers, on a thread that may wait.
    fail: fn(&mut Redis),
    mend: fn(&mut Redis),
}

/// How long something that somebody else mends lasts: a Sentinel or a cluster that replaces a
/// master needs some seconds.
const LASTS: Duration = Duration::from_secs(6);

const TRIALS: [Trial; 10] = [
    Trial {
        form: "socket",
        fault: "killed",
        start: socket,
        fail: |redis| one(redis).kill(),
        mend: |redis| one(redis).restart(),
    },
    Trial {
        form: "socket",
        fault: "stopped",
        start: socket,
        fail: |redis| one(redis).stop(),
        mend: |redis| one(redis).cont(),
    },
    Trial {
        form: "TLS",
        fault: "killed",
        start: || Redis::Tls(TlsRedis::start()),
        fail: |redis| one(redis).kill(),
        mend: |redis| one(redis).restart(),
    },
    Trial {
        form: "TLS",
        fault: "stopped",
        start: || Redis::Tls(TlsRedis::start()),
        fail: |redis| one(redis).stop(),
        mend: |redis| one(redis).cont(),
    },
    Trial {
        form: "Sentinel",
        fault: "master killed",
        start: || Redis::Sentinels(RedisSentinels::start()),
        fail: |redis| one(redis).kill(),
        mend: |_| {},
    },
    Trial {
        form: "Sentinel",
        fault: "master stopped",
        start: || Redis::Sentinels(RedisSentinels::start()),
        fail: |redis| one(redis).stop(),
        mend: |_| {},
    },
    Trial {
        form: "cluster",
        fault: "master killed",
        start: || Redis::Cluster(RedisCluster::start_replicated()),
        fail: |redis| one(redis).kill(),
        mend: |_| {},
    },
    Trial {
        form: "cluster",
        fault: "master stopped",
        start: || Redis::Cluster(RedisCluster::start_replicated()),
        fail: |redis| one(redis).stop(),
        mend: |_| {},
    },
    Trial {
        form: "cluster",
        fault: "master of all hosts' records killed",
        start: || Redis::Cluster(RedisCluster::start_replicated()),
        fail: |redis| of_control(redis).kill(),
        mend: |_| {},
    },
    Trial {
        form: "cluster",
        fault: "16 slots moved",
        start: || Redis::Cluster(RedisCluster::start()),
        fail: |redis| {
            if let Redis::Cluster(cluster) = redis {
                (0..16).for_each(|n| cluster.move_slot(&format!("{{m{n}}}"), || {}));
            }
        },
        mend: |_| {},
    },
];

fn socket() -> Redis {
    Redis::One(RedisServer::start_with_options(&["--unixsocket", "DIR/redis.sock"]))
}

/// The server that fails: the only one, the master, or the node with a caller's facts.
fn one(redis: &mut Redis) -> &mut RedisServer {
    match redis {
        Redis::One(redis) => redis,
        Redis::Tls(tls) => &mut tls.redis,
        Redis::Sentinels(sentinels) => &mut sentinels.servers[0],
        Redis::Cluster(cluster) => {
            let control = cluster.owner_of("{control}");
            let owners = (0..CROWD).map(|n| cluster.owner_of(&format!("{{m{n}}}")));
            let node = { owners }.find(|owner| *owner != control).unwrap_or(control);
            &mut cluster.nodes[node]
        }
    }
}

/// The node with what all hosts share.
fn of_control(redis: &mut Redis) -> &mut RedisServer {
    match redis {
        Redis::Cluster(cluster) => {
            let node = cluster.owner_of("{control}");
            &mut cluster.nodes[node]
        }
        other => one(other),
    }
}

pub(crate) async fn run() -> Result<()> {
    let columns =
        ["form", "fault", "calls", "longest ms", "first good ms", "wrong", "lost", "errors"];
    let mut table = Table::new("Redis in every form fails", 2, &columns);
    table.note(
        "32 callers, with the bounds of a release; the nodes' time-out and the Sentinels' is",
    );
    table.note(
        "1 s. First good: from the end of the fault or, where others mend it, its beginning,",
    );
    table.note("to the first call of every caller that succeeds, the slowest of them.");
    let mut broken = Vec::new();
    for trial in &TRIALS {
        let (tally, first_good) = trial.run().await?;
        broken.extend(tally.broken().cloned());
        table.row(trial.row(&tally, first_good));
    }
    table.print();
    ensure!(broken.is_empty(), "promises were broken: {broken:#?}");
    Ok(())
}

/// Does something to a Redis on a thread that may wait.
async fn on_thread(step: fn(&mut Redis), mut redis: Redis) -> Result<Redis> {
    let done = tokio::task::spawn_blocking(move || {
        step(&mut redis);
        redis
    });
    Ok(done.await?)
}

impl Trial {
    async fn run(&self) -> Result<(Tally, Duration)> {
        let redis = tokio::task::spawn_blocking(self.start).await?;
        let (url, environment) = match &redis {
            Redis::One(one) => {
                (format!("redis+unix://{}/redis.sock", one.dir().display()), Vec::new())
            }
            Redis::Tls(tls) => (tls.url.clone(), tls.environment.clone()),
            Redis::Sentinels(sentinels) => (sentinels.url(), Vec::new()),
            Redis::Cluster(cluster) => (cluster.url(), Vec::new()),
        };
        let setup = Setup { storage: Some(url), environment, ..Setup::default() };
        let server = Server::start_with(setup).await?;
        let mut crowd = Crowd::new(&server, CROWD, 1);
        crowd.settle_in(FACTS).await?;
        crowd.tally();
        let mut probes: Vec<Crowd> =
            (0..CROWD / 2).map(|n| Crowd::named(&server, &format!("p{n}"), 1, 1)).collect();
        for probe in &mut probes {
            probe.settle_in(FACTS).await?;
        }

        let is_mended_by_others = matches!(&redis, Redis::Sentinels(_) | Redis::Cluster(_));
        let (redis, first_good) = if is_mended_by_others {
            let replaced = async {
                let redis = on_thread(self.fail, redis).await?;
                Ok::<_, anyhow::Error>((redis, slowest_first_good(&mut probes).await?))
            };
            let (replaced, ()) = join(replaced, call_for(&mut crowd, LASTS)).await;
            replaced?
        } else {
            let redis = on_thread(self.fail, redis).await?;
            crowd.call(VERBS.len() / 2).await;
            let redis = on_thread(self.mend, redis).await?;
            (redis, slowest_first_good(&mut probes).await?)
        };
        crowd.call(VERBS.len()).await;
        crowd.reckon().await?;
        drop(redis);
        Ok((crowd.tally(), first_good))
    }

    fn row(&self, tally: &Tally, first_good: Duration) -> [String; 8] {
        [
            self.form.into(),
            self.fault.into(),
            tally.calls.to_string(),
            ms(tally.longest),
            ms(first_good),
            tally.wrong.len().to_string(),
            tally.lost.len().to_string(),
            tally.errors_listed(),
        ]
    }
}

async fn call_for(crowd: &mut Crowd, time: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        crowd.call(1).await;
    }
}

async fn slowest_first_good(probes: &mut [Crowd]) -> Result<Duration> {
    let good = probes.iter_mut().map(Crowd::first_good_call);
    let good = futures::future::try_join_all(good).await?;
    Ok(good.into_iter().max().unwrap_or_default())
}
