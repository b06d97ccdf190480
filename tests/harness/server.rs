//! A server in a process of its own.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Caller;

/// A start or a stop that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is to be started. The defaults: embedded storage in a directory of
/// its own, and the `hash` embedder, which needs no model.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The address; otherwise one that is free.
    pub listen: Option<String>,
    pub storage: Option<String>,
    pub layout: Option<&'static str>,
    /// `local` for the real model.
    pub embedder: Option<&'static str>,
    /// The text of a `kenning.toml`.
    pub config: Option<String>,
    /// The operator's key; with one, callers need keys.
    pub admin_key: Option<&'static str>,
    /// A component to use as the logic.
    pub logic: Option<PathBuf>,
    /// Kept by the caller across restarts; otherwise the server's own.
    pub data_dir: Option<PathBuf>,
    /// Compile the logic again, rather than take what another server compiled.
    pub compile: bool,
    /// Another path of the program.
    pub program: Option<PathBuf>,
    /// Where its log goes and what is in it, as `--log` says; otherwise errors, to
    /// this process's standard error.
    pub log: Option<(PathBuf, &'static str)>,
    /// The largest file that it may write, in units of 1,024 bytes.
    pub file_kilobytes: Option<u64>,
    /// Further variables of its environment.
    pub environment: Vec<(&'static str, String)>,
}

/// Bounds on waiting that a disk or a core busy with other tests could reach.
const WAITS: [&str; 9] = [
    "storage_operation_ms",
    "store_embedding_ms",
    "call_ms",
    "search_ms",
    "request_ms",
    "answer_ms",
    "guest_wait_ms",
    "index_wait_ms",
    "shutdown_drain_ms",
];

impl Setup {
    /// For tests of what is answered, not of when: bounds on waiting are a minute.
    pub fn patient() -> Self {
        Self::patient_but("")
    }

    /// The same with some `[limits]` of its own.
    pub fn patient_but(limits: &str) -> Self {
        let others = WAITS.iter().filter(|wait| !limits.contains(**wait));
        let waits: String = others.map(|wait| format!("{wait} = 60000\n")).collect();
        Self { config: Some(format!("[limits]\n{limits}\n{waits}")), ..Self::default() }
    }
}

/// A running server; dropping it ends its process.
pub struct Server {
    child: Child,
    caller: Caller,
    start_took: Duration,
    /// Held until the server is gone.
    _directory: TempDir,
}

impl Deref for Server {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Server {
    /// A patient server.
    pub async fn start() -> Result<Self> {
        Self::start_with(Setup::patient()).await
    }

    /// Starts a server and waits until it says that it listens.
    pub async fn start_with(setup: Setup) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = command(&setup, directory.path())?;
        let begun = Instant::now();
        let mut child = command.spawn().context("cannot start kenning")?;
        let stdout = child.stdout.take().context("standard output was piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.context("kenning said nothing")??;
        let start_took = begun.elapsed();
        let address = line.as_deref().and_then(|line| line.strip_prefix("listening on "));
        let Some(address) = address else {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut said).await?;
            }
            bail!("kenning did not start: {said}");
        };
        Ok(Self { child, caller: Caller::new(address), start_took, _directory: directory })
    }

    /// The process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// From starting the process to its line "listening on".
    pub fn start_took(&self) -> Duration {
        self.start_took
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM; gives the exit code.
    pub async fn stop(self) -> Result<Option<i32>> {
        self.terminate().await?;
        self.ended().await
    }

    /// SIGTERM, and does not wait.
    pub async fn terminate(&self) -> Result<()> {
        self.signal("TERM").await
    }

    /// Suspends the process (SIGSTOP): its sockets stay open, and nothing answers.
    pub async fn pause(&self) -> Result<()> {
        self.signal("STOP").await
    }

    /// Resumes a suspended process (SIGCONT).
    pub async fn resume(&self) -> Result<()> {
        self.signal("CONT").await
    }

    /// SIGHUP: look at the certificate's files now.
    pub async fn hang_up(&self) -> Result<()> {
        self.signal("HUP").await
    }

    async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().context("it has ended already")?;
        let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().await?;
        anyhow::ensure!(sent.success(), "cannot signal {pid}");
        Ok(())
    }

    /// Waits for its end; gives the exit code.
    pub async fn ended(mut self) -> Result<Option<i32>> {
        let status = timeout(PATIENCE, self.child.wait()).await.context("it did not stop")??;
        Ok(status.code())
    }
}

fn command(setup: &Setup, directory: &Path) -> Result<Command> {
    let data_dir = setup.data_dir.clone().unwrap_or_else(|| directory.join("data"));
    if !setup.compile {
        self::data_dir(&data_dir)?;
    }
    let program = setup.program.clone().map_or_else(kenning, Ok)?;
    let mut command = match setup.file_kilobytes {
        None => Command::new(program),
        Some(kilobytes) => limited(&program, kilobytes),
    };
    command
        .args(["serve", "--listen", setup.listen.as_deref().unwrap_or("127.0.0.1:0")])
        .arg("--data-dir")
        .arg(data_dir)
        .env("KENNING_EMBEDDER", setup.embedder.unwrap_or("hash"))
        .env("KENNING_LOG", "error")
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some((path, filter)) = &setup.log {
        command.env("KENNING_LOG", filter).stderr(File::create(path)?);
    }
    if let Some(key) = setup.admin_key {
        command.env("KENNING_ADMIN_KEY", key);
    }
    if let Some(storage) = &setup.storage {
        command.args(["--storage", storage]);
    }
    if let Some(layout) = setup.layout {
        command.args(["--layout", layout]);
    }
    if let Some(logic) = &setup.logic {
        command.arg("--logic").arg(logic);
    }
    if let Some(config) = &setup.config {
        let path = directory.join("kenning.toml");
        std::fs::write(&path, config)?;
        command.arg("--config").arg(path);
    }
    Ok(command)
}

/// The binary, started by a shell that first sets the limit, which shells count in units of 512
/// bytes.
fn limited(program: &Path, kilobytes: u64) -> Command {
    let mut command = Command::new("sh");
    let blocks = (2 * kilobytes).to_string();
    command.args(["-c", "ulimit -f \"$0\" && exec \"$@\"", &blocks]).arg(program);
    command
}

/// A hundred servers compile the same logic once. The names there are digests, and the servers have
/// the same key, so that each takes what the others compiled.
pub fn data_dir(data_dir: &Path) -> Result<()> {
    let shared = kenning()?.with_file_name("compiled-for-tests");
    std::fs::create_dir_all(&shared)?;
    std::fs::create_dir_all(data_dir)?;
    let key = data_dir.join("components.key");
    if !key.exists() {
        std::fs::write(&key, [7; 32])?;
        std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    }
    match std::os::unix::fs::symlink(&shared, data_dir.join("components")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// The binary, which is built beside this program.
pub fn kenning() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.ancestors().skip(1).map(|directory| directory.join("kenning"));
    let found = beside.take(2).find(|path| path.is_file());
    found.context(
        "the binary `kenning` is not built: run `make build`, \
         or for the dev profile `cargo build --package kenning`",
    )
}

/// A component that `make components` built, such as `hostile`.
pub fn component(name: &str) -> Result<PathBuf> {
    let path = kenning()?.with_file_name("../components").join(name).with_extension("wasm");
    path.canonicalize().with_context(|| format!("no component {name}: run `make components`"))
}
