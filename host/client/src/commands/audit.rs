//! Shows what operators did.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;

use crate::terminal::Paint;
use crate::text::{escape_field, sanitize};
use crate::{AuditArgs, Error, OutputFormat, Server, Terminal};

#[derive(Deserialize)]
struct Acts {
    records: Vec<Act>,
}

#[derive(Deserialize)]
struct Act {
    time: String,
    who: String,
    key_id: Option<String>,
    from: Option<String>,
    method: String,
    path: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    result: Option<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    code: Option<String>,
}

pub(super) async fn audit(
    server: &Server,
    args: &AuditArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut request = match &args.of {
        Some(tenant) => {
            server.request(Method::GET, &["v1", "admin", "tenants", tenant, "audit"])?
        }
        None => server.request(Method::GET, &["v1", "admin", "audit"])?,
    };
    if let Some(limit) = args.limit {
        request = request.query(&[("limit", limit)]);
    }
    if let Some(before) = &args.before {
        request = request.query(&[("before", before)]);
    }
    let response = server.call(request).await?;
    let Acts { records } = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => records.iter().try_for_each(|act| terminal.print_line(&act.plain())),
        OutputFormat::Human { colour, .. } => {
            records.iter().try_for_each(|act| terminal.print_line(&act.human(Paint { colour })))
        }
    }
}

impl Act {
    fn parameters(&self) -> String {
        let pairs = self.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn plain(&self) -> String {
        let status = self.result.as_ref().map(|result| result.status.to_string());
        let [key_id, from] =
            [&self.key_id, &self.from].map(|text| text.as_deref().unwrap_or_default());
        let parameters = self.parameters();
        let [time, who] = [&self.time, &self.who].map(String::as_str);
        let [method, path] = [&self.method, &self.path].map(String::as_str);
        let fields = [time, who, key_id, from, method, path, &parameters];
        let fields = fields.map(escape_field).join("\t");
        format!("{fields}\t{}", status.unwrap_or_default())
    }

    fn human(&self, paint: Paint) -> String {
        let mut what = format!("{} {}", self.method, self.path);
        if !self.parameters.is_empty() {
            what += &format!("?{}", self.parameters());
        }
        let key = self.key_id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let from = self.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        let outcome = match &self.result {
            None => "no result is known".to_owned(),
            Some(Outcome { status, code: None }) => status.to_string(),
            Some(Outcome { status, code: Some(code) }) => format!("{status} {code}"),
        };
        let about = format!("{}{key}{from}", self.who);
        format!(
            "{}  {}  {}  {}",
            sanitize(&self.time),
            paint.strong(&what),
            sanitize(&outcome),
            paint.dim(&sanitize(&about))
        )
    }
}
