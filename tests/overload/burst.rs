//! More callers than there are places to run and to wait.

use anyhow::{Context, Result};
use kenning_tests::{Server, Setup, component, until};
use tokio::task::JoinSet;

use super::{assert_overloaded, obedient, serves_again, tell};

/// Two that run, three that wait, and no end to either.
const TWO_AND_THREE: &str = "guests = 2\nguests_waiting = 3\nguest_wait_ms = 3600000\n\
                             search_ms = 3600000";

/// Both places are taken for good, so that what happens to the others depends on no
/// clock: as many as the line holds wait, and all others are told.
#[tokio::test]
async fn those_beyond_the_line_are_refused_and_those_in_it_are_served() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let setup = Setup {
        logic: Some(component("hostile")?),
        log: Some((log.clone(), "warn")),
        ..Setup::patient_but(TWO_AND_THREE)
    };
    let server = Server::start_with(setup).await?;
    let mut sleepers = JoinSet::new();
    for _ in 0..2 {
        let caller = (*server).clone();
        sleepers.spawn(async move { tell(&caller, "sleep 3600").await });
    }
    until("both places are taken", async || {
        Ok((std::fs::read_to_string(&log)?.matches("asleep").count() == 2).then_some(()))
    })
    .await?;
    let mut callers = JoinSet::new();
    for _ in 0..53 {
        let caller = (*server).clone();
        callers.spawn(async move { tell(&caller, "anything").await });
    }
    for _ in 0..50 {
        let answer = callers.join_next().await.context("a caller")???;
        assert_overloaded(&answer, &["guests_waiting"]);
    }

    sleepers.shutdown().await;
    while let Some(answer) = callers.join_next().await {
        let answer = answer??;
        assert_eq!(answer.status, 200, "it was in the line: {}", answer.text);
    }
    serves_again(&server).await
}

#[tokio::test]
async fn ten_times_as_many_callers_as_there_is_room_for_are_served_or_told() -> Result<()> {
    let server = obedient("guests = 2\nguests_waiting = 4").await?;
    let mut callers = JoinSet::new();
    for _ in 0..60 {
        let caller = (*server).clone();
        callers.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..5 {
                answers.push(tell(&caller, "work 1").await?);
            }
            anyhow::Ok(answers)
        });
    }
    let mut served = 0;
    while let Some(answers) = callers.join_next().await {
        for answer in answers?? {
            match answer.status {
                200 => served += 1,
                _ => assert_overloaded(&answer, &["guests", "guests_waiting"]),
            }
        }
    }
    assert!(served > 0);
    for _ in 0..20 {
        let answer = tell(&server, "work 1").await?;
        assert_eq!(answer.status, 200, "the burst is over: {}", answer.text);
    }
    Ok(())
}
