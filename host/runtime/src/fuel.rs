//! The fuel of one guest call, and who is charged for it.

use std::sync::Arc;

use kenning_storage::TenantId;
use kenning_tenants::{Meter, Tenants};

/// Charges the tenant for the guest's work when the call ends, however it ends: one context caller
/// goes away is dropped in the middle.
#[derive(Default)]
pub(crate) struct FuelMeter {
    meter: Option<Arc<Meter>>,
    given: u64,
    /// As last seen: at every tick of the epoch, and at the end.
    pub(crate) left: u64,
}

impl FuelMeter {
    /// Has what is used of `given` charged.
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
