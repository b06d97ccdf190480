//! For the fuzz targets: compiles and links a component in one process, without a server.

use std::sync::Arc;

use kenning_core::limits::Limits;
use wasmtime::Engine;

use crate::component::code_cache::Compiled;
use crate::component::compiler::{CompileError, compile, load_compiled, precheck, reason};
use crate::component::engine::{Engines, compiling_engine};
use crate::component::linked::LinkedLogic;
use crate::component::linker::Linkers;

/// Treats components as the compiler's child process and then the server do. Only the limits of the
/// child process are missing: its time, memory and file size.
pub struct Checker {
    child: Engine,
    server: Engine,
    linkers: Arc<Linkers>,
}

impl Checker {
    /// Engines for both processes under `limits`.
    ///
    /// # Errors
    /// If wasmtime refuses the configuration.
    pub fn new(limits: &Limits) -> wasmtime::Result<Self> {
        let server = Engines::new(limits)?.first().clone();
        let linkers = Arc::new(Linkers::new(server.clone()));
        Ok(Self { child: compiling_engine(limits)?, server, linkers })
    }

    /// Compiles, loads and links the component in `bytes`; returns the bytes of machine code.
    ///
    /// # Errors
    /// If the component is not accepted.
    pub fn check(&self, bytes: &[u8]) -> Result<usize, CompileError> {
        let refused =
            |error: anyhow::Error| CompileError::Refused(reason(format!("{error:#}").as_bytes()));
        let outline = precheck(bytes).map_err(refused)?;
        let compiled = compile(&self.child, bytes).map_err(refused)?;
        let (component, _) =
            load_compiled(&self.server, &Compiled::in_this_process(&outline, &compiled))?;
        LinkedLogic::link(&self.linkers, &component)
            .map_err(|error| CompileError::Refused(format!("{error:#}")))?;
        Ok(compiled.len())
    }
}
