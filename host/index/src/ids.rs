//! The ids of what is in the index, to be compared with what storage has.

use crate::index::Index;

impl Index {
    /// The ids of all facts, in no particular order.
    pub fn ids(&self) -> Vec<String> {
        self.read().slots.keys().map(ToString::to_string).collect()
    }
}
