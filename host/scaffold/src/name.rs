//! Which names an extension may have.
//!
//! One name serves as a folder, a package, a file and a part of a URL, so it is what all
//! of them take.

/// Bytes of a name, as the server takes it.
const BYTES: usize = 63;

/// Names that would be taken for something else in the project.
const TAKEN: [&str; 2] = ["kenning-extension", "test"];

/// Why a name is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("an extension needs a name")]
    Empty,
    #[error("a name has at most {BYTES} letters, and this one has {0}")]
    Long(usize),
    #[error(
        "{0:?} cannot name an extension: use small letters, digits and hyphens, and begin with a \
         letter, as in redact-pii"
    )]
    Letters(String),
    #[error("{0:?} has a meaning of its own in a project; choose another name")]
    Taken(String),
}

pub(crate) fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > BYTES {
        return Err(NameError::Long(name.len()));
    }
    let is_word = |word: &str| {
        let mut letters = word.bytes();
        !word.is_empty() && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase())
        || !name.split('-').all(is_word)
    {
        return Err(NameError::Letters(name.into()));
    }
    match TAKEN.contains(&name) {
        true => Err(NameError::Taken(name.into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_words_are_taken() {
        for name in ["hello", "redact-pii", "a", "top-10", "x2-y3-z", &"a".repeat(BYTES)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_reason() {
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check(&"a".repeat(BYTES + 1)), Err(NameError::Long(BYTES + 1)));
        assert_eq!(check("kenning-extension"), Err(NameError::Taken("kenning-extension".into())));
        for name in [
            "../up", "a/b", "/etc", "a\\b", ".", "..", "-a", "a-", "a--b", "1a", "Hello", "a_b",
            "a b", "ä", "a\0", "a.b", " a", "a\n",
        ] {
            let error = check(name).unwrap_err();
            assert_eq!(error, NameError::Letters(name.into()));
            assert!(error.to_string().contains("as in redact-pii"));
        }
    }
}
