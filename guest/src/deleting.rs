//! Deleting a fact: from storage first, which is the truth, then from the index.

use crate::ports::{Level, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Deletes one fact; [`Error::NotFound`] if there is none.
    pub fn delete(&self, id: &str) -> Result<()> {
        if !self.ports.delete(id)? {
            return Err(Error::NotFound(id.into()));
        }
        // A search passes over what the index still finds.
        if let Err(error) = self.ports.remove(&[id]) {
            self.note(Level::Warn, "a fact was deleted but is still in the index", &error);
        }
        Ok(())
    }
}
