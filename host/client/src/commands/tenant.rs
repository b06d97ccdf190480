//! The operator's commands on tenants.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{backup, warn_of_hosts};
use crate::table;
use crate::tenant::{
    CreateArgs, GrantsArgs, LanguageArgs, Quota, QuotaArgs, RevokeArgs, RotateArgs, TenantCommand,
};
use crate::terminal::Paint;
use crate::text::{escape_field, sanitize, thousands};
use crate::{Error, JsonResponse, OutputFormat, Server, Terminal};

const TENANTS: [&str; 3] = ["v1", "admin", "tenants"];

#[derive(Deserialize)]
struct Tenants {
    tenants: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    name: String,
    /// Absent for a tenant that has facts but was never created.
    created: Option<String>,
    keys: u64,
    language: String,
}

#[derive(Deserialize)]
struct WithKey {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct WithUsage {
    usage: BTreeMap<String, QuotaUsage>,
}

#[derive(Deserialize)]
struct WithLanguage {
    language: String,
}

#[derive(Deserialize)]
struct WithKeys {
    keys: Vec<KeyOfTenant>,
    #[serde(default)]
    grants: Vec<String>,
}

#[derive(Deserialize)]
struct KeyOfTenant {
    key_id: String,
    created: Option<String>,
    expires: Option<String>,
    last_used: Option<String>,
    /// Absent for a key that reads and writes.
    scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct QuotaUsage {
    value: Option<u64>,
    used: u64,
    unit: String,
}

pub(super) async fn tenant(
    server: &Server,
    command: TenantCommand,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match command {
        TenantCommand::List(_) => list(server, terminal).await,
        TenantCommand::Create(call) => create(server, call.args, terminal).await,
        TenantCommand::Quota(call) => quota(server, call.args, terminal).await,
        TenantCommand::Language(call) => language(server, call.args, terminal).await,
        TenantCommand::Show(call) => show(server, &call.args.name, terminal).await,
        TenantCommand::Grants(call) => grants(server, call.args, terminal).await,
        TenantCommand::RotateKey(call) => rotate(server, &call.args, terminal).await,
        TenantCommand::RevokeKey(call) => revoke(server, &call.args, terminal).await,
        TenantCommand::Export(call) => backup::export_tenant(server, &call.args, terminal).await,
        TenantCommand::Import(call) => backup::import_tenant(server, &call.args, terminal).await,
        TenantCommand::Delete(call) => {
            let path = [&TENANTS[..], &[call.args.name.as_str()]].concat();
            let response = server.call(server.request(Method::DELETE, &path)?).await?;
            print_done(&response, &format!("Deleted {}", call.args.name), terminal)
        }
    }
}

async fn list(server: &Server, terminal: &mut Terminal) -> Result<(), Error> {
    let response = server.call(server.request(Method::GET, &TENANTS)?).await?;
    let Tenants { tenants } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => tenants.iter().try_for_each(|tenant| {
            let created = tenant.created.as_deref().unwrap_or_default();
            terminal.print_line(&format!(
                "{}\t{}\t{}\t{}",
                escape_field(&tenant.name),
                escape_field(created),
                tenant.keys,
                escape_field(&tenant.language)
            ))
        }),
        OutputFormat::Human { colour, .. } => tenants.iter().try_for_each(|tenant| {
            let name = Paint { colour }.strong(&sanitize(&tenant.name));
            let about = match &tenant.created {
                Some(created) => format!(
                    "since {}, keys: {}, language: {}",
                    sanitize(created),
                    tenant.keys,
                    sanitize(&tenant.language)
                ),
                None => "has facts, but was never created".to_owned(),
            };
            terminal.print_line(&format!("{name}  {}", Paint { colour }.dim(&about)))
        }),
    }
}

async fn create(server: &Server, args: CreateArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let mut body = json!({ "name": args.name, "limits": to_object(args.quotas) });
    if let Some(language) = args.language {
        body["language"] = language.into();
    }
    if let Some(dimensions) = args.given_vectors {
        body["embedder"] = "given".into();
        body["dimensions"] = dimensions.into();
    }
    let response = server.call(server.request(Method::POST, &TENANTS)?.json(&body)).await?;
    print_key(&response, "Created", terminal)
}

async fn language(
    server: &Server,
    args: LanguageArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str()]].concat();
    let request = match args.language {
        Some(language) => {
            let body = json!({ "language": language });
            server.request(Method::PATCH, &path)?.json(&body)
        }
        None => server.request(Method::GET, &path)?,
    };
    let response = server.call(request).await?;
    let WithLanguage { language } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        _ => terminal.print_line(&sanitize(&language)),
    }
}

async fn show(server: &Server, name: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[name]].concat();
    let response = server.call(server.request(Method::GET, &path)?).await?;
    let WithKeys { keys, grants } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => keys.iter().try_for_each(|key| {
            let fields = key.fields().map(|field| escape_field(&field).into_owned());
            terminal.print_line(&fields.join("\t"))
        }),
        OutputFormat::Human { colour, .. } => {
            for key in &keys {
                let [id, scopes, created, expires, used] = key.fields().map(|text| sanitize(&text));
                let or =
                    |text: String, other: &str| if text.is_empty() { other.into() } else { text };
                let about = format!(
                    "since {created}, expires: {}, last used: {}",
                    or(expires, "never"),
                    or(used, "never")
                );
                let (id, about) = (Paint { colour }.strong(&id), Paint { colour }.dim(&about));
                terminal.print_line(&format!("{id}  {scopes}  {about}"))?;
            }
            let grants = if grants.is_empty() { "nothing".into() } else { grants.join(", ") };
            terminal.print_line(&format!("may grant its extensions: {}", sanitize(&grants)))
        }
    }
}

impl KeyOfTenant {
    /// Id, scopes, and when it was created, expires and was used last; empty for never.
    fn fields(&self) -> [String; 5] {
        let text = |time: &Option<String>| time.clone().unwrap_or_default();
        let scopes = self.scopes.as_ref().map_or("read,write".into(), |scopes| scopes.join(","));
        let id = self.key_id.clone();
        [id, scopes, text(&self.created), text(&self.expires), text(&self.last_used)]
    }
}

async fn grants(server: &Server, args: GrantsArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str()]].concat();
    let request = match &args.grants[..] {
        [] => server.request(Method::GET, &path)?,
        given => {
            let given: &[String] = if given == ["none"] { &[] } else { given };
            server.request(Method::PATCH, &path)?.json(&json!({ "grants": given }))
        }
    };
    let response = server.call(request).await?;
    let WithKeys { grants, .. } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        _ if grants.is_empty() => terminal.print_line("none"),
        _ => terminal.print_line(&sanitize(&grants.join(","))),
    }
}

async fn rotate(server: &Server, args: &RotateArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str(), "rotate-key"]].concat();
    let body = json!({
        "grace_seconds": args.grace_seconds,
        "attributes": args.attributes.as_deref(),
        "scopes": args.scopes,
        "expires": args.expires,
    });
    let response = server.call(server.request(Method::POST, &path)?.json(&body)).await?;
    print_key(&response, "A new key for", terminal)
}

async fn revoke(server: &Server, args: &RevokeArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str(), "revoke-key"]].concat();
    let body = json!({ "key_id": args.key_id });
    let response = server.call(server.request(Method::POST, &path)?.json(&body)).await?;
    print_done(&response, &format!("Revoked {} of {}", args.key_id, args.name), terminal)
}

async fn quota(server: &Server, args: QuotaArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str()]].concat();
    if !args.quotas.is_empty() {
        let body = json!({ "limits": to_object(args.quotas) });
        server.call(server.request(Method::PATCH, &path)?.json(&body)).await?;
    }
    let response = server.call(server.request(Method::GET, &path)?).await?;
    let WithUsage { usage } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => usage.iter().try_for_each(|(name, quota)| {
            let value = quota.value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            terminal.print_line(&format!("{}\t{}\t{value}", escape_field(name), quota.used))
        }),
        OutputFormat::Human { width, .. } => {
            let rows = usage.iter().map(|(name, quota)| (sanitize(name), quota.to_string()));
            table(rows, Some(width)).lines().try_for_each(|line| terminal.print_line(line))
        }
    }
}

impl fmt::Display for QuotaUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, unit) = (thousands(self.used), sanitize(&self.unit));
        match self.value {
            Some(value) => write!(f, "{used} of {} {unit}", thousands(value)),
            None => write!(f, "{used} {unit}, no quota"),
        }
    }
}

/// The API calls quotas `limits`.
fn to_object(quotas: Vec<Quota>) -> BTreeMap<String, Option<u64>> {
    quotas.into_iter().map(|quota| (quota.name, quota.value)).collect()
}

fn print_key(response: &JsonResponse, what: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let WithKey { name, key } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => terminal.print_line(&sanitize(&key)),
        OutputFormat::Human { colour, .. } => {
            terminal
                .print_line(&format!("{what} {}", Paint { colour }.strong(&sanitize(&name))))?;
            terminal.print_line(&sanitize(&key))?;
            terminal.notice("Store the key now: it cannot be shown again.");
            Ok(())
        }
    }
}

fn print_done(
    response: &JsonResponse,
    sentence: &str,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    warn_of_hosts(response, terminal);
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => Ok(()),
        OutputFormat::Human { .. } => terminal.print_line(&sanitize(sentence)),
    }
}
