//! The server's OpenAPI document. Each handler describes its own route with `#[utoipa::path]`, and
//! each request and answer type its own schema; here is what they share: the document's head, the
//! headers, parameters and errors of a group of routes, and schemas that no Rust type has.

mod errors;
pub(super) mod examples;
mod filter;
mod parameters;
mod schemas;

use std::sync::Arc;

use utoipa::OpenApi as _;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Header, OpenApi, Ref, RefOr, Response};
use utoipa::{Modify, ToSchema};
use utoipa_axum::router::OpenApiRouter;

pub(super) use errors::{
    Conflict, DimensionMismatch, ErrorBody, Incompatible, NotFound, Rejected, TooLarge,
};
pub(super) use filter::WholeFilter;
pub(super) use parameters::{
    ExtensionInPath, FactInPath, IdempotencyKey, TenantInPath, parameter_names,
};
pub(super) use schemas::{
    Component, Digest, FactId, Grant, HalfLife, JsonLines, Language, Metadata, OnFailure,
    QuotaUsage, Quotas, Scalar, Scope, Success, TenantName, TopK,
};

use super::access::Needs;
use crate::http::App;

/// Errors of every route that takes a tenant's key, by status.
const TENANT_ERRORS: [(u16, &str); 9] = [
    (400, "InvalidRequest"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (429, "QuotaExceeded"),
    (500, "Internal"),
    (502, "GuestFailed"),
    (503, "Unavailable"),
    (504, "Timeout"),
    (507, "StorageFull"),
];

/// Errors of every route that takes the admin key, by status.
const ADMIN_ERRORS: [(u16, &str); 7] = [
    (400, "InvalidRequest"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (500, "Internal"),
    (503, "Unavailable"),
    (504, "Timeout"),
    (507, "StorageFull"),
];

/// The error of routes with which a tenant manages its extensions, besides those.
const TENANT_QUOTA: [(u16, &str); 1] = [(429, "QuotaExceeded")];

/// Errors of every route, with or without a key: its host or the page it comes from is refused.
const HEAD_ERRORS: [(u16, &str); 2] = [(400, "InvalidRequest"), (403, "Forbidden")];

/// Errors of every route that takes a body.
const BODY_ERRORS: [(u16, &str); 1] = [(415, "UnsupportedMediaType")];

/// Headers of an answer that ran guest code, by the name of the header's component.
const GUEST_HEADERS: [(&str, &str); 4] = [
    ("x-kenning-generation", "Generation"),
    ("x-kenning-digest", "Digest"),
    ("x-kenning-extensions", "Extensions"),
    ("x-kenning-left-out", "LeftOut"),
];

/// The header of an answer to a write, and the operations that write.
const REVISION_HEADER: [(&str, &str); 1] = [("x-kenning-revision", "Revision")];
const WRITES: [&str; 8] = [
    "storeFact",
    "storeFacts",
    "updateFact",
    "deleteFact",
    "deleteFacts",
    "updateFactBatch",
    "deleteFactBatch",
    "importFacts",
];

/// The document without its routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Kenning",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        description = "A multi-tenant knowledge base for AI agents: store facts, read them, search \
            them by meaning and by words.\n\n\
            On a server with keys, the key names the tenant. A server without keys is open, \
            listens on loopback only, and takes the tenant from `X-Kenning-Tenant`. A key may be \
            limited to scopes; `x-kenning-scope` of an operation is the one that it needs: \
            `read`, `write`, `admin` (of the tenant in the path, or an admin key), `operator` (an \
            admin key), or `none`. A token (JWT) of the issuer that the operator configured stands \
            for a key.\n\n\
            Every error has the same form, `Error`: its `code` is for programs and its `message` \
            for people. Limits in bytes count UTF-8. The operator can change every limit; the \
            document states the defaults.\n\n\
            A body may be compressed (`Content-Encoding: gzip`), and so are answers for callers \
            who accept it. Limits count the bytes that come out.",
    ),
    servers((url = "/", description = "This server.")),
    security((), ("bearer" = []), ("apiKey" = [])),
    tags(
        (name = "facts", description = "Facts, one at a time and in small batches."),
        (name = "search", description = "Finding facts."),
        (name = "bulk", description = "All facts of a tenant, streamed."),
        (
            name = "tenants",
            description = "For the operator: tenants, their keys, and what each may use."
        ),
        (name = "operations", description = "The state of the server."),
        (
            name = "admin",
            description = "For the operator: the logic and the extensions, installed and removed."
        ),
    ),
    modifiers(&Shared),
)]
struct Head;

/// Adds the components that routes refer to.
struct Shared;

impl Modify for Shared {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        add_security(components);
        components.headers.extend(headers());
        components.parameters.extend(parameters::shared());
        components.responses.extend(errors::all());
    }
}

fn add_security(components: &mut Components) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`Authorization: Bearer KEY`. The key, or token, names the tenant."));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    let header = ApiKeyValue::with_description("X-API-Key", "The same key in another header.");
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
}

fn headers() -> [(String, RefOr<Header>); 7] {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let integer = |minimum| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(minimum))
    };
    let header = |name: &str, schema: RefOr<utoipa::openapi::Schema>, description: &str| {
        let header =
            HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        (name.to_string(), RefOr::T(header))
    };
    [
        header(
            "RequestId",
            text().examples(["0d9c2f5e-7a41-4a6e-9f0e-2f6d3c1b8a77"]).into(),
            "Names this request in the server's log. On every answer.",
        ),
        header(
            "Generation",
            integer(1).examples([3]).into(),
            "The generation of the logic that ran. On every answer that ran a guest.",
        ),
        header(
            "Digest",
            Ref::from_schema_name(Digest::name()).into(),
            "The digest of the logic that ran. On every answer that ran a guest.",
        ),
        header(
            "Extensions",
            text().into(),
            "`name=generation` of each extension that ran, in their order.",
        ),
        header(
            "LeftOut",
            text().into(),
            "`name=hook` of each hook that failed and was left out, as its policy says. A search \
             also says why, in `degraded`.",
        ),
        header(
            "Revision",
            integer(0).examples([4711]).into(),
            "The tenant's revision after this write, of a batch the last. A read with \
             `x-kenning-min-revision` of this number sees the write, on every host.",
        ),
        header(
            "RetryAfter",
            integer(0).examples([1]).into(),
            "Seconds to wait before trying again. With `quota_exceeded` and `overloaded`.",
        ),
    ]
}

/// The document's head, to which routers are merged.
pub(super) fn head() -> OpenApi {
    Head::openapi()
}

/// Describes what routes that take a tenant's key have in common.
pub(super) fn for_tenants(mut router: OpenApiRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    for operation in operations(router.get_openapi_mut()) {
        let own = operation.parameters.take().unwrap_or_default();
        let shared = ["Tenant", "TimeoutMs", "MinRevision"]
            .map(|name| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}"))));
        operation.parameters = Some(shared.into_iter().chain(own).collect());
        let is_write = operation.operation_id.as_deref().is_some_and(|id| WRITES.contains(&id));
        for (status, response) in &mut operation.responses.responses {
            add_headers(response, &GUEST_HEADERS);
            if is_write && status.starts_with('2') {
                add_headers(response, &REVISION_HEADER);
            }
        }
        add_errors(operation, &TENANT_ERRORS);
    }
    router
}

/// Describes what routes that take the admin key have in common.
pub(super) fn for_admins(mut router: OpenApiRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    for operation in operations(router.get_openapi_mut()) {
        add_errors(operation, &ADMIN_ERRORS);
    }
    router
}

/// Adds what every route has, once all are there.
pub(super) fn finish(mut openapi: OpenApi) -> OpenApi {
    let request_id = [("x-request-id", "RequestId")];
    say_what_is_needed(&mut openapi);
    for operation in operations(&mut openapi) {
        add_errors(operation, &HEAD_ERRORS);
        if operation.request_body.is_some() {
            add_errors(operation, &BODY_ERRORS);
        }
        for response in operation.responses.responses.values_mut() {
            add_headers(response, &request_id);
        }
    }
    for response in openapi.components.iter_mut().flat_map(|all| all.responses.values_mut()) {
        add_headers(response, &request_id);
    }
    openapi
}

/// Says of each operation which scope it needs, as the table of scopes has it.
fn say_what_is_needed(openapi: &mut OpenApi) {
    for (path, item) in &mut openapi.paths.paths {
        let PathItem { get, put, post, patch, delete, .. } = item;
        let all =
            [("GET", get), ("PUT", put), ("POST", post), ("PATCH", patch), ("DELETE", delete)];
        for (method, operation) in all {
            let Some(operation) = operation else { continue };
            let Some(needs) = Needs::of(method, path) else { continue };
            let extensions = ExtensionsBuilder::new().add("x-kenning-scope", needs.word());
            operation.extensions = Some(extensions.build());
            if needs == Needs::Admin {
                add_errors(operation, &TENANT_QUOTA);
            }
        }
    }
}

fn operations(openapi: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    openapi.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, patch, delete, .. } = item;
        [get, put, post, patch, delete].into_iter().flatten()
    })
}

fn add_errors(operation: &mut Operation, errors: &[(u16, &str)]) {
    for (status, name) in errors {
        let response = Ref::from_response_name(*name).into();
        operation.responses.responses.entry(status.to_string()).or_insert(response);
    }
}

/// Adds headers to a response that is no reference.
fn add_headers(response: &mut RefOr<Response>, headers: &[(&str, &str)]) {
    if let RefOr::T(response) = response {
        let headers = headers.iter().map(|(name, component)| {
            (name.to_string(), RefOr::Ref(Ref::new(format!("#/components/headers/{component}"))))
        });
        response.headers.extend(headers);
    }
}
