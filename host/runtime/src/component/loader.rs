//! Loads components: has them inspected and compiled in a child process, and shares the loaded code
//! between all guests with the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::component::compiler::{CompileError, Compiler, digest_of};
use crate::component::inspect::Inspection;
use crate::component::linked::Loaded;
use crate::component::linker::Linkers;

/// Loads components. The code of an extension that a thousand tenants have is loaded once.
pub struct Loader {
    compiler: Compiler,
    engine: Engine,
    linkers: Arc<Linkers>,
    loaded: Mutex<HashMap<Arc<str>, Weak<Loaded>>>,
    /// One component is compiled at a time, since compiling is bounded by the machine. A call that
    /// waits may find that the component has been compiled meanwhile.
    compiling: tokio::sync::Mutex<()>,
}

impl Loader {
    /// Loads what `compiler` compiles into `engine`.
    pub fn new(compiler: Compiler, engine: Engine) -> Self {
        let linkers = Arc::new(Linkers::new(engine.clone()));
        let (loaded, compiling) = (Mutex::default(), Default::default());
        Self { compiler, engine, linkers, loaded, compiling }
    }

    /// The component in `bytes`, compiled unless it was before.
    ///
    /// # Errors
    /// If the component is not accepted, or the compiler cannot be run.
    pub async fn load(&self, bytes: Bytes) -> Result<Arc<Loaded>, CompileError> {
        let digest: Arc<str> = digest_of(bytes.clone()).await?.into();
        let _compiling = self.compiling.lock().await;
        if let Some(loaded) = self.loaded(&digest) {
            return Ok(loaded);
        }
        let (component, inspection) = self.compiler.load(&self.engine, &digest, bytes).await?;
        Ok(self.keep(component, digest, inspection))
    }

    /// The component with `digest`, if it was compiled on this machine before.
    pub fn find(&self, digest: &str) -> Option<Arc<Loaded>> {
        if let Some(loaded) = self.loaded(digest) {
            return Some(loaded);
        }
        let (component, inspection) = self.compiler.find(&self.engine, digest)?;
        Some(self.keep(component, digest.into(), inspection))
    }

    fn loaded(&self, digest: &str) -> Option<Arc<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(digest)?.upgrade()
    }

    fn keep(&self, component: Component, digest: Arc<str>, inspection: Inspection) -> Arc<Loaded> {
        let mut all = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have loaded the same component meanwhile.
        if let Some(loaded) = all.get(&digest).and_then(Weak::upgrade) {
            return loaded;
        }
        all.retain(|_, loaded| loaded.strong_count() > 0);
        let linkers = self.linkers.clone();
        let loaded = Arc::new(Loaded { component, linkers, digest, inspection });
        all.insert(loaded.digest.clone(), Arc::downgrade(&loaded));
        loaded
    }
}
