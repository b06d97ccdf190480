//! `kenning dev`: rebuilds and reinstalls an extension whenever its project changes.
//!
//! 1. `sources`: the files of a project, and when they change.
//! 2. `build`: runs `make` and reads the component that it produces.
//! 3. `install`: installs the component in the tenant and reads its log.
//!
//! If a version does not build or is rejected, the error is printed, the installed version stays
//! live, and the next save starts another attempt.

mod build;
mod install;
mod sources;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use crate::terminal::Paint;
use crate::{Connection, Error, Exit, OutputFormat, Server, Terminal};
use build::build;
use install::{InstalledVersion, Installer};
use sources::{Sources, Watcher};

/// How often to read the extension's log.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The arguments of `kenning dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// The project's directory, with a Makefile as created by `kenning new extension`
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// The extension's name in the tenant [default: the name of the directory]
    #[arg(long)]
    pub name: Option<String>,
    /// Additional imports to allow, besides `log` and `budget`: storage, embedding, index, state,
    /// and http:HOST[,HOST] for requests to these hosts
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Vec<String>,
    /// Position among the tenant's extensions, smallest first [default: unchanged, or 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// Reject a version that fails the proof, as `kenning extension install` does. By default it is
    /// installed anyway, because a change is expected to change results
    #[arg(long)]
    pub prove: bool,
    /// Build and install once, then exit
    #[arg(long)]
    pub once: bool,
}

pub(crate) const DEV_HELP: &str = "\
Example:
  kenning new extension hello --lang rust && kenning dev hello

Whenever a file is saved, `make` builds the project and the new version replaces the old one. The
output of the compiler and the extension's log appear in this terminal. If a version does not build
or is rejected, the previous one stays live. Ctrl-C exits; the extension stays installed.";

pub(crate) async fn dev(
    args: DevArgs,
    connection: &Connection,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let root = args.project.canonicalize().map_err(|cause| unreadable(&args.project, cause))?;
    if !root.join("Makefile").is_file() {
        return Err(Error::Usage(format!(
            "there is no Makefile in {}; `kenning new extension NAME` creates a project with one",
            root.display()
        )));
    }
    let name = name(&args, &root)?;
    let mut session = DevSession {
        installer: Installer::new(server, connection, &name, &args),
        root,
        name,
        live: None,
        terminal,
    };
    let stopped = async {
        // If no handler can be installed, Ctrl-C ends the process by default.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let exit = tokio::select! {
        ended = session.run(args.once) => ended?,
        () = stopped => Exit::Success,
    };
    if session.live.is_some() && !args.once {
        let name = &session.name;
        let hint = format!("{name} stays installed; `kenning extension remove {name}` removes it");
        session.terminal.notice(&hint);
    }
    Ok(exit)
}

fn unreadable(path: &std::path::Path, cause: std::io::Error) -> Error {
    Error::Input { what: path.display().to_string(), cause }
}

fn name(args: &DevArgs, root: &std::path::Path) -> Result<String, Error> {
    let directory_name = || root.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = args.name.clone().or_else(directory_name);
    name.ok_or_else(|| Error::Usage("the directory has no name; pass --name".into()))
}

/// One project and the tenant that it is installed in.
struct DevSession<'a> {
    root: PathBuf,
    name: String,
    installer: Installer<'a>,
    /// The installed version.
    live: Option<InstalledVersion>,
    terminal: &'a mut Terminal,
}

impl DevSession<'_> {
    async fn run(&mut self, once: bool) -> Result<Exit, Error> {
        // Also fails early if there is no server.
        self.installer.skip_old_lines().await?;
        let mut watcher = Watcher::start()?;
        let mut changed_at = Instant::now();
        loop {
            // Watch before reading, so that a save in between is not missed.
            watcher.watch(&Sources::read(&self.root)?)?;
            let sources = Sources::read(&self.root)?;
            let outcome = self.build_and_install(changed_at).await;
            if let Err(error) = &outcome {
                self.terminal.report_error(error);
                self.print_live_version();
            }
            if once {
                return Ok(outcome.map_or_else(|error| error.exit(), |()| Exit::Success));
            }
            self.wait(&sources, &mut watcher).await?;
            changed_at = Instant::now();
            watcher.settle(&self.root).await?;
        }
    }

    /// Builds the current sources and installs the component, unless it is unchanged.
    async fn build_and_install(&mut self, changed_at: Instant) -> Result<(), Error> {
        let component = build(&self.root).await?;
        if self.live.as_ref().is_some_and(|live| live.is(&component)) {
            return self.print_line("unchanged: the component is identical");
        }
        let (installed, failed_checks) = self.installer.install(component).await?;
        for check in failed_checks {
            self.terminal.warn(&format!("the proof failed: {check}"));
        }
        let took = changed_at.elapsed().as_millis();
        let line = format!("live in {took} ms: {} generation {}", self.name, installed.generation);
        self.live = Some(installed);
        self.print_line(&line)
    }

    fn print_live_version(&mut self) {
        match &self.live {
            Some(live) => {
                self.terminal.notice(&format!("generation {} stays live", live.generation))
            }
            None => self.terminal.notice("no version is installed yet"),
        }
    }

    /// Prints the extension's log until a source changes.
    async fn wait(&mut self, built: &Sources, watcher: &mut Watcher) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = watcher.changed() => {
                    if Sources::read(&self.root)? != *built {
                        return Ok(());
                    }
                }
                () = sleep(POLL_INTERVAL) => self.show_log().await?,
            }
        }
    }

    async fn show_log(&mut self) -> Result<(), Error> {
        // A server may be unavailable for a moment.
        let lines = self.installer.new_lines().await.unwrap_or_default();
        for line in lines {
            self.print_line(&format!("{} {}", line.level, line.message))?;
        }
        Ok(())
    }

    /// Prints a line immediately, without waiting for a full buffer.
    fn print_line(&mut self, line: &str) -> Result<(), Error> {
        let line = crate::text::sanitize(line);
        let line = match self.terminal.format() {
            OutputFormat::Human { colour, .. } if line.starts_with("live ") => {
                Paint { colour }.figure(&line)
            }
            _ => line,
        };
        self.terminal.print_line(&line)?;
        self.terminal.flush()
    }
}
