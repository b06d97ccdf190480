//! More callers than there are places to run and to wait.

use anyhow::Result;
use kenning_tests::{Answer, until};
use tokio::task::JoinSet;

use super::{assert_overloaded, obedient, serves_again, tell};

const TWO_AND_THREE: &str = "guests = 2\nguests_waiting = 3\nsearch_ms = 600000";

/// Both places are taken for good, so that what happens to the others depends on no
/// clock: as many as the line holds wait, and all others are told.
#[tokio::test]
async fn those_beyond_the_line_are_refused_and_those_in_it_are_served() -> Result<()> {
    let server = obedient(TWO_AND_THREE).await?;
    let mut sleepers = JoinSet::new();
    for _ in 0..2 {
        let caller = (*server).clone();
        sleepers.spawn(async move { tell(&caller, "sleep 3600").await });
    }
    let mut callers = JoinSet::new();
    let one_more = |callers: &mut JoinSet<Result<Answer>>| {
        let caller = (*server).clone();
        callers.spawn(async move { tell(&caller, "anything").await });
    };
    for _ in 0..3 {
        one_more(&mut callers);
    }
    // Some of those may come before the sleepers, so that there is room behind them.
    let mut refused = 0;
    until("the places are taken and the line is full", async || {
        one_more(&mut callers);
        while let Some(answer) = callers.try_join_next() {
            let answer = answer??;
            if answer.status != 200 {
                assert_overloaded(&answer, &["guests_waiting"]);
                refused += 1;
            }
        }
        Ok((callers.len() == 3 && refused > 0).then_some(()))
    })
    .await?;
    for _ in 0..50 {
        assert_overloaded(&tell(&server, "anything").await?, &["guests_waiting"]);
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
