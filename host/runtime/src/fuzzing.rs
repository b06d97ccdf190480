//! A component's way from bytes to a generation, in one process and without a server.

use std::io::Write;

use wasmtime::Engine;

use crate::component::compiler::{CompileError, check, compile, load_compiled, reason};
use crate::component::engine::{compiling_engine, engine};
use crate::component::linked::LinkedLogic;
use crate::component::linker::Linkers;
use kenning_core::limits::Limits;

/// Checks components as the compiler's child and then the server do. Only the child's own bounds
/// are missing: its process's time, memory and file size.
pub struct Checker {
    child: Engine,
    server: Engine,
    linkers: Linkers,
}

impl Checker {
    pub fn new(limits: &Limits) -> wasmtime::Result<Self> {
        let server = engine(limits)?;
        let linkers = Linkers::new(server.clone());
        Ok(Self { child: compiling_engine(limits)?, server, linkers })
    }

    /// Compiles, loads and links the component in `bytes`; gives the machine code's size.
    pub fn check(&self, bytes: &[u8]) -> Result<usize, CompileError> {
        let refused =
            |error: anyhow::Error| CompileError::Refused(reason(format!("{error:#}").as_bytes()));
        check(bytes).map_err(refused)?;
        let compiled = compile(&self.child, bytes).map_err(refused)?;
        let failed = |error: std::io::Error| CompileError::Failed(error.to_string());
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        file.write_all(&compiled).map_err(failed)?;
        let component = load_compiled(&self.server, file.path())?;
        LinkedLogic::link(&self.linkers, &component)
            .map_err(|error| CompileError::Refused(format!("{error:#}")))?;
        Ok(compiled.len())
    }
}
