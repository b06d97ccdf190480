//! `/v1/admin/digests/{digest}`: who runs a component, and refusing it everywhere.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use kenning_storage::TenantId;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::parameters::{Parameters, Path};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{Conflict, Digest, NotFound, Success, TenantName, parameter_names};
use crate::registry::Revocation;
use crate::swap::{Replaced, Use};
use kenning_core::error::{Code, Error};

/// Most bytes of a reason.
const REASON_BYTES: usize = 1_000;

/// The digest in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `parse` reads")]
struct DigestInPath {
    /// SHA-256 of a component's bytes, as `sha256:…`.
    #[param(value_type = Digest)]
    digest: String,
}

/// Why.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct ReasonParameter {
    /// Why it is revoked, for the record: at most 1,000 bytes.
    #[param(nullable = false)]
    reason: Option<String>,
}

/// The generations with a digest.
#[derive(Serialize, ToSchema)]
struct DigestUses {
    #[schema(value_type = Digest)]
    digest: String,
    /// When it was revoked; `null` if it was not.
    #[schema(required)]
    revoked: Option<Revocation>,
    /// The server-wide logic first, then by tenant.
    uses: Vec<DigestUse>,
}

/// One generation.
#[derive(Serialize, ToSchema)]
struct DigestUse {
    /// `null` for the server-wide logic.
    #[schema(required, value_type = Option<TenantName>)]
    tenant: Option<String>,
    /// `null` for a logic.
    #[schema(required)]
    extension: Option<String>,
    generation: u64,
    /// Whether it is live.
    active: bool,
}

/// A digest that was revoked.
#[derive(Serialize, ToSchema)]
struct DigestRevoked {
    status: Success,
    #[schema(value_type = Digest)]
    digest: String,
    /// The generations that were live, and what is live instead.
    replaced: Vec<ReplacedGeneration>,
    /// Those that are still live; repeat the request.
    failed: Vec<NotReplaced>,
    /// The hosts that did not follow within `follow_ms`; left out if all did. Until they do, their
    /// calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    behind: Vec<String>,
}

/// A generation that was live.
#[derive(Serialize, ToSchema)]
struct ReplacedGeneration {
    /// `null` for the server-wide logic.
    #[schema(required, value_type = Option<TenantName>)]
    tenant: Option<String>,
    /// `null` for a logic.
    #[schema(required)]
    extension: Option<String>,
    from: u64,
    /// `null`: the extension was removed, because it has no older generation to go back to.
    #[schema(required)]
    to: Option<u64>,
}

/// A generation that is still live.
#[derive(Serialize, ToSchema)]
struct NotReplaced {
    /// `null` for the server-wide logic.
    #[schema(required, value_type = Option<TenantName>)]
    tenant: Option<String>,
    /// `null` for a logic.
    #[schema(required)]
    extension: Option<String>,
    generation: u64,
    /// Why.
    message: String,
}

/// A digest that is allowed again.
#[derive(Serialize, ToSchema)]
struct DigestAllowed {
    status: Success,
    #[schema(value_type = Digest)]
    digest: String,
}

fn parse(digest: &str) -> Result<String, Error> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest).to_ascii_lowercase();
    match hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(format!("sha256:{hex}")),
        false => {
            let message = "a digest is sha256: and 64 hexadecimal digits, as every report has it";
            Err(Error::invalid("/digest", message))
        }
    }
}

fn name(tenant: &Option<TenantId>) -> Option<String> {
    tenant.as_ref().map(ToString::to_string)
}

impl From<Use> for DigestUse {
    fn from(one: Use) -> Self {
        let Use { extension, generation, active, .. } = one;
        Self { tenant: name(&one.tenant), extension, generation, active }
    }
}

/// Which generations have a digest, of the server-wide logic and of every tenant
#[utoipa::path(
    get,
    path = "/v1/admin/digests/{digest}",
    operation_id = "findDigest",
    tag = "admin",
    params(DigestInPath),
    responses((status = 200, description = "Those that are kept.", body = DigestUses)),
)]
pub(in crate::http) async fn find(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let digest = parse(&digest)?;
    let revoked = app.swapper.revocation(&digest).await?;
    let uses = app.swapper.uses(&digest).await?.into_iter().map(DigestUse::from).collect();
    Ok(axum::Json(DigestUses { digest, revoked, uses }).into_response())
}

/// Refuse a digest everywhere
///
/// It cannot be installed or rolled back to any more. Where it is live, a logic is replaced by an
/// older generation, and an extension by an older generation or, without one, by none.
#[utoipa::path(
    post,
    path = "/v1/admin/digests/{digest}/revoke",
    operation_id = "revokeDigest",
    tag = "admin",
    params(DigestInPath, ReasonParameter),
    responses(
        (status = 200, description = "What was replaced.", body = DigestRevoked),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(digest): Path<String>,
    parameters: Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let digest = parse(&digest)?;
    let parameters = Parameters::new(parameters.0, &parameter_names::<ReasonParameter>())?;
    let reason = parameters.text("reason").filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.len() > REASON_BYTES) {
        let message = format!("a reason has at most {REASON_BYTES} bytes");
        return Err(Error::invalid("/reason", message).into());
    }
    let reason = reason.map(str::to_string);
    let all = app.swapper.revoke(&digest, admin.name(), reason).await?;
    let mut tenants: Vec<_> = all.iter().filter_map(|one| one.was.tenant.clone()).collect();
    tenants.sort();
    tenants.dedup();
    let behind = app.kb.behind(&tenants).await;
    let (mut replaced, mut failed) = (Vec::new(), Vec::new());
    for Replaced { was: Use { tenant, extension, generation, .. }, now } in all {
        let tenant = name(&tenant);
        match now {
            Ok(to) => replaced.push(ReplacedGeneration { tenant, extension, from: generation, to }),
            Err(error) => {
                let message = error.message;
                failed.push(NotReplaced { tenant, extension, generation, message });
            }
        }
    }
    let status = Success::Success;
    Ok(axum::Json(DigestRevoked { status, digest, replaced, failed, behind }).into_response())
}

/// Allow a revoked digest again
#[utoipa::path(
    delete,
    path = "/v1/admin/digests/{digest}/revoke",
    operation_id = "allowDigest",
    tag = "admin",
    params(DigestInPath),
    responses(
        (status = 200, description = "It may be installed again.", body = DigestAllowed),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn allow(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let digest = parse(&digest)?;
    if !app.swapper.allow(&digest).await? {
        return Err(Error::new(Code::NotFound, format!("{digest} was not revoked")).into());
    }
    Ok(axum::Json(DigestAllowed { status: Success::Success, digest }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits_with_or_without_its_prefix() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let whole = format!("sha256:{hex}");
        assert_eq!(parse(&whole).unwrap(), whole);
        assert_eq!(parse(&hex.to_uppercase()).unwrap(), whole);
        for bad in ["", "sha256:", "sha256:00", &hex[1..], &format!("{whole}0"), "../logic"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
