//! Updating a fact: write first, then index what storage holds after the write.

use crate::fact::{self, Change, Fact, Stored};
use crate::ports::{Condition, HashWrite, Level, Ports};
use crate::{Error, Logic, Result, metadata};

impl<P: Ports> Logic<P> {
    /// Changes the text, the metadata or both of one fact. Its timestamp and its position
    /// in listings stay the same.
    ///
    /// # Errors
    /// If the change is invalid or empty, [`Error::NotFound`] if there is no such fact, or
    /// the error of storage. A failure of the index is only logged.
    pub fn update(&self, id: &str, change: &Change) -> Result<Stored> {
        let fields = changed_fields(change)?;
        // Without this read, the write could turn a hash that is not a fact into one.
        self.read_fact(id)?;
        let write = HashWrite { id, fields, condition: Condition::Present, order: 0 };
        match self.ports.write(&[write])?[..] {
            [true] => Ok(Stored { id: id.into(), indexed: self.reindex(id) }),
            [false] => Err(Error::NotFound(id.into())),
            _ => Err(Error::miscounted("storage-write.write")),
        }
    }

    fn read_fact(&self, id: &str) -> Result<Fact> {
        let fact = self.read_facts(&[id])?.pop().flatten();
        fact.ok_or_else(|| Error::NotFound(id.into()))
    }

    /// Indexes the fact as storage holds it, since another call may have changed the other
    /// field.
    fn reindex(&self, id: &str) -> bool {
        match self.read_fact(id) {
            Ok(fact) => self.index(&[&fact]) == [true],
            Err(error) => {
                self.log_error(Level::Warn, "a fact was changed but not indexed", &error);
                false
            }
        }
    }
}

/// Validates a change and returns the fields to write.
fn changed_fields(change: &Change) -> Result<Vec<(&str, &str)>> {
    let mut fields = Vec::with_capacity(2);
    if let Some(text) = &change.text {
        fact::validate_text(text)?;
        fields.push((fact::CONTENT, text.as_str()));
    }
    if let Some(metadata) = &change.metadata {
        metadata::validate(metadata)?;
        fields.push((fact::METADATA, metadata.as_str()));
    }
    if fields.is_empty() {
        return Err(Error::invalid("", "a change needs a text, metadata or both"));
    }
    Ok(fields)
}
