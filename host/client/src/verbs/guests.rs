//! Guests in and out: the logic's generations and a tenant's extensions.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::{ExtensionVerb, Install, LogicVerb, Logs};
use crate::terminal::Paint;
use crate::text::{clean, field};
use crate::{Answer, Connection, Error, Form, Server, Terminal};

const LOGIC: [&str; 3] = ["v1", "admin", "logic"];

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(250);

type Parameters = Vec<(&'static str, String)>;

pub(super) async fn logic(
    verb: LogicVerb,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match verb {
        LogicVerb::List(call) => {
            let request = server.request(Method::GET, &LOGIC)?.query(&of(&call.connection));
            listed(&server.call(request).await?, "logic", terminal)
        }
        LogicVerb::Stage(call) => {
            let mut parameters = of(&call.connection);
            parameters.extend(call.args.proof.parameters());
            parameters.push(("dry_run", "true".into()));
            send(server, Method::POST, &LOGIC, parameters, &call.args.file, terminal).await
        }
        LogicVerb::Promote(call) => {
            let mut parameters = of(&call.connection);
            parameters.extend(call.args.proof.parameters());
            send(server, Method::POST, &LOGIC, parameters, &call.args.file, terminal).await
        }
        LogicVerb::Rollback(call) => {
            let mut parameters = of(&call.connection);
            parameters.extend(call.args.generation.map(|n| ("generation", n.to_string())));
            let path = [&LOGIC[..], &["rollback"]].concat();
            let request = server.request(Method::POST, &path)?.query(&parameters);
            rolled_back(&server.call(request).await?, terminal)
        }
    }
}

pub(super) async fn extension(
    verb: ExtensionVerb,
    server: &Server,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match verb {
        ExtensionVerb::List(call) => {
            let request = server.request(Method::GET, &path(&call.connection, &[]))?;
            let answer = server.call(request).await?;
            extensions(&answer, terminal)
        }
        ExtensionVerb::Install(call) => {
            install(server, &call.connection, call.args, terminal).await
        }
        ExtensionVerb::Remove(call) => {
            let request =
                server.request(Method::DELETE, &path(&call.connection, &[&call.args.name]))?;
            let answer = server.call(request).await?;
            match terminal.form() {
                Form::Json => terminal.put_document(&answer.body),
                _ => terminal.say(&format!("Removed {}", call.args.name)),
            }
        }
        ExtensionVerb::Rollback(call) => {
            let generation = call.args.generation.map(|n| ("generation", n.to_string()));
            let path = path(&call.connection, &[&call.args.named.name, "rollback"]);
            let request = server.request(Method::POST, &path)?;
            let request = request.query(&Vec::from_iter(generation));
            rolled_back(&server.call(request).await?, terminal)
        }
        ExtensionVerb::Logs(call) => logs(server, &call.connection, &call.args, terminal).await,
    }
}

/// Whose logic: a tenant's own, or the one of all who have none.
fn of(connection: &Connection) -> Parameters {
    tenant(connection).map(|tenant| ("tenant", tenant.to_string())).into_iter().collect()
}

fn tenant(connection: &Connection) -> Option<&str> {
    connection.tenant.as_deref().filter(|tenant| !tenant.is_empty())
}

/// To a tenant's extensions, and on from there.
fn path<'a>(connection: &'a Connection, rest: &[&'a str]) -> Vec<&'a str> {
    let tenant = tenant(connection).unwrap_or("default");
    [&["v1", "admin", "tenants", tenant, "extensions"], rest].concat()
}

async fn install(
    server: &Server,
    connection: &Connection,
    args: Install,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut parameters = args.proof.parameters();
    parameters.extend(args.order.map(|order| ("order", order.to_string())));
    parameters.extend(args.on_failure.map(|policy| ("on_failure", policy.word().into())));
    if !args.grant.is_empty() {
        parameters.push(("grant", args.grant.join(",")));
    }
    if args.dry_run {
        parameters.push(("dry_run", "true".into()));
    }
    let path = path(connection, &[&args.name]);
    send(server, Method::PUT, &path, parameters, &args.file, terminal).await
}

/// Sends a component and shows the report.
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
    report(&server.call(request).await?, terminal)
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

fn report(answer: &Answer, terminal: &mut Terminal) -> Result<(), Error> {
    let report: Report = answer.parse()?;
    let paint = match terminal.form() {
        Form::Json => return terminal.put_document(&answer.body),
        Form::Plain => {
            let state = if report.promoted { "promoted" } else { "staged" };
            return terminal.say(&format!("{state}\t{}\t{}", report.generation, report.digest));
        }
        Form::Human { colour, .. } => Paint { colour },
    };
    for Check { check, passed, detail } in &report.checks {
        let mark = if *passed { "ok " } else { "NO " };
        terminal.say(&format!("{mark}{:<10} {}", clean(check), paint.dim(&clean(detail))))?;
    }
    let what = if report.promoted { "Promoted" } else { "Not promoted: only staged" };
    let generation = paint.strong(&format!("generation {}", report.generation));
    terminal.say(&format!("{what} {generation} in {:.0} ms", report.took_ms))
}

fn rolled_back(answer: &Answer, terminal: &mut Terminal) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Now {
        generation: u64,
        digest: String,
    }
    let now: Now = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => terminal.say(&format!("{}\t{}", now.generation, now.digest)),
        Form::Human { .. } => terminal.say(&format!("Back to generation {}", now.generation)),
    }
}

fn extensions(answer: &Answer, terminal: &mut Terminal) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct All {
        extensions: Vec<Value>,
    }
    let all: All = answer.parse()?;
    if terminal.form() == Form::Json {
        return terminal.put_document(&answer.body);
    }
    for one in &all.extensions {
        show(one, one["name"].as_str().unwrap_or_default(), terminal)?;
    }
    Ok(())
}

fn listed(answer: &Answer, name: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let listed: Value = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        _ => show(&listed, name, terminal),
    }
}

/// A line for each generation: name, number, active or not, digest, when, and of the
/// live one its calls, its failures and whether it is in quarantine. On a terminal also
/// what happened to them.
fn show(guest: &Value, name: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let live = &guest["live"];
    let shown = |number: &Value, digest: &str, active: bool, when: &str| {
        let mut fares = String::new();
        if active && live["generation"] == *number {
            fares = format!("calls {}\tfailures {}", live["calls"], live["failures"]);
            if let Some(left) = live["quarantined_for_ms"].as_u64() {
                fares += &format!("\tin quarantine for {left} ms");
            }
        }
        let active = if active { "active" } else { "" };
        format!("{}\t{number}\t{active}\t{}\t{}\t{fares}", field(name), field(digest), field(when))
    };
    if let Some(built_in) = guest.get("built_in") {
        let digest = built_in["digest"].as_str().unwrap_or_default();
        let active = guest["active"].is_null();
        terminal.say(shown(&built_in["generation"], digest, active, "built in").trim_end())?;
    }
    for generation in guest["generations"].as_array().into_iter().flatten() {
        let text = |name: &str| generation[name].as_str().unwrap_or_default();
        let active = generation["active"] == true;
        let line = shown(&generation["number"], text("digest"), active, text("staged_at"));
        terminal.say(line.trim_end())?;
    }
    if let Form::Human { colour, .. } = terminal.form() {
        for event in guest["events"].as_array().into_iter().flatten() {
            terminal.say(&Paint { colour }.dim(&happened(event)))?;
        }
    }
    Ok(())
}

/// When what happened to which generation, and why.
fn happened(event: &Value) -> String {
    let text = |name: &str| field(event[name].as_str().unwrap_or_default());
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
    args: &Logs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let request =
            server.request(Method::GET, &path(connection, &[&args.named.name, "logs"]))?;
        let answer = server.call(request.query(&[("after", after)])).await?;
        let lines: Lines = answer.parse()?;
        if terminal.form() == Form::Json {
            terminal.put_document(&answer.body)?;
        }
        for line in &lines.lines {
            after = line.number;
            if terminal.form() != Form::Json {
                terminal.say(&format!(
                    "{}\t{}\t{}\t{}",
                    field(&line.time),
                    field(&line.level),
                    line.generation,
                    field(&line.message)
                ))?;
            }
        }
        if !args.follow {
            return Ok(());
        }
        terminal.finish()?;
        tokio::time::sleep(LOOK).await;
    }
}
