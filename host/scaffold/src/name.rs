//! Validates the name of an extension.
//!
//! The name becomes a directory, a package, a file and a URL segment, so it must be valid as each
//! of them.

/// Length limit in bytes; the server enforces the same one.
const MAX_BYTES: usize = 63;

/// Names with another meaning inside a project.
const RESERVED: [&str; 2] = ["kenning-extension", "test"];

/// Why a name is not allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("an extension needs a name")]
    Empty,
    /// It has this many bytes, which is too long.
    #[error("the name is {0} bytes long; the maximum is {MAX_BYTES}")]
    TooLong(usize),
    /// It has characters that are not allowed, or hyphens in the wrong places.
    #[error(
        "{0:?} is not a valid extension name: use lower-case letters, digits and single hyphens, \
         and start with a letter, as in redact-pii"
    )]
    Characters(String),
    /// It has another meaning inside a project.
    #[error("{0:?} is reserved; choose another name")]
    Reserved(String),
}

/// # Errors
/// [`NameError`] says which rule the name breaks.
pub(crate) fn validate(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_BYTES {
        return Err(NameError::TooLong(name.len()));
    }
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase())
        || !name.split('-').all(is_word)
    {
        return Err(NameError::Characters(name.into()));
    }
    match RESERVED.contains(&name) {
        true => Err(NameError::Reserved(name.into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_words_are_accepted() {
        for name in ["hello", "redact-pii", "a", "top-10", "x2-y3-z", &"a".repeat(MAX_BYTES)] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_reason() {
        assert_eq!(validate(""), Err(NameError::Empty));
        assert_eq!(validate(&"a".repeat(MAX_BYTES + 1)), Err(NameError::TooLong(MAX_BYTES + 1)));
        assert_eq!(
            validate("kenning-extension"),
            Err(NameError::Reserved("kenning-extension".into()))
        );
        for name in [
            "../up", "a/b", "/etc", "a\\b", ".", "..", "-a", "a-", "a--b", "1a", "Hello", "a_b",
            "a b", "ä", "a\0", "a.b", " a", "a\n",
        ] {
            let error = validate(name).unwrap_err();
            assert_eq!(error, NameError::Characters(name.into()));
            assert!(error.to_string().contains("as in redact-pii"));
        }
    }
}
