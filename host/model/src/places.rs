//! Where the model may lie, in the order in which it is looked for.
//!
//! Our own directories come first and are written to; the caches of Hugging Face tools are read
//! and never written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ModelError;
use crate::model::Model;

#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The directory given by flag or variable.
    pub(crate) explicit: Option<PathBuf>,
    /// `<cache>/kenning/models`, where the environment names a cache.
    pub(crate) cache: Option<PathBuf>,
    /// Roots of Hugging Face caches (`hub` directories).
    pub(crate) hubs: Vec<PathBuf>,
}

impl Places {
    pub(crate) fn from_environment(explicit: Option<&Path>) -> Self {
        Self::from_variables(explicit, |name| std::env::var_os(name))
    }

    /// Relative paths are ignored, as the XDG base directory specification asks.
    pub(crate) fn from_variables(
        explicit: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let absolute =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let hub = absolute("HF_HUB_CACHE");
        let hub_home = absolute("HF_HOME").map(|home| home.join("hub"));
        let hub_default = cache.as_ref().map(|cache| cache.join("huggingface/hub"));
        let mut hubs: Vec<PathBuf> = [hub, hub_home, hub_default].into_iter().flatten().collect();
        hubs.dedup();
        Self {
            explicit: explicit.map(Path::to_owned),
            cache: cache.map(|cache| cache.join("kenning/models")),
            hubs,
        }
    }

    /// Our own directories for this model. An explicit directory may hold the files themselves or
    /// be laid out like the cache.
    pub(crate) fn own(&self, model: &Model) -> Vec<PathBuf> {
        let explicit = self.explicit.iter().flat_map(|root| [root.clone(), nested(root, model)]);
        explicit.chain(self.cache.iter().map(|root| nested(root, model))).collect()
    }

    /// Directory that a pull writes to.
    ///
    /// # Errors
    /// [`ModelError::NoDirectory`] without an explicit directory, a cache and a home.
    pub(crate) fn target(&self, model: &Model) -> Result<PathBuf, ModelError> {
        if let Some(root) = &self.explicit {
            let flat = model.files.iter().any(|file| root.join(&file.pin.name).exists());
            return Ok(if flat { root.clone() } else { nested(root, model) });
        }
        let cache = self.cache.as_ref().ok_or(ModelError::NoDirectory)?;
        Ok(nested(cache, model))
    }

    /// Snapshots of the model in Hugging Face caches, in a stable order.
    pub(crate) fn snapshots(&self, model: &Model) -> Vec<PathBuf> {
        let roots = self.hubs.iter().map(|hub| hub.join(&model.hub_directory).join("snapshots"));
        roots.flat_map(|root| subdirectories(&root)).collect()
    }

    /// Everything that is looked at, for the message that nothing was found.
    pub(crate) fn looked_at(&self, model: &Model) -> Vec<PathBuf> {
        let hubs = self.hubs.iter().map(|hub| hub.join(&model.hub_directory));
        self.own(model).into_iter().chain(hubs).collect()
    }
}

fn nested(root: &Path, model: &Model) -> PathBuf {
    root.join(&model.name).join(&model.revision)
}

fn subdirectories(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}
