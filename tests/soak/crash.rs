//! Many kills at any moment: see [`kenning_tests::crash`].

use anyhow::{Result, ensure};
use kenning_tests::Backend;
use kenning_tests::crash::{Tally, Victim, crash};
use kenning_tests::report::Table;

/// Kills of each kind. Facts stay from one to the next, so that each round checks more.
const ROUNDS: usize = 12;

/// Starts a server on one of the storages.
type Create = fn() -> Result<Backend>;

/// Kills, checks and prints; fails if anything was broken.
pub(crate) async fn measure() -> Result<()> {
    let mut table = Table::new(
        "kill -9 under mixed load: store, change, delete, batch, import, two tenants",
        2,
        &[
            "storage",
            "killed",
            "rounds",
            "kills",
            "acknowledged",
            "in doubt",
            "checked",
            "searched",
            "lost",
            "torn",
            "duplicated",
            "index disagrees",
        ],
    );
    let mut broken = Vec::new();
    let cases: [(Create, Victim); 4] = [
        (Backend::embedded, Victim::Server),
        (Backend::redis, Victim::Server),
        (Backend::redis, Victim::Redis),
        (Backend::redis, Victim::Both),
    ];
    for (create, victim) in cases {
        let mut backend = create()?;
        let tally = crash(&mut backend, ROUNDS, &[victim]).await?;
        let storage = if backend.redis_server().is_some() { "redis" } else { "embedded" };
        table.row(cells(storage, victim, &tally));
        broken.extend(tally.broken().into_iter().cloned());
    }
    table.print();
    ensure!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

fn cells(storage: &str, victim: Victim, tally: &Tally) -> Vec<String> {
    let counts = [
        tally.rounds,
        tally.kills,
        tally.acknowledged,
        tally.in_doubt,
        tally.checked,
        tally.searched,
        tally.lost.len(),
        tally.torn.len(),
        tally.duplicated.len(),
        tally.disagreeing.len(),
    ];
    let named = [storage.to_string(), format!("{victim:?}").to_lowercase()];
    named.into_iter().chain(counts.iter().map(ToString::to_string)).collect()
}
