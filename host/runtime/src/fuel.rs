//! The fuel of one guest call, and charging the tenant for it.

use std::sync::Arc;

use kenning_storage::TenantId;
use kenning_tenants::{Meter, Tenants};

/// Counts the fuel that a guest uses, and that the host uses for it in an import that computes.
///
/// wasmtime counts only the guest's own. Its count cannot be changed while a guest runs, because
/// compiled code keeps it in a register, so the host's part is counted here.
///
/// Charges the tenant when it is dropped. So a call is charged for even if it is cancelled halfway
/// because its caller left.
#[derive(Default)]
pub(crate) struct FuelMeter {
    meter: Option<Arc<Meter>>,
    given: u64,
    /// What wasmtime has left, as of the last tick of the epoch or the end of the call.
    left: u64,
    /// What imports used.
    in_host: u64,
}

impl FuelMeter {
    pub(crate) fn new(given: u64) -> Self {
        Self { meter: None, given, left: given, in_host: 0 }
    }

    /// Charges `tenant` for what will be used.
    pub(crate) fn charge(&mut self, tenants: &Tenants, tenant: &TenantId) {
        self.meter = tenants.meter(tenant);
    }

    /// Takes note of what wasmtime has left. Returns whether the call has fuel left.
    pub(crate) fn note_left(&mut self, left: u64) -> bool {
        self.left = left;
        self.in_host <= left
    }

    /// Uses fuel in the host. Returns whether the call had that much.
    pub(crate) fn spend(&mut self, fuel: u64) -> bool {
        self.in_host = self.in_host.saturating_add(fuel);
        self.in_host <= self.left
    }

    /// What the host has used.
    pub(crate) fn in_host(&self) -> u64 {
        self.in_host
    }

    /// What is left of `left`, wasmtime's count, for guest and host.
    pub(crate) fn left_of(&self, left: u64) -> u64 {
        left.saturating_sub(self.in_host)
    }

    /// What is left, as far as is known.
    pub(crate) fn left(&self) -> u64 {
        self.left_of(self.left)
    }

    /// What guest and host have used, as far as is known.
    pub(crate) fn used(&self) -> u64 {
        self.given.saturating_sub(self.left())
    }
}

impl Drop for FuelMeter {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.charge_fuel(self.used());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_and_host_use_the_same_fuel() {
        let mut fuel = FuelMeter::new(100);
        assert!(fuel.note_left(70) && fuel.spend(50));
        assert_eq!((fuel.left(), fuel.used()), (20, 80));
        assert!(!fuel.note_left(40), "the guest has 40 left, and the host used 50");
        assert_eq!((fuel.left(), fuel.used()), (0, 100));
    }

    #[test]
    fn the_host_cannot_use_more_than_the_guest_has_left() {
        let mut fuel = FuelMeter::new(100);
        assert!(fuel.spend(100));
        assert!(!fuel.spend(1));
        assert_eq!(fuel.used(), 100);
    }
}
