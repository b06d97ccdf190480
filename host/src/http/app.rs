//! What every request shares.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::feed::Feeds;
use crate::http::{BodyBudget, Imports, Observing, OriginPolicy, Uploads};
use crate::journal::{Audit, Failures};
use crate::kb::Kb;
use crate::proxies::TrustedProxies;
use crate::swap::Swapper;
use crate::telemetry::{ByTenant, measure_process};
use crate::tls::Tls;
use kenning_core::limits::Limits;

/// One running server.
pub struct App {
    /// What every route asks.
    pub kb: Arc<Kb>,
    /// Replaces guests.
    pub swapper: Swapper,
    /// The limits of this server.
    pub limits: Limits,
    /// The memory that bodies may take.
    pub bodies: BodyBudget,
    /// What operators did.
    pub audit: Arc<Audit>,
    /// What is known of failed requests.
    pub failures: Arc<Failures>,
    /// Whose requests are served.
    pub origins: OriginPolicy,
    /// Who says truly where a request comes from.
    pub proxies: TrustedProxies,
    /// Permits for compressing answers.
    pub compressions: Arc<Semaphore>,
    /// The certificate, where TLS is spoken.
    pub tls: Option<Arc<Tls>>,
    /// The permit for a backup, or for taking in a tenant.
    pub copies: Arc<Semaphore>,
    /// Components that are arriving.
    pub uploads: Uploads,
    /// Imports under way.
    pub imports: Imports,
    /// Tenants' changes, for those who follow them.
    pub feeds: Arc<Feeds>,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// Traces, the log of requests, figures by tenant.
    pub observing: Observing,
    /// Whether `/metrics` names extensions.
    pub metrics_by_extension: bool,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

impl App {
    /// What `/metrics` says now.
    pub fn render_metrics(&self) -> String {
        self.kb.measure();
        let mut by_tenant = ByTenant::default();
        if let Some(series) = self.kb.tenant_series() {
            series.write(&mut by_tenant);
        }
        if self.metrics_by_extension {
            self.kb.measure_extensions(&mut by_tenant);
        }
        measure_process();
        metrics::gauge!("kenning_bodies_bytes").set(self.bodies.reserved() as f64);
        let mut text = self.metrics.render();
        by_tenant.append_to(&mut text);
        text
    }
}
