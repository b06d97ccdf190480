//! `make soak`: the promises under fault, load and malice for longer than a test may take, within
//! ten minutes, and the tables of `docs/RELIABILITY.md`. `make soak PARTS='crash'` runs some parts.
//! The part `eval` judges search on the samples, or with `make soak DATA=DIR` on a folder in BEIR's
//! layout.
//!
//! A part ends with an error if a promise was broken: an answer that was wrong, lost, torn or
//! somebody else's. How long things took it prints and never judges.

mod cancel;
mod changes;
mod crash;
mod eval;
mod faults;
mod guests;
mod neighbours;
mod overload;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use kenning_tests::report;
use tokio::runtime::Builder;

/// What `make soak` runs, in this order.
const PARTS: [&str; 8] =
    ["faults", "cancel", "guests", "neighbours", "overload", "changes", "crash", "eval"];

/// What an argument begins with that names a folder for the part `eval`.
const DATA: &str = "DATA=";

fn main() -> Result<()> {
    let (data, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with(DATA));
    let data = data.first().map(|data| PathBuf::from(&data[DATA.len()..]));
    if let Some(unknown) = arguments.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!(
            "there is no part {unknown:?}; usage: soak [{DATA}DIR] [PART...], \
             with parts of {PARTS:?}"
        );
    }
    let wants = |part: &str| arguments.is_empty() || arguments.iter().any(|one| one == part);
    let begun = Instant::now();
    println!("{}", report::describe());
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    for part in PARTS.into_iter().filter(|part| wants(part)) {
        runtime.block_on(run(part, data.as_deref()))?;
    }
    println!("\nAll promises held, in {:.0} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn run(part: &str, data: Option<&Path>) -> Result<()> {
    match part {
        "faults" => faults::run().await,
        "cancel" => cancel::run().await,
        "guests" => guests::run().await,
        "neighbours" => neighbours::run().await,
        "overload" => overload::measure().await,
        "changes" => changes::run().await,
        "crash" => crash::measure().await,
        "eval" => eval::run(data).await,
        _ => bail!("{part} is in the list and not here"),
    }
}
