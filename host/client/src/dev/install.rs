//! Installs the component in the tenant and reads its log.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::DevArgs;
use crate::progress::Progress;
use crate::server::COMPONENT_TYPE;
use crate::{Connection, Error, Server};

/// A version that was installed.
pub(super) struct InstalledVersion {
    pub(super) generation: u64,
    component: Vec<u8>,
}

impl InstalledVersion {
    /// Whether it is this component, byte for byte.
    pub(super) fn is(&self, component: &[u8]) -> bool {
        self.component == component
    }
}

/// Installs one extension in one tenant of a server.
pub(super) struct Installer<'a> {
    server: &'a Server,
    path: Vec<String>,
    parameters: Vec<(&'static str, String)>,
    /// The number of the last log line read.
    last_line: u64,
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

/// A log line of an extension.
#[derive(Deserialize)]
pub(super) struct Line {
    number: u64,
    pub(super) level: String,
    pub(super) message: String,
}

impl<'a> Installer<'a> {
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
        Self { server, path: path.map(str::to_owned).to_vec(), parameters, last_line: 0 }
    }

    fn path<'b>(&'b self, rest: &[&'b str]) -> Vec<&'b str> {
        self.path.iter().map(String::as_str).chain(rest.iter().copied()).collect()
    }

    /// Installs a component. Returns it with the failed checks of the proof, if it was forced.
    pub(super) async fn install(
        &self,
        component: Vec<u8>,
    ) -> Result<(InstalledVersion, Vec<String>), Error> {
        let request = self.server.request(Method::PUT, &self.path(&[]))?;
        let request = request.query(&self.parameters).header(CONTENT_TYPE, COMPONENT_TYPE);
        let request = request.body(component.clone());
        let report: Report = self.server.swap(request, &Progress::hidden()).await?.parse()?;
        let failed = report.checks.into_iter().filter(|check| !check.passed);
        let installed = InstalledVersion { generation: report.generation, component };
        Ok((installed, failed.map(|check| check.detail).collect()))
    }

    /// Skips the lines that were logged before.
    pub(super) async fn skip_old_lines(&mut self) -> Result<(), Error> {
        match self.new_lines().await {
            // The extension is not installed yet.
            Err(Error::Api(error)) if error.code == "not_found" => Ok(()),
            other => other.map(drop),
        }
    }

    /// The lines logged since the last call.
    pub(super) async fn new_lines(&mut self) -> Result<Vec<Line>, Error> {
        let request = self.server.request(Method::GET, &self.path(&["logs"]))?;
        let response = self.server.call(request.query(&[("after", self.last_line)])).await?;
        let lines: Lines = response.parse()?;
        if let Some(last) = lines.lines.last() {
            self.last_line = last.number;
        }
        Ok(lines.lines)
    }
}
