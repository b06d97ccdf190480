//! What is left of this call, so that a hook can do with less rather than be stopped.

use super::provider;
use crate::Allowance;

/// What is left, exact when taken.
pub fn remaining() -> Allowance {
    provider::remaining()
}
