//! What each route needs of who asks: the one table of scopes. A route that is not in it is refused
//! to everybody, and `/openapi.json` says what each needs.

use http::Method;
use http::request::Parts;

use axum::extract::MatchedPath;
use kenning_core::error::Error;
use kenning_tenants::Scope;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it tells nothing of any tenant.
    Nothing,
    /// A key or token of a tenant, with this scope.
    Scope(Scope),
    /// A key or token of a tenant; each of an agent's calls needs a scope of its own.
    AnyScope,
    /// An admin key, or the scope `admin` of the tenant in the path.
    Admin,
    /// An admin key.
    Operator,
}

use Needs::{Admin, AnyScope, Nothing, Operator};

const READ: Needs = Needs::Scope(Scope::Read);
const WRITE: Needs = Needs::Scope(Scope::Write);

/// Each route, by its method and its path in `/openapi.json`.
const TABLE: [(&str, &str, Needs); 59] = [
    ("GET", "/healthz", Nothing),
    ("GET", "/livez", Nothing),
    ("GET", "/readyz", Nothing),
    ("GET", "/metrics", Nothing),
    ("GET", "/openapi.json", Nothing),
    ("GET", "/v1/facts", READ),
    ("POST", "/v1/facts", WRITE),
    ("DELETE", "/v1/facts", WRITE),
    ("GET", "/v1/count", READ),
    ("POST", "/v1/facts/batch", WRITE),
    ("GET", "/v1/facts/batch", READ),
    ("PATCH", "/v1/facts/batch", WRITE),
    ("DELETE", "/v1/facts/batch", WRITE),
    ("GET", "/v1/facts/{id}", READ),
    ("PATCH", "/v1/facts/{id}", WRITE),
    ("DELETE", "/v1/facts/{id}", WRITE),
    ("POST", "/v1/search", READ),
    ("POST", "/v1/search/batch", READ),
    ("GET", "/v1/export", READ),
    ("GET", "/v1/changes", READ),
    ("POST", "/v1/import", WRITE),
    // Of one's own import.
    ("GET", "/v1/imports/{id}", WRITE),
    ("GET", "/v1/stats", READ),
    ("POST", "/mcp", AnyScope),
    ("DELETE", "/mcp", AnyScope),
    ("GET", "/v1/admin/tenants", Operator),
    ("POST", "/v1/admin/tenants", Operator),
    ("GET", "/v1/admin/tenants/{t}", Operator),
    ("PATCH", "/v1/admin/tenants/{t}", Operator),
    ("DELETE", "/v1/admin/tenants/{t}", Operator),
    ("POST", "/v1/admin/tenants/{t}/rotate-key", Operator),
    ("POST", "/v1/admin/tenants/{t}/revoke-key", Operator),
    ("POST", "/v1/admin/tenants/{t}/preview", Operator),
    ("POST", "/v1/admin/tenants/{t}/import", Operator),
    ("GET", "/v1/admin/tenants/{t}/extensions", Admin),
    ("PUT", "/v1/admin/tenants/{t}/extensions/{name}", Admin),
    ("PATCH", "/v1/admin/tenants/{t}/extensions/{name}", Admin),
    ("DELETE", "/v1/admin/tenants/{t}/extensions/{name}", Admin),
    ("PUT", "/v1/admin/tenants/{t}/extensions/{name}/settings", Admin),
    ("POST", "/v1/admin/tenants/{t}/extensions/{name}/rollback", Admin),
    ("GET", "/v1/admin/tenants/{t}/extensions/{name}/logs", Admin),
    ("GET", "/v1/admin/tenants/{t}/extensions/{name}/stats", Admin),
    ("GET", "/v1/admin/tenants/{t}/extensions/{name}/dead-letters", Admin),
    ("DELETE", "/v1/admin/tenants/{t}/extensions/{name}/dead-letters", Admin),
    ("POST", "/v1/admin/tenants/{t}/extensions/{name}/dead-letters/replay", Admin),
    ("GET", "/v1/admin/tenants/{t}/audit", Admin),
    ("GET", "/v1/admin/logic", Operator),
    ("POST", "/v1/admin/logic", Operator),
    ("POST", "/v1/admin/logic/rollback", Operator),
    ("GET", "/v1/admin/digests/{digest}", Operator),
    ("POST", "/v1/admin/digests/{digest}/revoke", Operator),
    ("DELETE", "/v1/admin/digests/{digest}/revoke", Operator),
    ("GET", "/v1/admin/audit", Operator),
    ("GET", "/v1/admin/requests", Operator),
    ("GET", "/v1/admin/requests/{id}", Operator),
    ("GET", "/v1/admin/requests/{id}/replay", Operator),
    ("DELETE", "/v1/admin/requests/{id}/replay", Operator),
    ("GET", "/v1/admin/requests/{id}/component", Operator),
    ("POST", "/v1/admin/backup", Operator),
];

impl Needs {
    /// The word in `/openapi.json`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Scope(scope) => scope.name(),
            Self::AnyScope => "any",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// What a route needs; `None` if it is not in the table.
    pub(super) fn of(method: &str, path: &str) -> Option<Self> {
        let row = TABLE.iter().find(|(other, route, _)| *other == method && *route == path);
        row.map(|(_, _, needs)| *needs)
    }

    /// What a request needs, and how messages name it.
    pub(super) fn of_request(head: &Parts) -> Result<(Self, String), Error> {
        let path = head.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        // What reads is asked without a body, too, and answered without one.
        let method = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
        let needs = Self::of(method, path).ok_or_else(|| {
            Error::internal(format!("{method} {path} is not in the table of scopes"))
        })?;
        Ok((needs, format!("{method} {path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_in_the_table_once() {
        for (at, (method, path, needs)) in TABLE.iter().enumerate() {
            let again =
                TABLE[..at].iter().any(|(other, route, _)| other == method && route == path);
            assert!(!again, "{method} {path}");
            assert_eq!(Needs::of(method, path), Some(*needs));
        }
        assert_eq!(Needs::of("PUT", "/v1/facts"), None);
    }

    #[test]
    fn a_tenant_manages_nothing_but_its_own_extensions_and_reads_what_was_done() {
        for (method, path, needs) in TABLE {
            let is_own = path.starts_with("/v1/admin/tenants/{t}/extensions")
                || (method, path) == ("GET", "/v1/admin/tenants/{t}/audit");
            match needs {
                Admin => assert!(is_own, "{method} {path}"),
                Operator => assert!(path.starts_with("/v1/admin/") && !is_own, "{method} {path}"),
                _ => assert!(!path.starts_with("/v1/admin/"), "{method} {path}"),
            }
        }
    }
}
