//! `kenning verify`: looks for damage in what is stored, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kenning::config::{Config, LayoutWord, Settings};
use kenning_storage::{Layout, OpenError, Report};
use serde_json::json;

/// What to verify; the same settings as `kenning serve` has.
#[derive(Args)]
pub(super) struct Verify {
    /// Where facts live, in every form that `kenning serve` takes
    /// [default: embedded, under the data directory]
    #[arg(long, env = "KENNING_STORAGE", value_name = "URL", hide_env_values = true)]
    storage: Option<String>,
    /// The certificates of the authorities to trust for Redis over TLS [default: the system's]
    #[arg(long, env = "KENNING_STORAGE_CA", value_name = "FILE")]
    storage_ca: Option<PathBuf>,
    /// The certificate to show to Redis over TLS
    #[arg(long, env = "KENNING_STORAGE_CERT", value_name = "FILE")]
    storage_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "KENNING_STORAGE_KEY", value_name = "FILE")]
    storage_key: Option<PathBuf>,
    /// How facts are laid out in Redis [default: tenant]
    #[arg(long, env = "KENNING_LAYOUT", value_name = "LAYOUT")]
    layout: Option<LayoutWord>,
    /// Directory for facts and compiled components [default: ~/.local/share/kenning]
    #[arg(long, env = "KENNING_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A configuration file; its keys have the names of the flags
    #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies, prints a report, and says by the exit code whether everything is intact.
///
/// # Errors
/// When the settings are wrong, or the storage is in use or cannot be read.
pub(super) async fn run(verify: Verify) -> anyhow::Result<ExitCode> {
    let Verify { storage, storage_ca, storage_cert, storage_key, .. } = verify;
    let Verify { layout, data_dir, config, json, .. } = verify;
    let storage =
        Settings { storage, storage_ca, storage_cert, storage_key, ..Settings::default() };
    let flags = Settings { layout, data_dir, ..storage };
    let config = Config::load(flags, config.as_deref())?;
    let layout = match config.layout {
        LayoutWord::Tenant => Layout::Tenant,
        LayoutWord::Flat => Layout::Flat,
    };
    let report = kenning_storage::verify(&config.storage, layout, &config.storage_tls).await;
    let report = report.map_err(|error| {
        let what = match error {
            OpenError::InUse(_) => "cannot verify while a server uses the storage; stop it first",
            _ => "cannot verify",
        };
        anyhow::Error::new(error).context(what)
    })?;
    match json {
        true => print_json(&report),
        false => print(&report),
    }
    Ok(if report.is_intact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    println!("{}", report.subject);
    for (kind, count) in &report.records {
        println!("  {count:>10} {kind}");
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    for damage in &report.damage {
        println!("damage: {damage}");
    }
    let unnamed = report.found - report.damage.len() as u64;
    if unnamed > 0 {
        println!("damage: and {unnamed} more");
    }
    match report.found {
        0 => println!("nothing is damaged"),
        found => println!("{found} findings; restore what is damaged from a backup"),
    }
}

fn print_json(report: &Report) {
    let records: serde_json::Map<_, _> =
        report.records.iter().map(|(kind, count)| (kind.replace(' ', "_"), json!(count))).collect();
    let report = json!({
        "subject": report.subject,
        "records": records,
        "found": report.found,
        "damage": report.damage,
        "notes": report.notes,
    });
    println!("{report}");
}
