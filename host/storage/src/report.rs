//! What a verification found.

/// The document that is there while `kenning restore` writes.
pub const RESTORING: &str = "restoring";

/// What is wrong with a storage that has that document.
pub const HALF_RESTORED: &str = "a restore into this storage was interrupted, or is under way: run \
                                 the same `kenning restore` again";

/// The most findings that a report names; more are only counted.
const NAMED: usize = 1_000;

/// What was verified, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was looked at, such as the file and its format.
    pub subject: String,
    /// Kinds of records, with how many were read.
    pub records: Vec<(&'static str, u64)>,
    /// What is damaged, one sentence each; at most 1,000.
    pub damage: Vec<String>,
    /// How many findings there are, named or not.
    pub found: u64,
    /// What could not be verified, one sentence each.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_intact(&self) -> bool {
        self.found == 0
    }

    /// Adds a finding.
    pub(crate) fn found(&mut self, damage: impl Into<String>) {
        self.found += 1;
        if self.damage.len() < NAMED {
            self.damage.push(damage.into());
        }
    }

    /// Adds the result of checking one record.
    pub(crate) fn check(&mut self, is_intact: bool, damage: impl FnOnce() -> String) {
        if !is_intact {
            self.found(damage());
        }
    }
}
