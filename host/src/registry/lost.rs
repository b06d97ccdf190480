//! Guests whose bytes storage has lost or spoilt, for those who list them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Owner;

/// Why guests could not be loaded, by whose they are and their names.
#[derive(Default)]
pub(super) struct LostGuests(Mutex<HashMap<(Owner, String), String>>);

impl LostGuests {
    /// Notes how the last attempt to load a guest ended: `None` if its bytes are intact.
    pub(super) fn note(&self, owner: &Owner, name: &str, reason: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let guest = (owner.clone(), name.to_string());
        match reason {
            Some(reason) => all.insert(guest, reason),
            None => all.remove(&guest),
        };
    }

    /// Why a guest could not be loaded when that was last tried.
    pub(super) fn reason(&self, owner: &Owner, name: &str) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(owner.clone(), name.to_string())).cloned()
    }

    /// Forgets a tenant's guests, or the server's.
    pub(super) fn forget(&self, owner: &Owner) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(whose, _), _| whose != owner);
    }
}
