//! What is answered of tenants and their keys.

use chrono::{DateTime, SecondsFormat, Utc};
use kenning_storage::TenantId;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::tenant_settings::TenantEmbedder;
use crate::http::openapi::{self, QuotaUsage, TenantName, examples};
use kenning_tenants::{Attributes, KeyRecord, LastUses, Listed, Quotas, Record, Scopes};

/// All tenants.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "tenants": [{
    "name": "acme",
    "created": "2026-02-03T08:15:00.000Z",
    "keys": 1,
    "limits": examples::quotas(),
    "language": "en",
}] })))]
pub(super) struct TenantList {
    pub(super) tenants: Vec<TenantSummary>,
}

/// A tenant in the list of all.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantSummary {
    #[schema(value_type = TenantName)]
    pub(super) name: String,
    /// `null` for a tenant that has facts and was never created.
    #[schema(required, format = DateTime)]
    pub(super) created: Option<String>,
    /// How many of its keys are valid.
    pub(super) keys: usize,
    #[schema(value_type = openapi::Quotas)]
    pub(super) limits: Quotas,
    /// The language of its texts.
    #[schema(value_type = openapi::Language)]
    pub(super) language: &'static str,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct TenantAnswer {
    #[schema(value_type = TenantName)]
    pub(super) name: String,
    /// `null` for a tenant that has facts and was never created.
    #[schema(required, format = DateTime)]
    pub(super) created: Option<String>,
    /// The valid keys.
    pub(super) keys: Vec<TenantKey>,
    #[schema(value_type = openapi::Quotas)]
    pub(super) limits: Quotas,
    /// The language of its texts.
    #[schema(value_type = openapi::Language)]
    pub(super) language: &'static str,
    /// What the tenant may grant its own extensions; left out if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<openapi::Grant>)]
    pub(super) grants: Vec<String>,
    pub(super) embedder: TenantEmbedder,
    /// How many numbers a given vector has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 4096)]
    pub(super) dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<QuotaUsage>, nullable = false)]
    pub(super) usage: Option<Value>,
    /// After a key was revoked: the hosts that did not follow within `follow_ms`; left out if all
    /// did. Until they do, their calls are refused or wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) behind: Vec<String>,
}

/// A key without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantKey {
    /// The part of the key between its first two underscores.
    pub(super) key_id: String,
    #[schema(required, format = DateTime)]
    pub(super) created: Option<String>,
    /// `null`: never.
    #[schema(required, format = DateTime)]
    pub(super) expires: Option<String>,
    /// When it was used last, to about a minute; left out if it never was, and in answers to
    /// changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub(super) last_used: Option<String>,
    /// What it may be used for; left out if it may read and write.
    #[serde(skip_serializing_if = "Scopes::are_unlimited")]
    #[schema(required = false, value_type = Vec<openapi::Scope>)]
    pub(super) scopes: Scopes,
    /// What extensions are told of whoever holds the key; left out if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Value>>, nullable = false)]
    pub(super) attributes: Option<Box<RawValue>>,
}

/// A tenant that was just created, with its key.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!(examples::tenant_with_key())))]
pub(super) struct TenantWithKey {
    #[serde(flatten)]
    pub(super) tenant: TenantAnswer,
    pub(super) key_id: String,
    /// The key, shown this once.
    pub(super) key: String,
}

/// A further key of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = NewKey, examples(json!({
    "name": "acme",
    "key_id": "5be1c0a2d9f4",
    "key": "kng_5be1c0a2d9f4_6d1f2e…",
})))]
pub(super) struct NewKeyAnswer {
    #[schema(value_type = TenantName)]
    pub(super) name: String,
    pub(super) key_id: String,
    /// The key, shown this once.
    pub(super) key: String,
}

impl TenantSummary {
    pub(super) fn of(listed: &Listed) -> Self {
        let record = listed.record();
        let valid = |record: &Record| record.keys.iter().filter(|key| key.is_valid()).count();
        Self {
            name: listed.name.as_str().to_string(),
            created: record.and_then(|record| time(record.created)),
            keys: record.map_or(0, valid),
            limits: record.map(|record| record.quotas.clone()).unwrap_or_default(),
            language: language_of(record),
        }
    }
}

impl TenantAnswer {
    pub(super) fn of(name: &TenantId, record: Option<&Record>) -> Self {
        let keys = record.into_iter().flat_map(|record| &record.keys);
        let dimensions = record.and_then(|record| record.given_dimensions);
        Self {
            name: name.as_str().to_string(),
            created: record.and_then(|record| time(record.created)),
            keys: keys.filter(|key| key.is_valid()).map(TenantKey::from).collect(),
            limits: record.map(|record| record.quotas.clone()).unwrap_or_default(),
            language: language_of(record),
            grants: record.map(|record| record.grants.clone()).unwrap_or_default(),
            embedder: match dimensions {
                Some(_) => TenantEmbedder::Given,
                None => TenantEmbedder::Server,
            },
            dimensions,
            usage: None,
            behind: Vec::new(),
        }
    }

    /// The same with when its keys were used last.
    pub(super) fn used(mut self, uses: &LastUses) -> Self {
        for key in &mut self.keys {
            key.last_used = uses.get(&key.key_id).copied().and_then(time);
        }
        self
    }
}

impl From<&KeyRecord> for TenantKey {
    fn from(key: &KeyRecord) -> Self {
        Self {
            key_id: key.id.clone(),
            created: time(key.created),
            expires: key.expires.and_then(time),
            last_used: None,
            scopes: key.scopes.clone(),
            attributes: key.attributes.as_ref().and_then(raw),
        }
    }
}

fn language_of(record: Option<&Record>) -> &'static str {
    record.map(|record| record.language).unwrap_or_default().code()
}

/// Attributes as the JSON object that they are.
fn raw(attributes: &Attributes) -> Option<Box<RawValue>> {
    RawValue::from_string(attributes.text().to_string()).ok()
}

/// Milliseconds since 1970 as ISO 8601.
pub(super) fn time(moment: u64) -> Option<String> {
    let moment = DateTime::<Utc>::from_timestamp_millis(i64::try_from(moment).ok()?)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}
