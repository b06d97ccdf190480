//! The encoding of a fact's hash.
//!
//! The names and values of all fields, alternating, each preceded by its length in bytes as a
//! little-endian `u32`.

use crate::{Hash, StorageError};

fn corrupt(what: &str) -> StorageError {
    StorageError::Corrupt(format!("{what} in facts.redb"))
}

/// Encodes a hash. Fails with `TooLarge` for a text of 4 GiB or more.
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

/// Decodes a hash.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Hash, StorageError> {
    let mut hash = Hash::new();
    while !bytes.is_empty() {
        let field = take_text(&mut bytes).zip(take_text(&mut bytes));
        hash.push(field.ok_or_else(|| corrupt("a truncated or non-UTF-8 fact"))?);
    }
    Ok(hash)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// The bytes of a hash's names and values, as counted in `Usage` and against `max_bytes`.
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
    fn an_encoded_hash_decodes_to_itself() {
        for hash in [hash(&[]), hash(&[("", "")]), hash(&[("a", "ä€😀"), ("b\0", "")])] {
            assert_eq!(decode(&encode(&hash).unwrap()), Ok(hash));
        }
    }

    #[test]
    fn a_hash_truncated_anywhere_is_corrupt() {
        let bytes = encode(&hash(&[("name", "value")])).unwrap();
        for end in 1..bytes.len() {
            assert!(matches!(decode(&bytes[..end]), Err(StorageError::Corrupt(_))), "{end}");
        }
    }

    #[test]
    fn a_hash_that_is_not_utf8_is_corrupt() {
        let bytes = b"\x01\0\0\0\xff\0\0\0\0";
        assert!(matches!(decode(bytes), Err(StorageError::Corrupt(_))));
    }
}
