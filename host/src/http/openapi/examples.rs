//! Examples that several answers share.

use serde_json::{Value, json};

pub(in crate::http) fn metadata() -> Value {
    json!({ "topic": "network", "verified": true, "year": 2026 })
}

pub(in crate::http) fn fact() -> Value {
    json!({
        "id": "port-7",
        "content": "The staging server listens on port 7171.",
        "metadata": metadata(),
        "timestamp": "2026-02-03T09:41:07.120000+00:00",
    })
}

pub(in crate::http) fn stored(message: &str) -> Value {
    json!({ "status": "success", "message": message, "id": "port-7", "fact_id": "port-7",
            "indexed": true })
}

pub(in crate::http) fn quotas() -> Value {
    json!({
        "facts": 100_000,
        "bytes": null,
        "requests_per_second": 50,
        "concurrent_calls": null,
        "fuel_per_minute": null,
        "embedding_tokens_per_minute": null,
        "extensions": 5,
        "proof_requests": null,
    })
}

pub(in crate::http) fn tenant() -> Value {
    let created = "2026-02-03T08:15:00.000Z";
    json!({
        "name": "acme",
        "created": created,
        "keys": [{ "key_id": "5be1c0a2d9f4", "created": created, "expires": null }],
        "limits": quotas(),
        "language": "en",
        "embedder": "server",
    })
}

/// A tenant with its new key.
pub(in crate::http) fn tenant_with_key() -> Value {
    let mut tenant = tenant();
    tenant["key_id"] = "5be1c0a2d9f4".into();
    tenant["key"] = "kng_5be1c0a2d9f4_6d1f2e…".into();
    tenant
}

/// A tenant with what it uses.
pub(in crate::http) fn tenant_in_use() -> Value {
    let mut tenant = tenant();
    tenant["usage"] = json!({ "facts": { "value": 100_000, "used": 1_204, "unit": "facts" } });
    tenant
}
