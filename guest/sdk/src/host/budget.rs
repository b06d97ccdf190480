//! What the call may still use, so that a hook can do less instead of being terminated.

use super::provider;
use crate::Allowance;

/// A snapshot of what is left.
pub fn remaining() -> Allowance {
    provider::remaining()
}
