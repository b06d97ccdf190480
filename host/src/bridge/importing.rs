//! Imports the reference memory server's file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Settings;
use crate::mcp::{Converted, convert_memory};

/// How long it is waited for a server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stores what the file at `path` holds, and says how much that was. What is there already does not
/// change.
///
/// # Errors
/// When the file cannot be read or is none of that server, there is no server, or some of it was
/// not stored.
pub async fn import_memory(settings: Settings, path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let converted = convert_memory(&text);
    let converted = converted.map_err(|wrong| {
        let file = path.display();
        anyhow::anyhow!("{file} is no file of the reference memory server: {wrong}")
    })?;
    let Converted { lines, entities, observations, relations } = converted;
    let (home, upstream) = settings.open()?;
    home.reach(Instant::now() + PATIENCE).await.map_err(anyhow::Error::msg)?;
    let imported = upstream.import(lines.join("\n")).await;
    home.close().await;
    let report = imported.map_err(|failure| anyhow::anyhow!("the import failed: {failure:?}"))?;
    if report["failed"] != 0 || report["imported"].as_u64() != Some(lines.len() as u64) {
        bail!("not all of it was imported: {report}");
    }
    Ok(format!(
        "imported {}, {} and {}\n",
        counted(entities, "entity", "entities"),
        counted(observations, "observation", "observations"),
        counted(relations, "relation", "relations")
    ))
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
