//! What the imports of all calls are served by.

use std::sync::Arc;

use kenning_core::limits::Limits;
use kenning_embedder::Embedder;
use kenning_storage::Storage;
use kenning_tenants::Tenants;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use crate::guest::Quarantined;
use crate::tenant_indexes::TenantIndexes;

/// What the imports are served by, shared by all calls.
pub struct Services {
    pub storage: Arc<dyn Storage>,
    pub embedder: Arc<dyn Embedder>,
    pub indexes: Arc<TenantIndexes>,
    pub tenants: Arc<Tenants>,
    pub limits: Limits,
    /// Told of each guest that goes into quarantine.
    pub quarantined: broadcast::Sender<Quarantined>,
    /// The runtime that owns sockets and timers. Guests run on another, so that a
    /// busy guest cannot delay a reply that is not its own.
    pub io: Handle,
}
