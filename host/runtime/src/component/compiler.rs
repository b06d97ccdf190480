//! Turns components into machine code, in a child process.
//!
//! Compiling has no bound of its own: a function of a megabyte takes a second, and
//! wasmtime does not count slow compiling as a fault. So the server never
//! compiles. A child of the same binary does, under limits of time, memory and
//! file size, on few threads that give way to the server's, and leaves its output in a
//! directory that only the server's user can write. The name there holds the
//! component's digest and a fingerprint of the engine's settings, so a component is
//! compiled once.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::component::engine;
use crate::component::inspect::{self, Inspection};
use kenning_core::limits::Limits;

/// The hidden subcommand that the child is started with.
pub const SUBCOMMAND: &str = "compile-component";

/// Machine code is two to four times the size of what it was made from.
const OUTPUT_FACTOR: u64 = 10;

/// Threads of the compiler, on however many cores: its processor time is bounded by
/// `compile_ms` on each.
const THREADS: u64 = 2;

/// How far the compiler stands back: a core that both want is the server's for two
/// thirds. The compiler stands back from all other programs as well, so with more it
/// would not be done in time on a machine that is busy with them.
const NICE: i32 = 3;

/// A child's reason at most; it may quote the component.
const REASON_BYTES: usize = 2 * 1024;

/// Why a component cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("component_bytes is limited to {allowed}, and this component has {used}")]
    TooLarge { allowed: u64, used: u64 },
    #[error("compiling took longer than {} ms, its limit (compile_ms)", .0.as_millis())]
    TooSlow(Duration),
    #[error("compiling was stopped by its limits (compile_memory_bytes, compile_ms): {0}")]
    Stopped(String),
    #[error("this is not a component this host can run: {0}")]
    Refused(String),
    #[error("the compiler could not be run: {0}")]
    Failed(String),
}

/// The component in the file at `path`. One that is too large is not read.
pub fn read(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    check_size(file.metadata()?.len(), limits)?;
    let mut bytes = Vec::new();
    // A pipe or a device does not say beforehand what it holds.
    file.take(limits.component_bytes as u64 + 1).read_to_end(&mut bytes)?;
    check_size(bytes.len() as u64, limits)?;
    Ok(bytes)
}

fn check_size(used: u64, limits: &Limits) -> Result<(), CompileError> {
    let allowed = limits.component_bytes as u64;
    if used > allowed {
        return Err(CompileError::TooLarge { allowed, used });
    }
    Ok(())
}

/// Compiles components and keeps what it compiled.
pub struct Compiler {
    program: PathBuf,
    directory: PathBuf,
    limits: Limits,
}

/// What the child is told, on its standard input.
#[derive(Serialize, Deserialize)]
struct Order {
    input: PathBuf,
    output: PathBuf,
    limits: Limits,
}

impl Compiler {
    /// A compiler that runs `program` (this binary) and keeps its output in
    /// `directory`.
    pub fn new(program: PathBuf, directory: PathBuf, limits: Limits) -> std::io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        Ok(Self { program, directory, limits })
    }

    /// The component in `bytes`, which have that digest, ready to be linked, and its
    /// outline.
    pub async fn load(
        &self,
        engine: &Engine,
        digest: &str,
        bytes: Bytes,
    ) -> Result<(Component, Inspection), CompileError> {
        check_size(bytes.len() as u64, &self.limits)?;
        let output = self.output(engine, digest);
        if outline_of(&output).is_none() {
            self.compile(bytes, &output).await?;
        }
        let engine = engine.clone();
        blocking(move || {
            let outline = outline_of(&output);
            let outline = outline.ok_or_else(|| failed("the outline cannot be read"))?;
            Ok((load_compiled(&engine, &output)?, outline))
        })
        .await
    }

    /// The component with `digest`, if it was compiled before.
    pub fn find(&self, engine: &Engine, digest: &str) -> Option<(Component, Inspection)> {
        let output = self.output(engine, digest);
        Some((load_compiled(engine, &output).ok()?, outline_of(&output)?))
    }

    fn output(&self, engine: &Engine, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.directory.join(format!("{hex}-{}.cwasm", fingerprint(engine)))
    }

    async fn compile(&self, bytes: Bytes, output: &Path) -> Result<(), CompileError> {
        let (directory, output) = (self.directory.clone(), output.to_path_buf());
        let files = blocking({
            let directory = directory.clone();
            move || {
                let mut input = NamedTempFile::new_in(&directory).map_err(failed)?;
                input.write_all(&bytes).map_err(failed)?;
                // The child writes beside the final name, which appears whole or not at all.
                Ok((input, NamedTempFile::new_in(&directory).map_err(failed)?))
            }
        });
        let (input, made) = files.await?;
        let order = Order {
            input: input.path().to_path_buf(),
            output: made.path().to_path_buf(),
            limits: self.limits.clone(),
        };
        let outline = self.run_child(&order).await?;
        blocking(move || {
            made.as_file().sync_all().map_err(failed)?;
            made.persist(&output).map_err(failed)?;
            // Last: where there is an outline, there is the code that it is of.
            let mut file = NamedTempFile::new_in(&directory).map_err(failed)?;
            file.write_all(&outline).map_err(failed)?;
            file.as_file().sync_all().map_err(failed)?;
            file.persist(outline_path(&output)).map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Gives the outline that the child printed.
    async fn run_child(&self, order: &Order) -> Result<Vec<u8>, CompileError> {
        let mut child = Command::new(&self.program)
            .arg(SUBCOMMAND)
            .env_clear()
            .env("RAYON_NUM_THREADS", THREADS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let order = serde_json::to_vec(order).map_err(failed)?;
        let mut stdin = child.stdin.take().expect("standard input was piped");
        let ended = tokio::time::timeout(self.limits.compile, async {
            stdin.write_all(&order).await?;
            drop(stdin);
            child.wait_with_output().await
        });
        let ended = match ended.await {
            Ok(ended) => ended.map_err(failed)?,
            Err(_) => return Err(CompileError::TooSlow(self.limits.compile)),
        };
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        let reason = reason(&ended.stderr);
        match ended.status.signal() {
            // What fails an allocation aborts; so do the other limits, by signals of theirs.
            Some(_) => Err(CompileError::Stopped(format!("{}: {reason}", ended.status))),
            None => Err(CompileError::Refused(reason)),
        }
    }
}

/// What a child said on standard error, as one line.
pub(crate) fn reason(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(&said[..said.len().min(REASON_BYTES)]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("kenning: ").unwrap_or(&line).to_string()
}

/// The child's side: reads its order, binds itself and compiles.
pub fn run_as_child() -> anyhow::Result<()> {
    let order: Order = serde_json::from_reader(std::io::stdin())?;
    let bytes = fs::read(&order.input)?;
    limit_this_process(&order.limits, bytes.len() as u64)?;
    let outline = check(&bytes)?;
    let engine = engine::compiling_engine(&order.limits).map_err(wasmtime_error)?;
    let compiled = compile(&engine, &bytes)?;
    fs::write(&order.output, compiled)?;
    serde_json::to_writer(std::io::stdout(), &outline)?;
    Ok(())
}

/// Where the outline of a compiled component lies.
fn outline_path(compiled: &Path) -> PathBuf {
    compiled.with_extension("json")
}

fn outline_of(compiled: &Path) -> Option<Inspection> {
    serde_json::from_slice(&fs::read(outline_path(compiled)).ok()?).ok()
}

/// Refuses what no compiling would make fit, before the time is spent.
pub(crate) fn check(bytes: &[u8]) -> anyhow::Result<Inspection> {
    let seen = inspect::inspect(bytes)?;
    if let Some(version) = seen.foreign_version() {
        let (package, ours) = (inspect::PACKAGE, inspect::VERSION);
        anyhow::bail!(
            "it is built against {package}@{version}, and this host offers {package}@{ours}: \
             build it against this host's wit/"
        );
    }
    Ok(seen)
}

/// Machine code from a component's bytes, which may be anything.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    engine.precompile_component(bytes).map_err(wasmtime_error)
}

/// wasmtime's error, with its causes: what the child says on standard error is what
/// the caller will read.
fn wasmtime_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn limit_this_process(limits: &Limits, input: u64) -> std::io::Result<()> {
    let bounds = [
        (Resource::As, limits.compile_memory_bytes as u64),
        (Resource::Cpu, limits.compile.as_secs() * THREADS + 1),
        (Resource::Fsize, (1 << 20) + input * OUTPUT_FACTOR),
        (Resource::Nofile, 32),
        (Resource::Core, 0),
    ];
    for (resource, bound) in bounds {
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    nice(NICE)?;
    Ok(())
}

#[expect(unsafe_code, reason = "wasmtime cannot check that machine code is what it made itself")]
pub(crate) fn load_compiled(engine: &Engine, path: &Path) -> Result<Component, CompileError> {
    // SAFETY: the file was written by our own compiler child into a directory that
    // only this user can write (mode 0700, made so in `Compiler::new`), under a name
    // that only a finished compilation gets. wasmtime itself refuses output of
    // another version or of other settings.
    let loaded = unsafe { Component::deserialize_file(engine, path) };
    // Whoever declares more memory or larger tables than a guest may have is refused here.
    loaded.map_err(|error| CompileError::Refused(format!("{error:#}")))
}

/// `sha256:` and the digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The same, where a component of many megabytes holds up no socket.
pub async fn digest_of(bytes: Bytes) -> Result<String, CompileError> {
    blocking(move || Ok(digest(&bytes))).await
}

/// Does what takes a disk's time, or that of many megabytes, beside the server's own work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(failed(panicked)))
}

/// Changes whenever output of one engine could not be loaded by the other.
fn fingerprint(engine: &Engine) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn failed(error: impl std::fmt::Display) -> CompileError {
    CompileError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_compiles_the_server_can_load() {
        let limits = Limits::default();
        let server = engine::engine(&limits).unwrap();
        let child = engine::compiling_engine(&limits).unwrap();
        assert_eq!(fingerprint(&server), fingerprint(&child));
    }
}
