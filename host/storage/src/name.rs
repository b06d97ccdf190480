//! Names that are safe to build keys from.
//!
//! Each kind is checked once, where it comes in; after that the type is the proof. None may hold
//! `{` or `}`, and tenants and facts no `:` either, so no two names meet in one key, whatever the
//! layout. Documents have keys of their own, of which the name is the end.

use std::fmt;
use std::sync::Arc;

/// Why a text is no name.
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
        $name:ident, $what:literal, $most:literal, $rule:literal, $first:expr, $rest:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest name, in bytes.
            pub const MAX_BYTES: usize = $most;

            /// Checks `name`.
            pub fn parse(name: &str) -> Result<Self, InvalidName> {
                match fault(name, Self::MAX_BYTES, $first, $rest) {
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
    in_a_key
);

name!(
    /// A fact's id: 1 to 128 bytes, `[A-Za-z0-9_][A-Za-z0-9._-]*`. Cheap to clone.
    FactId,
    "a fact's id",
    128,
    "1 to 128 ASCII letters, digits, '.', '_' and '-', beginning with a letter, a digit or '_'",
    |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_',
    in_a_key
);

name!(
    /// A document's name: 1 to 200 bytes, `[A-Za-z0-9._/:-]+`. Cheap to clone.
    DocumentName,
    "a document's name",
    200,
    "1 to 200 ASCII letters, digits, '.', '_', '-', '/' and ':'",
    |_| true,
    |c: char| in_a_key(c) || matches!(c, '/' | ':')
);

fn in_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What is wrong with `name`, as the end of the sentence "this one …".
fn fault(
    name: &str,
    most: usize,
    may_begin: impl Fn(u8) -> bool,
    may_follow: impl Fn(char) -> bool,
) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.len() > most {
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
    fn a_documents_name_has_folders_and_no_braces() {
        for good in ["tenant/Acme", "component/sha256:0af9", "-", "/"] {
            assert!(DocumentName::parse(good).is_ok(), "{good}");
        }
        for bad in ["a b", "a{b", "a}b", "a*", "ä", "a\0"] {
            assert!(DocumentName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_may_begin_with_an_underscore_and_a_tenant_may_not() {
        assert!(FactId::parse("_draft").is_ok());
        let message = TenantId::parse("_draft").unwrap_err().to_string();
        assert!(message.ends_with("begins with '_'"), "{message}");
    }

    #[test]
    fn what_could_break_a_key_is_refused_and_named() {
        for bad in ["a:b", "a{b", "a}b", "a b", "a/b", "a\0", "ä", "a\n", "*"] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
            assert!(FactId::parse(bad).is_err(), "{bad:?}");
        }
        let message = FactId::parse("origin:session").unwrap_err().to_string();
        assert!(message.ends_with("has ':' at byte 6"), "{message}");
    }
}
