//! `[otlp]`: where traces and metrics are sent, by the OpenTelemetry protocol.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use kenning_client::secret;
use reqwest::Url;
use serde::Deserialize;

use super::check::without_password;

/// The headers of each request, `NAME=VALUE` and separated by commas. There is no flag for them:
/// every user of the machine can read command lines.
const HEADERS: &str = "KENNING_OTLP_HEADERS";

/// The names that OpenTelemetry gives to these variables. What is set of ours wins: the standard
/// ones may be there for other programs.
const STANDARD_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const STANDARD_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What the sender says of itself. There is no setting of ours for it.
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// How often metrics are sent.
const METRICS_SECONDS: u64 = 60;

/// The longest that metrics may wait: a day.
const MOST_SECONDS: u64 = 24 * 60 * 60;

/// Flags and variables that begin with `otlp`, and keys of the table `[otlp]` without.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct OtlpSettings {
    /// Send traces and metrics to this collector, by OTLP over HTTP (protobuf), such as
    /// http://127.0.0.1:4318. OTEL_EXPORTER_OTLP_ENDPOINT names it, too
    #[arg(
        long = "otlp-endpoint",
        env = "KENNING_OTLP_ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    pub endpoint: Option<String>,

    /// The share of the requests that are traced, from 0 to 1, of those whose callers do not say
    /// in traceparent whether they are [default: 1]
    #[arg(long = "otlp-sample", env = "KENNING_OTLP_SAMPLE", value_name = "SHARE")]
    pub sample: Option<f64>,

    /// How often metrics are sent; 0 for never [default: 60]
    #[arg(long = "otlp-metrics-seconds", env = "KENNING_OTLP_METRICS_SECONDS", value_name = "N")]
    #[serde(alias = "metrics-seconds")]
    pub metrics_seconds: Option<u64>,
}

impl fmt::Debug for OtlpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, sample, metrics_seconds } = self;
        f.debug_struct("OtlpSettings")
            .field("endpoint", &endpoint.as_deref().map(without_password))
            .field("sample", sample)
            .field("metrics_seconds", metrics_seconds)
            .finish()
    }
}

/// Where traces and metrics are sent, and which.
#[derive(Clone)]
pub struct Otlp {
    /// The collector, to whose path `v1/traces` and `v1/metrics` are added.
    pub endpoint: Url,
    /// The headers of each request. They are never printed.
    pub headers: HeaderMap,
    /// The share of the requests that are traced, from 0 to 1.
    pub sample: f64,
    /// How often metrics are sent; `None` for never.
    pub metrics_every: Option<Duration>,
    /// What the sender says of itself, `service.name` at least.
    pub resource: BTreeMap<String, String>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, headers, sample, metrics_every, resource } = self;
        f.debug_struct("Otlp")
            .field("endpoint", &without_password(endpoint.as_str()))
            .field("headers", &headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("sample", sample)
            .field("metrics_every", metrics_every)
            .field("resource", resource)
            .finish()
    }
}

/// What the environment says besides what the flags have of it; nothing in it is empty.
#[derive(Default)]
struct Variables {
    /// Ours, which are only read if there is a collector.
    headers: Option<anyhow::Result<String>>,
    standard_endpoint: Option<String>,
    standard_headers: Option<String>,
    resource: Option<String>,
    service_name: Option<String>,
}

/// The settings; `None` without a collector.
///
/// # Errors
/// When a setting is wrong, or is there without a collector. No error repeats a header.
pub(super) fn otlp(flags: OtlpSettings, file: OtlpSettings) -> anyhow::Result<Option<Otlp>> {
    let variables = Variables {
        headers: secret(HEADERS).map_err(anyhow::Error::from).transpose(),
        standard_endpoint: variable(STANDARD_ENDPOINT),
        standard_headers: variable(STANDARD_HEADERS),
        resource: variable(RESOURCE),
        service_name: variable(SERVICE_NAME),
    };
    settled(flags, file, variables)
}

fn settled(
    flags: OtlpSettings,
    file: OtlpSettings,
    variables: Variables,
) -> anyhow::Result<Option<Otlp>> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let own = given(flags.endpoint).or_else(|| given(file.endpoint));
    // The headers may hold a password, which is meant for the collector of the same variables.
    let standard_headers = variables.standard_headers.filter(|_| own.is_none());
    let own = own.map(|endpoint| (endpoint, "--otlp-endpoint"));
    let standard = variables.standard_endpoint.map(|endpoint| (endpoint, STANDARD_ENDPOINT));
    let endpoint = own.or(standard);
    let sample = flags.sample.or(file.sample);
    let metrics_seconds = flags.metrics_seconds.or(file.metrics_seconds);
    let Some((endpoint, endpoint_name)) = endpoint else {
        if sample.is_some() || metrics_seconds.is_some() {
            bail!("--otlp-sample and --otlp-metrics-seconds need --otlp-endpoint");
        }
        return Ok(None);
    };
    let sample = sample.unwrap_or(1.0);
    ensure!((0.0..=1.0).contains(&sample), "--otlp-sample must be 0 to 1, and is {sample}");
    let seconds = metrics_seconds.unwrap_or(METRICS_SECONDS);
    ensure!(
        seconds <= MOST_SECONDS,
        "--otlp-metrics-seconds must be 0 to {MOST_SECONDS}, and is {seconds}"
    );
    let headers = variables.headers.transpose()?.map(|headers| (headers, HEADERS));
    let headers = headers.or(standard_headers.map(|headers| (headers, STANDARD_HEADERS)));
    let (headers, headers_name) = headers.unwrap_or_default();
    Ok(Some(Otlp {
        endpoint: url(&endpoint, endpoint_name)?,
        headers: parse_headers(&headers)
            .with_context(|| format!("{headers_name} must be NAME=VALUE, separated by commas"))?,
        sample,
        metrics_every: (seconds > 0).then(|| Duration::from_secs(seconds)),
        resource: resource(variables.resource.as_deref(), variables.service_name)
            .with_context(|| format!("{RESOURCE} must be NAME=VALUE, separated by commas"))?,
    }))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Errors name the setting and do not repeat the address, which may contain a password.
fn url(endpoint: &str, name: &str) -> anyhow::Result<Url> {
    let url = Url::parse(endpoint.trim()).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .with_context(|| format!("{name} is not an address such as http://127.0.0.1:4318"))
}

/// The name of the service counts for more than the same among the attributes.
fn resource(attributes: Option<&str>, name: Option<String>) -> Option<BTreeMap<String, String>> {
    let mut resource = BTreeMap::from([("service.name".to_owned(), "kenning".to_owned())]);
    for pair in pairs(attributes.unwrap_or_default()) {
        let (key, value) = pair.split_once('=')?;
        let text = |text: &str| String::from_utf8(decoded(text.trim())?).ok();
        let key = text(key).filter(|key| !key.is_empty())?;
        resource.insert(key, text(value)?);
    }
    resource.extend(name.map(|name| ("service.name".to_owned(), name)));
    Some(resource)
}

/// The parts of a list with commas, without those that are empty.
fn pairs(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty())
}

fn parse_headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in pairs(text) {
        let (name, value) = pair.split_once('=')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Some(headers)
}

/// What is percent-encoded, as OpenTelemetry has the values of its variable.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    decoded.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        // `from_str_radix` would take a sign, too.
        let digits = part.get(..2).filter(|two| two.bytes().all(|one| one.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str, sample: f64) -> anyhow::Result<Option<Otlp>> {
        let (endpoint, sample) = (Some(endpoint.to_owned()), Some(sample));
        let flags = OtlpSettings { endpoint, sample, metrics_seconds: None };
        settled(flags, OtlpSettings::default(), Variables::default())
    }

    /// The host, and the header `a`, of what these settings together mean.
    fn meant(
        flag: Option<&str>,
        file: Option<&str>,
        variables: Variables,
    ) -> Option<(String, Option<String>)> {
        let settings = |endpoint: Option<&str>| OtlpSettings {
            endpoint: endpoint.map(str::to_owned),
            ..OtlpSettings::default()
        };
        let otlp = settled(settings(flag), settings(file), variables).unwrap()?;
        let header = otlp.headers.get("a").map(|value| value.to_str().unwrap().to_owned());
        Some((otlp.endpoint.host_str()?.to_owned(), header))
    }

    fn standard() -> Variables {
        Variables {
            headers: None,
            standard_endpoint: Some("http://standard".into()),
            standard_headers: Some("a=standard".into()),
            ..Variables::default()
        }
    }

    #[test]
    fn what_is_set_of_ours_wins() {
        let (flag, file) = (Some("http://flag"), Some("http://file"));
        let of =
            |host: &str, header: Option<&str>| Some((host.to_owned(), header.map(str::to_owned)));
        assert_eq!(meant(flag, file, standard()), of("flag", None));
        assert_eq!(meant(None, file, standard()), of("file", None));
        assert_eq!(meant(Some(" "), Some(""), standard()), of("standard", Some("standard")));
        assert_eq!(meant(None, None, standard()), of("standard", Some("standard")));
        let both = || Variables { headers: Some(Ok("a=ours".into())), ..standard() };
        assert_eq!(meant(flag, None, both()), of("flag", Some("ours")));
        assert_eq!(meant(None, None, both()), of("standard", Some("ours")));
        let alone = Variables { standard_endpoint: None, ..standard() };
        assert_eq!(meant(None, None, alone), None);
        assert_eq!(meant(None, None, Variables::default()), None);
    }

    #[test]
    fn what_is_wrong_with_a_standard_variable_is_said_of_that() {
        let of = |variables| {
            let settings = OtlpSettings::default;
            settled(settings(), settings(), variables).unwrap_err().to_string()
        };
        let wrong = Variables { standard_endpoint: Some("h:4318".into()), ..standard() };
        let error = of(wrong);
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT is not"), "{error}");
        let wrong = Variables { standard_headers: Some("secret".into()), ..standard() };
        let error = of(wrong);
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_HEADERS must be"), "{error}");
        for wrong in ["team", "=one", "team=%zz", "team=%ff"] {
            let error = of(Variables { resource: Some(wrong.into()), ..standard() });
            assert!(error.starts_with("OTEL_RESOURCE_ATTRIBUTES must be"), "{wrong}: {error}");
        }
        let secret = Some(Ok("authorization=s3cret\u{7}".to_owned()));
        let error = of(Variables { headers: secret, ..standard() });
        assert!(error.starts_with("KENNING_OTLP_HEADERS must be"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn the_sender_is_named_as_the_standard_variables_say() {
        let of = |attributes: Option<&str>, name: Option<&str>| {
            let resource = resource(attributes, name.map(str::to_owned)).unwrap();
            resource.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of(None, None), ["service.name=kenning"]);
        let attributes = Some("team=a%2Cb, service.name=kb,");
        assert_eq!(of(attributes, None), ["service.name=kb", "team=a,b"]);
        assert_eq!(of(attributes, Some("facts")), ["service.name=facts", "team=a,b"]);
    }

    #[test]
    fn a_collector_is_an_address_and_a_share_is_one() {
        let otlp = of("http://127.0.0.1:4318", 0.1).unwrap().unwrap();
        assert_eq!(otlp.sample, 0.1);
        assert_eq!(otlp.metrics_every, Some(Duration::from_secs(60)));
        for endpoint in ["collector:4318", "grpc://h:4317", "unix:/x", "http://"] {
            let error = of(endpoint, 1.0).unwrap_err().to_string();
            assert!(error.contains("--otlp-endpoint"), "{endpoint}: {error}");
        }
        for sample in [-0.1, 1.1, f64::NAN] {
            assert!(of("http://h", sample).unwrap_err().to_string().contains("0 to 1"));
        }
        let alone = OtlpSettings { sample: Some(0.5), ..OtlpSettings::default() };
        let alone = settled(OtlpSettings::default(), alone, Variables::default());
        let error = alone.unwrap_err().to_string();
        assert!(error.contains("need --otlp-endpoint"), "{error}");
    }

    #[test]
    fn headers_are_pairs_and_are_not_printed() {
        let headers = parse_headers("Authorization=Basic%20c2VjcmV0==, x-team=one,").unwrap();
        assert_eq!(headers["authorization"], "Basic c2VjcmV0==");
        assert_eq!(headers["x-team"], "one");
        assert!(!format!("{headers:?}").contains("c2VjcmV0"));
        for wrong in ["secret", "a b=1", "a=%2", "a=%zz", "a=%+1", "a=%0A"] {
            assert!(parse_headers(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_printed_without_secrets() {
        let endpoint = Some("http://user:c2VjcmV0@h?key=c2VjcmV0".to_owned());
        let flags = OtlpSettings { endpoint, ..OtlpSettings::default() };
        let printed = format!("{flags:?}");
        assert!(printed.contains("http://h") && !printed.contains("c2VjcmV0"), "{printed}");
        let headers = Some(Ok("authorization=Bearer%20c2VjcmV0".to_owned()));
        let variables = Variables { headers, ..Variables::default() };
        let printed = settled(flags, OtlpSettings::default(), variables).unwrap().unwrap();
        let printed = format!("{printed:?}");
        assert!(printed.contains("authorization") && !printed.contains("c2VjcmV0"), "{printed}");
    }
}
