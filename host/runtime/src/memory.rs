//! The limit on a guest's memories and tables.

use kenning_core::limits::Limits;
use wasmtime::{ResourceLimiter, Result};

use crate::outcome::GuestLimit;

/// A table element's cost against the memory limit: one pointer.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Limits the sum of a guest's memories and tables.
///
/// wasmtime's own limits apply to each memory and each table alone, so a component with many of
/// them could use many times its limit.
pub(crate) struct Memory {
    bytes: usize,
    table_elements: usize,
    memories: usize,
    tables: usize,
    instances: usize,
    used: usize,
    /// The limit that was last reached, and what the guest would have used.
    pub(crate) refused: Option<GuestLimit>,
}

impl Memory {
    /// For a guest that may use `bytes`, and has parts within `limits`.
    pub(crate) fn new(bytes: usize, limits: &Limits) -> Self {
        Self {
            bytes,
            table_elements: limits.guest_table_elements,
            memories: limits.guest_memories as usize,
            tables: limits.guest_tables as usize,
            instances: limits.guest_core_instances as usize,
            used: 0,
            refused: None,
        }
    }

    /// With `beyond_maximum`, wasmtime will refuse to grow, because the memory or table declares a
    /// smaller maximum. What is never given must not be counted.
    fn grow(&mut self, bytes: usize, beyond_maximum: bool) -> bool {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.bytes {
            return self.refuse("guest_memory_bytes", self.bytes, wanted);
        }
        if beyond_maximum {
            return false;
        }
        self.used = wanted;
        true
    }

    /// The bytes of all memories and tables.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    fn refuse(&mut self, limit: &'static str, allowed: usize, used: usize) -> bool {
        self.refused = Some(GuestLimit { limit, allowed: allowed as u64, used: used as u64 });
        false
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let beyond_maximum = maximum.is_some_and(|maximum| desired > maximum);
        Ok(self.grow(desired.saturating_sub(current), beyond_maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.table_elements {
            return Ok(self.refuse("guest_table_elements", self.table_elements, desired));
        }
        let beyond_maximum = maximum.is_some_and(|maximum| desired > maximum);
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes, beyond_maximum))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// May use so many bytes, and tables of 100 elements.
    fn memory(bytes: usize) -> Memory {
        Memory::new(bytes, &Limits { guest_table_elements: 100, ..Limits::default() })
    }

    #[test]
    fn memories_and_tables_within_the_limit_grow_obeyed() {
        let mut memory = memory(1_000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert!(memory.refused.is_none());
    }

    #[test]
    fn memories_that_sum_above_the_limit_are_refused_violated() {
        let mut memory = memory(1_000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(!memory.memory_growing(0, 600, None).unwrap());
        let refused = memory.refused.unwrap();
        assert_eq!((refused.limit, refused.used), ("guest_memory_bytes", 1_200));
    }

    #[test]
    fn growth_beyond_a_declared_maximum_is_not_counted() {
        let mut memory = memory(1_000);
        assert!(!memory.memory_growing(0, 900, Some(800)).unwrap());
        assert!(memory.memory_growing(0, 600, Some(800)).unwrap());
        assert!(memory.refused.is_none());
    }

    #[test]
    fn a_table_of_too_many_elements_is_refused_violated() {
        let mut memory = memory(1_000_000);
        assert!(!memory.table_growing(0, 101, None).unwrap());
        let refused = memory.refused.unwrap();
        assert_eq!((refused.limit, refused.used), ("guest_table_elements", 101));
    }
}
