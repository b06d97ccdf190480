//! The families of `/metrics` that name tenants. They are written here and not kept by the
//! recorder, which never forgets a series: what is known of a tenant goes when it is deleted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::SECONDS;
use super::families;

/// The series of tenants beyond the limit. No tenant can have this name.
const OTHER_TENANTS: &str = "_other";

/// Families in Prometheus' text format, each with its series.
#[derive(Default)]
pub struct ByTenant(BTreeMap<&'static str, Written>);

struct Written {
    kind: &'static str,
    lines: String,
}

impl ByTenant {
    /// Adds a series of a counter.
    pub fn counter(&mut self, family: &'static str, labels: &[(&str, &str)], value: u64) {
        self.add("counter", family, "", labels, value);
    }

    /// Adds a series of a gauge.
    pub fn gauge(&mut self, family: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add("gauge", family, "", labels, value);
    }

    fn histogram(&mut self, family: &'static str, labels: &[(&str, &str)], times: &Times) {
        let mut add = |suffix, bound: Option<String>, value: &dyn Display| {
            let bound = bound.as_deref().map(|bound| ("le", bound));
            let labels: Vec<_> = labels.iter().copied().chain(bound).collect();
            self.add("histogram", family, suffix, &labels, value);
        };
        for (bound, count) in SECONDS.iter().zip(times.buckets) {
            add("_bucket", Some(bound.to_string()), &count);
        }
        add("_bucket", Some("+Inf".to_owned()), &times.count);
        add("_sum", None, &times.sum);
        add("_count", None, &times.count);
    }

    fn add(
        &mut self,
        kind: &'static str,
        family: &'static str,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        let written = self.0.entry(family).or_insert(Written { kind, lines: String::new() });
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        // Writing to a text does not fail.
        let _ = writeln!(written.lines, "{family}{suffix}{{{}}} {value}", labels.join(","));
    }

    /// Appends them to what the recorder says.
    pub fn append_to(&self, text: &mut String) {
        for (family, Written { kind, lines }) in &self.0 {
            let help = families::help(family).unwrap_or_default();
            let _ = write!(text, "# HELP {family} {help}\n# TYPE {family} {kind}\n{lines}\n");
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The requests of each tenant: the first so many are named, so that their series are bounded.
pub struct TenantSeries {
    named: Mutex<HashMap<String, Requests>>,
    most: usize,
}

/// The requests of one tenant.
#[derive(Default)]
struct Requests {
    answered: BTreeMap<u16, u64>,
    times: Times,
}

#[derive(Default)]
struct Times {
    /// For each bound how many did not exceed it.
    buckets: [u64; SECONDS.len()],
    sum: f64,
    count: u64,
}

impl TenantSeries {
    /// Names at most so many tenants.
    pub fn new(most: usize) -> Self {
        Self { named: Mutex::default(), most }
    }

    /// Counts a request of this tenant, which was answered with `status`.
    pub fn count(&self, tenant: &str, status: u16, took: Duration) {
        let mut named = self.named();
        let is_named = named.contains_key(tenant)
            || named.keys().filter(|name| *name != OTHER_TENANTS).count() < self.most;
        let name = if is_named { tenant } else { OTHER_TENANTS };
        let requests = named.entry(name.to_owned()).or_default();
        *requests.answered.entry(status).or_default() += 1;
        requests.times.add(took.as_secs_f64());
    }

    /// Drops what is known of a tenant, whose place another may have.
    pub fn forget(&self, tenant: &str) {
        self.named().remove(tenant);
    }

    /// Adds the series of all tenants.
    pub fn write(&self, by_tenant: &mut ByTenant) {
        for (tenant, Requests { answered, times }) in self.named().iter() {
            for (status, count) in answered {
                let status = status.to_string();
                let labels = [("tenant", &**tenant), ("status", &*status)];
                by_tenant.counter("kenning_tenant_requests_total", &labels, *count);
            }
            by_tenant.histogram("kenning_tenant_seconds", &[("tenant", &**tenant)], times);
        }
    }

    fn named(&self) -> MutexGuard<'_, HashMap<String, Requests>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn add(&mut self, seconds: f64) {
        for (bound, count) in SECONDS.iter().zip(&mut self.buckets) {
            *count += u64::from(seconds <= *bound);
        }
        self.sum += seconds;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use kenning_storage::TenantId;

    use super::*;

    fn text(series: &TenantSeries) -> String {
        let (mut by_tenant, mut text) = (ByTenant::default(), String::new());
        series.write(&mut by_tenant);
        by_tenant.append_to(&mut text);
        text
    }

    #[test]
    fn tenants_beyond_the_limit_share_a_series_and_a_deleted_one_makes_room() {
        let series = TenantSeries::new(2);
        for tenant in ["a", "b", "c", "a", "d"] {
            series.count(tenant, 200, Duration::from_millis(3));
        }
        let all = text(&series);
        for line in [
            "# TYPE kenning_tenant_requests_total counter",
            "kenning_tenant_requests_total{tenant=\"a\",status=\"200\"} 2",
            "kenning_tenant_requests_total{tenant=\"_other\",status=\"200\"} 2",
            "# TYPE kenning_tenant_seconds histogram",
            "kenning_tenant_seconds_bucket{tenant=\"b\",le=\"0.002\"} 0",
            "kenning_tenant_seconds_bucket{tenant=\"b\",le=\"0.005\"} 1",
            "kenning_tenant_seconds_bucket{tenant=\"b\",le=\"+Inf\"} 1",
            "kenning_tenant_seconds_sum{tenant=\"b\"} 0.003",
            "kenning_tenant_seconds_count{tenant=\"b\"} 1",
        ] {
            assert!(all.lines().any(|known| known == line), "{line}\n{all}");
        }
        assert_eq!(all.matches("# HELP kenning_tenant_seconds Time").count(), 1, "{all}");
        series.forget("a");
        series.count("c", 200, Duration::ZERO);
        let left = text(&series);
        assert!(!left.contains("tenant=\"a\"") && left.contains("tenant=\"c\""), "{left}");
        assert!(TenantId::parse(OTHER_TENANTS).is_err());
    }

    #[test]
    fn labels_are_escaped() {
        let (mut by_tenant, mut text) = (ByTenant::default(), String::new());
        by_tenant.gauge("kenning_extension_p50_seconds", &[("extension", "a\"\\\n")], 0.5);
        by_tenant.append_to(&mut text);
        let line = "kenning_extension_p50_seconds{extension=\"a\\\"\\\\\\n\"} 0.5\n";
        assert!(text.contains(line), "{text}");
    }
}
