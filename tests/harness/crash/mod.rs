//! Kills under load, and what must be true after each: what was acknowledged is there and
//! whole, what is in doubt is as before or as wanted, the index agrees with storage, and
//! a repeated request changes nothing.
//!
//! Every state of every fact has a word of its own, which is in its text and in its
//! metadata, so that halves of two states are seen.

mod check;
mod ledger;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::{Backend, until};
use check::check;
use worker::Worker;

const TENANTS: [&str; 2] = ["alpha", "beta"];
const WORKERS_PER_TENANT: usize = 3;

/// Facts acknowledged in a round before the kill: a number in between, so that it comes
/// at another moment each time.
const FEW: usize = 20;
const MANY: usize = 200;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Server,
    Redis,
    Both,
}

/// What was tried, and what was broken, which must be nothing.
#[derive(Debug, Default)]
pub struct Tally {
    pub rounds: usize,
    pub kills: usize,
    /// Writes of a fact that were acknowledged, and those that nobody answered.
    pub acknowledged: usize,
    pub in_doubt: usize,
    /// Facts compared, and searches for one.
    pub checked: usize,
    pub searched: usize,
    pub lost: Vec<String>,
    pub torn: Vec<String>,
    pub duplicated: Vec<String>,
    pub disagreeing: Vec<String>,
}

impl Tally {
    /// All that was broken.
    pub fn broken(&self) -> Vec<&String> {
        [&self.lost, &self.torn, &self.duplicated, &self.disagreeing]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Writes to a server on `backend` and kills `victims` in turn, one in each round.
pub async fn crash(backend: &mut Backend, rounds: usize, victims: &[Victim]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut server = backend.serve().await?;
    let mut workers = crew();
    for round in 0..rounds {
        let victim = victims[round % victims.len()];
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut working = JoinSet::new();
        for mut worker in workers.drain(..) {
            let caller = server.tenant(worker.tenant);
            let acknowledged = acknowledged.clone();
            working.spawn(async move {
                worker.work(&caller, &acknowledged).await?;
                anyhow::Ok(worker)
            });
        }
        let enough = fastrand::usize(FEW..MANY);
        until("enough is acknowledged", async || {
            let ended = working.try_join_next().transpose()?.transpose()?;
            anyhow::ensure!(ended.is_none(), "a worker ended before the kill");
            Ok((acknowledged.load(Relaxed) >= enough).then_some(()))
        })
        .await?;
        if victim != Victim::Server {
            backend.redis_server_mut().context("there is no Redis to kill")?.kill();
        }
        if victim != Victim::Redis {
            server.kill().await?;
            workers = finish(working).await?;
            if victim == Victim::Both {
                backend.redis_server_mut().context("there is no Redis to start")?.restart();
            }
            server = backend.serve().await?;
        } else {
            workers = finish(working).await?;
            backend.redis_server_mut().context("there is no Redis to start")?.restart();
        }
        tally.rounds += 1;
        tally.kills += if victim == Victim::Both { 2 } else { 1 };
        tally.acknowledged += acknowledged.load(Relaxed);
        for tenant in TENANTS {
            let mut ledgers: Vec<_> = workers
                .iter_mut()
                .filter(|worker| worker.tenant == tenant)
                .map(|worker| &mut worker.ledger)
                .collect();
            check(&server.tenant(tenant), &mut ledgers, &mut tally)
                .await
                .with_context(|| format!("round {round}, {victim:?} killed, {tenant}"))?;
        }
    }
    Ok(tally)
}

fn crew() -> Vec<Worker> {
    let workers = TENANTS
        .iter()
        .flat_map(|tenant| (0..WORKERS_PER_TENANT).map(|number| Worker::new(tenant, number)));
    workers.collect()
}

async fn finish(mut working: JoinSet<Result<Worker>>) -> Result<Vec<Worker>> {
    let mut workers = Vec::new();
    while let Some(worker) = working.join_next().await {
        workers.push(worker??);
    }
    Ok(workers)
}
