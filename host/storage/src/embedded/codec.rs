//! Hashes and vectors as bytes.
//!
//! A hash is its fields' names and values in turn, each after its length as a little-endian `u32`.

use crate::{Hash, StorageError};

fn corrupt(what: &str) -> StorageError {
    StorageError::Corrupt(format!("{what} in facts.redb"))
}

/// A hash as bytes. A text of 4 GiB or more is `TooLarge`.
pub(crate) fn encode(hash: &Hash) -> Result<Vec<u8>, StorageError> {
    let texts = || hash.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = Vec::with_capacity(texts().map(|text| 4 + text.len()).sum());
    for text in texts() {
        let length = u32::try_from(text.len()).map_err(|_| StorageError::TooLarge {
            limit: "field-bytes",
            allowed: u32::MAX.into(),
            used: text.len() as u64,
        })?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(bytes)
}

pub(crate) fn decode(mut bytes: &[u8]) -> Result<Hash, StorageError> {
    let mut hash = Hash::new();
    while !bytes.is_empty() {
        let field = take_text(&mut bytes).zip(take_text(&mut bytes));
        hash.push(field.ok_or_else(|| corrupt("a fact that is cut off or not UTF-8"))?);
    }
    Ok(hash)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// How much a hash counts against a reader's bytes, from its encoding.
pub(super) fn size(hash: &Hash) -> usize {
    hash.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(fields: &[(&str, &str)]) -> Hash {
        fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_hash_survives_its_bytes() {
        for hash in [hash(&[]), hash(&[("", "")]), hash(&[("a", "ä€😀"), ("b\0", "")])] {
            assert_eq!(decode(&encode(&hash).unwrap()), Ok(hash));
        }
    }

    #[test]
    fn a_cut_off_hash_is_corrupt_wherever_it_is_cut() {
        let bytes = encode(&hash(&[("name", "value")])).unwrap();
        for end in 1..bytes.len() {
            assert!(matches!(decode(&bytes[..end]), Err(StorageError::Corrupt(_))), "{end}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_corrupt() {
        let bytes = b"\x01\0\0\0\xff\0\0\0\0";
        assert!(matches!(decode(bytes), Err(StorageError::Corrupt(_))));
    }
}
