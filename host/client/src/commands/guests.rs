//! The operator's commands on the logic and on a tenant's extensions.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::report::print_report;
use super::{configure, costs, dead_letters, digests, warn_of_hosts};
use crate::admin::{ExtensionCommand, InstallArgs, LogicCommand, LogsArgs};
use crate::progress::Progress;
use crate::server::COMPONENT_TYPE;
use crate::terminal::Paint;
use crate::text::{escape_field, sanitize};
use crate::{Connection, Error, JsonResponse, OutputFormat, Server, Terminal};

const LOGIC: [&str; 3] = ["v1", "admin", "logic"];

/// How often `logs --follow` reads the log.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

type Parameters = Vec<(&'static str, String)>;

pub(super) async fn logic(
    command: LogicCommand,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match command {
        LogicCommand::List(call) => {
            let request =
                server.request(Method::GET, &LOGIC)?.query(&logic_parameters(&call.connection));
            print_logic(&server.call(request).await?, terminal)
        }
        LogicCommand::Stage(call) => {
            let mut parameters = logic_parameters(&call.connection);
            parameters.extend(call.args.proof.parameters());
            parameters.push(("dry_run", "true".into()));
            send(server, Method::POST, &LOGIC, parameters, &call.args.file, terminal).await
        }
        LogicCommand::Promote(call) => {
            let mut parameters = logic_parameters(&call.connection);
            parameters.extend(call.args.proof.parameters());
            send(server, Method::POST, &LOGIC, parameters, &call.args.file, terminal).await
        }
        LogicCommand::Where(call) => digests::find(server, &call.args, terminal).await,
        LogicCommand::Revoke(call) => digests::revoke(server, &call.args, terminal).await,
        LogicCommand::Rollback(call) => {
            let mut parameters = logic_parameters(&call.connection);
            parameters.extend(call.args.generation.map(|n| ("generation", n.to_string())));
            let path = [&LOGIC[..], &["rollback"]].concat();
            let request = server.request(Method::POST, &path)?.query(&parameters);
            print_rollback(&server.call(request).await?, terminal)
        }
    }
}

pub(super) async fn extension(
    command: ExtensionCommand,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match command {
        ExtensionCommand::List(call) => {
            let request = server.request(Method::GET, &path(&call.connection, &[]))?;
            let response = server.call(request).await?;
            print_extensions(&response, terminal)
        }
        ExtensionCommand::Install(call) => {
            install(server, &call.connection, call.args, terminal).await
        }
        ExtensionCommand::Remove(call) => {
            let name = &call.args.extension.name;
            let request = server.request(Method::DELETE, &path(&call.connection, &[name]))?;
            let kept = call.args.keep_state.then_some(("keep_state", true));
            let response = server.call(request.query(&Vec::from_iter(kept))).await?;
            warn_of_hosts(&response, terminal);
            match terminal.format() {
                OutputFormat::Json => terminal.print_document(&response.body),
                _ => terminal.print_line(&format!("Removed {name}")),
            }
        }
        ExtensionCommand::Rollback(call) => {
            let generation = call.args.generation.map(|n| ("generation", n.to_string()));
            let path = path(&call.connection, &[&call.args.extension.name, "rollback"]);
            let request = server.request(Method::POST, &path)?;
            let request = request.query(&Vec::from_iter(generation));
            print_rollback(&server.call(request).await?, terminal)
        }
        ExtensionCommand::Set(call) => {
            let name = &call.args.extension.name;
            change(server, &call.connection, name, call.args.change(), terminal).await
        }
        ExtensionCommand::Configure(call) => {
            let path = path(&call.connection, &[&call.args.extension.name, "settings"]);
            configure::configure(server, &path, &call.args, terminal).await
        }
        ExtensionCommand::Where(call) => digests::find(server, &call.args, terminal).await,
        ExtensionCommand::Revoke(call) => digests::revoke(server, &call.args, terminal).await,
        ExtensionCommand::Pause(call) => {
            let paused = json!({ "paused": true });
            change(server, &call.connection, &call.args.name, paused, terminal).await
        }
        ExtensionCommand::Resume(call) => {
            let running = json!({ "paused": false });
            change(server, &call.connection, &call.args.name, running, terminal).await
        }
        ExtensionCommand::DeadLetters(call) => {
            let path = path(&call.connection, &[&call.args.extension.name, "dead-letters"]);
            dead_letters::dead_letters(server, &path, &call.args, terminal).await
        }
        ExtensionCommand::Stats(call) => {
            let path = path(&call.connection, &[&call.args.name, "stats"]);
            costs::costs(server, &path, terminal).await
        }
        ExtensionCommand::Logs(call) => logs(server, &call.connection, &call.args, terminal).await,
    }
}

/// Selects the logic: the tenant's own, or the one for all tenants without their own.
fn logic_parameters(connection: &Connection) -> Parameters {
    tenant(connection).map(|tenant| ("tenant", tenant.to_string())).into_iter().collect()
}

fn tenant(connection: &Connection) -> Option<&str> {
    connection.tenant.as_deref().filter(|tenant| !tenant.is_empty())
}

/// The path of a tenant's extensions, followed by `rest`.
fn path<'a>(connection: &'a Connection, rest: &[&'a str]) -> Vec<&'a str> {
    let tenant = tenant(connection).unwrap_or("default");
    [&["v1", "admin", "tenants", tenant, "extensions"], rest].concat()
}

async fn install(
    server: &Server,
    connection: &Connection,
    args: InstallArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut parameters = args.proof.parameters();
    parameters.extend(args.order.map(|order| ("order", order.to_string())));
    parameters.extend(args.on_failure.map(|policy| ("on_failure", policy.name().into())));
    if !args.grant.is_empty() {
        parameters.push(("grant", args.grant.join(",")));
    }
    parameters.extend(args.dry_run.then(|| ("dry_run", "true".into())));
    let settings = args.settings.as_deref().map(configure::read).transpose()?;
    parameters.extend(settings.map(|settings| ("settings", settings.get().to_owned())));
    let path = path(connection, &[&args.name]);
    send(server, Method::PUT, &path, parameters, &args.file, terminal).await
}

/// Changes an extension's settings and prints them.
async fn change(
    server: &Server,
    connection: &Connection,
    name: &str,
    change: Value,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct State {
        grants: Vec<String>,
        #[serde(flatten)]
        settings: Settings,
        paused: bool,
    }
    let request = server.request(Method::PATCH, &path(connection, &[name]))?.json(&change);
    let response = server.call(request).await?;
    let State { grants, settings, paused } = response.parse()?;
    warn_of_hosts(&response, terminal);
    let state = if paused { "paused" } else { "running" };
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => {
            let policy = settings.on_failure.as_deref().unwrap_or_default();
            let (grants, policy) =
                (escape_field(&grants.join(",")).into_owned(), escape_field(policy));
            terminal.print_line(&format!("{name}\t{state}\t{}\t{grants}\t{policy}", settings.order))
        }
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("{name} is {state}"))?;
            terminal.print_line(&settings.line(&grants))
        }
    }
}

/// Sends a component and prints the report.
async fn send(
    server: &Server,
    method: Method,
    path: &[&str],
    parameters: Parameters,
    file: &Path,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let bytes = std::fs::read(file)
        .map_err(|cause| Error::Input { what: file.display().to_string(), cause })?;
    let request = server.request(method, path)?.query(&parameters);
    let request = request.header(CONTENT_TYPE, COMPONENT_TYPE).body(bytes);
    let progress = Progress::steps(terminal.shows_progress());
    let report = server.swap(request, &progress).await;
    progress.clear();
    print_report(&report?, terminal)
}

fn print_rollback(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Active {
        generation: u64,
        digest: String,
        /// Absent from an older server.
        from: Option<u64>,
        grants: Option<Vec<String>>,
        settings: Option<Settings>,
    }
    let active: Active = response.parse()?;
    warn_of_hosts(response, terminal);
    let (from, to) = (active.from.map(|from| from.to_string()), active.generation);
    let from = from.unwrap_or_default();
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => {
            let grants = active.grants.map_or_else(String::new, |grants| grants.join(","));
            let fields =
                [active.digest, from, grants].map(|field| escape_field(&field).into_owned());
            terminal.print_line(format!("{to}\t{}", fields.join("\t")).trim_end())
        }
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("Rolled back: generation {from} → generation {to}"))?;
            match active.settings {
                Some(settings) => {
                    let grants = active.grants.unwrap_or_default();
                    terminal.print_line(&settings.line(&grants))
                }
                None => Ok(()),
            }
        }
    }
}

/// An extension's order and policy.
#[derive(Deserialize)]
struct Settings {
    order: i32,
    on_failure: Option<String>,
}

impl Settings {
    /// For people, with the grants.
    fn line(&self, grants: &[String]) -> String {
        let grants = if grants.is_empty() { "none".to_owned() } else { grants.join(",") };
        let policy = self.on_failure.as_deref().unwrap_or("each hook's own");
        let (grants, policy) = (sanitize(&grants), sanitize(policy));
        format!("  grants: {grants}, order: {}, on failure: {policy}", self.order)
    }
}

fn print_extensions(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Extensions {
        extensions: Vec<Value>,
    }
    let listed: Extensions = response.parse()?;
    if terminal.format() == OutputFormat::Json {
        return terminal.print_document(&response.body);
    }
    for extension in &listed.extensions {
        let name = extension["name"].as_str().unwrap_or_default();
        print_generations(extension, name, &placement(extension), terminal)?;
    }
    Ok(())
}

/// An extension's position, its hooks with what their failure does, its grants, and what keeps the
/// host from loading it, each with its name before it.
fn placement(extension: &Value) -> String {
    let hooks = extension["hooks"].as_object().map(|hooks| {
        let hooks = hooks
            .iter()
            .map(|(hook, policy)| format!("{hook}={}", policy.as_str().unwrap_or_default()));
        hooks.collect::<Vec<_>>().join(",")
    });
    let active = &extension["active"];
    let generations = extension["generations"].as_array().into_iter().flatten();
    let granted = generations.filter(|generation| generation["number"] == *active);
    let grants = granted.flat_map(|generation| generation["grants"].as_array()).flatten();
    let grants = grants.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    format!(
        "\torder {}\thooks {}\tgrants {}{}",
        extension["order"],
        // This host has not loaded it.
        escape_field(hooks.as_deref().unwrap_or("unknown")),
        escape_field(if grants.is_empty() { "none" } else { &grants }),
        problem(extension)
    )
}

/// What keeps the host from loading a guest, with its name before it.
fn problem(guest: &Value) -> String {
    let problem = guest["problem"].as_str();
    problem.map(|problem| format!("\tproblem {}", escape_field(problem))).unwrap_or_default()
}

fn print_logic(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    let logic: Value = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        _ => print_generations(&logic, "logic", &problem(&logic), terminal),
    }
}

/// Prints a line per generation: name, number, `active` or nothing, digest, time, and for the live
/// one its calls, its failures and whether it is quarantined. The active one ends with `placement`.
/// On a terminal the events follow.
fn print_generations(
    guest: &Value,
    name: &str,
    placement: &str,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let live = &guest["live"];
    let line = |number: &Value, digest: &str, active: bool, when: &str| {
        let mut health = String::new();
        if active && live["generation"] == *number {
            health = format!("\tcalls {}\tfailures {}", live["calls"], live["failures"]);
            if let Some(left) = live["quarantined_for_ms"].as_u64() {
                health += &format!("\tin quarantine for {left} ms");
            }
        }
        let (active, placement) = if active { ("active", placement) } else { ("", "") };
        format!(
            "{}\t{number}\t{active}\t{}\t{}{health}{placement}",
            escape_field(name),
            escape_field(digest),
            escape_field(when)
        )
    };
    if let Some(built_in) = guest.get("built_in") {
        let digest = built_in["digest"].as_str().unwrap_or_default();
        let active = guest["active"].is_null();
        terminal
            .print_line(line(&built_in["generation"], digest, active, "built in").trim_end())?;
    }
    for generation in guest["generations"].as_array().into_iter().flatten() {
        let text = |name: &str| generation[name].as_str().unwrap_or_default();
        let active = generation["active"] == true;
        let line = line(&generation["number"], text("digest"), active, text("staged_at"));
        terminal.print_line(line.trim_end())?;
    }
    if let OutputFormat::Human { colour, .. } = terminal.format() {
        for event in guest["events"].as_array().into_iter().flatten() {
            terminal.print_line(&Paint { colour }.dim(&event_line(event)))?;
        }
    }
    Ok(())
}

/// An event: its time, what happened to which generation, and why.
fn event_line(event: &Value) -> String {
    let text = |name: &str| escape_field(event[name].as_str().unwrap_or_default());
    let what = text("what").replace('_', " ");
    let mut line = format!("  {}  {what}: generation {}", text("at"), event["generation"]);
    if event["to"].is_u64() {
        line += &format!(" → {}", event["to"]);
    }
    match event["why"].is_string() {
        true => format!("{line}, {}", text("why")),
        false => line,
    }
}

#[derive(Deserialize)]
struct Lines {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    number: u64,
    time: String,
    level: String,
    generation: u64,
    message: String,
    #[serde(default)]
    replay: bool,
}

async fn logs(
    server: &Server,
    connection: &Connection,
    args: &LogsArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let request =
            server.request(Method::GET, &path(connection, &[&args.extension.name, "logs"]))?;
        let request = request.query(&[("after", after)]);
        let request = match args.replays {
            true => request.query(&[("replays", true)]),
            false => request,
        };
        let response = server.call(request).await?;
        let lines: Lines = response.parse()?;
        if terminal.format() == OutputFormat::Json {
            terminal.print_document(&response.body)?;
        }
        for line in &lines.lines {
            after = line.number;
            if terminal.format() != OutputFormat::Json {
                let replay = if line.replay { "\treplay" } else { "" };
                terminal.print_line(&format!(
                    "{}\t{}\t{}\t{}{replay}",
                    escape_field(&line.time),
                    escape_field(&line.level),
                    line.generation,
                    escape_field(&line.message)
                ))?;
            }
        }
        if !args.follow {
            return Ok(());
        }
        terminal.flush()?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
