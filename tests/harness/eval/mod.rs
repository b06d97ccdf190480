//! How well a server answers judged queries: `make eval`, and the part `eval` of `make soak`.
//! `docs/SEARCH.md`, "Measuring", says how to run it and how to read it.
//!
//! | file | holds |
//! |---|---|
//! | `beir` | a folder in BEIR's layout |
//! | `halves` | which queries are to tune on, and which to report on |
//! | `import` | a server of its own, with the corpus in it |
//! | `rows` | what is measured: modes, fusions, options |
//! | `ask` | every query through HTTP, and its scores |
//! | `measures` | nDCG, recall, reciprocal rank |
//! | `statistics` | intervals and paired tests |
//! | `saved` | the scores of a run in a file |
//! | `tables` | what is printed |

mod ask;
mod beir;
mod halves;
mod import;
mod measures;
mod rows;
mod saved;
mod statistics;
mod tables;

pub use ask::{Measured, RowScores, Run, ask};
pub(crate) use beir::lines;
pub use beir::{Document, JudgedQuery, JudgedSet};
pub use halves::QueryHalf;
pub(crate) use import::fact_text;
pub use import::{Imported, import, serve};
pub use measures::{MEASURES, NDCG_10, ndcg, recall, reciprocal_rank};
pub use rows::Row;
pub use saved::SavedRun;
pub use statistics::{Interval, Paired, intervals, paired};
pub use tables::{print_against, print_quality, print_summary};
