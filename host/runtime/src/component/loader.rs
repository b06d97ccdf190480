//! From a component's bytes to something that can be linked: checked and compiled in
//! the child, loaded by digest, and shared by all who use the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::component::compiler::{CompileError, Compiler, digest_of};
use crate::component::inspect::Inspection;
use crate::component::linked::Loaded;
use crate::component::linker::Linkers;

/// Loads components. A thousand tenants with one extension hold its code once.
pub struct Loader {
    compiler: Compiler,
    engine: Engine,
    linkers: Arc<Linkers>,
    loaded: Mutex<HashMap<Arc<str>, Weak<Loaded>>>,
    /// One component is compiled at a time: it is the machine's work, not one caller's,
    /// and who waits may find that it is done.
    compiling: tokio::sync::Mutex<()>,
}

impl Loader {
    pub fn new(compiler: Compiler, engine: Engine) -> Self {
        let linkers = Arc::new(Linkers::new(engine.clone()));
        let (loaded, compiling) = (Mutex::default(), Default::default());
        Self { compiler, engine, linkers, loaded, compiling }
    }

    /// The component in `bytes`.
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
        // Another call may have loaded the same meanwhile.
        if let Some(there) = all.get(&digest).and_then(Weak::upgrade) {
            return there;
        }
        all.retain(|_, loaded| loaded.strong_count() > 0);
        let linkers = self.linkers.clone();
        let loaded = Arc::new(Loaded { component, linkers, digest, inspection });
        all.insert(loaded.digest.clone(), Arc::downgrade(&loaded));
        loaded
    }
}
