//! Settings that are one of a few words.

use clap::ValueEnum;
use kenning_storage::Layout;
use serde::Deserialize;

/// The values of `--layout`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LayoutWord {
    /// Facts are below their tenant's name.
    Tenant,
    /// The facts of the tenant `default` are at `fact:ID`.
    Flat,
}

impl From<LayoutWord> for Layout {
    fn from(word: LayoutWord) -> Self {
        match word {
            LayoutWord::Tenant => Self::Tenant,
            LayoutWord::Flat => Self::Flat,
        }
    }
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object for each event.
    Json,
}
