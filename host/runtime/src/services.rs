//! The services behind the imports.

use std::sync::Arc;

use kenning_core::limits::Limits;
use kenning_storage::Storage;
use kenning_tenants::Tenants;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use crate::embedders::Embedders;
use crate::guest::Failing;
use crate::outbound::Outbound;
use crate::recording::Recordings;
use crate::secrets::Secrets;
use crate::tenant_indexes::TenantIndexes;

/// The services behind the imports, shared by all calls.
pub struct Services {
    /// Where facts are stored.
    pub storage: Arc<dyn Storage>,
    /// Turn texts into vectors.
    pub embedders: Arc<Embedders>,
    /// What search reads.
    pub indexes: Arc<TenantIndexes>,
    /// Keys, quotas and usage.
    pub tenants: Arc<Tenants>,
    /// What single extensions may read besides their settings.
    pub secrets: Secrets,
    /// Sends what extensions send.
    pub outbound: Arc<Outbound>,
    /// What guests saw whose calls failed.
    pub recordings: Recordings,
    /// The limits of this server.
    pub limits: Limits,
    /// Announces each guest that fails on call after call.
    pub failing: broadcast::Sender<Failing>,
    /// The tokio runtime that owns sockets and timers. Guests run on another one, so that a busy
    /// guest cannot delay the responses of other calls.
    pub io: Handle,
}
