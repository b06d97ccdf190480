//! Where a listing goes on: a place, not a count, so that it survives what happens meanwhile.
//!
//! A cursor is base64url of `1` (its version), the order as 8 bytes and the id. It names the last
//! fact that was listed; that fact need not exist any more.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{FactId, StorageError, limits::MAX_EXACT};

const VERSION: u8 = 1;

/// The place of a fact in its tenant's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) order: u64,
    pub(crate) id: FactId,
}

impl Place {
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

    fn place(order: u64, id: &str) -> Place {
        Place { order, id: FactId::parse(id).unwrap() }
    }

    #[test]
    fn a_place_survives_its_cursor() {
        for place in [place(0, "a"), place(MAX_EXACT, &"z".repeat(128)), place(17, "_.-")] {
            assert_eq!(Place::decode(&place.encode()), Ok(place));
        }
    }

    #[test]
    fn a_cursor_is_safe_in_a_url() {
        let cursor = place(u64::MAX >> 11, &"~?>".replace(['~', '?', '>'], "z")).encode();
        assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn garbage_is_an_invalid_cursor() {
        let of_another_version = URL_SAFE_NO_PAD.encode(b"\x02\0\0\0\0\0\0\0\x01a");
        let without_an_id = URL_SAFE_NO_PAD.encode(b"\x01\0\0\0\0\0\0\0\x01");
        let beyond_the_orders = URL_SAFE_NO_PAD.encode(b"\x01\xff\xff\xff\xff\xff\xff\xff\xffa");
        let with_a_bad_id = URL_SAFE_NO_PAD.encode(b"\x01\0\0\0\0\0\0\0\x01a:b");
        for cursor in [
            "",
            "0",
            "!!!",
            "AQ==",
            &of_another_version,
            &without_an_id,
            &beyond_the_orders,
            &with_a_bad_id,
        ] {
            assert_eq!(Place::decode(cursor), Err(StorageError::InvalidCursor), "{cursor:?}");
        }
    }
}
