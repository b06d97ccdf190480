//! Which generation of the logic is active.
//!
//! A call takes one snapshot and keeps it to its end, so a promotion never
//! changes a call under way, and a generation lives as long as its last call.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::generation::Generation;

/// The active generation.
pub struct Registry {
    active: ArcSwap<Generation>,
}

impl Registry {
    pub fn new(first: Generation) -> Self {
        Self { active: ArcSwap::from_pointee(first) }
    }

    /// The generation that a call beginning now is to use.
    pub fn active(&self) -> Arc<Generation> {
        self.active.load_full()
    }
}
