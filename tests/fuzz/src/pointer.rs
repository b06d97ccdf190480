//! JSON pointers (RFC 6901), as errors give them.

use kenning_core::error::{Code, Error};
use serde_json::Value;

/// What an error may take of a caller's own bytes: in its message, and in its pointer, where a
/// character may become two.
pub const MESSAGE_BYTES: usize = 1024;
const POINTER_BYTES: usize = 2 * 1024;

/// Sees that an error says in little room which part of `document` is wrong: a part that is
/// there, or a member that is missing from one.
pub fn assert_refusal(error: &Error, document: &[u8]) {
    let message = &error.message;
    assert!((1..=MESSAGE_BYTES).contains(&message.len()), "{}: {message:.400}", message.len());
    let details = error.details.as_deref().unwrap_or(&Value::Null);
    match error.code {
        Code::InvalidRequest => {
            let pointer = details["pointer"].as_str().expect("a pointer");
            assert_pointer(pointer, document);
        }
        Code::TooLarge => {
            let number = |name: &str| details[name].as_u64().expect(name);
            assert!(number("used") > number("allowed") && details["limit"].is_string(), "{error}");
        }
        _ => panic!("{error}"),
    }
}

/// Sees that `pointer` is one, and names a place in `document` if that is JSON.
pub fn assert_pointer(pointer: &str, document: &[u8]) {
    assert!(is_pointer(pointer), "{pointer:?} is no JSON pointer");
    assert!(pointer.len() <= POINTER_BYTES, "a pointer of {} bytes", pointer.len());
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return };
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(document.pointer(parent).is_some(), "{pointer:?} names no place in {document}");
}

/// Empty, or parts that each begin with a slash; a tilde only as `~0` or `~1`.
fn is_pointer(pointer: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    (pointer.is_empty() || pointer.starts_with('/')) && pointer.split('~').skip(1).all(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pointer_is_found() {
        for pointer in ["", "/", "/a/0", "/a~0b~1c", "//"] {
            assert!(is_pointer(pointer), "{pointer}");
        }
        for text in ["a", "a/b", "/~", "/a~2", "/~~0"] {
            assert!(!is_pointer(text), "{text}");
        }
    }
}
