//! The dashboard and the alerts: every query is asked of a real Prometheus that scrapes a real
//! server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kenning_storage::testing::free_port;
use kenning_tests::{Server, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;

use super::{content, file, unpacked};

/// Panels of what has not happened on a server without trouble, extensions, followers, a remote
/// embedder, Redis or a collector.
const MAY_BE_EMPTY: [&str; 16] = [
    "Hooks that failed",
    "Rollbacks and quarantines",
    "Time to promote, 99th percentile",
    "Texts embedded",
    "Time for one batch, 99th percentile",
    "Remote embedder broken",
    "Callers who follow changes",
    "Changes sent to them",
    "Refused",
    "Calls repeated for what other hosts changed",
    "Should stay at nothing",
    "Round trips to Redis, 99th percentile",
    "Connections to Redis",
    "Waiting for a permit, 99th percentile",
    "Requests by tenant",
    "Lost on the way to the collector",
];

/// A query of the dashboard or of an alert, as Prometheus takes it.
struct Query {
    name: String,
    text: String,
    must_have_data: bool,
}

/// A Prometheus of our own that scrapes one server every quarter of a second.
struct Prometheus {
    url: String,
    client: reqwest::Client,
    _process: Child,
    _folder: TempDir,
}

impl Prometheus {
    fn start(target: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::copy(file("grafana/alerts.yaml"), folder.path().join("alerts.yaml"))?;
        let configuration = json!({
            "global": {
                "scrape_interval": "250ms",
                "scrape_timeout": "250ms",
                "evaluation_interval": "250ms",
            },
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [
                { "job_name": "kenning", "static_configs": [{ "targets": [target] }] },
            ],
        });
        // JSON is YAML.
        fs::write(folder.path().join("prometheus.yml"), configuration.to_string())?;
        let address = format!("127.0.0.1:{}", free_port());
        let process = unpacked("prometheus", "prometheus")?
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let client = reqwest::Client::new();
        Ok(Self { url: format!("http://{address}"), client, _process: process, _folder: folder })
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.get(format!("{}{path}", self.url)).query(parameters);
        let text = request.send().await?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    /// The series that a query has now.
    async fn ask(&self, query: &str) -> Result<Vec<Value>> {
        let answer = self.get("/api/v1/query", &[("query", query)]).await?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().cloned();
        series.with_context(|| format!("{query}: {answer}"))
    }

    async fn has(&self, query: &str) -> bool {
        self.ask(query).await.is_ok_and(|series| !series.is_empty())
    }
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(file("grafana/kenning.json"))?)?)
}

/// What Grafana fills in.
fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$instance", ".*")
}

fn queries_of_the_dashboard() -> Result<Vec<Query>> {
    let dashboard = dashboard()?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("it has panels")? {
        let title = panel["title"].as_str().context("a panel has a title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = filled_in(target["expr"].as_str().context("a target has a query")?);
            ensure!(!text.contains('$'), "{title} has a variable that nobody fills in: {text}");
            let must_have_data = !MAY_BE_EMPTY.contains(&title);
            queries.push(Query { name: title.to_owned(), text, must_have_data });
        }
    }
    Ok(queries)
}

/// A little of everything that a server without trouble does.
async fn traffic(server: &Server, round: usize) -> Result<()> {
    server.store(json!({ "text": "Tea is hot.", "fact_id": format!("tea-{round}") })).await?;
    server.search(json!({ "query": "hot tea" })).await?;
    server.get("/v1/facts/nothing").await?;
    server.get("/readyz").await?;
    Ok(())
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_data_of_a_real_server() -> Result<()> {
    let server = Server::start().await?;
    let prometheus = Prometheus::start(server.url().trim_start_matches("http://"))?;
    let queries = queries_of_the_dashboard()?;
    ensure!(queries.iter().filter(|query| query.must_have_data).count() > 12, "most have data");
    let mut round = 0;
    // Rates need two scrapes of a series that grows.
    for query in queries.iter().filter(|query| query.must_have_data) {
        let what = format!("data of {}: {}", query.name, query.text);
        until(&what, async || {
            round += 1;
            traffic(&server, round).await?;
            Ok(prometheus.has(&query.text).await.then_some(()))
        })
        .await?;
    }
    for query in &queries {
        prometheus.ask(&query.text).await.with_context(|| query.name.clone())?;
    }

    // The rules are evaluated, and find nothing wrong with this server.
    let rules = until("an evaluation of the rules", async || {
        let answer = prometheus.get("/api/v1/rules", &[]).await?;
        let rules = answer["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let are_evaluated = rules.iter().all(|rule| rule["health"] != "unknown");
        Ok((!rules.is_empty() && are_evaluated).then_some(rules))
    })
    .await?;
    assert_eq!(rules.len(), 15);
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&json!("ok"), &json!("inactive")), "{rule}");
    }
    Ok(())
}

/// The families of metrics that a text names, without what a histogram adds to them.
fn families(text: &str) -> BTreeSet<String> {
    let is_name = |one: char| one.is_ascii_lowercase() || one == '_';
    let words = text.split(|one| !is_name(one)).filter(|word| word.starts_with("kenning_"));
    let family = |word: &str| {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|end| word.ends_with(end));
        word.strip_suffix(suffix.unwrap_or_default()).unwrap_or(word).to_owned()
    };
    words.map(family).collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_only_metrics_of_the_server() -> Result<()> {
    let described = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/telemetry/families.rs");
    let described = families(&fs::read_to_string(described)?);
    for name in ["grafana/kenning.json", "grafana/alerts.yaml"] {
        let named = families(&fs::read_to_string(file(name))?);
        let unknown: Vec<_> = named.difference(&described).collect();
        ensure!(named.len() > 8 && unknown.is_empty(), "{name} names {unknown:?}");
    }
    Ok(())
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_only_then() -> Result<()> {
    let promtool = || unpacked("prometheus", "promtool");
    content(promtool()?.args(["check", "rules"]).arg(file("grafana/alerts.yaml"))).await?;
    content(promtool()?.args(["test", "rules"]).arg(file("grafana/alerts.test.yaml"))).await?;
    let rules = fs::read_to_string(file("grafana/alerts.yaml"))?;
    let tests = fs::read_to_string(file("grafana/alerts.test.yaml"))?;
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        ensure!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
    }
    Ok(())
}
