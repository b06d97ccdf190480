//! Metrics by OTLP, and those that name tenants.

use anyhow::{Context, Result};
use kenning_tests::{Collector, Server, Setup, texts, until};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use serde_json::json;

/// The value of a counter's series with these labels, in this order.
fn sum(metrics: &[Metric], name: &str, labels: &str) -> Option<f64> {
    let metric = metrics.iter().find(|metric| metric.name == name)?;
    let Some(Data::Sum(sum)) = &metric.data else { return None };
    let of_labels = sum.data_points.iter().find(|point| {
        let named = texts(&point.attributes);
        let named: Vec<_> = named.iter().map(|(name, value)| format!("{name}={value}")).collect();
        named.join(" ") == labels
    });
    match of_labels?.value? {
        Value::AsDouble(value) => Some(value),
        Value::AsInt(value) => Some(value as f64),
    }
}

#[tokio::test]
async fn the_collector_gets_what_prometheus_would() -> Result<()> {
    let collector = Collector::start().await?;
    let mut setup = collector.collects_for(Setup::patient());
    setup.environment.push(("KENNING_OTLP_METRICS_SECONDS", "1".into()));
    setup.environment.push(("OTEL_RESOURCE_ATTRIBUTES", "team=search,service.name=other".into()));
    setup.environment.push(("OTEL_SERVICE_NAME", "facts".into()));
    let server = Server::start_with(setup).await?;
    server.store(json!({ "text": "topsecret" })).await?;
    server.get("/v1/facts/nothing").await?;
    let metrics = until("metrics of the store", async || {
        let metrics = collector.metrics();
        let labels = "method=POST route=/v1/facts status=201";
        let stored = sum(&metrics, "kenning_http_requests_total", labels);
        let errors = sum(&metrics, "kenning_errors_total", "code=not_found");
        Ok((stored == Some(1.0) && errors == Some(1.0)).then_some(metrics))
    })
    .await?;
    let named = |name: &str| metrics.iter().find(|metric| metric.name == name);
    let time = named("kenning_http_seconds").context("a histogram")?;
    assert_eq!((&*time.unit, time.description.is_empty()), ("s", false));
    let Some(Data::Histogram(histogram)) = &time.data else { panic!("{time:?}") };
    for point in &histogram.data_points {
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{point:?}");
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1, "{point:?}");
    }
    let memory = named("process_resident_memory_bytes").context("a gauge")?;
    assert!(matches!(memory.data, Some(Data::Gauge(_))), "{memory:?}");
    assert!(named("kenning_build_info").is_some());
    let resource = collector.resource();
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&*resource["service.name"], &*resource["team"]), ("facts", "search"));
    assert!(!format!("{metrics:?}").contains("topsecret"));
    Ok(())
}

#[tokio::test]
async fn tenants_are_named_where_that_is_wanted_and_only_so_many() -> Result<()> {
    let mut setup = Setup::patient_but("metrics_tenants = 2");
    setup.environment.push(("KENNING_METRICS_BY_TENANT", "true".into()));
    let collector = Collector::start().await?;
    let server = Server::start_with(collector.collects_for(setup)).await?;
    for tenant in ["one", "two", "three", "four", "one"] {
        server.tenant(tenant).store(json!({ "text": "tea" })).await?;
    }
    let metrics = server.get("/metrics").await?.text;
    for line in [
        r#"kenning_tenant_requests_total{tenant="one",status="201"} 2"#,
        r#"kenning_tenant_requests_total{tenant="two",status="201"} 1"#,
        r#"kenning_tenant_requests_total{tenant="_other",status="201"} 2"#,
        r#"kenning_tenant_seconds_count{tenant="one"} 2"#,
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
    let found = server.tenant("three").post("/v1/search", json!({ "query": "tea" })).await?;
    let spans = collector.trace_of(found.header("x-request-id")).await?;
    let root = spans.iter().find(|span| span.parent.is_empty()).context("a root")?;
    assert_eq!(root.attributes["kenning.tenant"], "three");
    Ok(())
}

#[tokio::test]
async fn redis_the_index_and_the_process_have_metrics() -> Result<()> {
    let backend = kenning_tests::Backend::redis()?;
    let server = backend.serve().await?;
    server.store(json!({ "text": "tea" })).await?;
    kenning_tests::all_indexed(&server).await?;
    let metrics = server.get("/metrics").await?.text;
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    for name in [
        "kenning_redis_connections ",
        "kenning_redis_connects_total{result=\"made\"} ",
        "kenning_redis_seconds_count{effect=\"write\"} ",
        "kenning_index_facts ",
        "kenning_build_info{",
        "process_start_time_seconds ",
        "process_open_fds ",
        "process_max_fds ",
        "process_threads ",
        "process_resident_memory_bytes ",
    ] {
        assert!(value(name) > Some(0.0), "{name}\n{metrics}");
    }
    for name in ["kenning_index_pending_facts ", "kenning_index_lag_changes "] {
        assert_eq!(value(name), Some(0.0), "{name}\n{metrics}");
    }
    assert!(value("process_cpu_seconds_total ").is_some(), "{metrics}");
    Ok(())
}
