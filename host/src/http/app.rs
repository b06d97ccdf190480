//! What every request shares.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::http::BodyBudget;
use crate::kb::Kb;
use crate::swap::Swapper;
use kenning_core::limits::Limits;

/// One running server.
pub struct App {
    pub kb: Arc<Kb>,
    pub swapper: Swapper,
    pub limits: Limits,
    pub bodies: BodyBudget,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}
