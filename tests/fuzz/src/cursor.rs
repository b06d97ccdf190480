//! Cursors of listings.
//!
//! - A cursor leads to the place it was made for.
//! - A text that is taken for a cursor is the one that its place makes: anything else is refused.
//! - A cursor is safe in a URL.
//!
//! The bytes are a cursor; and, by themselves, an order in eight bytes and an id.

use kenning_storage::fuzzing::{MAX_ORDER, read_cursor, write_cursor};
use kenning_storage::{FactId, StorageError};

use crate::Verdict;

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    assert_leads_to_its_place(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    match read_cursor(text) {
        Ok((order, id)) => {
            assert!(order <= MAX_ORDER);
            assert_eq!(write_cursor(order, &id), text);
            Verdict::Taken
        }
        Err(error) => {
            assert_eq!(error, StorageError::InvalidCursor);
            Verdict::Refused
        }
    }
}

fn assert_leads_to_its_place(bytes: &[u8]) {
    let Some((order, id)) = bytes.split_first_chunk() else { return };
    let Ok(id) = std::str::from_utf8(id) else { return };
    let (order, Ok(id)) = (u64::from_be_bytes(*order), FactId::parse(id)) else { return };
    let cursor = write_cursor(order, &id);
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = Err(StorageError::InvalidCursor);
    let expected = if order <= MAX_ORDER { Ok((order, id)) } else { refused };
    assert_eq!(read_cursor(&cursor), expected);
}
