//! The operator's commands on the logic and on a tenant's extensions.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::{ExtensionCommand, InstallArgs, LogicCommand, LogsArgs};
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
            let request =
                server.request(Method::DELETE, &path(&call.connection, &[&call.args.name]))?;
            let response = server.call(request).await?;
            match terminal.format() {
                OutputFormat::Json => terminal.print_document(&response.body),
                _ => terminal.print_line(&format!("Removed {}", call.args.name)),
            }
        }
        ExtensionCommand::Rollback(call) => {
            let generation = call.args.generation.map(|n| ("generation", n.to_string()));
            let path = path(&call.connection, &[&call.args.extension.name, "rollback"]);
            let request = server.request(Method::POST, &path)?;
            let request = request.query(&Vec::from_iter(generation));
            print_rollback(&server.call(request).await?, terminal)
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
    if args.dry_run {
        parameters.push(("dry_run", "true".into()));
    }
    let path = path(connection, &[&args.name]);
    send(server, Method::PUT, &path, parameters, &args.file, terminal).await
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
    let request = server.request(method, path)?.query(&parameters).body(bytes);
    print_report(&server.call(request).await?, terminal)
}

#[derive(Deserialize)]
struct Report {
    generation: u64,
    digest: String,
    promoted: bool,
    checks: Vec<Check>,
    took_ms: f64,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    passed: bool,
    detail: String,
}

fn print_report(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    let report: Report = response.parse()?;
    let paint = match terminal.format() {
        OutputFormat::Json => return terminal.print_document(&response.body),
        OutputFormat::Plain => {
            let state = if report.promoted { "promoted" } else { "staged" };
            return terminal
                .print_line(&format!("{state}\t{}\t{}", report.generation, report.digest));
        }
        OutputFormat::Human { colour, .. } => Paint { colour },
    };
    for Check { check, passed, detail } in &report.checks {
        let mark = if *passed { "ok  " } else { "FAIL" };
        terminal.print_line(&format!(
            "{mark} {:<10} {}",
            sanitize(check),
            paint.dim(&sanitize(detail))
        ))?;
    }
    let outcome = if report.promoted { "Promoted" } else { "Staged, not promoted:" };
    let generation = paint.strong(&format!("generation {}", report.generation));
    terminal.print_line(&format!("{outcome} {generation} in {:.0} ms", report.took_ms))
}

fn print_rollback(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Active {
        generation: u64,
        digest: String,
    }
    let active: Active = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => {
            terminal.print_line(&format!("{}\t{}", active.generation, active.digest))
        }
        OutputFormat::Human { .. } => {
            terminal.print_line(&format!("Rolled back to generation {}", active.generation))
        }
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
        print_generations(extension, name, terminal)?;
    }
    Ok(())
}

fn print_logic(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    let logic: Value = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        _ => print_generations(&logic, "logic", terminal),
    }
}

/// Prints a line per generation: name, number, `active` or nothing, digest, time, and for the live
/// one its calls, its failures and whether it is quarantined. On a terminal the events follow.
fn print_generations(guest: &Value, name: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let live = &guest["live"];
    let line = |number: &Value, digest: &str, active: bool, when: &str| {
        let mut health = String::new();
        if active && live["generation"] == *number {
            health = format!("calls {}\tfailures {}", live["calls"], live["failures"]);
            if let Some(left) = live["quarantined_for_ms"].as_u64() {
                health += &format!("\tin quarantine for {left} ms");
            }
        }
        let active = if active { "active" } else { "" };
        format!(
            "{}\t{number}\t{active}\t{}\t{}\t{health}",
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
    let line = format!("  {}  {what}: generation {}", text("at"), event["generation"]);
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
        let response = server.call(request.query(&[("after", after)])).await?;
        let lines: Lines = response.parse()?;
        if terminal.format() == OutputFormat::Json {
            terminal.print_document(&response.body)?;
        }
        for line in &lines.lines {
            after = line.number;
            if terminal.format() != OutputFormat::Json {
                terminal.print_line(&format!(
                    "{}\t{}\t{}\t{}",
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
