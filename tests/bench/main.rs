//! `make bench`: what Kenning costs on this machine, measured in one run of some nine minutes on
//! two cores, of which `swaps` and `tenants` (a thousand components are compiled) take most.
//! `make bench PARTS='sandbox startup'` measures some parts only.
//!
//! | part | what is measured |
//! |---|---|
//! | [`sandbox`] | a call of the logic in the sandbox, and of the same logic in this process |
//! | [`serving`] | calls through HTTP: a second, how long, whose processor time, where it goes |
//! | [`hooks`] | what an extension's hook adds to a call, in Rust, JavaScript and Python |
//! | [`startup`] | from starting the process to its line "listening on", and its memory |
//! | [`stall`] | how late the serving runtime's timer is while guests spin |
//! | [`bursts`] | the concurrent workloads that the Python service's guide gives figures for |
//! | [`swaps`] | callers while guests are swapped: what fails, what is mixed, how much slower |
//! | [`tenants`] | a thousand tenants, each with an extension of its own: memory, time, load |
//! | [`tracing`] | what traces cost: off, a tenth of the requests, all |
//! | [`callers`] | the load generator of `make bench-peers`, which `peers/run.py` describes |
//!
//! # Method
//!
//! Nothing is asserted: a figure is what it is on the machine that prints it, and every table says
//! how many calls it rests on. The clock is the monotonic one around each single call, every sample
//! is kept, and percentiles are by nearest rank. The first calls of each measurement are thrown
//! away. What is compared takes turns, so that a machine that changes its pace changes it for both.
//!
//! Whoever calls runs on the cores that it measures. The load generator ([`load`]) is one thread
//! with one open connection for each caller; the tables print the processor time that the server,
//! Redis and the generator took for a call, so that one can see what the generator took away. All
//! calls are closed loops: a caller sends its next request when it has its answer, so a slow server
//! is asked less, and the 99th percentile is that of a server that is as busy as it can be.
//!
//! Facts are 20 words and queries 6, drawn from the words of `samples/` with a fixed seed. No query
//! repeats, so the cache of embeddings answers none. Redis is a real `redis-server` on this machine
//! with `appendonly yes` and `appendfsync everysec`; the embedded storage syncs each commit.

mod bursts;
mod callers;
mod generator;
mod hooks;
mod inside;
mod load;
mod metrics;
mod native;
mod place;
mod sandbox;
mod serving;
mod stall;
mod startup;
mod swaps;
mod tenants;
mod texts;
mod tracing;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use kenning::telemetry;
use kenning_runtime::compiler;
use kenning_tests::report;
use tokio::runtime::{Builder, Runtime};

/// What `make bench` measures, in this order.
const PARTS: [&str; 9] =
    ["sandbox", "serving", "hooks", "startup", "stall", "bursts", "swaps", "tenants", "tracing"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // The host in this process starts this program again to compile the logic.
        [compiler::SUBCOMMAND] => compiler::run_as_child(),
        ["callers", ..] => {
            let arguments = callers::Arguments::parse_from(&arguments);
            generating()?.block_on(callers::measure(arguments))
        }
        [] => parts(&PARTS),
        ref some if some.iter().all(|part| PARTS.contains(part)) => parts(some),
        _ => bail!("usage: bench [PART...], with parts of {PARTS:?}; or bench callers --help"),
    }
}

/// Measures some parts or all.
fn parts(wanted: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let wants = |part: &str| wanted.contains(&part);
    println!("{}", report::describe());
    // The server counts calls, so this process does as well.
    telemetry::start_metrics()?;
    let costs = if wants("sandbox") { sandbox::measure()? } else { sandbox::Costs::new() };
    let generating = generating()?;
    if wants("serving") {
        let served = generating.block_on(serving::measure())?;
        serving::print_share(&costs, &served);
    }
    if wants("hooks") {
        hooks::measure()?;
    }
    if wants("startup") {
        generating.block_on(startup::measure())?;
    }
    if wants("stall") {
        generating.block_on(stall::measure())?;
    }
    if wants("bursts") {
        generating.block_on(bursts::measure())?;
    }
    if wants("swaps") {
        generating.block_on(swaps::measure())?;
    }
    if wants("tenants") {
        generating.block_on(tenants::measure())?;
    }
    if wants("tracing") {
        generating.block_on(tracing::measure())?;
    }
    println!("\nMeasured in {:.0} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

/// One thread for all callers: what it does not take is left to the server.
fn generating() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
