//! Changing a fact: the write first, then the index, from what storage holds by then.

use crate::fact::{self, Change, Fact, Stored};
use crate::ports::{Condition, HashWrite, Level, Ports};
use crate::{Error, Logic, Result, metadata};

impl<P: Ports> Logic<P> {
    /// Changes one fact's text, metadata or both; its timestamp and place stay.
    pub fn update(&self, id: &str, change: &Change) -> Result<Stored> {
        let fields = check(change)?;
        // A hash that is not a fact must not become half of one.
        self.read_fact(id)?;
        let write = HashWrite { id, fields, condition: Condition::Present, order: 0 };
        match self.ports.write(&[write])?[..] {
            [true] => Ok(Stored { id: id.into(), indexed: self.index_again(id) }),
            [false] => Err(Error::NotFound(id.into())),
            _ => Err(Error::miscounted("storage-write.write")),
        }
    }

    fn read_fact(&self, id: &str) -> Result<Fact> {
        let fact = self.read_facts(&[id])?.pop().flatten();
        fact.ok_or_else(|| Error::NotFound(id.into()))
    }

    /// The fact is read again because another call may have changed its other part.
    fn index_again(&self, id: &str) -> bool {
        match self.read_fact(id) {
            Ok(fact) => self.index(&[fact.entry()]) == [true],
            Err(error) => {
                self.note(Level::Warn, "a fact was changed but not indexed", &error);
                false
            }
        }
    }
}

/// The fields that change.
fn check(change: &Change) -> Result<Vec<(&str, &str)>> {
    let mut fields = Vec::with_capacity(2);
    if let Some(text) = &change.text {
        fact::check_text(text)?;
        fields.push((fact::CONTENT, text.as_str()));
    }
    if let Some(metadata) = &change.metadata {
        metadata::check(metadata)?;
        fields.push((fact::METADATA, metadata.as_str()));
    }
    if fields.is_empty() {
        return Err(Error::invalid("", "a change names a text, metadata or both"));
    }
    Ok(fields)
}
