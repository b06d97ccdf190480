//! `make soak`: the promises under fault, load and malice for longer than a test may take, within
//! ten minutes, and the tables of `docs/RELIABILITY.md`. `make soak PARTS='crash'` runs some parts.
//!
//! A part ends with an error if a promise was broken: an answer that was wrong, lost, torn or
//! somebody else's. How long things took it prints and never judges.

mod cancel;
mod crash;
mod faults;
mod guests;
mod overload;

use std::time::Instant;

use anyhow::{Result, bail};
use kenning_tests::report;
use tokio::runtime::Builder;

/// What `make soak` runs, in this order.
const PARTS: [&str; 5] = ["faults", "cancel", "guests", "overload", "crash"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = arguments.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part {unknown:?}; usage: soak [PART...], with parts of {PARTS:?}");
    }
    let wants = |part: &str| arguments.is_empty() || arguments.iter().any(|one| one == part);
    let begun = Instant::now();
    println!("{}", report::describe());
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    for part in PARTS.into_iter().filter(|part| wants(part)) {
        runtime.block_on(run(part))?;
    }
    println!("\nAll promises held, in {:.0} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn run(part: &str) -> Result<()> {
    match part {
        "faults" => faults::run().await,
        "cancel" => cancel::run().await,
        "guests" => guests::run().await,
        "overload" => overload::measure().await,
        "crash" => crash::measure().await,
        _ => bail!("{part} is in the list and not here"),
    }
}
