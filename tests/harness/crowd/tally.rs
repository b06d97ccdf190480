//! What callers saw.

use std::collections::BTreeMap;
use std::time::Duration;

/// Calls, how they ended, and whatever was not as it must be.
#[derive(Debug, Default)]
pub struct Tally {
    pub calls: usize,
    /// Calls that the caller cut, by how.
    pub cut: BTreeMap<&'static str, usize>,
    /// Answers that were compared with what they had to be.
    pub checked: usize,
    /// Errors, by code; `unknown outcome` counts those that said so.
    pub errors: BTreeMap<String, usize>,
    pub longest: Duration,
    /// Answers that belong to another call or deny what happened, in words.
    pub wrong: Vec<String>,
    /// Acknowledged changes that are gone, in words.
    pub lost: Vec<String>,
    /// Answers that were right earlier, in words.
    pub stale: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.checked += other.checked;
        other.cut.into_iter().for_each(|(how, count)| *self.cut.entry(how).or_default() += count);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.wrong.extend(other.wrong);
        self.lost.extend(other.lost);
        self.stale.extend(other.stale);
    }

    pub(super) fn count_error(&mut self, code: &str) {
        *self.errors.entry(code.to_string()).or_default() += 1;
    }

    /// Errors other than these.
    pub fn errors_but(&self, codes: &[&str]) -> Vec<&str> {
        let others = self.errors.keys().map(String::as_str);
        others.filter(|code| !codes.contains(code)).collect()
    }

    /// All that was not as it must be.
    pub fn broken(&self) -> impl Iterator<Item = &String> {
        [&self.wrong, &self.lost, &self.stale].into_iter().flatten()
    }

    /// Errors with how often each came.
    pub fn errors_listed(&self) -> String {
        let errors = self.errors.iter().map(|(code, count)| format!("{code} {count}"));
        errors.collect::<Vec<_>>().join(", ")
    }

    /// Asserts that no promise was broken.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert_eq!(self.broken().count(), 0, "{self:#?}");
    }
}
