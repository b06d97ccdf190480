//! `make soak`: the promises under fault, load and malice for longer than a test may take, within
//! ten minutes, and the tables of `docs/RELIABILITY.md`. `make soak PARTS='crash'` runs some parts.
//! The part `eval` judges search on the samples, or with `make soak DATA=DIR` on a folder in BEIR's
//! layout. The part `hosts` takes more than five minutes where it is named, and one where it is
//! not; `CALLS=`, `KILLS=` and `PAUSE=` (in seconds) say otherwise.
//!
//! A part ends with an error if a promise was broken: an answer that was wrong, lost, torn or
//! somebody else's. How long things took it prints and never judges.

mod backup;
mod cancel;
mod changes;
mod crash;
mod eval;
mod faults;
mod forms;
mod guests;
mod hosts;
mod neighbours;
mod overload;
mod replays;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kenning_tests::report;
use tokio::runtime::Builder;

/// What `make soak` runs, in this order.
const PARTS: [&str; 12] = [
    "faults",
    "forms",
    "cancel",
    "guests",
    "replays",
    "neighbours",
    "overload",
    "changes",
    "crash",
    "backup",
    "hosts",
    "eval",
];

/// What can be set, as in `CALLS=1000`: a folder for the part `eval`; for the part `hosts` the
/// calls, and for how many seconds hosts are killed and one is paused.
const SETTINGS: [&str; 4] = ["DATA", "CALLS", "KILLS", "PAUSE"];

/// What was set.
struct Settings(BTreeMap<String, String>);

fn main() -> Result<()> {
    let (settings, arguments) = Settings::from_arguments()?;
    if let Some(unknown) = arguments.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!(
            "there is no part {unknown:?}; usage: soak [SETTING=VALUE...] [PART...], \
             with settings of {SETTINGS:?} and parts of {PARTS:?}"
        );
    }
    let length = settings.hosts_length(arguments.iter().any(|part| part == "hosts"))?;
    let wants = |part: &str| arguments.is_empty() || arguments.iter().any(|one| one == part);
    let begun = Instant::now();
    println!("{}", report::describe());
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    for part in PARTS.into_iter().filter(|part| wants(part)) {
        runtime.block_on(run(part, &settings, &length))?;
    }
    println!("\nAll promises held, in {:.0} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn run(part: &str, settings: &Settings, length: &hosts::Length) -> Result<()> {
    match part {
        "faults" => faults::run().await,
        "forms" => forms::run().await,
        "cancel" => cancel::run().await,
        "guests" => guests::run().await,
        "replays" => replays::run().await,
        "neighbours" => neighbours::run().await,
        "overload" => overload::measure().await,
        "changes" => changes::run().await,
        "crash" => crash::measure().await,
        "backup" => backup::run_all().await,
        "hosts" => hosts::run(length).await,
        "eval" => eval::run(settings.0.get("DATA").map(Path::new)).await,
        _ => bail!("{part} is in the list and not here"),
    }
}

impl Settings {
    /// These, and the other arguments.
    fn from_arguments() -> Result<(Self, Vec<String>)> {
        let (set, others): (Vec<String>, Vec<String>) =
            std::env::args().skip(1).partition(|argument| argument.contains('='));
        let mut settings = BTreeMap::new();
        for (name, value) in set.iter().filter_map(|argument| argument.split_once('=')) {
            if !SETTINGS.contains(&name) {
                bail!("there is no setting {name:?}; there are {SETTINGS:?}");
            }
            settings.insert(name.to_owned(), value.to_owned());
        }
        Ok((Self(settings), others))
    }

    fn number(&self, name: &str) -> Result<Option<u32>> {
        let number = self.0.get(name).map(|value| value.parse());
        number.transpose().with_context(|| format!("{name} takes a number"))
    }

    fn hosts_length(&self, is_named: bool) -> Result<hosts::Length> {
        let usual = if is_named { hosts::LONG } else { hosts::SHORT };
        let seconds = |number: u32| Duration::from_secs(number.into());
        Ok(hosts::Length {
            calls: self.number("CALLS")?.map_or(usual.calls, |calls| calls as usize),
            kills: self.number("KILLS")?.map_or(usual.kills, seconds),
            pause: self.number("PAUSE")?.map_or(usual.pause, seconds),
        })
    }
}
