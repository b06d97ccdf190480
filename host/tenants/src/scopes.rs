//! What a key or token may be used for.

use serde::{Deserialize, Serialize};

/// One thing that a key or token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading the tenant's facts: search, get, list, export, changes, figures.
    Read,
    /// Storing, changing and deleting them.
    Write,
    /// Managing the tenant's own extensions.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The name in keys and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// The scopes of a key or token. By default a key is not limited: it reads and writes, and manages
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Scopes(Option<Vec<Scope>>);

impl Scopes {
    /// Only these.
    pub fn only(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(Some(scopes))
    }

    /// Whether none were named.
    pub fn are_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `scope` is among them.
    pub fn allow(&self, scope: Scope) -> bool {
        match &self.0 {
            None => scope != Scope::Admin,
            Some(scopes) => scopes.contains(&scope),
        }
    }

    /// Their names; empty if they are not limited.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().flatten().map(|scope| scope.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_scopes_reads_and_writes_and_manages_nothing() {
        let scopes = Scopes::default();
        let allowed = Scope::ALL.map(|scope| scopes.allow(scope));
        assert_eq!((allowed, scopes.are_unlimited()), ([true, true, false], true));
        assert_eq!(serde_json::from_str::<Scopes>("null").unwrap(), scopes);
    }

    #[test]
    fn scopes_allow_what_they_name_and_nothing_else() {
        for scope in Scope::ALL {
            let scopes = Scopes::only([scope, scope]);
            assert_eq!(scopes.names(), [scope.name()]);
            assert!(Scope::ALL.iter().all(|other| scopes.allow(*other) == (*other == scope)));
            assert_eq!(Scope::parse(scope.name()), Some(scope));
            let json = serde_json::to_string(&scopes).unwrap();
            assert_eq!(json, format!("[\"{}\"]", scope.name()));
            assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), scopes);
        }
        assert!(!Scope::ALL.iter().any(|scope| Scopes::only([]).allow(*scope)));
        assert_eq!(Scope::parse("Read"), None);
    }
}
