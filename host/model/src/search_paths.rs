//! The directories searched for the model, in order.
//!
//! Kenning's own directories come first and are written to. The caches of Hugging Face tools are
//! only read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ModelError;
use crate::model::Model;

#[derive(Clone, Debug)]
pub(crate) struct SearchPaths {
    /// The directory from the flag or the environment variable.
    pub(crate) explicit: Option<PathBuf>,
    /// `<cache>/kenning/models`, if the environment names a cache directory.
    pub(crate) cache: Option<PathBuf>,
    /// Roots of Hugging Face caches (`hub` directories).
    pub(crate) hubs: Vec<PathBuf>,
}

impl SearchPaths {
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

    /// Kenning's own directories for this model. An explicit directory is the only one; it may
    /// contain the files themselves or have the layout of the cache.
    pub(crate) fn own(&self, model: &Model) -> Vec<PathBuf> {
        match &self.explicit {
            Some(root) => vec![root.clone(), nested(root, model)],
            None => self.cache.iter().map(|root| nested(root, model)).collect(),
        }
    }

    /// The directory that a pull writes to.
    ///
    /// # Errors
    /// [`ModelError::NoDirectory`] if there is neither an explicit directory nor a cache.
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
        let roots = self.hubs().iter().map(|hub| hub.join(&model.hub_directory).join("snapshots"));
        roots.flat_map(|root| subdirectories(&root)).collect()
    }

    /// The caches of other tools, which are searched unless a directory was named.
    fn hubs(&self) -> &[PathBuf] {
        if self.explicit.is_some() { &[] } else { &self.hubs }
    }

    /// Every directory searched, for the error message.
    pub(crate) fn all(&self, model: &Model) -> Vec<PathBuf> {
        let hubs = self.hubs().iter().map(|hub| hub.join(&model.hub_directory));
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
