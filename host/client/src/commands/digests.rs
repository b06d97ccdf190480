//! `where` and `revoke`: a component, wherever it is installed.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::warn_of_hosts;
use crate::admin::{DigestArgs, RevokeDigestArgs};
use crate::text::escape_field;
use crate::{Error, OutputFormat, Server, Terminal};

const DIGESTS: [&str; 3] = ["v1", "admin", "digests"];

/// Prints a line per generation: tenant, extension, number, `active` or nothing. A tenant `*` is
/// the logic of all tenants, and an extension `-` is a logic.
pub(super) async fn find(
    server: &Server,
    args: &DigestArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Uses {
        revoked: Option<Value>,
        uses: Vec<Value>,
    }
    let path = [&DIGESTS[..], &[args.digest.as_str()]].concat();
    let response = server.call(server.request(Method::GET, &path)?).await?;
    let Uses { revoked, uses } = response.parse()?;
    if terminal.format() == OutputFormat::Json {
        return terminal.print_document(&response.body);
    }
    for one in &uses {
        let state = if one["active"] == true { "\tactive" } else { "" };
        terminal.print_line(&format!("{}\t{}{state}", place(one), one["generation"]))?;
    }
    if let Some(revoked) = revoked {
        let text = |name: &str| revoked[name].as_str().unwrap_or_default().to_owned();
        terminal.notice(&format!("revoked at {} by {} {}", text("at"), text("by"), text("reason")));
    } else if uses.is_empty() {
        terminal.notice("no tenant has this component");
    }
    Ok(())
}

/// Prints a line per generation that was live: tenant, extension, its number, and the one that is
/// live instead or `removed`.
pub(super) async fn revoke(
    server: &Server,
    args: &RevokeDigestArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let path = [&DIGESTS[..], &[args.component.digest.as_str(), "revoke"]].concat();
    if args.undo {
        let response = server.call(server.request(Method::DELETE, &path)?).await?;
        return match terminal.format() {
            OutputFormat::Json => terminal.print_document(&response.body),
            _ => terminal.print_line(&format!("Accepted again: {}", args.component.digest)),
        };
    }
    let reason = args.reason.iter().map(|reason| ("reason", reason));
    let request = server.request(Method::POST, &path)?.query(&Vec::from_iter(reason));
    let response = server.call(request).await?;
    let Revoked { replaced, failed } = response.parse()?;
    warn_of_hosts(&response, terminal);
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body)?,
        _ => {
            for one in &replaced {
                let to = one["to"].as_u64().map_or("removed".to_owned(), |to| to.to_string());
                terminal.print_line(&format!("{}\t{}\t{to}", place(one), one["from"]))?;
            }
        }
    }
    let still = |one: &Value| {
        let message = one["message"].as_str().unwrap_or_default();
        format!("{}: {message}", place(one).replace('\t', " "))
    };
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::StillLive(failed.iter().map(still).collect::<Vec<_>>().join("; "))),
    }
}

#[derive(Deserialize)]
struct Revoked {
    replaced: Vec<Value>,
    failed: Vec<Value>,
}

/// The tenant and the extension.
fn place(one: &Value) -> String {
    let tenant = one["tenant"].as_str().unwrap_or("*");
    let extension = one["extension"].as_str().unwrap_or("-");
    format!("{}\t{}", escape_field(tenant), escape_field(extension))
}
