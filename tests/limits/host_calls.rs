//! What a guest asks of the host: how often, and how much at once.

use anyhow::Result;
use serde_json::json;

use super::support::{assert_done, assert_guest_broke, hostile, note, serves_on, tell};

/// Facts of 17 KiB at most, and so the smallest host calls that may be configured.
const SMALL_CALLS: &str = "fact_text_bytes = 16384\nfact_metadata_bytes = 1024\n\
                           host_call_bytes = 100352\nguest_memory_bytes = 16777216";

const FEW_HANDLES: &str = "guest_handles = 30";

#[tokio::test]
async fn host_calls_is_obeyed() -> Result<()> {
    let server = hostile("host_calls = 50").await?;
    for command in ["ask-budget 50", "page 50", "log 50", "log 51"] {
        assert_done(&tell(&server, command).await?);
    }
    Ok(())
}

#[tokio::test]
async fn host_calls_violated() -> Result<()> {
    let server = hostile("host_calls = 50").await?;
    for command in ["ask-budget 51", "page 51", "ask-budget", "page"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "host_calls", 50);
        assert_eq!(answer.json["details"]["used"], 51, "{}", answer.text);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn host_call_bytes_is_obeyed_by_arguments_and_answers() -> Result<()> {
    let server = hostile("").await?;
    for command in ["hand-over 4000000", "read-id-of 4000000", "answer-bytes 4000000"] {
        assert_done(&tell(&server, command).await?);
    }
    Ok(())
}

#[tokio::test]
async fn host_call_bytes_violated_by_arguments() -> Result<()> {
    let server = hostile("").await?;
    for command in ["hand-over 5000000", "hand-over 20000000", "read-id-of 5000000"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "host_call_bytes", 4_194_304);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn host_call_bytes_violated_by_answers() -> Result<()> {
    let server = hostile("").await?;
    // Many empty strings, and many strings that are one and the same, are little in
    // the guest and would be much in the host.
    let commands =
        ["answer-bytes 20000000", "answer-empty-things 1500000", "answer-shared-bytes 500"];
    for command in commands {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "host_call_bytes", 4_194_304);
        serves_on(&server).await?;
    }
    Ok(())
}

/// Room for what a guest would hand over.
const MUCH_MEMORY: &str = "guest_memory_bytes = 536870912\nguests = 8";

#[tokio::test]
async fn host_call_bytes_violated_by_all_that_a_large_guest_has() -> Result<()> {
    let server = hostile(MUCH_MEMORY).await?;
    let commands = ["hand-over 100000000", "answer-bytes 100000000", "answer-empty-things 3000000"];
    for command in commands {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "host_call_bytes", 4_194_304);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn host_calls_violated_a_million_times() -> Result<()> {
    let server = hostile("").await?;
    for command in ["ask-budget 1000000", "page 1000000"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "host_calls", 1_000);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn host_call_bytes_is_obeyed_by_what_the_host_answers() -> Result<()> {
    let server = hostile(SMALL_CALLS).await?;
    for number in 0..10 {
        let fact = json!({ "fact_id": format!("id-{number}"), "text": "t".repeat(16_384) });
        server.store(fact).await?;
    }
    // Six of these ten fit, less what else there is in a hash; never none of them.
    let read = note(&tell(&server, "count-read 10").await?);
    assert!(["Ok(4)", "Ok(5)", "Ok(6)"].contains(&read.as_str()), "{read}");
    Ok(())
}

#[tokio::test]
async fn guest_handles_is_obeyed() -> Result<()> {
    let server = hostile(FEW_HANDLES).await?;
    assert_eq!(note(&tell(&server, "handles 10").await?), "10");
    Ok(())
}

#[tokio::test]
async fn guest_handles_violated() -> Result<()> {
    let server = hostile(FEW_HANDLES).await?;
    let answer = tell(&server, "handles 31").await?;
    assert_guest_broke(&answer, "guest_limit", "guest_handles", 30);
    serves_on(&server).await
}

#[tokio::test]
async fn lists_as_long_as_the_contract_allows_are_obeyed() -> Result<()> {
    let server = hostile("").await?;
    for command in ["read 100", "write 100", "embed 100", "candidates 10000"] {
        let answered = note(&tell(&server, command).await?);
        assert!(answered.starts_with("Ok("), "{command}: {answered}");
    }
    Ok(())
}

#[tokio::test]
async fn lists_longer_than_the_contract_allows_are_refused_violated() -> Result<()> {
    let server = hostile("").await?;
    for (command, used) in [("read 101", 101), ("write 101", 101), ("embed 101", 101)] {
        let answered = note(&tell(&server, command).await?);
        let refused = format!("{{ limit: \"batch_facts\", allowed: 100, used: {used} }}");
        assert!(answered.contains(&refused), "{command}: {answered}");
    }
    let answered = note(&tell(&server, "candidates 10001").await?);
    assert!(answered.contains("{ limit: \"candidates\", allowed: 10000, used: 10001 }"));
    assert_eq!(server.get("/v1/facts").await?.json["facts"], json!([]));
    serves_on(&server).await
}
