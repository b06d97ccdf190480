//! Loads components: has them inspected and compiled in a child process, and shares the loaded code
//! between all guests with the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use kenning_core::limits::Limits;
use kenning_storage::StorageError;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::component::compile_permits::{CompilePermits, Demand};
use crate::component::compiler::{CompileError, Compiler, blocking, digest_of};
use crate::component::inspect::Inspection;
use crate::component::linked::Loaded;
use crate::component::linker::Linkers;

/// Files of machine code that are read at once: each is in memory twice for a moment.
const READS: usize = 2;

/// Why a guest could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The component with this digest is not in storage.
    #[error("the component {0} is recorded, but its bytes are missing")]
    Missing(String),
    /// The bytes in storage have another digest than the one that is given.
    #[error("the bytes of the component {0} are damaged: they have another digest")]
    Damaged(String),
    /// Storage has not the bytes of the guest that is named, whatever is tried.
    #[error("{guest} cannot be loaded: {reason}")]
    Lost {
        /// An extension with its name, or the logic.
        guest: String,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// The component does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// As many components as may be, the given number, were being compiled all the time.
    #[error("all {0} permits to compile components (compiles) were taken for too long")]
    Busy(usize),
    /// The component does not link.
    #[error("it does not fit this host: {0}")]
    Link(String),
}

type Load = BoxFuture<'static, Result<Arc<Loaded>, LoadError>>;

/// Loads components. The code of an extension that a thousand tenants have is loaded once.
#[derive(Clone)]
pub struct Loader(Arc<Inner>);

struct Inner {
    compiler: Arc<Compiler>,
    engine: Engine,
    linkers: Arc<Linkers>,
    loaded: Mutex<HashMap<Arc<str>, Weak<Loaded>>>,
    /// Who wants a component that is being loaded waits for that load. A load ends when nobody
    /// waits for it any more.
    loading: Mutex<HashMap<Arc<str>, WeakShared<Load>>>,
    compiling: CompilePermits,
    reading: Semaphore,
}

impl Loader {
    /// Loads what `compiler` compiles into `engine`.
    pub fn new(compiler: Compiler, engine: Engine, limits: &Limits) -> Self {
        Self(Arc::new(Inner {
            compiler: Arc::new(compiler),
            linkers: Arc::new(Linkers::new(engine.clone())),
            engine,
            loaded: Mutex::default(),
            loading: Mutex::default(),
            compiling: CompilePermits::new(limits),
            reading: Semaphore::new(READS),
        }))
    }

    /// The component in `bytes`, compiled unless it was before.
    ///
    /// # Errors
    /// If the component is not accepted, or the compiler cannot be run.
    pub async fn load(&self, demand: Demand, bytes: Bytes) -> Result<Arc<Loaded>, LoadError> {
        let digest = digest_of(bytes.clone()).await?;
        self.shared(demand, &digest, async { Ok(bytes) }).await
    }

    /// The component with `digest`. `fetch` supplies its bytes; it runs only if the component was
    /// not compiled on this machine before, and once however many wait for it.
    ///
    /// # Errors
    /// As [`Self::load`], and if the bytes cannot be fetched or have another digest.
    pub async fn obtain(
        &self,
        demand: Demand,
        digest: &str,
        fetch: impl Future<Output = Result<Bytes, LoadError>> + Send + 'static,
    ) -> Result<Arc<Loaded>, LoadError> {
        let expected = digest.to_string();
        let fetch = async move {
            let bytes = fetch.await?;
            match digest_of(bytes.clone()).await? == expected {
                true => Ok(bytes),
                false => Err(LoadError::Damaged(expected)),
            }
        };
        self.shared(demand, digest, fetch).await
    }

    /// Whether the component with `digest` is loaded, or was compiled on this machine before and
    /// its machine code is intact.
    pub async fn is_compiled(&self, digest: &str) -> bool {
        if self.0.find_loaded(digest).is_some() {
            return true;
        }
        let (inner, digest) = (self.0.clone(), digest.to_string());
        let _permit = self.0.reading.acquire().await;
        blocking(move || Ok(inner.compiler.has(&inner.engine, &digest))).await.unwrap_or(false)
    }

    /// The load in progress of this component, or a new one.
    async fn shared(
        &self,
        demand: Demand,
        digest: &str,
        fetch: impl Future<Output = Result<Bytes, LoadError>> + Send + 'static,
    ) -> Result<Arc<Loaded>, LoadError> {
        if let Some(loaded) = self.0.find_loaded(digest) {
            return Ok(loaded);
        }
        let load = self.0.join(digest, || self.0.clone().run(demand, digest.into(), fetch).boxed());
        load.await
    }
}

impl Inner {
    fn join(&self, digest: &str, load: impl FnOnce() -> Load) -> Shared<Load> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loading.get(digest).and_then(WeakShared::upgrade) {
            return load;
        }
        loading.retain(|_, load| load.upgrade().is_some());
        let load = load().shared();
        if let Some(weak) = load.downgrade() {
            loading.insert(digest.into(), weak);
        }
        load
    }

    /// Loads a component. Its bytes are fetched when it is its turn to be compiled, so that those
    /// of waiting components take no memory.
    async fn run(
        self: Arc<Self>,
        demand: Demand,
        digest: Arc<str>,
        fetch: impl Future<Output = Result<Bytes, LoadError>> + Send + 'static,
    ) -> Result<Arc<Loaded>, LoadError> {
        if let Some(loaded) = self.find_loaded(&digest) {
            return Ok(loaded);
        }
        if let Some((component, inspection)) = self.find_compiled(&digest).await {
            return Ok(self.keep(component, digest, inspection));
        }
        let _permit = self.compiling.acquire(&demand).await.map_err(LoadError::Busy)?;
        let bytes = fetch.await?;
        let Demand { tenant, .. } = &demand;
        let compiled = self.compiler.compile(&self.engine, tenant, &digest, bytes).await?;
        let (component, inspection) = compiled;
        Ok(self.keep(component, digest, inspection))
    }

    async fn find_compiled(self: &Arc<Self>, digest: &Arc<str>) -> Option<(Component, Inspection)> {
        let _permit = self.reading.acquire().await;
        let (inner, digest) = (self.clone(), digest.clone());
        blocking(move || Ok(inner.compiler.find(&inner.engine, &digest))).await.ok().flatten()
    }

    fn find_loaded(&self, digest: &str) -> Option<Arc<Loaded>> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use kenning_storage::TenantId;

    use super::*;
    use crate::component::code_cache::write_output;
    use crate::component::compile_permits::Urgency;
    use crate::component::compiler::{compile, digest};
    use crate::component::engine::{Engines, compiling_engine};
    use crate::component::known_functions::{Reuse, write_new};

    fn component() -> Bytes {
        wat::parse_str("(component)").unwrap().into()
    }

    /// A loader whose compiler is a script that prints what was compiled here.
    fn loader(directory: &Path) -> Loader {
        let limits = Limits::default();
        let code = compile(&compiling_engine(&limits).unwrap(), &component()).unwrap();
        let mut output = Vec::new();
        write_output(&Inspection::default(), &code, &mut output).unwrap();
        write_new(&[], &Reuse::default(), &mut output).unwrap();
        let (printed, program) = (directory.join("output"), directory.join("compiler"));
        fs::write(&printed, output).unwrap();
        fs::write(&program, format!("#!/bin/sh\n/bin/cat > /dev/null\n/bin/cat {printed:?}\n"))
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let compiler = Compiler::new(program, directory, limits.clone()).unwrap();
        Loader::new(compiler, Engines::new(&limits).unwrap().first().clone(), &limits)
    }

    fn demand(tenant: usize) -> Demand {
        let tenant = TenantId::parse(&format!("tenant-{tenant}")).unwrap();
        Demand { tenant, urgency: Urgency::Usual }
    }

    #[tokio::test]
    async fn many_who_want_one_component_fetch_it_once() {
        let directory = tempfile::tempdir().unwrap();
        let (loader, fetched) = (loader(directory.path()), Arc::new(AtomicUsize::new(0)));
        let digest = digest(&component());
        let obtain = |tenant| {
            let fetched = fetched.clone();
            loader.obtain(demand(tenant), &digest, async move {
                fetched.fetch_add(1, Ordering::Relaxed);
                Ok(component())
            })
        };
        let all = join_all((0..64).map(obtain)).await;
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
        let first = all[0].as_ref().unwrap();
        assert!(all.iter().all(|one| Arc::ptr_eq(one.as_ref().unwrap(), first)));
        drop(all);
        assert!(loader.is_compiled(&digest).await);
        obtain(0).await.unwrap();
        assert_eq!(fetched.load(Ordering::Relaxed), 1, "its machine code was kept");
    }

    #[tokio::test]
    async fn bytes_with_another_digest_are_not_compiled() {
        let directory = tempfile::tempdir().unwrap();
        let loader = loader(directory.path());
        let other = digest(b"other");
        let obtained = loader.obtain(demand(0), &other, async { Ok(component()) }).await;
        assert!(matches!(obtained.err(), Some(LoadError::Damaged(_))));
        assert!(!loader.is_compiled(&other).await);
    }
}
