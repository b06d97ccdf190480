//! Compiles components to machine code, in a child process.
//!
//! Compiling is not bounded by itself: a function of a megabyte takes a second, and wasmtime does
//! not treat slow compilation as a fault. So the server never compiles. A child process of the
//! same binary does, under limits on time, memory and file size, on a few threads with a lower
//! priority than the server's.
//!
//! The output goes to a directory that only the server's user can write. Its file name contains
//! the component's digest and a fingerprint of the engine's settings, so a component is compiled
//! once.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use kenning_core::limits::Limits;
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

/// The hidden subcommand that the child process is started with.
pub const SUBCOMMAND: &str = "compile-component";

/// The maximum size of machine code, relative to the component. It is usually two to four times as
/// large.
const OUTPUT_FACTOR: u64 = 10;

/// Threads of the compiler, however many cores there are. `compile_ms` bounds the processor time of
/// each.
const THREADS: u64 = 2;

/// The compiler's `nice` value: of a core that both need, the server gets two thirds. A higher
/// value would starve the compiler on a machine that is busy with other programs.
const NICE: i32 = 3;

/// The maximum of a child's error message, which may quote the component.
const REASON_BYTES: usize = 2 * 1024;

/// Why a component cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is larger than `component_bytes`.
    #[error("component_bytes is limited to {allowed}, and this component has {used}")]
    TooLarge {
        /// The limit, in bytes.
        allowed: u64,
        /// The component's size, in bytes.
        used: u64,
    },
    /// Compiling took longer than `compile_ms`, which is given.
    #[error("compiling took longer than {} ms, its limit (compile_ms)", .0.as_millis())]
    TooSlow(Duration),
    /// The child process was killed by a signal, most likely because it exceeded a limit.
    #[error("compiling was stopped by its limits (compile_memory_bytes, compile_ms): {0}")]
    Stopped(String),
    /// The component is invalid, or does not fit this host; the text says why.
    #[error("this is not a component this host can run: {0}")]
    Refused(String),
    /// A fault of the host, such as a full disk.
    #[error("the compiler could not be run: {0}")]
    Failed(String),
}

/// Reads the component in the file at `path`, unless it is larger than `component_bytes`.
///
/// # Errors
/// If the file cannot be read, or is too large.
pub fn read(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    check_size(file.metadata()?.len(), limits)?;
    let mut bytes = Vec::new();
    // The size of a pipe or a device is not known beforehand.
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

/// Compiles components and keeps the machine code in a directory.
pub struct Compiler {
    program: PathBuf,
    directory: PathBuf,
    limits: Limits,
}

/// What the child process reads from its standard input.
#[derive(Serialize, Deserialize)]
struct Order {
    input: PathBuf,
    output: PathBuf,
    limits: Limits,
}

impl Compiler {
    /// A compiler that runs `program`, which is this binary, and keeps its output in `directory`.
    ///
    /// # Errors
    /// If the directory cannot be created, or made private to this user.
    pub fn new(program: PathBuf, directory: PathBuf, limits: Limits) -> std::io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        Ok(Self { program, directory, limits })
    }

    /// The component in `bytes`, whose digest is `digest`, compiled if necessary, and its outline.
    ///
    /// # Errors
    /// If the component is not accepted, or the compiler cannot be run.
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

    /// The component with this digest, if it was compiled before, and its outline.
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
                // The child writes to a temporary file, so that the final one is always complete.
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
            // The outline comes last: if it exists, so does the machine code.
            let mut file = NamedTempFile::new_in(&directory).map_err(failed)?;
            file.write_all(&outline).map_err(failed)?;
            file.as_file().sync_all().map_err(failed)?;
            file.persist(outline_path(&output)).map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Runs the child process and returns the outline that it printed.
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
            // A failed allocation aborts the process; the other limits have signals of their own.
            Some(_) => Err(CompileError::Stopped(format!("{}: {reason}", ended.status))),
            None => Err(CompileError::Refused(reason)),
        }
    }
}

/// The child's message on standard error, as one line.
pub(crate) fn reason(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(&said[..said.len().min(REASON_BYTES)]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("kenning: ").unwrap_or(&line).to_string()
}

/// The child process: reads what to do from standard input, limits itself, compiles, and prints the
/// component's outline.
///
/// # Errors
/// If the component is not accepted. The message goes to the server through standard error.
pub fn run_as_child() -> anyhow::Result<()> {
    let order: Order = serde_json::from_reader(std::io::stdin())?;
    let bytes = fs::read(&order.input)?;
    limit_this_process(&order.limits, bytes.len() as u64)?;
    let outline = precheck(&bytes)?;
    let engine = engine::compiling_engine(&order.limits).map_err(wasmtime_error)?;
    let compiled = compile(&engine, &bytes)?;
    fs::write(&order.output, compiled)?;
    serde_json::to_writer(std::io::stdout(), &outline)?;
    Ok(())
}

/// The file of a compiled component's outline.
fn outline_path(compiled: &Path) -> PathBuf {
    compiled.with_extension("json")
}

fn outline_of(compiled: &Path) -> Option<Inspection> {
    serde_json::from_slice(&fs::read(outline_path(compiled)).ok()?).ok()
}

/// Reads the outline, and refuses components that could not be linked, before time is spent on
/// compiling them.
pub(crate) fn precheck(bytes: &[u8]) -> anyhow::Result<Inspection> {
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

/// Compiles a component to machine code. The bytes are not trusted.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    engine.precompile_component(bytes).map_err(wasmtime_error)
}

/// wasmtime's error with its causes, because the child's message reaches the caller.
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
    // A component that declares more memory or larger tables than a guest may have is refused here.
    loaded.map_err(|error| CompileError::Refused(format!("{error:#}")))
}

/// `sha256:` and the digest of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The same on a blocking thread, because hashing many megabytes would delay other tasks.
///
/// # Errors
/// [`CompileError::Failed`] if the thread panicked.
pub async fn digest_of(bytes: Bytes) -> Result<String, CompileError> {
    blocking(move || Ok(digest(&bytes))).await
}

/// Runs slow work, on files or many megabytes, on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(failed(panicked)))
}

/// Differs between engines that cannot load each other's output.
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
    fn the_server_can_load_what_the_child_process_compiles() {
        let limits = Limits::default();
        let server = engine::engine(&limits).unwrap();
        let child = engine::compiling_engine(&limits).unwrap();
        assert_eq!(fingerprint(&server), fingerprint(&child));
    }
}
