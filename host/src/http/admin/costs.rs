//! `/v1/admin/tenants/{t}/extensions/{name}/stats`: what an extension costs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::extensions::{Named, tenant};
use super::parameters::Path;
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{ExtensionInPath, NotFound};

/// What the calls of an extension's hooks cost.
#[derive(Serialize, ToSchema)]
struct ExtensionStats {
    /// The hooks that were called.
    #[schema(value_type = Vec<HookCost>)]
    hooks: Vec<kenning_runtime::HookCost>,
    /// What its state holds now, whichever host wrote it; `null` if it never held anything.
    #[schema(required)]
    state: Option<StateUsage>,
}

/// What an extension keeps. Expired keys count until they are removed.
#[derive(Serialize, ToSchema)]
struct StateUsage {
    keys: u64,
    /// The bytes of keys and values.
    bytes: u64,
}

/// What the calls of one hook cost.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `runtime::HookCost`")]
struct HookCost {
    hook: String,
    calls: u64,
    /// Those that failed: `trapped`, `out_of_fuel`, `out_of_memory`, `limit`, `deadline`,
    /// `invalid_answer`, or `host`.
    #[schema(value_type = BTreeMap<String, u64>)]
    errors: String,
    /// Fuel of all calls.
    fuel: u64,
    /// Bytes of text and metadata that the calls were given.
    bytes: u64,
    /// The most memory of one call.
    memory_bytes: u64,
    /// Half of the calls took no longer in the guest.
    p50_ms: f64,
    /// Of a hundred calls 99 took no longer.
    p99_ms: f64,
}

/// What an extension costs
///
/// Its calls on this host since it was started, over all generations, without those of proofs, and
/// what its state holds.
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}/extensions/{name}/stats",
    operation_id = "extensionStats",
    tag = "admin",
    params(ExtensionInPath),
    responses(
        (status = 200, description = "What each hook costs, and its state.", body = ExtensionStats),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn costs(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
) -> Result<Response, Refusal> {
    let tenant = tenant(&tenant_name)?;
    app.swapper.live(&tenant).await?;
    let hooks = app.kb.extension_costs(&tenant, &name)?;
    let state = app.kb.extension_state(&tenant, &name).await?;
    let state = state.map(|used| StateUsage { keys: used.keys, bytes: used.bytes });
    Ok(axum::Json(ExtensionStats { hooks, state }).into_response())
}
