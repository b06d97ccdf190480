//! Which embedder a tenant's vectors are of: the server's, or none, because callers give them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kenning_embedder::{Embedder, GivenEmbedder, Vector};
use kenning_storage::TenantId;
use kenning_tenants::Tenants;

/// Vectors that a caller gave, by the texts that they stand for.
pub(crate) type GivenVectors = Arc<HashMap<String, Vector>>;

/// The embedders of all tenants.
pub struct Embedders {
    own: Arc<dyn Embedder>,
    tenants: Arc<Tenants>,
    /// Dimensions of given vectors that storage had for a tenant whose record is not known here
    /// yet.
    seen: RwLock<HashMap<TenantId, usize>>,
}

impl Embedders {
    /// `own` makes the vectors of every tenant whose record does not say that callers give them.
    pub fn new(own: Arc<dyn Embedder>, tenants: Arc<Tenants>) -> Self {
        Self { own, tenants, seen: RwLock::default() }
    }

    /// The server's embedder.
    pub fn own(&self) -> &Arc<dyn Embedder> {
        &self.own
    }

    /// The embedder of a tenant's vectors.
    pub fn of(&self, tenant: &TenantId) -> Arc<dyn Embedder> {
        match self.given_dimensions(tenant) {
            Some(dimensions) => Arc::new(GivenEmbedder::new(dimensions)),
            None => self.own.clone(),
        }
    }

    /// How many numbers a vector has that the tenant's callers give; `None` if the server's
    /// embedder makes them.
    pub fn given_dimensions(&self, tenant: &TenantId) -> Option<usize> {
        match self.tenants.get(tenant) {
            Some(known) => known.record.given_dimensions,
            None => self.seen.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied(),
        }
    }

    /// Notes the profile of a vector that storage has. Another host may have created the tenant a
    /// moment ago.
    pub(crate) fn note(&self, tenant: &TenantId, profile: &str) {
        if let Some(dimensions) = GivenEmbedder::dimensions_of(profile)
            && self.given_dimensions(tenant) != Some(dimensions)
        {
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            seen.insert(tenant.clone(), dimensions);
        }
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.seen.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.own.forget(tenant);
    }
}
