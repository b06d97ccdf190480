//! Who asks, and how long they will wait.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use kenning_storage::TenantId;

use super::answer::Refusal;
use crate::app::App;
use crate::error::Error;
use crate::kb::Caller;
use crate::limits::DEFAULT_TENANT;

const TENANT: &str = "x-kenning-tenant";
const TIMEOUT: &str = "x-kenning-timeout-ms";

/// The caller of a request. Without keys configured, which is all this release
/// has, anyone who reaches the server may name any tenant.
#[derive(Clone)]
pub(super) struct Who {
    tenant: TenantId,
    timeout: Option<Duration>,
}

impl Who {
    /// The caller, who waits for `limit` or for less if the request says so.
    pub(super) fn within(&self, limit: Duration) -> Caller {
        let time = self.timeout.map_or(limit, |timeout| timeout.min(limit));
        Caller::within(self.tenant.clone(), time)
    }
}

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Refusal> {
        let tenant = match parts.headers.get(TENANT) {
            Some(name) => TenantId::parse(&String::from_utf8_lossy(name.as_bytes())),
            None => TenantId::parse(DEFAULT_TENANT),
        };
        let tenant = tenant
            .map_err(|error| Error::invalid("/headers/x-kenning-tenant", error.to_string()))?;
        let timeout = parts.headers.get(TIMEOUT).map(|value| timeout(value.to_str().ok()));
        Ok(Self { tenant, timeout: timeout.transpose()? })
    }
}

fn timeout(value: Option<&str>) -> Result<Duration, Error> {
    match value.and_then(|value| value.trim().parse().ok()) {
        Some(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::invalid(
            "/headers/x-kenning-timeout-ms",
            "x-kenning-timeout-ms is a whole number of milliseconds, 1 or more",
        )),
    }
}
