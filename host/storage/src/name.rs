//! Validated names, safe to build keys from.
//!
//! A name is validated once, where it enters; after that its type is the proof. No name contains
//! `{` or `}`, and tenants and facts contain no `:` either, so two different names never result in
//! the same key, whatever the layout. Document names may contain `:`, because they end their keys.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {rule}; this one {found}")]
pub struct InvalidName {
    what: &'static str,
    rule: &'static str,
    found: String,
}

macro_rules! name {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal, $max_bytes:literal, $rule:literal, $first:expr, $following:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest name, in bytes.
            pub const MAX_BYTES: usize = $max_bytes;

            /// Validates `name`.
            ///
            /// # Errors
            /// If it is empty, too long or contains a character that is not allowed.
            pub fn parse(name: &str) -> Result<Self, InvalidName> {
                match problem(name, Self::MAX_BYTES, $first, $following) {
                    None => Ok(Self(name.into())),
                    Some(found) => Err(InvalidName { what: $what, rule: $rule, found }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::parse(name)
            }
        }
    };
}

name!(
    /// A tenant's name: 1 to 63 bytes, `[A-Za-z0-9][A-Za-z0-9._-]*`. Cheap to clone.
    TenantId,
    "a tenant's name",
    63,
    "1 to 63 ASCII letters, digits, '.', '_' and '-', beginning with a letter or a digit",
    |byte: u8| byte.is_ascii_alphanumeric(),
    is_key_safe
);

name!(
    /// A fact's id: 1 to 128 bytes, `[A-Za-z0-9_][A-Za-z0-9._-]*`. Cheap to clone.
    FactId,
    "a fact's id",
    128,
    "1 to 128 ASCII letters, digits, '.', '_' and '-', beginning with a letter, a digit or '_'",
    |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_',
    is_key_safe
);

name!(
    /// The name of a space of state: 1 to 80 bytes, `[a-z0-9.][a-z0-9.-]*`. Cheap to clone. The
    /// space of an extension has its name, which contains no `.`.
    SpaceName,
    "the name of a space",
    80,
    "1 to 80 lower-case ASCII letters, digits, '.' and '-', not beginning with '-'",
    |byte: u8| byte != b'-',
    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-')
);

name!(
    /// A document's name: 1 to 200 bytes, `[A-Za-z0-9._/:-]+`. Cheap to clone.
    DocumentName,
    "a document's name",
    200,
    "1 to 200 ASCII letters, digits, '.', '_', '-', '/' and ':'",
    |_| true,
    |c: char| is_key_safe(c) || matches!(c, '/' | ':')
);

impl SpaceName {
    /// Whether it is of a space that the host keeps for an extension.
    pub fn is_hosts(&self) -> bool {
        self.0.contains('.')
    }
}

fn is_key_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What is wrong with `name`, worded to complete the sentence "this one …".
fn problem(
    name: &str,
    max_bytes: usize,
    may_begin: impl Fn(u8) -> bool,
    may_follow: impl Fn(char) -> bool,
) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.len() > max_bytes {
        return Some(format!("has {} bytes", name.len()));
    }
    if let Some((at, found)) = name.char_indices().find(|(_, c)| !may_follow(*c)) {
        return Some(format!("has {found:?} at byte {at}"));
    }
    let first = name.as_bytes()[0];
    (!may_begin(first)).then(|| format!("begins with {:?}", char::from(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_a_tenant_obeyed() {
        assert_eq!(TenantId::parse(&"a".repeat(63)).unwrap().as_str().len(), 63);
        assert_eq!(TenantId::parse("a").unwrap().as_str(), "a");
    }

    #[test]
    fn length_of_a_tenant_violated() {
        let message = TenantId::parse(&"a".repeat(64)).unwrap_err().to_string();
        assert!(message.contains("1 to 63") && message.ends_with("has 64 bytes"), "{message}");
        assert!(TenantId::parse("").unwrap_err().to_string().ends_with("is empty"));
    }

    #[test]
    fn length_of_an_id_obeyed() {
        assert!(FactId::parse(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn length_of_an_id_violated() {
        assert!(FactId::parse(&"x".repeat(129)).is_err());
    }

    #[test]
    fn length_of_a_documents_name_obeyed_and_violated() {
        assert!(DocumentName::parse(&"x".repeat(200)).is_ok());
        let message = DocumentName::parse(&"x".repeat(201)).unwrap_err().to_string();
        assert!(message.ends_with("has 201 bytes"), "{message}");
        assert!(DocumentName::parse("").is_err());
    }

    #[test]
    fn a_documents_name_may_contain_folders_but_no_braces() {
        for good in ["tenant/Acme", "component/sha256:0af9", "-", "/"] {
            assert!(DocumentName::parse(good).is_ok(), "{good}");
        }
        for bad in ["a b", "a{b", "a}b", "a*", "ä", "a\0"] {
            assert!(DocumentName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_may_begin_with_an_underscore_but_a_tenant_may_not() {
        assert!(FactId::parse("_draft").is_ok());
        let message = TenantId::parse("_draft").unwrap_err().to_string();
        assert!(message.ends_with("begins with '_'"), "{message}");
    }

    #[test]
    fn characters_unsafe_in_a_key_are_refused_and_named() {
        for bad in ["a:b", "a{b", "a}b", "a b", "a/b", "a\0", "ä", "a\n", "*"] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
            assert!(FactId::parse(bad).is_err(), "{bad:?}");
        }
        let message = FactId::parse("origin:session").unwrap_err().to_string();
        assert!(message.ends_with("has ':' at byte 6"), "{message}");
    }
}
