//! Parameters that several routes take.

use utoipa::IntoParams;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Parameter;

use super::schemas::{FactId, TenantName};

/// Of every route that takes a tenant's key.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `auth` reads")]
struct OfTenants {
    /// The tenant, on a server without keys. With keys, the key names the tenant.
    #[param(
        rename = "X-Kenning-Tenant",
        value_type = TenantName,
        required = false,
        default = "default",
        example = "acme"
    )]
    tenant: String,
    /// Shortens this request's deadline, in milliseconds. It never lengthens it.
    #[param(rename = "x-kenning-timeout-ms", required = false, minimum = 1, example = 2500)]
    timeout_ms: usize,
    /// For a get, a list and a search: the answer has seen the tenant's changes up to this
    /// revision, which a write was answered with in `x-kenning-revision`. The request waits
    /// for that within its deadline, and otherwise fails with `timeout`.
    #[param(rename = "x-kenning-min-revision", required = false, minimum = 0, example = 0)]
    min_revision: i64,
}

/// Makes a store safe to repeat.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `facts::store` reads")]
pub(in crate::http) struct IdempotencyKey {
    /// Makes the request safe to repeat: the same key with the same body stores one fact and
    /// answers the same. With another body it is a `conflict`, also for an upsert. The key stands
    /// for the fact's id: it does nothing where the body has an id.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 255,
        example = "import-2026-02-03-line-17"
    )]
    key: String,
}

/// The fact in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `facts::Id` reads")]
pub(in crate::http) struct FactInPath {
    /// The fact's id, percent-encoded.
    #[param(value_type = FactId, example = "port-7")]
    id: String,
}

/// The tenant in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `admin::tenants::Name` reads")]
pub(in crate::http) struct TenantInPath {
    /// The tenant's name.
    #[param(value_type = TenantName, example = "acme")]
    t: String,
}

/// A tenant's extension in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `admin::extensions` reads")]
pub(in crate::http) struct ExtensionInPath {
    /// The tenant's name.
    #[param(value_type = TenantName, example = "acme")]
    t: String,
    /// The extension's name: 1 to 63 lower-case ASCII letters, digits and `-`, not beginning with
    /// `-`.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "redact-pii")]
    name: String,
}

/// The parameters of all tenants' routes, by the names of their components.
pub(super) fn shared() -> impl Iterator<Item = (String, RefOr<Parameter>)> {
    let names = ["Tenant", "TimeoutMs", "MinRevision"].map(String::from);
    names.into_iter().zip(described::<OfTenants>().into_iter().map(RefOr::T))
}

/// The names of the parameters that `P` describes.
pub(in crate::http) fn parameter_names<P: IntoParams>() -> Vec<String> {
    described::<P>().into_iter().map(|parameter| parameter.name).collect()
}

fn described<P: IntoParams>() -> Vec<Parameter> {
    P::into_params(|| None)
}
