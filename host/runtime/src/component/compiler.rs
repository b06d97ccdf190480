//! Compiles components to machine code, in a child process.
//!
//! Compiling is not bounded by itself: a function of a megabyte takes a second, and wasmtime does
//! not treat slow compilation as a fault. So the server never compiles. A child process of the
//! same binary does, under limits on time, memory and file size, on a few threads with a lower
//! priority than the server's.
//!
//! The child reads the component from its standard input and prints the machine code, so that
//! compiling needs no disk. The output is kept in [`CodeCache`] under the component's digest and a
//! fingerprint of the engine's settings, so a component is compiled once. The functions that it
//! compiled are kept in [`FunctionCache`], for the next component that has them.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::io::{BufRead, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kenning_core::limits::Limits;
use kenning_storage::TenantId;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::error::OutOfMemory;

use crate::component::code_cache::{self, CodeCache, Compiled};
use crate::component::engine;
use crate::component::function_cache::{self, FunctionCache, Series};
use crate::component::inspect::{self, Inspection};
use crate::component::known_functions::{FOOTER_BYTES, KnownFunctions, split_new, write_new};
use crate::component::refusal::explain;

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

/// The maximum of a child's error message, which may quote the component: what is read of it, and
/// what is passed on.
const SAID: u64 = 1 << 20;
const REASON_BYTES: usize = 2 * 1024;

/// Why a component cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
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

/// Compiles components and keeps the machine code in a folder of the data directory.
pub struct Compiler {
    program: PathBuf,
    cache: CodeCache,
    functions: FunctionCache,
    limits: Limits,
}

impl Compiler {
    /// A compiler that runs `program`, which is this binary, and keeps its output in `data_dir`.
    ///
    /// # Errors
    /// If the folder cannot be created, or made private to this user.
    pub fn new(program: PathBuf, data_dir: &Path, limits: Limits) -> std::io::Result<Self> {
        let most_of_one = printed_bytes(limits.component_bytes as u64);
        let cache = CodeCache::open(data_dir, limits.compiled_cache_bytes as u64, most_of_one)?;
        let functions = FunctionCache::open(data_dir, &limits)?;
        Ok(Self { program, cache, functions, limits })
    }

    /// Compiles the component in `bytes`, whose digest is `digest`, for `tenant`, and keeps the
    /// machine code. Returns it loaded, with its outline.
    ///
    /// # Errors
    /// If the component is not accepted, or the compiler cannot be run.
    pub(crate) async fn compile(
        self: &Arc<Self>,
        engine: &Engine,
        tenant: &TenantId,
        digest: &str,
        bytes: Bytes,
    ) -> Result<(Component, Inspection), CompileError> {
        check_size(bytes.len() as u64, &self.limits)?;
        let (name, fingerprint) = (file_name(engine, digest), fingerprint(engine));
        let series = Series::new(&fingerprint, tenant, digest, bytes.len() as u64);
        let mut run = Run { output: CodeCache::begin(&name), series, given: Vec::new() };
        self.run_child(bytes, &mut run).await?;
        let (compiler, engine) = (self.clone(), engine.clone());
        blocking(move || {
            let Run { mut output, series, given } = run;
            let (new, reuse) =
                split_new(&mut output).ok_or_else(|| failed("its output is incomplete"))?;
            if let Err(error) = compiler.functions.keep(&series, &given, &reuse, &new) {
                tracing::warn!(%error, "functions not kept; they are compiled again");
            }
            drop(new);
            let compiled = compiler.cache.seal(output, &name);
            let compiled = compiled.ok_or_else(|| failed("its output is incomplete"))?;
            if let Err(error) = compiler.cache.write(&name, &compiled) {
                tracing::warn!(%error, "compiled code not kept; it is compiled again when needed");
            }
            load_compiled(&engine, &compiled)
        })
        .await
    }

    /// The component with this digest, if it was compiled before, and its outline. Reads and
    /// verifies megabytes.
    pub(crate) fn find(&self, engine: &Engine, digest: &str) -> Option<(Component, Inspection)> {
        let compiled = self.cache.read(&file_name(engine, digest))?;
        load_compiled(engine, &compiled).ok()
    }

    /// Whether [`Self::find`] would find it.
    pub(crate) fn has(&self, engine: &Engine, digest: &str) -> bool {
        self.cache.read(&file_name(engine, digest)).is_some()
    }

    /// Runs the child process and appends what it prints to the output of `run`.
    async fn run_child(self: &Arc<Self>, bytes: Bytes, run: &mut Run) -> Result<(), CompileError> {
        let mut child = self.start_child().map_err(failed)?;
        let mut order = serde_json::to_vec(&self.limits).map_err(failed)?;
        order.push(b'\n');
        let input = bytes.len() as u64;
        let new = function_cache::room(&self.limits, input) + FOOTER_BYTES;
        let (most, mut said) = (printed_bytes(input) + new, Vec::new());
        let ended = tokio::time::timeout(self.limits.compile, async {
            // A child that refuses the component need not have read all of it.
            let _ = self.send(&mut child, order, bytes, run).await;
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let output = &mut run.output;
            tokio::try_join!(receive(stdout, most, output), receive(stderr, SAID, &mut said))?;
            child.wait().await
        });
        let status = match ended.await {
            Ok(ended) => ended.map_err(failed)?,
            Err(_) => return Err(CompileError::TooSlow(self.limits.compile)),
        };
        if status.success() {
            return Ok(());
        }
        let reason = reason(&said);
        match status.signal() {
            // A failed allocation aborts the process; the other limits have signals of their own.
            Some(_) => Err(CompileError::Stopped(format!("{status}: {reason}"))),
            // A thread's stack is memory, too.
            None if reason.contains("ThreadPoolBuildError") => {
                Err(CompileError::Stopped("no memory for the compiler's threads".into()))
            }
            None => Err(CompileError::Refused(reason)),
        }
    }

    /// Sends the limits, as one line, then what is known of such a component, and then the
    /// component. One pack is in memory at a time.
    async fn send(
        self: &Arc<Self>,
        child: &mut Child,
        order: Vec<u8>,
        bytes: Bytes,
        run: &mut Run,
    ) -> std::io::Result<()> {
        let mut stdin = child.stdin.take().expect("standard input was piped");
        stdin.write_all(&order).await?;
        let mut sent = 0;
        let (compiler, series) = (self.clone(), run.series.clone());
        let names = blocking(move || Ok(compiler.functions.names(&series))).await;
        for name in names.unwrap_or_default() {
            let compiler = self.clone();
            let read = blocking(move || Ok(compiler.functions.read(&name, sent))).await;
            let Ok(Some((file, pack))) = read else { continue };
            let length = pack.bytes().len() as u64;
            stdin.write_u64_le(length).await?;
            stdin.write_all(pack.bytes()).await?;
            sent += length;
            run.given.push(file);
        }
        stdin.write_u64_le(0).await?;
        stdin.write_all(&bytes).await
    }

    fn start_child(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .arg(SUBCOMMAND)
            .env_clear()
            .env("RAYON_NUM_THREADS", THREADS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

/// What one run of the child process is given and prints.
struct Run {
    output: Vec<u8>,
    series: Series,
    /// The files of the functions that it knows.
    given: Vec<File>,
}

/// Appends what comes, up to `most` bytes. The child cannot print more: the pipe is closed then.
async fn receive(
    from: Option<impl tokio::io::AsyncRead + Unpin>,
    most: u64,
    to: &mut Vec<u8>,
) -> std::io::Result<()> {
    match from {
        Some(from) => from.take(most).read_to_end(to).await.map(drop),
        None => Ok(()),
    }
}

/// The most bytes of machine code for a component of `input` bytes.
fn output_bytes(input: u64) -> u64 {
    (1 << 20) + input * OUTPUT_FACTOR
}

/// The same with its outline, which the child has already checked.
fn printed_bytes(input: u64) -> u64 {
    2 * output_bytes(input)
}

/// The child's message on standard error, as one line.
pub(crate) fn reason(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(&said[..said.len().min(REASON_BYTES)]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("kenning: ").unwrap_or(&line).to_string()
}

/// The child process: reads its limits and the component from standard input, limits itself,
/// compiles, and prints the component's outline and machine code.
///
/// # Errors
/// If the component is not accepted. The message goes to the server through standard error.
pub fn run_as_child() -> anyhow::Result<()> {
    let (mut input, mut order, mut bytes) = (std::io::stdin().lock(), String::new(), Vec::new());
    input.read_line(&mut order)?;
    let known = KnownFunctions::read(&mut input)?;
    input.read_to_end(&mut bytes)?;
    let limits: Limits = serde_json::from_str(&order)?;
    limit_this_process(&limits, bytes.len() as u64)?;
    let outline = precheck(&bytes)?;
    if let Some(problem) = outline.parts.problem(&limits) {
        anyhow::bail!(problem);
    }
    let room = function_cache::room(&limits, bytes.len() as u64);
    let known = Arc::new(known.noting(usize::try_from(room)?));
    let engine = match room {
        0 => engine::compiling_engine(&limits),
        _ => engine::reusing_engine(&limits, known.clone()),
    };
    let compiled = compile(&engine.map_err(wasmtime_error)?, &bytes)?;
    let (used, allowed) = (compiled.len() as u64, output_bytes(bytes.len() as u64));
    anyhow::ensure!(used < allowed, "its machine code has {used} bytes, of {allowed} allowed");
    let ((new, reuse), mut output) = (known.finish(), std::io::stdout().lock());
    code_cache::write_output(&outline, &compiled, &mut output)?;
    write_new(&new, &reuse, &mut output)?;
    Ok(())
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
    if error.is::<OutOfMemory>() {
        // As where an allocation fails elsewhere: the server reads that a limit ended the child.
        std::process::abort();
    }
    anyhow::Error::msg(explain(&error))
}

/// Bounds this process, and says on standard error which of its bounds are lower than asked for:
/// nothing else would explain why a component cannot be compiled here and can elsewhere.
fn limit_this_process(limits: &Limits, input: u64) -> std::io::Result<()> {
    let bounds = [
        (Resource::As, "address space", limits.compile_memory_bytes as u64),
        (Resource::Cpu, "processor seconds", limits.compile.as_secs() * THREADS + 1),
        (Resource::Fsize, "bytes of a file", output_bytes(input)),
        (Resource::Nofile, "open files", 32),
        (Resource::Core, "", 0),
    ];
    for (resource, what, bound) in bounds {
        let lowered = lower(getrlimit(resource), bound);
        setrlimit(resource, lowered)?;
        match lowered.current {
            Some(allowed) if allowed < bound => {
                // Only a failure makes the server read this.
                let _ = writeln!(std::io::stderr(), "{}", inherited(what, allowed, bound));
            }
            _ => {}
        }
    }
    nice(NICE)?;
    Ok(())
}

/// The lower of what was inherited and `bound`: nobody may raise a limit above its maximum.
fn lower(inherited: Rlimit, bound: u64) -> Rlimit {
    let at_most = |limit: Option<u64>| Some(limit.map_or(bound, |limit| limit.min(bound)));
    Rlimit { current: at_most(inherited.current), maximum: at_most(inherited.maximum) }
}

fn inherited(what: &str, allowed: u64, bound: u64) -> String {
    format!(
        "(the compiler inherited a limit of {allowed} {what} and wants {bound}; see `ulimit -a`)"
    )
}

#[expect(unsafe_code, reason = "wasmtime cannot check that machine code is what it made itself")]
pub(crate) fn load_compiled(
    engine: &Engine,
    compiled: &Compiled,
) -> Result<(Component, Inspection), CompileError> {
    let outline = compiled.outline().ok_or_else(|| failed("its outline cannot be read"))?;
    // SAFETY: `Compiled` holds what our own compiler child printed, either just now or before; then
    // `CodeCache` verified its MAC over these very bytes in memory, which are loaded from there and
    // not from the file. wasmtime itself refuses output of another version or of other settings.
    let loaded = unsafe { Component::deserialize(engine, compiled.code()) };
    // A component that declares more memory or larger tables than a guest may have is refused here.
    let loaded = loaded.map_err(|error| CompileError::Refused(format!("{error:#}")))?;
    Ok((loaded, outline))
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
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(failed(panicked)))
}

/// The name of a compiled component's file. Names of engines that cannot load each other's output
/// differ.
fn file_name(engine: &Engine, digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("{hex}-{}", fingerprint(engine))
}

/// Covers wasmtime's version and the engine's settings.
fn fingerprint(engine: &Engine) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn failed(error: impl std::fmt::Display) -> CompileError {
    CompileError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
