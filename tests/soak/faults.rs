//! How long calls take while Redis fails, and how soon it is used again.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::join;
use kenning_storage::testing::free_port;
use kenning_tests::report::{Table, ms};
use kenning_tests::{Crowd, Fault, FaultProxy, RedisServer, Server, Setup, Tally};

/// Callers at once.
const CROWD: usize = 64;

/// Facts of each, before anything fails.
const FACTS: usize = 4;

/// Calls of each while something fails, and after it: some of every verb, as not all begin with
/// the same.
const CALLS: usize = 4;

/// A fault and its end, on a Redis and the way to it.
struct Trial {
    name: &'static str,
    callers: usize,
    begin: fn(&mut RedisServer, &FaultProxy),
    end: fn(&mut RedisServer, &FaultProxy),
}

const TRIALS: [Trial; 13] = [
    Trial {
        name: "stopped, one caller",
        callers: 1,
        begin: |redis, _| redis.stop(),
        end: |redis, _| redis.cont(),
    },
    Trial {
        name: "stopped",
        callers: CROWD,
        begin: |redis, _| redis.stop(),
        end: |redis, _| redis.cont(),
    },
    Trial {
        name: "killed, one caller",
        callers: 1,
        begin: |redis, _| redis.kill(),
        end: |redis, _| redis.restart(),
    },
    Trial {
        name: "killed",
        callers: CROWD,
        begin: |redis, _| redis.kill(),
        end: |redis, _| redis.restart(),
    },
    Trial {
        name: "flows forgotten, one caller",
        callers: 1,
        begin: |_, proxy| proxy.forget(),
        end: |_, _| {},
    },
    Trial {
        name: "flows forgotten",
        callers: CROWD,
        begin: |_, proxy| proxy.forget(),
        end: |_, _| {},
    },
    Trial {
        name: "held back, delivered late",
        callers: CROWD,
        begin: |_, proxy| proxy.set(Fault::Hold),
        end: |_, proxy| proxy.heal(),
    },
    Trial {
        name: "each reply 3 s late",
        callers: CROWD,
        begin: |_, proxy| proxy.set(Fault::Delay(Duration::from_secs(3))),
        end: |_, proxy| proxy.heal(),
    },
    Trial {
        name: "cut in replies",
        callers: CROWD,
        begin: |_, proxy| proxy.set(Fault::CutReply),
        end: |_, proxy| proxy.heal(),
    },
    Trial {
        name: "cut before replies",
        callers: CROWD,
        begin: |_, proxy| proxy.set(Fault::LoseReply),
        end: |_, proxy| proxy.heal(),
    },
    Trial {
        name: "hung up on",
        callers: CROWD,
        begin: |_, proxy| proxy.set(Fault::HangUp),
        end: |_, proxy| proxy.heal(),
    },
    Trial {
        name: "-OOM",
        callers: CROWD,
        begin: |redis, _| drop(redis.command(&["CONFIG", "SET", "maxmemory", "1"])),
        end: |redis, _| drop(redis.command(&["CONFIG", "SET", "maxmemory", "0"])),
    },
    Trial {
        name: "-READONLY",
        callers: CROWD,
        begin: |redis, _| {
            redis.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        },
        end: |redis, _| drop(redis.command(&["REPLICAOF", "NO", "ONE"])),
    },
];

pub(crate) async fn run() -> Result<()> {
    let columns =
        ["fault", "callers", "calls", "longest ms", "first good ms", "wrong", "lost", "errors"];
    let mut table = Table::new("Redis fails", 1, &columns);
    table.note(
        "With the bounds of a release. Where the fault has no end of its own, the first good",
    );
    table
        .note("call is counted from when it began. Every answer is compared with what it must be.");
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

impl Trial {
    async fn run(&self) -> Result<(Tally, Duration)> {
        let mut redis = RedisServer::start();
        let proxy = FaultProxy::start(redis.port()).await?;
        // What ends the process is seen without a proxy between.
        let direct = self.name.starts_with("killed") || self.name.starts_with("stopped");
        let storage = Some(if direct { redis.url() } else { proxy.url() });
        let server = Server::start_with(Setup { storage, ..Setup::default() }).await?;
        let mut crowd = Crowd::new(&server, self.callers, 1);
        crowd.settle_in(FACTS).await?;
        crowd.tally();

        let mut probe = Crowd::named(&server, "probe", 1, 1);
        probe.settle_in(FACTS).await?;

        (self.begin)(&mut redis, &proxy);
        let first_good = if self.name.starts_with("flows forgotten") {
            let (first_good, ()) = join(probe.first_good_call(), crowd.call(CALLS)).await;
            first_good?
        } else {
            crowd.call(CALLS).await;
            (self.end)(&mut redis, &proxy);
            probe.first_good_call().await?
        };
        crowd.call(CALLS).await;
        crowd.reckon().await?;
        Ok((crowd.tally(), first_good))
    }

    fn row(&self, tally: &Tally, first_good: Duration) -> [String; 8] {
        [
            self.name.into(),
            self.callers.to_string(),
            tally.calls.to_string(),
            ms(tally.longest),
            ms(first_good),
            tally.wrong.len().to_string(),
            tally.lost.len().to_string(),
            tally.errors_listed(),
        ]
    }
}
