//! Deleting a fact: from storage, the source of truth, first and then from the index.

use crate::ports::{Level, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Deletes one fact.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such fact, or the error of storage. A failure of
    /// the index is only logged.
    pub fn delete(&self, id: &str) -> Result<()> {
        if !self.ports.delete(id)? {
            return Err(Error::NotFound(id.into()));
        }
        // A search skips candidates whose fact is gone.
        if let Err(error) = self.ports.remove(&[id]) {
            self.log_error(Level::Warn, "a fact was deleted but is still in the index", &error);
        }
        Ok(())
    }
}
