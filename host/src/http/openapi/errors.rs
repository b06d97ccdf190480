//! How the document describes errors. The examples are real [`kenning_core::error::Error`]s, so
//! that what they say of retrying and blame is what the server says.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::example::Example;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToResponse, ToSchema};

use super::GUEST_HEADERS;
use kenning_core::error::{self, Code};

/// Every code, and when it is answered. The HTTP status comes from the code itself.
const CODES: &[(Code, &str)] = &[
    (
        Code::InvalidRequest,
        "the request is malformed; `details.pointer` is a JSON pointer to the place. Also with \
         405, when the route does not have this method, and with 415, when the body's type or \
         encoding is not one that is read",
    ),
    (
        Code::InvalidFilter,
        "the filter is malformed; `details.pointer` is a JSON pointer to the place",
    ),
    (Code::Unauthorized, "the key is missing or unknown"),
    (
        Code::Forbidden,
        "the key does not allow this; or, on a server without keys, the request's host or the web \
         page that it comes from is not one that may use the server",
    ),
    (
        Code::NotFound,
        "there is no such fact, tenant, extension, key or generation, or no such route",
    ),
    (
        Code::Conflict,
        "the id or idempotency key exists with other content: read the fact, then decide; or \
         another change to the same tenant or guest is under way",
    ),
    (Code::DimensionMismatch, "vectors of two models met; the message names both"),
    (
        Code::TooLarge,
        "the request exceeds a size limit; `details` has `limit`, `allowed` and, where it is \
         known, `used`",
    ),
    (
        Code::Rejected,
        "an extension of the tenant refused the fact or the query; the message is the extension's",
    ),
    (
        Code::IncompatibleComponent,
        "a component cannot run here; the message says what is missing or not granted",
    ),
    (Code::QuotaExceeded, "the tenant has used up a quota; `Retry-After` says when to try again"),
    (Code::Internal, "an error in the server; its log has the details under this request's id"),
    (Code::GuestTrapped, "a guest (the logic or an extension) failed"),
    (Code::GuestOutOfFuel, "a guest used up its fuel"),
    (Code::GuestOutOfMemory, "a guest asked for more memory than it may have"),
    (Code::GuestLimit, "a guest reached another limit"),
    (
        Code::GuestInvalid,
        "a guest returned what it may not, such as broken metadata; `details` has the guest as \
         `component`",
    ),
    (Code::Overloaded, "the server is overloaded; `Retry-After` says when to try again"),
    (
        Code::StorageUnavailable,
        "storage refused or cannot be reached; nothing was changed. The message begins `Redis not \
         available` where storage is Redis",
    ),
    (
        Code::StorageFull,
        "the disk that storage is on is full, or a bound on what may be written to it is reached; \
         nothing was changed. Reads and deletions are served",
    ),
    (
        Code::EmbeddingUnavailable,
        "the embedder refused or cannot be reached. The message begins `Embedding not available`",
    ),
    (
        Code::Timeout,
        "the deadline passed. The message begins `Redis operation timeout`, `Embedding timeout` or \
         `Search timeout`; `details.outcome` is `unknown` where a write may have happened",
    ),
];

/// The `code` of an error.
pub(in crate::http) enum ErrorCode {}

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let rows = CODES
            .iter()
            .map(|(code, when)| format!("\n| `{}` | {} | {when} |", code.as_str(), code.status()));
        let table = String::from_iter(
            ["| code | HTTP | when |\n|---|---|---|".into()].into_iter().chain(rows),
        );
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(CODES.iter().map(|(code, _)| code.as_str())))
            .description(Some(table))
            .into()
    }
}

impl ToSchema for ErrorCode {}

/// The body of an error, the same in every place.
#[derive(Serialize)]
#[serde(transparent)]
pub(in crate::http) struct ErrorBody(Value);

impl From<&error::Error> for ErrorBody {
    fn from(error: &error::Error) -> Self {
        Self(error.body())
    }
}

impl PartialSchema for ErrorBody {
    fn schema() -> RefOr<Schema> {
        ErrorMembers::schema()
    }
}

impl ToSchema for ErrorBody {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Error")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ErrorMembers::schemas(schemas);
    }
}

/// The form of every error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `error::Error::body` writes")]
struct ErrorMembers {
    status: Failure,
    code: ErrorCode,
    /// For people: what is wrong and what to do.
    message: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    blame: Blame,
    #[schema(nullable = false)]
    details: Option<ErrorDetails>,
}

/// Always `error`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes what `error::Error::body` writes")]
enum Failure {
    Error,
}

/// Who caused the error.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes what `error::Error::body` writes")]
enum Blame {
    Caller,
    Guest,
    Backend,
    Host,
}

/// By code: `pointer`; or `limit`, `allowed`, `used`, `component`, `generation`; or `outcome`. A
/// refused component's details are its `SwapReport`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `error::Error::body` writes")]
struct ErrorDetails {
    /// A JSON pointer to the part of the request that is wrong.
    #[schema(format = "json-pointer", nullable = false)]
    pointer: Option<String>,
    /// The limit's name.
    #[schema(nullable = false)]
    limit: Option<String>,
    /// What the limit allows.
    #[schema(nullable = false)]
    allowed: Option<u64>,
    /// How much of it was used or asked for.
    #[schema(nullable = false)]
    used: Option<u64>,
    /// The guest that failed: `logic`, or an extension's name.
    #[schema(nullable = false)]
    component: Option<String>,
    /// The guest's generation.
    #[schema(nullable = false)]
    generation: Option<u64>,
    /// What a guest returned that it may not.
    #[schema(nullable = false)]
    violation: Option<String>,
    #[schema(nullable = false)]
    outcome: Option<Outcome>,
}

/// `unknown` where a write may have happened.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes what `error::Error::body` writes")]
enum Outcome {
    Unknown,
}

/// One type for each error answer, for the handlers' annotations, and the list of them all.
macro_rules! errors {
    ($($name:ident: $description:literal, [$($example:expr),+ $(,)?];)+) => {
        $(
            #[doc = $description]
            pub(in crate::http) enum $name {}

            impl ToResponse<'static> for $name {
                fn response() -> (&'static str, RefOr<Response>) {
                    let response = describe($description, [$($example),+]);
                    (stringify!($name), with_own_headers(stringify!($name), response).into())
                }
            }
        )+

        /// Every error answer by its name.
        pub(super) fn all() -> impl Iterator<Item = (String, RefOr<Response>)> {
            let all = [$($name::response()),+];
            all.into_iter().map(|(name, response)| (name.to_string(), response))
        }
    };
}

errors! {
    InvalidRequest: "`invalid_request` or `invalid_filter`: the request is malformed; the same \
                     request will always fail.", [
        error::Error::invalid("/text", "the text is blank; say something"),
        error::Error::new(
            Code::InvalidFilter,
            "unknown operator `near`; there are eq, ne, gt, gte, lt, lte, in, nin, contains, \
             icontains, exists and between",
        )
        .with_details(json!({ "pointer": "/filter/topic/near" })),
    ];
    Unauthorized: "`unauthorized`: the key is missing or unknown.", [
        error::Error::new(
            Code::Unauthorized,
            "this server needs a key: Authorization: Bearer KEY, or X-API-Key: KEY",
        ),
    ];
    Forbidden: "`forbidden`: the key does not allow this; or, on a server without keys, the \
                request's host or the web page that it comes from may not use the server.", [
        error::Error::new(
            Code::Forbidden,
            "this key does not belong to the tenant in X-Kenning-Tenant",
        ),
        error::Error::new(
            Code::Forbidden,
            "this request comes from a page of http://attacker.example, and without keys this \
             server serves only its own pages; list the page's origin in --allowed-origins, or \
             set KENNING_ADMIN_KEY",
        ),
    ];
    NotFound: "`not_found`: there is no such fact, tenant, extension, key or generation.", [
        error::Error::new(Code::NotFound, "there is no fact `port-7`"),
    ];
    Conflict: "`conflict`: the id or idempotency key exists with other content, or another change \
               is under way. `dimension_mismatch`: vectors of two models met.", [
        error::Error::new(Code::Conflict, "the fact `port-7` exists with other content"),
        dimension_mismatch(),
    ];
    DimensionMismatch: "`dimension_mismatch`: vectors of two models met.", [dimension_mismatch()];
    TooLarge: "`too_large`: the request exceeds a size limit. The message and `details` name it.", [
        error::Error::too_large("fact_text_bytes", 262_144, 300_000),
    ];
    UnsupportedMediaType: "`invalid_request`: the body's type or encoding is not one that is \
                           read.", [
        error::Error::new(
            Code::UnsupportedMediaType,
            "the body's content-type is \"text/plain\"; it must be one of application/json, \
             application/merge-patch+json, application/x-ndjson, application/wasm, \
             application/octet-stream",
        )
        .with_details(json!({ "pointer": "/headers/content-type" })),
    ];
    Rejected: "`rejected`: an extension of the tenant refused the fact or the query.", [
        error::Error::new(
            Code::Rejected,
            "this looks like a card number; facts must not hold any",
        ),
    ];
    Incompatible: "`incompatible_component`: the component cannot run here, or its checks failed; \
                   then the report is in `details`.", [
        error::Error::new(
            Code::IncompatibleComponent,
            "the component imports kenning:knowledge/storage, which is not granted",
        ),
    ];
    QuotaExceeded: "`quota_exceeded`: the tenant has used up a quota.", [
        error::Error::quota("requests_per_second", 100, 100, Duration::from_secs(1)),
    ];
    Internal: "`internal`: an error in the server.", [error::Error::internal("")];
    GuestFailed: "`guest_trapped`, `guest_out_of_fuel`, `guest_out_of_memory` or `guest_limit`: \
                  the logic or an extension was stopped. The message and `details` say which one, \
                  by what limit, and how much it used. `guest_invalid`: it returned what it may \
                  not.", [
        error::Error::new(Code::GuestOutOfFuel, "the logic (generation 3) used up its fuel")
            .with_details(json!({
                "limit": "fuel", "allowed": 2_000_000_000, "used": 2_000_000_000,
                "component": "logic", "generation": 3,
            })),
    ];
    Unavailable: "`storage_unavailable` or `embedding_unavailable`: a backend refused or cannot be \
                  reached; nothing was changed. `overloaded`: the server is overloaded.", [
        error::Error::new(
            Code::StorageUnavailable,
            "Redis not available: connection refused",
        ),
        error::Error::new(
            Code::EmbeddingUnavailable,
            "Embedding not available: connection refused",
        ),
        error::Error::overloaded("concurrent_calls", 128),
    ];
    StorageFull: "`storage_full`: the disk is full; nothing was changed.", [
        error::Error::new(
            Code::StorageFull,
            "Storage is full: the disk of facts.redb has no space left; make room, and writes are \
             accepted again",
        ),
    ];
    Timeout: "`timeout`: the deadline passed. Where `details.outcome` is `unknown`, a write may \
              have happened: it is safe to repeat it with the same `fact_id` or \
              `Idempotency-Key`.", [
        error::Error::new(Code::Timeout, "Redis operation timeout after 2 s")
            .with_unknown_outcome(),
        error::Error::new(Code::Timeout, "Search timeout after 10 s"),
    ];
}

fn dimension_mismatch() -> error::Error {
    error::Error::new(
        Code::DimensionMismatch,
        "the index holds vectors of all-MiniLM-L6-v2/384/1, and the embedder makes those of \
         nomic-embed-text/768/1",
    )
}

/// An error answer; its examples are named by their codes, and numbered where a code repeats.
fn describe<const N: usize>(description: &str, examples: [error::Error; N]) -> Response {
    let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name())));
    for (at, error) in examples.iter().enumerate() {
        let repeats = examples[..at].iter().filter(|before| before.code == error.code).count();
        let name = match repeats {
            0 => error.code.as_str().to_string(),
            _ => format!("{}_{}", error.code.as_str(), repeats + 1),
        };
        let mut example = Example::new();
        example.value = Some(error.body());
        content = content.examples_from_iter([(name, example)]);
    }
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content.build())
        .build()
}

/// Adds the headers that only some errors have.
fn with_own_headers(name: &str, mut response: Response) -> Response {
    match name {
        "Rejected" | "GuestFailed" => {
            let mut described = response.into();
            super::add_headers(&mut described, &GUEST_HEADERS);
            return match described {
                RefOr::T(response) => response,
                RefOr::Ref(_) => Response::default(),
            };
        }
        "QuotaExceeded" | "Unavailable" => {
            let retry_after = Ref::new("#/components/headers/RetryAfter");
            response.headers.insert("Retry-After".into(), RefOr::Ref(retry_after));
        }
        "Unauthorized" => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let mut challenge = Header::new(text);
            challenge.description = Some("How to authenticate: `Bearer`, with a realm.".into());
            response.headers.insert("WWW-Authenticate".into(), RefOr::T(challenge));
        }
        _ => {}
    }
    response
}
