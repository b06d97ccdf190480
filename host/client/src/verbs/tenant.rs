//! The operator's verbs on tenants.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::tenant_args::{CreateArgs, Limit, LimitsArgs, RevokeArgs, RotateArgs, TenantVerb};
use crate::terminal::Paint;
use crate::text::{clean, field, thousands};
use crate::{Answer, Error, Form, Server, Terminal};

const TENANTS: [&str; 3] = ["v1", "admin", "tenants"];

#[derive(Deserialize)]
struct Tenants {
    tenants: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    name: String,
    /// Not there for a tenant that was never created and has facts.
    created: Option<String>,
    keys: u64,
}

#[derive(Deserialize)]
struct WithKey {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct WithUsage {
    usage: BTreeMap<String, Quota>,
}

#[derive(Deserialize)]
struct Quota {
    value: Option<u64>,
    used: u64,
    unit: String,
}

pub(super) async fn tenant(
    server: &Server,
    verb: TenantVerb,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    match verb {
        TenantVerb::List(_) => list(server, terminal).await,
        TenantVerb::Create(call) => create(server, call.args, terminal).await,
        TenantVerb::Limits(call) => limits(server, call.args, terminal).await,
        TenantVerb::RotateKey(call) => rotate(server, &call.args, terminal).await,
        TenantVerb::RevokeKey(call) => revoke(server, &call.args, terminal).await,
        TenantVerb::Delete(call) => {
            let path = [&TENANTS[..], &[call.args.name.as_str()]].concat();
            let answer = server.call(server.request(Method::DELETE, &path)?).await?;
            done(&answer, &format!("Deleted {}", call.args.name), terminal)
        }
    }
}

async fn list(server: &Server, terminal: &mut Terminal) -> Result<(), Error> {
    let answer = server.call(server.request(Method::GET, &TENANTS)?).await?;
    let Tenants { tenants } = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => tenants.iter().try_for_each(|tenant| {
            let created = tenant.created.as_deref().unwrap_or_default();
            terminal.say(&format!("{}\t{}\t{}", field(&tenant.name), field(created), tenant.keys))
        }),
        Form::Human { colour, .. } => tenants.iter().try_for_each(|tenant| {
            let name = Paint { colour }.strong(&clean(&tenant.name));
            let about = match &tenant.created {
                Some(created) => format!("since {}, keys: {}", clean(created), tenant.keys),
                None => "has facts, and was never created".to_owned(),
            };
            terminal.say(&format!("{name}  {}", Paint { colour }.dim(&about)))
        }),
    }
}

async fn create(server: &Server, args: CreateArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let body = json!({ "name": args.name, "limits": to_object(args.limits) });
    let answer = server.call(server.request(Method::POST, &TENANTS)?.json(&body)).await?;
    show_key(&answer, "Created", terminal)
}

async fn rotate(server: &Server, args: &RotateArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str(), "rotate-key"]].concat();
    let body = json!({ "grace_seconds": args.grace_seconds });
    let answer = server.call(server.request(Method::POST, &path)?.json(&body)).await?;
    show_key(&answer, "A new key for", terminal)
}

async fn revoke(server: &Server, args: &RevokeArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str(), "revoke-key"]].concat();
    let body = json!({ "key_id": args.key_id });
    let answer = server.call(server.request(Method::POST, &path)?.json(&body)).await?;
    done(&answer, &format!("Revoked {} of {}", args.key_id, args.name), terminal)
}

async fn limits(server: &Server, args: LimitsArgs, terminal: &mut Terminal) -> Result<(), Error> {
    let path = [&TENANTS[..], &[args.name.as_str()]].concat();
    if !args.limits.is_empty() {
        let body = json!({ "limits": to_object(args.limits) });
        server.call(server.request(Method::PATCH, &path)?.json(&body)).await?;
    }
    let answer = server.call(server.request(Method::GET, &path)?).await?;
    let WithUsage { usage } = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => usage.iter().try_for_each(|(name, quota)| {
            let value = quota.value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            terminal.say(&format!("{}\t{}\t{value}", field(name), quota.used))
        }),
        Form::Human { .. } => usage.iter().try_for_each(|(name, quota)| {
            let of = match quota.value {
                Some(value) => format!(" of {} {}", thousands(value), clean(&quota.unit)),
                None => format!(" {}, no limit", clean(&quota.unit)),
            };
            terminal.say(&format!("{:<28}  {}{of}", clean(name), thousands(quota.used)))
        }),
    }
}

fn to_object(limits: Vec<Limit>) -> BTreeMap<String, Option<u64>> {
    limits.into_iter().map(|limit| (limit.name, limit.value)).collect()
}

fn show_key(answer: &Answer, what: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let WithKey { name, key } = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => terminal.say(&clean(&key)),
        Form::Human { colour, .. } => {
            terminal.say(&format!("{what} {}", Paint { colour }.strong(&clean(&name))))?;
            terminal.say(&clean(&key))?;
            terminal.note("Keep the key: it is shown this once.");
            Ok(())
        }
    }
}

fn done(answer: &Answer, sentence: &str, terminal: &mut Terminal) -> Result<(), Error> {
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => Ok(()),
        Form::Human { .. } => terminal.say(&clean(sentence)),
    }
}
