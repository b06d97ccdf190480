//! Schemas of values that are a `String`, a `Value` or the like in the code.

use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Types that exist for their schemas.
macro_rules! schemas {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub(in crate::http) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let description = concat!($($doc, "\n"),+).trim();
                    $schema.description(Some(description)).into()
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

schemas! {
    /// 1 to 128 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`.
    FactId = text("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$").examples(["port-7"]);

    /// 1 to 63 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
    TenantName = text("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$").examples(["acme"]);

    /// SHA-256 of a component's bytes.
    Digest = text("^sha256:[0-9a-f]{64}$").examples([
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ]);

    /// Any JSON object, at most 65,536 bytes as JSON text. Searches can filter by it.
    Metadata = ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .examples([json!({ "topic": "network" })]);

    /// How many hits at most.
    // A schema of its own: openapi-typescript makes a member with a default of its own required.
    TopK = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(1_000))
        .default(Some(json!(10)));

    /// A span of time: a whole number of seconds, minutes, hours, days or weeks, such as `7d`, or a
    /// number of seconds.
    HalfLife = OneOfBuilder::new()
        .item(text("^0*[1-9][0-9]{0,7}[smhdw]$").max_length(Some(9)).examples(["7d"]))
        .item(
            ObjectBuilder::new()
                .schema_type(Type::Number)
                .exclusive_minimum(Some(0))
                .maximum(Some(1_000_000_000_000_000_u64)),
        );

    /// A text, a number, a boolean or `null`.
    Scalar = ObjectBuilder::new().schema_type(SchemaType::from_iter([
        Type::String,
        Type::Number,
        Type::Boolean,
        Type::Null,
    ]));

    /// The language of a tenant's texts, as an ISO 639 code; `none` for no language.
    Language = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(kenning_index::Language::codes()));

    /// What happens to a call when a hook of it fails.
    OnFailure = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["close", "leave-out"]));

    /// An import that an extension may be allowed by name; `http:HOST` for requests to that host,
    /// such as `http:api.example.com`, `http:api.example.com:8443` or `http:*.example.com`.
    Grant = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(embedding|index|state|storage|http:.+)$"));

    /// What a key or token may be used for: reading facts, writing them, or managing the tenant's
    /// extensions.
    Scope = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(kenning_tenants::Scope::ALL.map(|scope| scope.name())));

    /// The bytes of a WebAssembly component.
    Component = binary();

    /// JSON Lines as bytes, for clients that do not know their content type.
    JsonLines = binary();

    /// A tenant's quotas; `null` is no bound.
    Quotas = quotas();

    /// Each of a tenant's quotas with what is used of it.
    QuotaUsage = ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::RefOr(QuotaUsed::schema())));
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn binary() -> ObjectBuilder {
    let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new().schema_type(Type::String).format(Some(binary))
}

/// One property for each quota that there is.
fn quotas() -> ObjectBuilder {
    let none = kenning_tenants::Quotas::default();
    let properties = none.all().into_iter().map(|(name, ..)| {
        let quota = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .maximum(Some(i64::MAX as usize))
            .description(Some(quota_description(name)));
        (name, quota)
    });
    properties
        .fold(ObjectBuilder::new(), |object, (name, quota)| object.property(name, quota))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn quota_description(name: &str) -> &'static str {
    match name {
        "facts" => "Facts in storage.",
        "bytes" => "Bytes of the facts' fields, names and values.",
        "requests_per_second" => "Requests admitted, in bursts of at most one second's.",
        "concurrent_calls" => "Requests in progress at once.",
        "fuel_per_minute" => "Fuel that guests used in the last 60 seconds.",
        "embedding_tokens_per_minute" => {
            "Text given to the embedder in the last 60 seconds; every four bytes count as a token, \
             rounded up."
        }
        "extensions" => "Extensions installed.",
        "proof_requests" => {
            "Recent requests kept in memory, to be replayed against a candidate; 0 keeps none. It \
             stops no request."
        }
        _ => "",
    }
}

/// A quota and what is used of it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `Quotas::with_used` writes")]
struct QuotaUsed {
    /// What is allowed; `null` is no bound.
    #[schema(required)]
    value: Option<u64>,
    used: u64,
    unit: String,
}

/// Always `success`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum Success {
    Success,
}
