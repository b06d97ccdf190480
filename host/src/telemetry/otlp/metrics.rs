//! The families of `/metrics` as OTLP has them. They are read from the text that Prometheus gets,
//! so that both say the same.

use std::collections::BTreeMap;

use super::messages::{
    Data, Gauge, Histogram, HistogramPoint, InstrumentationScope, KeyValue, Metric, MetricsRequest,
    NumberPoint, Resource, ResourceMetrics, ScopeMetrics, Sum,
};

const CUMULATIVE: i32 = 2;

/// When the server began to count, and now, in nanoseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Period {
    pub(super) begun: u64,
    pub(super) now: u64,
}

/// One request with what `text` says.
pub(super) fn request(
    resource: Resource,
    scope: InstrumentationScope,
    text: &str,
    period: Period,
) -> MetricsRequest {
    let metrics =
        families(text).into_iter().filter_map(|family| family.to_metric(period)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics }];
    let resource = Some(resource);
    MetricsRequest { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
}

/// A metric with its series.
struct Family<'t> {
    name: &'t str,
    help: &'t str,
    kind: &'t str,
    samples: Vec<Sample<'t>>,
}

/// One line: the name with its suffix, the labels, the value.
struct Sample<'t> {
    name: &'t str,
    labels: Labels,
    value: f64,
}

type Labels = Vec<(String, String)>;

fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut help = ("", "");
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ').unwrap_or((said, ""));
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').unwrap_or((said, ""));
            let help = if help.0 == name { help.1 } else { "" };
            families.push(Family { name, help, kind, samples: Vec::new() });
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line)) {
            family.samples.push(sample);
        }
    }
    families
}

/// A line such as `name{label="value"} 1`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
        None => (head, Labels::new()),
    };
    Some(Sample { name, labels, value: value.parse().ok()? })
}

/// `one="1",other="2"`, with `\\`, `\"` and `\n` in the values.
fn labels(mut text: &str) -> Option<Labels> {
    let mut labels = Labels::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = rest.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match letters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        text = rest[end..].trim_start_matches(',');
    }
    Some(labels)
}

impl Family<'_> {
    /// `None` for a kind that there is none of.
    fn to_metric(&self, period: Period) -> Option<Metric> {
        let data = match self.kind {
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(period),
                aggregation_temporality: CUMULATIVE,
            }),
            "counter" => Data::Sum(Sum {
                data_points: self.numbers(period),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            // Its series are quantiles, a sum and a count, and no gauge.
            "summary" => return None,
            _ => Data::Gauge(Gauge { data_points: self.numbers(period) }),
        };
        Some(Metric {
            name: self.name.to_owned(),
            description: self.help.to_owned(),
            unit: unit(self.name).to_owned(),
            data: Some(data),
        })
    }

    fn numbers(&self, period: Period) -> Vec<NumberPoint> {
        let point = |sample: &Sample<'_>| NumberPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: if self.kind == "counter" { period.begun } else { 0 },
            time_unix_nano: period.now,
            as_double: Some(sample.value),
        };
        self.samples.iter().map(point).collect()
    }

    /// The series of a histogram, of whose buckets each has a line that counts the lower ones, too.
    fn histograms(&self, period: Period) -> Vec<HistogramPoint> {
        let mut points: BTreeMap<Labels, HistogramPoint> = BTreeMap::new();
        for Sample { name, labels, value } in &self.samples {
            let (bounds, labels): (Labels, Labels) =
                labels.iter().cloned().partition(|(name, _)| name == "le");
            let point = points.entry(labels).or_insert_with_key(|labels| HistogramPoint {
                attributes: attributes(labels),
                start_time_unix_nano: period.begun,
                time_unix_nano: period.now,
                ..HistogramPoint::default()
            });
            match (name.strip_prefix(self.name), bounds.first()) {
                (Some("_sum"), _) => point.sum = Some(*value),
                (Some("_count"), _) => point.count = *value as u64,
                (_, Some((_, bound))) => {
                    let lower: u64 = point.bucket_counts.iter().sum();
                    point.bucket_counts.push((*value as u64).saturating_sub(lower));
                    if let Some(bound) = bound.parse().ok().filter(|bound: &f64| bound.is_finite())
                    {
                        point.explicit_bounds.push(bound);
                    }
                }
                _ => {}
            }
        }
        points.into_values().collect()
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| KeyValue::text(name, value.clone())).collect()
}

/// The unit in the notation of UCUM.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP kenning_http_seconds Time to answer a request.
# TYPE kenning_http_seconds histogram
kenning_http_seconds_bucket{method=\"GET\",route=\"/a\",le=\"0.1\"} 2
kenning_http_seconds_bucket{method=\"GET\",route=\"/a\",le=\"1\"} 5
kenning_http_seconds_bucket{method=\"GET\",route=\"/a\",le=\"+Inf\"} 6
kenning_http_seconds_sum{method=\"GET\",route=\"/a\"} 7.5
kenning_http_seconds_count{method=\"GET\",route=\"/a\"} 6

# TYPE kenning_errors_total counter
kenning_errors_total{code=\"a\\\"b\\\\,c\\nd\"} 3

# HELP kenning_index_bytes Memory.
# TYPE kenning_index_bytes gauge
kenning_index_bytes 1024

# TYPE kenning_wait_seconds summary
kenning_wait_seconds{quantile=\"0.5\"} 1
kenning_wait_seconds_sum 1
kenning_wait_seconds_count 1
";

    fn metric(name: &str) -> Metric {
        let families = families(TEXT);
        let family = families.iter().find(|family| family.name == name).unwrap();
        family.to_metric(PERIOD).unwrap()
    }

    const PERIOD: Period = Period { begun: 1, now: 2 };

    #[test]
    fn a_histogram_has_its_buckets_apart() {
        let metric = metric("kenning_http_seconds");
        assert_eq!((&*metric.unit, &*metric.description), ("s", "Time to answer a request."));
        let Some(Data::Histogram(Histogram { data_points, .. })) = metric.data else {
            panic!("a histogram");
        };
        let [point] = &data_points[..] else { panic!("one series") };
        assert_eq!((point.bucket_counts.as_slice(), point.count), (&[2, 3, 1][..], 6));
        assert_eq!((point.explicit_bounds.as_slice(), point.sum), (&[0.1, 1.0][..], Some(7.5)));
        let expected = [KeyValue::text("method", "GET"), KeyValue::text("route", "/a")];
        assert_eq!(point.attributes, expected);
    }

    #[test]
    fn a_summary_is_left_out() {
        let metrics: Vec<_> =
            families(TEXT).iter().filter_map(|family| family.to_metric(PERIOD)).collect();
        let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names, ["kenning_http_seconds", "kenning_errors_total", "kenning_index_bytes"]);
    }

    #[test]
    fn a_counter_is_a_sum_and_a_gauge_is_one() {
        let metric = metric("kenning_errors_total");
        let Some(Data::Sum(sum)) = metric.data else { panic!("a sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].as_double, Some(3.0));
        let expected = [KeyValue::text("code", "a\"b\\,c\nd")];
        assert_eq!(sum.data_points[0].attributes, expected);
        let metric = self::metric("kenning_index_bytes");
        assert_eq!(metric.unit, "By");
        let Some(Data::Gauge(gauge)) = metric.data else { panic!("a gauge") };
        assert_eq!(gauge.data_points[0].as_double, Some(1024.0));
    }
}
