//! Captures what a guest writes in a dry run, and drops it.
//!
//! A candidate for promotion replays requests that were answered before. It reads what is stored;
//! its writes must look to it as if they had happened, and must not happen.

use std::collections::HashSet;

use kenning_storage::{Condition, FactId, Write};

/// The writes of one dry-run call.
#[derive(Debug, Default)]
pub(crate) struct CapturedWrites {
    written: HashSet<FactId>,
}

impl CapturedWrites {
    /// Whether `write` would have happened. `exists` says whether storage has the fact.
    pub(crate) fn write(&mut self, write: &Write, exists: bool) -> bool {
        let exists = exists || self.written.contains(&write.id);
        let happens = match write.condition {
            Condition::Absent => !exists,
            Condition::Present => exists,
        };
        if happens {
            self.written.insert(write.id.clone());
        }
        happens
    }

    /// Whether deleting `id` would have removed a fact. `exists` says whether storage has it.
    pub(crate) fn delete(&mut self, id: &FactId, exists: bool) -> bool {
        self.written.remove(id) || exists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(condition: Condition) -> Write {
        let id = FactId::parse("a").unwrap();
        let (fields, expected) = Default::default();
        Write { id, fields, condition, expected, order: 0 }
    }

    #[test]
    fn a_captured_write_looks_as_if_it_happened() {
        let mut captured = CapturedWrites::default();
        assert!(!captured.write(&write(Condition::Absent), true));
        assert!(!captured.write(&write(Condition::Present), false));
        assert!(captured.write(&write(Condition::Absent), false));
        assert!(captured.write(&write(Condition::Present), false), "it exists now");
        assert!(!captured.write(&write(Condition::Absent), false));
        assert!(captured.delete(&FactId::parse("a").unwrap(), false));
        assert!(!captured.delete(&FactId::parse("a").unwrap(), false));
    }
}
