//! What a guest does with its own means: work, memory, tables, stack.

use anyhow::Result;
use kenning_tests::{Server, Setup, component};
use serde_json::json;

use super::support::{assert_done, assert_guest_broke, hostile, limited, serves_on, tell};
use crate::components::{NO_MEMORY, trapping_logic};

/// The same for every call, whatever its input.
const LITTLE_FUEL: &str = "fuel_base = 100000000\nfuel_per_unit = 0";

const LITTLE_MEMORY: &str = "guest_memory_bytes = 16777216";

/// Grows a table of its own by the number of elements in the first place, before
/// its first export is called; ends there if it is refused.
const GROWING_TABLE: &str = "
    (table $grown 1 funcref)
    (func $grow
        (if (i32.eq (table.grow $grown (ref.null func) (i32.const ELEMENTS)) (i32.const -1))
            (then unreachable)))
    (start $grow)";

#[tokio::test]
async fn fuel_is_obeyed() -> Result<()> {
    let server = hostile(LITTLE_FUEL).await?;
    assert_done(&tell(&server, "work 1").await?);
    Ok(())
}

#[tokio::test]
async fn fuel_violated() -> Result<()> {
    let server = hostile(LITTLE_FUEL).await?;
    for command in ["spin", "spin-on-clock", "work 1000"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_out_of_fuel", "fuel", 100_000_000);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn guest_memory_bytes_is_obeyed() -> Result<()> {
    let server = hostile(LITTLE_MEMORY).await?;
    assert_done(&tell(&server, "use-mib 10").await?);
    Ok(())
}

#[tokio::test]
async fn guest_memory_bytes_violated() -> Result<()> {
    let server = hostile(LITTLE_MEMORY).await?;
    for command in ["grow", "use-mib 16", "answer-bytes 100000000"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_out_of_memory", "guest_memory_bytes", 16_777_216);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_guest_that_was_refused_memory_and_went_on_is_not_blamed_for_memory() -> Result<()> {
    let server = hostile(LITTLE_FUEL).await?;
    let answer = tell(&server, "be-refused-memory-then-spin").await?;
    assert_guest_broke(&answer, "guest_out_of_fuel", "fuel", 100_000_000);
    Ok(())
}

async fn growing_table(elements: u32) -> Result<Server> {
    let wasm =
        trapping_logic(NO_MEMORY, &GROWING_TABLE.replace("ELEMENTS", &elements.to_string()))?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("table.wasm");
    std::fs::write(&path, wasm)?;
    Server::start_with(Setup { logic: Some(path), ..Setup::default() }).await
}

#[tokio::test]
async fn guest_table_elements_is_obeyed() -> Result<()> {
    let server = growing_table(19_999).await?;
    // It began, and its export traps, as all of this logic's do.
    tell(&server, "anything").await?.assert_error(502, "guest_trapped");
    Ok(())
}

#[tokio::test]
async fn guest_table_elements_violated() -> Result<()> {
    let server = growing_table(20_000).await?;
    for _ in 0..2 {
        let answer = tell(&server, "anything").await?;
        assert_guest_broke(&answer, "guest_out_of_memory", "guest_table_elements", 20_000);
        assert_eq!(server.get("/livez").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn guest_stack_bytes_is_obeyed() -> Result<()> {
    let server = hostile("").await?;
    assert_done(&tell(&server, "recurse-to 1000").await?);
    Ok(())
}

#[tokio::test]
async fn guest_stack_bytes_violated() -> Result<()> {
    let server = hostile("").await?;
    let answer = tell(&server, "recurse").await?;
    assert_guest_broke(&answer, "guest_limit", "guest_stack_bytes", 524_288);
    serves_on(&server).await
}

#[tokio::test]
async fn a_smaller_stack_is_a_smaller_stack() -> Result<()> {
    let logic = Some(component("hostile")?);
    let config = Some("[limits]\nguest_stack_bytes = 65536".into());
    let server = Server::start_with(Setup { logic, config, ..Setup::default() }).await?;
    let answer = tell(&server, "recurse-to 1000").await?;
    assert_guest_broke(&answer, "guest_limit", "guest_stack_bytes", 65_536);
    serves_on(&server).await
}

/// The index works for the guest, and its work is the guest's.
#[tokio::test]
async fn fuel_violated_by_what_the_index_does_for_the_guest() -> Result<()> {
    let server = limited("fuel_base = 60000000\nfuel_per_unit = 0").await?;
    let note = "filler ".repeat(8_000);
    for batch in 0..10 {
        let fact =
            |n| json!({ "text": "tea", "metadata": { "note": format!("{batch} {n} {note}") } });
        let facts: Vec<_> = (0..10).map(fact).collect();
        let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        anyhow::ensure!(answer.status == 200, "{}", answer.text);
    }
    let search = |filter| json!({ "query": "tea", "mode": "text", "top_k": 1, "filter": filter });
    let within = search(json!({ "note": { "contains": "absent" } }));
    assert_eq!(server.search(within).await?, [""; 0]);
    let scans: Vec<_> =
        (0..16).map(|n| json!({ "note": { "icontains": format!("absent{n}") } })).collect();
    let answer = server.post("/v1/search", search(json!({ "OR": scans }))).await?;
    assert_guest_broke(&answer, "guest_out_of_fuel", "fuel", 60_000_000);
    serves_on(&server).await
}
