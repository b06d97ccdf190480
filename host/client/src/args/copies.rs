//! The arguments of `kenning backup`.

use std::path::PathBuf;

use clap::Args;

pub(super) const BACKUP_HELP: &str = "\
Examples:
  kenning backup /backups/monday
  kenning backup /backups/tuesday --since /backups/monday
  kenning verify /backups/tuesday

The server goes on serving meanwhile. A backup that is interrupted goes on when the same command
runs again. It holds facts and vectors, tenants, the hashes of keys, quotas, guests with their
settings, and the records of acts and failures. It holds no secrets. `kenning restore` puts it back.

If the output is not a terminal, it is one line: tenants, facts, documents and bytes, separated by
tabs.";

/// The arguments of `kenning backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The folder to write, which is new or has the beginning of this backup
    pub dir: PathBuf,
    /// Only what was changed since the backup in this folder. A tenant whose changes are not kept
    /// for that long is copied as a whole
    #[arg(long, value_name = "DIR")]
    pub since: Option<PathBuf>,
}
