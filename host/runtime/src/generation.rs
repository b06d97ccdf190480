//! One loaded generation of the logic, ready to be called.

use std::sync::Arc;

use crate::component::linked::LinkedLogic;
use crate::guest::Guest;

/// One generation of the logic.
pub struct Generation {
    /// Who it is, and its health.
    pub guest: Arc<Guest>,
    pub(crate) linked: LinkedLogic,
}

impl Generation {
    /// A generation of `guest`, whose component is `linked`.
    pub fn new(guest: Arc<Guest>, linked: LinkedLogic) -> Self {
        Self { guest, linked }
    }
}
