//! What every request shares.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::feed::Feeds;
use crate::http::{BodyBudget, Imports, OriginPolicy, Uploads};
use crate::journal::{Audit, Failures};
use crate::kb::Kb;
use crate::swap::Swapper;
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
    /// Components that are arriving.
    pub uploads: Uploads,
    /// Imports under way.
    pub imports: Imports,
    /// Tenants' changes, for those who follow them.
    pub feeds: Arc<Feeds>,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}
