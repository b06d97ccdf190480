//! Calls that are cut at any moment: the caller leaves, the time is too short, the guest traps.
//! Whoever is not cut gets their own answers, and nothing of the cut ones stays behind.

use std::time::Duration;

use anyhow::Result;
use kenning_tests::{Backend, Crowd, Cut, Server, Setup, component, on_both_backends, until};
use serde_json::json;
use tokio::task::JoinSet;

/// Callers, rounds, and calls of each in a round: some thousands together.
const CALLERS: usize = 24;
const ROUNDS: usize = 4;
const CALLS: usize = 24;

/// Places for guests: fewer than callers.
const PLACES: usize = 8;

/// Patient where it waits, so that what fails was cut.
fn few_places() -> String {
    format!("guests = {PLACES}")
}

/// Half of the calls are cut, in one way or another.
fn cut(random: &mut fastrand::Rng) -> Cut {
    match random.u8(..4) {
        0 => Cut::CallerLeaves(Duration::from_micros(random.u64(..5_000))),
        1 => Cut::Deadline(random.u32(1..8)),
        _ => Cut::Not,
    }
}

fn cut_or_trap(random: &mut fastrand::Rng) -> Cut {
    match random.u8(..6) {
        0 => Cut::Deed("trap"),
        1 => Cut::Deed("panic"),
        _ => cut(random),
    }
}

/// What an error of a call that was cut, or that met one, may be.
const CODES: [&str; 3] = ["timeout", "overloaded", "unknown outcome"];

async fn survives(
    server: &Server,
    mut crowd: Crowd,
    cut: impl Fn(&mut fastrand::Rng) -> Cut,
    codes: &[&str],
) -> Result<()> {
    crowd.settle_in(2).await?;
    for _ in 0..ROUNDS {
        crowd.call_and(CALLS, &cut).await;
        let tally = crowd.tally();
        tally.assert_kept();
        assert_eq!(tally.errors_but(codes), [""; 0], "{tally:#?}");
        assert!(!tally.cut.is_empty() && tally.checked > 0, "{tally:#?}");
    }
    // Had a place been lost with every hundredth cut, none would be left.
    crowd.settle_in(2).await?;
    crowd.reckon().await?;
    crowd.tally().assert_kept();
    assert_eq!(server.get("/livez").await?.status, 200);
    Ok(())
}

async fn the_logic_survives_cuts(backend: &Backend) -> Result<()> {
    let setup = Setup { config: Setup::patient_but(&few_places()).config, ..backend.setup() };
    let server = Server::start_with(setup).await?;
    let crowd = Crowd::new(&server, CALLERS, 7);
    survives(&server, crowd, cut, &CODES).await
}

async fn traps_disturb_nobody_and_leave_every_place_free(backend: &Backend) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log");
    // Whoever sleeps in the end does so longer than anyone waits.
    let limits = format!("{}\nsearch_ms = 600000", few_places());
    let config = Setup::patient_but(&limits).config;
    let (logic, log) = (Some(component("hostile")?), Some((path.clone(), "warn")));
    let server = Server::start_with(Setup { config, logic, log, ..backend.setup() }).await?;
    let crowd = Crowd::new(&server, CALLERS, 11).of_hostile_logic();
    let codes = [&CODES[..], &["guest_trapped"]].concat();
    survives(&server, crowd, cut_or_trap, &codes).await?;

    // As many guests as there are places sleep at once.
    let mut sleepers = JoinSet::new();
    for sleeper in 0..PLACES {
        // One tenant alone may not have them all.
        let caller = server.tenant(&format!("sleeper{sleeper}"));
        sleepers
            .spawn(async move { caller.post("/v1/search", json!({ "query": "sleep 600" })).await });
    }
    until("all places are taken", async || {
        let log = std::fs::read_to_string(&path)?;
        Ok((log.matches("asleep").count() == PLACES).then_some(()))
    })
    .await
}

on_both_backends!(the_logic_survives_cuts, traps_disturb_nobody_and_leave_every_place_free);
