//! What operators did. The intent is durable before the act begins, and the result is added after
//! it: an act without a result was interrupted, or its result could not be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_storage::{Storage, StorageError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::chunks::{Bounds, Chunks, Place, Timed};
use super::now;
use kenning_core::limits::Limits;

/// One administrative act. Without secrets and without facts.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AuditRecord {
    /// Names the record, for `before`.
    pub id: String,
    /// When the act began.
    #[schema(format = DateTime)]
    pub time: String,
    /// The host that did it.
    pub host: String,
    #[serde(flatten)]
    #[schema(inline)]
    act: Act,
    /// `null`: the act has not ended yet, or nobody knows how it ended.
    #[schema(required)]
    pub result: Option<ActResult>,
}

/// Who does what, from where.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Act {
    /// Who does it.
    #[serde(flatten)]
    #[schema(inline)]
    pub actor: Actor,
    /// The id of the request, under which the log has more.
    pub request_id: String,
    /// The HTTP method.
    pub method: String,
    /// The route, as `/openapi.json` names it.
    pub route: String,
    /// The path that was sent, which names the tenant or the extension.
    pub path: String,
    /// The query parameters that the routes know.
    pub parameters: BTreeMap<String, String>,
    /// The tenant that it is about, if the path or a parameter names one. Missing in records of
    /// earlier versions.
    #[serde(default)]
    #[schema(required)]
    pub tenant: Option<String>,
}

/// Who does an act.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Actor {
    /// `the admin key`; a tenant's key or token; or on a server without keys `anyone on this
    /// machine`.
    pub who: String,
    /// Of an admin key the first twelve digits of its SHA-256, of a tenant's its id; `null` for a
    /// token, and without keys.
    #[schema(required)]
    pub key_id: Option<String>,
    /// The address of the peer: the caller, or a proxy in front of the server.
    #[schema(required)]
    pub from: Option<String>,
    /// What a proxy says of the caller, in `X-Forwarded-For`. Anyone can send this header.
    #[schema(required)]
    pub forwarded_for: Option<String>,
}

/// How an act ended.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ActResult {
    /// When: RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub time: String,
    /// The HTTP status of the answer.
    #[schema(minimum = 100, maximum = 599)]
    pub status: u16,
    /// The code of the error, if it failed.
    #[schema(required)]
    pub code: Option<String>,
    /// What was sent in the body: names, quotas and the like.
    #[schema(value_type = Object)]
    pub sent: Map<String, Value>,
    /// What was answered: generation, digest and the like.
    #[schema(value_type = Object)]
    pub answered: Map<String, Value>,
}

impl Timed for AuditRecord {
    fn time(&self) -> &str {
        &self.time
    }
}

/// The records of administrative acts.
pub struct Audit {
    chunks: Chunks<AuditRecord>,
    host: String,
}

/// An act whose intent is recorded.
pub struct Begun(Option<Place>);

impl Audit {
    /// The records in `storage`, within the bounds of `limits`.
    pub fn new(storage: Arc<dyn Storage>, host: String, limits: &Limits) -> Self {
        let (records, age) = (limits.audit_records, limits.audit_age);
        let bounds = Bounds { records, of_each_host: false, age };
        let operation = limits.storage_operation;
        Self { chunks: Chunks::new(storage, "audit", host.clone(), bounds, operation), host }
    }

    /// Records that `act` begins. If this fails, the act must not be done.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn begin(&self, act: Act) -> Result<Begun, StorageError> {
        let (id, time, host) = (Uuid::new_v4().to_string(), now(), self.host.clone());
        let record = AuditRecord { id, time, host, act, result: None };
        self.chunks.append(vec![record]).await.map(Begun)
    }

    /// Adds how an act ended.
    ///
    /// # Errors
    /// When storage fails; the act is recorded without its result.
    pub async fn end(&self, begun: &Begun, result: ActResult) -> Result<(), StorageError> {
        match &begun.0 {
            Some(place) => self.chunks.amend(place, |record| record.result = Some(result)).await,
            None => Ok(()),
        }
    }

    /// The newest acts of those that are `wanted` first, at most `most`, from the one that follows
    /// `before`.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn list(
        &self,
        wanted: impl Fn(&AuditRecord) -> bool,
        most: usize,
        before: Option<&str>,
    ) -> Result<Vec<AuditRecord>, StorageError> {
        let mut all = self.chunks.all().await?;
        all.retain(wanted);
        let first = match before {
            None => 0,
            Some(id) => {
                all.iter().position(|record| record.id == id).map_or(all.len(), |at| at + 1)
            }
        };
        Ok(all.into_iter().skip(first).take(most).collect())
    }

    /// Deletes what is beyond the bounds.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn prune(&self) -> Result<(), StorageError> {
        self.chunks.prune().await
    }
}

impl AuditRecord {
    /// Whether it is about this tenant, which is there since `since`: an earlier one may have had
    /// its name.
    pub fn is_about(&self, tenant: &str, since: &str) -> bool {
        self.act.tenant.as_deref() == Some(tenant) && self.time.as_str() >= since
    }

    /// As the tenant may know it: an operator is not told apart from others, nor where it is.
    #[must_use]
    pub fn for_tenant(mut self, tenant: &str) -> Self {
        let actor = &mut self.act.actor;
        if !actor.who.ends_with(&format!("of the tenant {tenant}")) {
            (actor.key_id, actor.from, actor.forwarded_for) = (None, None, None);
        }
        self
    }
}

impl ActResult {
    /// An act that was answered now.
    pub fn new(
        status: u16,
        code: Option<String>,
        sent: Map<String, Value>,
        answered: Map<String, Value>,
    ) -> Self {
        Self { time: now(), status, code, sent, answered }
    }
}
