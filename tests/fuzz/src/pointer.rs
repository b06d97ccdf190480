//! JSON pointers (RFC 6901), as errors give them.

use kenning::error::{Code, Error};
use serde_json::Value;

/// What an error's body may take. A caller's own bytes in it are cut.
const ERROR_BYTES: usize = 8 * 1024;

/// Sees that an error says in little room which part of `document` is wrong: a part that is
/// there, or a member that is missing from one.
pub fn assert_refusal(error: &Error, document: &[u8]) {
    let body = error.body().to_string();
    assert!(body.len() <= ERROR_BYTES, "an error of {} bytes: {body:.400}", body.len());
    assert!(!error.message.is_empty());
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
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return };
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(document.pointer(parent).is_some(), "{pointer:?} names no place in {document}");
}

/// Empty, or parts that each begin with a slash; a tilde only as `~0` or `~1`.
pub fn is_pointer(pointer: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    (pointer.is_empty() || pointer.starts_with('/')) && pointer.split('~').skip(1).all(escaped)
}
