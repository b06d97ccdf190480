//! `kenning dev`: an extension's project, live in a tenant while it is written.
//!
//! 1. `sources`: what a project is made of, and when it changed.
//! 2. `building`: `make`, and the component that it leaves.
//! 3. `installing`: the component into the tenant, and the lines that it writes.
//!
//! A round builds and installs. What goes wrong in one is said and waits for the next
//! save; the version that runs is never touched by one that is broken.

mod building;
mod installing;
mod sources;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use crate::terminal::Paint;
use crate::{Connection, Error, Exit, Form, Server, Terminal};
use building::build;
use installing::{Installed, Tenant};
use sources::{Sources, Watch};

/// How often the log is looked at while nothing changes.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// The project's folder, with a Makefile as `kenning new extension` writes it
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// The extension's name in the tenant [default: the folder's]
    #[arg(long)]
    pub name: Option<String>,
    /// What it may import beyond `log` and `budget`: storage, embedding, index
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub grant: Vec<String>,
    /// Where it stands among the tenant's extensions: smaller is earlier [default: as before, or 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// Refuse a version that the proof speaks against, as an installation does. Without it such a
    /// version runs all the same: a change is meant to change answers
    #[arg(long)]
    pub prove: bool,
    /// Build and install once, and end
    #[arg(long)]
    pub once: bool,
}

pub(crate) const DEV_HELP: &str = "\
Example:
  kenning new extension hello --lang rust && kenning dev hello

Each save is built by `make` and swapped in; what the compiler says and what the extension logs
stands in this terminal. When a version does not build or is refused, the one before goes on.
Ctrl-C ends it and leaves the extension installed.";

pub(crate) async fn dev(
    args: DevArgs,
    connection: &Connection,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let root = args.project.canonicalize().map_err(|cause| unreadable(&args.project, cause))?;
    if !root.join("Makefile").is_file() {
        return Err(Error::Usage(format!(
            "there is no Makefile in {}; `kenning new extension NAME` writes a project with one",
            root.display()
        )));
    }
    let name = name(&args, &root)?;
    let mut session = Session {
        tenant: Tenant::new(server, connection, &name, &args),
        root,
        name,
        live: None,
        terminal,
    };
    let stopped = async {
        // Without a handler Ctrl-C ends the process by itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let exit = tokio::select! {
        ended = session.run(args.once) => ended?,
        () = stopped => Exit::Done,
    };
    if session.live.is_some() && !args.once {
        let name = &session.name;
        let stays = format!("{name} stays; `kenning extension remove {name}` takes it out");
        session.terminal.note(&stays);
    }
    Ok(exit)
}

fn unreadable(path: &std::path::Path, cause: std::io::Error) -> Error {
    Error::Input { what: path.display().to_string(), cause }
}

fn name(args: &DevArgs, root: &std::path::Path) -> Result<String, Error> {
    let of_folder = || root.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = args.name.clone().or_else(of_folder);
    name.ok_or_else(|| Error::Usage("the folder has no name; say --name".into()))
}

/// One project, live in one tenant.
struct Session<'a> {
    root: PathBuf,
    name: String,
    tenant: Tenant<'a>,
    /// The version that runs.
    live: Option<Installed>,
    terminal: &'a mut Terminal,
}

impl Session<'_> {
    async fn run(&mut self, once: bool) -> Result<Exit, Error> {
        // Where there is no server there is nothing to wait for.
        self.tenant.catch_up().await?;
        let mut watch = Watch::start()?;
        let mut noticed = Instant::now();
        loop {
            // Watched first and read then, so that a save in between is seen.
            watch.follow(&Sources::read(&self.root)?)?;
            let sources = Sources::read(&self.root)?;
            let done = self.round(noticed).await;
            if let Err(error) = &done {
                self.terminal.report(error);
                self.say_what_runs();
            }
            if once {
                return Ok(done.map_or_else(|error| error.exit(), |()| Exit::Done));
            }
            self.wait(&sources, &mut watch).await?;
            noticed = Instant::now();
            watch.settle(&self.root).await?;
        }
    }

    /// Builds and installs what is there.
    async fn round(&mut self, noticed: Instant) -> Result<(), Error> {
        let component = build(&self.root).await?;
        if self.live.as_ref().is_some_and(|live| live.is_of(&component)) {
            return self.say("unchanged: the component is the same, byte for byte");
        }
        let (installed, objections) = self.tenant.install(component).await?;
        for objection in objections {
            self.terminal.warn(&format!("the proof speaks against it: {objection}"));
        }
        let took = noticed.elapsed().as_millis();
        let line = format!("live in {took} ms: {} generation {}", self.name, installed.generation);
        self.live = Some(installed);
        self.say(&line)
    }

    fn say_what_runs(&mut self) {
        match &self.live {
            Some(live) => self.terminal.note(&format!("generation {} goes on", live.generation)),
            None => self.terminal.note("nothing is installed yet"),
        }
    }

    /// Shows what the extension logs until a source changes.
    async fn wait(&mut self, built: &Sources, watch: &mut Watch) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = watch.stirred() => {
                    if Sources::read(&self.root)? != *built {
                        return Ok(());
                    }
                }
                () = sleep(LOOK) => self.show_log().await?,
            }
        }
    }

    async fn show_log(&mut self) -> Result<(), Error> {
        // A server that is away for a moment is no reason to end.
        let lines = self.tenant.new_lines().await.unwrap_or_default();
        for line in lines {
            self.say(&format!("{} {}", line.level, line.message))?;
        }
        Ok(())
    }

    /// Says a line at once: nobody waits for the end of this.
    fn say(&mut self, line: &str) -> Result<(), Error> {
        let line = crate::text::clean(line);
        let line = match self.terminal.form() {
            Form::Human { colour, .. } if line.starts_with("live ") => {
                Paint { colour }.figure(&line)
            }
            _ => line,
        };
        self.terminal.say(&line)?;
        self.terminal.finish()
    }
}
