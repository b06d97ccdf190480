//! Checksums of records: CRC-32 of a record's table, key and value, stored with it.
//!
//! They find what a failing disk or another program altered, which redb does not: it verifies its
//! pages only after a crash. The key is part of the sum, so a record that is found in the place of
//! another is recognised, too.

use crc32fast::Hasher;

/// A checksum under construction.
pub(super) struct Checksum(Hasher);

impl Checksum {
    /// Begins the checksum of a record in `table`.
    pub(super) fn of(table: &str) -> Self {
        Self(Hasher::new()).bytes(table.as_bytes())
    }

    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Adds bytes with their length, so that the border between two texts counts.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut all = self.number(bytes.len() as u64);
        all.0.update(bytes);
        all
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn sum(self) -> u32 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_every_bit_counts() {
        let sum = |table, one: &str, two: &str| Checksum::of(table).text(one).text(two).sum();
        let known = sum("facts", "a", "bc");
        assert_eq!(known, sum("facts", "a", "bc"));
        for other in [sum("facts", "ab", "c"), sum("facts", "a", "bd"), sum("vectors", "a", "bc")] {
            assert_ne!(known, other);
        }
    }
}
