//! Peers of HTTP/2 who send what costs them little: requests that they take back, heads that never
//! end, settings and pings without end. The server's memory is bounded, and neighbours are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenning_tests::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, frame, head,
};
use kenning_tests::{Caller, Server, Setup};
use serde_json::json;

/// Peers who flood at once.
const PEERS: usize = 8;

/// How long they do.
const FLOOD: Duration = Duration::from_secs(2);

/// What a flood may add to the server's memory.
const MOST_MIB: u64 = 96;

/// Resident memory of a process, in MiB.
fn memory(server: &Server) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid().context("ended")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}

/// Searches one after the other, until told to stop; each must be answered. Gives the slowest.
async fn neighbour(caller: Caller, stop: Arc<AtomicBool>) -> Result<(usize, Duration)> {
    let (mut served, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = caller.post("/v1/search", json!({ "query": "tea" })).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        slowest = slowest.max(begun.elapsed());
        served += 1;
    }
    Ok((served, slowest))
}

/// One peer after the other, each until the server closes its connection: sends what `more` makes
/// of a number. Gives the frames that were sent and how often the server closed.
async fn flood(url: String, more: fn(u32) -> Vec<u8>) -> Result<(u64, u64)> {
    let (begun, mut frames_sent, mut closed) = (Instant::now(), 0, 0);
    while begun.elapsed() < FLOOD {
        let Ok(mut frames) = Frames::open(&url, &[]).await else { continue };
        let mut number = 0;
        while begun.elapsed() < FLOOD {
            let burst: Vec<u8> = (number..number + 64).flat_map(more).collect();
            number += 64;
            let sent = tokio::time::timeout(FLOOD, frames.send_all(&burst)).await;
            match sent {
                Ok(Ok(())) => frames_sent += 64,
                // Closed, or nothing is taken any more.
                _ => break,
            }
        }
        closed += 1;
    }
    Ok((frames_sent, closed))
}

async fn endure(name: &str, more: fn(u32) -> Vec<u8>) -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    for number in 0..100 {
        server.store(json!({ "text": format!("tea number {number}") })).await?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let neighbour = tokio::spawn(neighbour(Caller::new(server.url()), stop.clone()));
    let before = memory(&server)?;
    let peers = (0..PEERS).map(|_| tokio::spawn(flood(server.url().to_owned(), more)));
    let peers: Vec<_> = peers.collect();
    let mut most = before;
    while !peers.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(memory(&server)?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut frames, mut closed) = (0, 0);
    for peer in peers {
        let (sent, ends) = peer.await??;
        (frames, closed) = (frames + sent, closed + ends);
    }
    stop.store(true, Ordering::Relaxed);
    let (served, slowest) = neighbour.await??;
    println!(
        "{name}: {frames} frames on {closed} connections; memory {before} MiB, at most {most} MiB; \
         a neighbour's {served} searches were served, the slowest in {slowest:?}"
    );
    assert!(most < before + MOST_MIB, "{before} MiB became {most} MiB");
    assert!(served > 0);
    Ok(())
}

fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_are_endured() -> Result<()> {
    endure("rapid reset", |number| {
        let search = head("GET", "/v1/facts?limit=100", &[]);
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &search);
        both.extend(frame(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes()));
        both
    })
    .await
}

#[tokio::test]
async fn heads_that_never_end_are_endured() -> Result<()> {
    endure("continuation", |number| {
        let part = vec![b'a'; 1_000];
        match number {
            0 => frame(HEADERS, END_STREAM, 1, &head("GET", "/livez", &[])),
            _ => {
                // A field that is spelled out, and not to be remembered.
                let mut field = vec![0x10, 3, b'x', b'-', b'y', 0x7f, 0xe9, 6];
                field.extend(part);
                frame(CONTINUATION, 0, 1, &field)
            }
        }
    })
    .await
}

#[tokio::test]
async fn settings_and_pings_without_end_are_endured() -> Result<()> {
    endure("settings", |number| {
        let value = (65_535 + number % 2).to_be_bytes();
        frame(SETTINGS, 0, 0, &[&[0, 4][..], &value].concat())
    })
    .await?;
    endure("ping", |_| frame(PING, 0, 0, &[7; 8])).await
}

/// Many requests whose bodies never come, on many connections.
#[tokio::test]
async fn requests_whose_bodies_never_come_are_endured() -> Result<()> {
    endure("empty bodies", |number| {
        let json = [("content-type", "application/json"), ("content-length", "9")];
        frame(HEADERS, END_HEADERS, stream(number), &head("POST", "/v1/facts", &json))
    })
    .await
}
