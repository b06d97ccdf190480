//! The component into the tenant, and the lines that it writes.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::timeout;

use super::DevArgs;
use crate::{Connection, Error, Server};

/// For one installation: the server compiles the component, which may take its whole
/// minute, and then proves it.
const INSTALLATION: Duration = Duration::from_secs(180);

/// A version that was promoted.
pub(super) struct Installed {
    pub(super) generation: u64,
    component: Vec<u8>,
}

impl Installed {
    pub(super) fn is_of(&self, component: &[u8]) -> bool {
        self.component == component
    }
}

/// One extension of a tenant, on a server.
pub(super) struct Tenant<'a> {
    server: &'a Server,
    path: Vec<String>,
    parameters: Vec<(&'static str, String)>,
    /// The number of the last line that was seen.
    seen: u64,
}

#[derive(Deserialize)]
struct Report {
    generation: u64,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    passed: bool,
    detail: String,
}

#[derive(Default, Deserialize)]
struct Lines {
    lines: Vec<Line>,
}

/// What an extension logged.
#[derive(Deserialize)]
pub(super) struct Line {
    number: u64,
    pub(super) level: String,
    pub(super) message: String,
}

impl<'a> Tenant<'a> {
    pub(super) fn new(
        server: &'a Server,
        connection: &Connection,
        name: &str,
        args: &DevArgs,
    ) -> Self {
        let tenant = connection.tenant.as_deref().filter(|tenant| !tenant.is_empty());
        let path = ["v1", "admin", "tenants", tenant.unwrap_or("default"), "extensions", name];
        let mut parameters = Vec::new();
        parameters.extend(args.order.map(|order| ("order", order.to_string())));
        if !args.grant.is_empty() {
            parameters.push(("grant", args.grant.join(",")));
        }
        if !args.prove {
            parameters.push(("force", "true".into()));
        }
        Self { server, path: path.map(str::to_owned).to_vec(), parameters, seen: 0 }
    }

    fn path<'b>(&'b self, rest: &[&'b str]) -> Vec<&'b str> {
        self.path.iter().map(String::as_str).chain(rest.iter().copied()).collect()
    }

    /// Promotes a component; gives what the proof found against it, if it was forced.
    pub(super) async fn install(
        &self,
        component: Vec<u8>,
    ) -> Result<(Installed, Vec<String>), Error> {
        let request = self.server.request(Method::PUT, &self.path(&[]))?;
        let request = request.query(&self.parameters).body(component.clone());
        let answer = timeout(INSTALLATION, async {
            let mut response = self.server.open(request).await?;
            let mut body = Vec::new();
            while let Some(piece) = self.server.chunk(&mut response).await? {
                body.extend_from_slice(&piece);
            }
            Ok(body)
        });
        let body = answer.await.unwrap_or_else(|_| Err(self.server.silent(INSTALLATION)))?;
        let report: Report =
            serde_json::from_slice(&body).map_err(|error| self.server.broken(error.to_string()))?;
        let against = report.checks.into_iter().filter(|check| !check.passed);
        let installed = Installed { generation: report.generation, component };
        Ok((installed, against.map(|check| check.detail).collect()))
    }

    /// Passes over what was logged before.
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        match self.new_lines().await {
            // It is not installed yet.
            Err(Error::Refused(refusal)) if refusal.code == "not_found" => Ok(()),
            other => other.map(drop),
        }
    }

    /// What was logged since this was asked last.
    pub(super) async fn new_lines(&mut self) -> Result<Vec<Line>, Error> {
        let request = self.server.request(Method::GET, &self.path(&["logs"]))?;
        let answer = self.server.call(request.query(&[("after", self.seen)])).await?;
        let lines: Lines = answer.parse()?;
        if let Some(last) = lines.lines.last() {
            self.seen = last.number;
        }
        Ok(lines.lines)
    }
}
