//! What a tenant's request came with: one of the tenant's keys, or a token.

use std::sync::Arc;

use kenning_core::error::{Code, Error};
use kenning_storage::TenantId;

use super::record::Attributes;
use super::scopes::{Scope, Scopes};

/// A key or token that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is.
    pub tenant: TenantId,
    /// The id of the key; `None` for a token.
    pub key_id: Option<Arc<str>>,
    /// Whom a token stands for, if it says so.
    pub subject: Option<Arc<str>>,
    /// What a token says of the caller, for extensions.
    pub attributes: Option<Attributes>,
    /// What it may be used for.
    pub scopes: Scopes,
}

impl Credential {
    /// Fails if `asked`, such as a method and a path, needs a scope that this does not have.
    ///
    /// # Errors
    /// [`Code::Forbidden`], with the scope that is missing.
    pub fn check(&self, scope: Scope, asked: &str) -> Result<(), Error> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        let (what, names) = (self.kind(), self.scopes.names());
        let has = match (self.scopes.are_unlimited(), names.is_empty()) {
            (true, _) => format!("{what} was given none"),
            (false, true) => format!("{what} has no scope that this server knows"),
            (false, false) => format!("{what} has {}", names.join(", ")),
        };
        let message = format!("{asked} needs the scope `{}`, and this {has}", scope.name());
        Err(Error::new(Code::Forbidden, message))
    }

    /// The word for it.
    pub fn kind(&self) -> &'static str {
        if self.key_id.is_some() { "key" } else { "token" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_scope_is_named_with_those_that_are_there() {
        let with = |scopes| Credential {
            tenant: TenantId::parse("acme").unwrap(),
            key_id: None,
            subject: None,
            attributes: None,
            scopes,
        };
        let said = |scopes| {
            let error = with(scopes).check(Scope::Admin, "PUT /x").unwrap_err();
            assert_eq!(error.code, Code::Forbidden);
            error.message
        };
        let both = said(Scopes::only([Scope::Write, Scope::Read]));
        assert_eq!(both, "PUT /x needs the scope `admin`, and this token has read, write");
        assert!(said(Scopes::default()).ends_with("this token was given none"));
        assert!(said(Scopes::only([])).ends_with("has no scope that this server knows"));
        assert!(with(Scopes::only([Scope::Admin])).check(Scope::Admin, "PUT /x").is_ok());
    }
}
