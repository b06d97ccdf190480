//! The fuel of one guest call, and charging the tenant for it.

use std::sync::Arc;

use kenning_storage::TenantId;
use kenning_tenants::{Meter, Tenants};

/// Charges the tenant for the used fuel when it is dropped. So a call is charged for even if it is
/// cancelled halfway because its caller left.
#[derive(Default)]
pub(crate) struct FuelMeter {
    meter: Option<Arc<Meter>>,
    given: u64,
    /// Updated at every tick of the epoch, and at the end of the call.
    pub(crate) left: u64,
}

impl FuelMeter {
    /// Charges `tenant` for what will be used of `given`.
    pub(crate) fn charge(&mut self, tenants: &Tenants, tenant: &TenantId, given: u64) {
        *self = Self { meter: tenants.meter(tenant), given, left: given };
    }
}

impl Drop for FuelMeter {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.charge_fuel(self.given.saturating_sub(self.left));
        }
    }
}
