//! Cursors: the position after which a listing continues.
//!
//! A cursor is a position rather than an offset, so that it stays valid while facts are written and
//! deleted. It encodes the last listed fact, which need not exist any more: base64url of the byte 1
//! (the version), the order as a big-endian `u64` and the id.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{FactId, StorageError, limits::MAX_EXACT};

const VERSION: u8 = 1;

/// The position of a fact in its tenant's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) order: u64,
    pub(crate) id: FactId,
}

impl Position {
    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.order.to_be_bytes());
        bytes.extend_from_slice(self.id.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn decode(cursor: &str) -> Result<Self, StorageError> {
        Self::parse(cursor).ok_or(StorageError::InvalidCursor)
    }

    fn parse(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (order, id) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let order = u64::from_be_bytes(*order);
        let id = FactId::parse(std::str::from_utf8(id).ok()?).ok()?;
        (order <= MAX_EXACT).then_some(Self { order, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(order: u64, id: &str) -> Position {
        Position { order, id: FactId::parse(id).unwrap() }
    }

    #[test]
    fn an_encoded_position_decodes_to_itself() {
        for position in
            [position(0, "a"), position(MAX_EXACT, &"z".repeat(128)), position(17, "_.-")]
        {
            assert_eq!(Position::decode(&position.encode()), Ok(position));
        }
    }

    #[test]
    fn a_cursor_is_safe_in_a_url() {
        let cursor = position(u64::MAX >> 11, &"~?>".replace(['~', '?', '>'], "z")).encode();
        assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn malformed_cursors_are_rejected() {
        let other_version = URL_SAFE_NO_PAD.encode(b"\x02\0\0\0\0\0\0\0\x01a");
        let without_id = URL_SAFE_NO_PAD.encode(b"\x01\0\0\0\0\0\0\0\x01");
        let too_large_order = URL_SAFE_NO_PAD.encode(b"\x01\xff\xff\xff\xff\xff\xff\xff\xffa");
        let with_bad_id = URL_SAFE_NO_PAD.encode(b"\x01\0\0\0\0\0\0\0\x01a:b");
        for cursor in
            ["", "0", "!!!", "AQ==", &other_version, &without_id, &too_large_order, &with_bad_id]
        {
            assert_eq!(Position::decode(cursor), Err(StorageError::InvalidCursor), "{cursor:?}");
        }
    }
}
