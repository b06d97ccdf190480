//! `kenning verify`: looks for damage in what is stored, or in a backup, without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use kenning_backup::Verified;
use kenning_storage::{OpenError, Report};
use serde_json::json;

use super::storage::StorageFlags;

/// What to verify.
#[derive(Args)]
pub(super) struct Verify {
    /// A folder that `kenning backup` wrote, instead of a storage
    #[arg(value_name = "BACKUP")]
    backup: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies, prints a report, and says by the exit code whether everything is intact.
///
/// # Errors
/// When the settings are wrong, or the storage is in use or cannot be read.
pub(super) async fn run(verify: Verify) -> anyhow::Result<ExitCode> {
    let Verify { backup, storage, json } = verify;
    let report = match backup {
        Some(folder) => verify_backup(&folder)?,
        None => verify_storage(storage).await?,
    };
    match json {
        true => print_json(&report),
        false => print(&report),
    }
    Ok(if report.is_intact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn verify_storage(storage: StorageFlags) -> anyhow::Result<Report> {
    let (config, layout) = storage.load()?;
    let report = kenning_storage::verify(&config.storage, layout, &config.storage_tls).await;
    report.map_err(|error| {
        let what = match error {
            OpenError::InUse(_) => "cannot verify while a server uses the storage; stop it first",
            _ => "cannot verify",
        };
        anyhow::Error::new(error).context(what)
    })
}

fn verify_backup(folder: &Path) -> anyhow::Result<Report> {
    let Verified { manifest, contents, damage } = kenning_backup::verify(folder)?;
    let continues = manifest.base.iter().map(|base| {
        format!("it continues the backup that was in {}, and is restored after it", base.folder)
    });
    let left_out =
        contents.left_out.iter().map(|what| format!("left out when it was made: {what}"));
    Ok(Report {
        subject: format!(
            "{}, a backup of {} storage of {}, format {}, by Kenning {}",
            folder.display(),
            manifest.storage,
            manifest.at,
            manifest.format,
            manifest.version
        ),
        records: vec![
            ("tenants", contents.since.tenants.len() as u64),
            ("facts", contents.facts),
            ("facts that are gone", contents.gone),
            ("documents", contents.documents),
            ("keys of extensions", contents.state),
            ("files", manifest.parts.len() as u64),
        ],
        found: damage.len() as u64,
        damage,
        notes: continues.chain(left_out).collect(),
    })
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
