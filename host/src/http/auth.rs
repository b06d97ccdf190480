//! Who sent a request, and the deadline it asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use kenning_storage::{Revision, TenantId};

use super::access::Needs;
use super::answer::Refusal;
use super::observed::Asker;
use super::request::RequestId;
use crate::http::App;
use crate::kb::Caller;
use kenning_core::error::{Code, Error};
use kenning_core::limits::DEFAULT_TENANT;
use kenning_tenants::{Credential, Permit, Principal, Scope, Tenants};
use kenning_trace::TraceContext;

const TENANT: &str = "x-kenning-tenant";
const TIMEOUT: &str = "x-kenning-timeout-ms";
const MIN_REVISION: &str = "x-kenning-min-revision";
const API_KEY: &str = "x-api-key";

/// An admitted caller. The request counts against the tenant's quotas until the last clone is
/// dropped.
#[derive(Clone)]
pub(crate) struct Who {
    tenant: TenantId,
    timeout: Option<Duration>,
    permit: Option<Arc<Permit>>,
    min_revision: Option<Revision>,
    /// The key or token that it came with, on a server with keys.
    key: Option<Arc<str>>,
    request_id: Option<Arc<str>>,
    /// Where in the request's trace its handler is.
    trace: Option<TraceContext>,
}

impl Who {
    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(super) fn permit(&self) -> Option<&Permit> {
        self.permit.as_deref()
    }

    /// How long the request is to take at most, if it says so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether the key or token that the request came with is still one of the tenant's.
    pub(super) async fn is_authentic(&self, tenants: &Tenants) -> bool {
        let Some(key) = self.key.as_deref() else { return true };
        match tenants.authenticate(key).await {
            Ok(Principal::Tenant(credential)) => credential.tenant == self.tenant,
            _ => false,
        }
    }

    /// Whether the caller may do what needs `scope`. On a server without keys anyone may.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.check(scope, "").is_ok()
    }

    /// Fails if `what` needs a scope that the caller's key or token does not have.
    pub(crate) fn check(&self, scope: Scope, what: &str) -> Result<(), Error> {
        let credential = self.permit.as_ref().and_then(|permit| permit.credential());
        credential.map_or(Ok(()), |credential| credential.check(scope, what))
    }

    /// The caller with a deadline of `limit`, or less if the request asks for less.
    pub(crate) fn within(&self, limit: Duration) -> Caller {
        let time = self.timeout.map_or(limit, |timeout| timeout.min(limit));
        let permit = self.permit.clone();
        let (min_revision, request_id) = (self.min_revision, self.request_id.clone());
        let trace = self.trace.clone();
        let caller = Caller::within(self.tenant.clone(), time);
        Caller { permit, min_revision, request_id, trace, ..caller }
    }
}

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let tenants = app.kb.tenants();
        let (needs, asked) = Needs::of_request(parts)?;
        let (tenant, credential) = tenant(&parts.headers, tenants).await?;
        let key_id = credential.as_ref().and_then(|credential| credential.key_id.as_deref());
        Asker::note(&parts.extensions, Some(&tenant), key_id);
        if let (Some(credential), Needs::Scope(scope)) = (&credential, needs) {
            credential.check(scope, &asked)?;
        }
        let timeout = asked_time(&parts.headers)?;
        let min_revision = parts.headers.get(MIN_REVISION);
        let min_revision = min_revision.map(|value| revision(value.to_str().ok())).transpose()?;
        let key = key(&parts.headers).filter(|_| tenants.require_keys()).map(Arc::from);
        let permit = tenants.admit(&tenant, credential.as_ref(), timeout).await?.map(Arc::new);
        let request_id = parts.extensions.get::<RequestId>();
        let request_id = request_id.and_then(|RequestId(id)| id.to_str().ok()).map(Arc::from);
        let trace = kenning_trace::current();
        Ok(Self { tenant, timeout, permit, min_revision, key, request_id, trace })
    }
}

async fn tenant(
    headers: &HeaderMap,
    tenants: &Tenants,
) -> Result<(TenantId, Option<Credential>), Error> {
    if !tenants.require_keys() {
        let default = || TenantId::parse(DEFAULT_TENANT).map_err(Error::internal);
        return Ok((named_tenant(headers)?.map_or_else(default, Ok)?, None));
    }
    // Without a valid key, a caller learns nothing else about the request.
    let Principal::Tenant(credential) = authenticate(headers, tenants).await? else {
        return Err(forbidden("facts need a tenant's key; this is the admin key"));
    };
    check_named(headers, &credential)?;
    Ok((credential.tenant.clone(), Some(credential)))
}

/// The tenant that the request names, if it names one.
fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, Error> {
    let named = headers.get(TENANT).map(|name| {
        TenantId::parse(&String::from_utf8_lossy(name.as_bytes()))
            .map_err(|error| Error::invalid("/headers/x-kenning-tenant", error.to_string()))
    });
    named.transpose()
}

/// Fails if the request names another tenant than whose credential it came with.
pub(super) fn check_named(headers: &HeaderMap, credential: &Credential) -> Result<(), Error> {
    match named_tenant(headers)? {
        Some(named) if named != credential.tenant => {
            let kind = credential.kind();
            let message = format!("this {kind} does not belong to the tenant in X-Kenning-Tenant");
            Err(forbidden(&message))
        }
        _ => Ok(()),
    }
}

/// How long the request is to take at most, if it says so.
pub(super) fn asked_time(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    headers.get(TIMEOUT).map(|value| timeout(value.to_str().ok())).transpose()
}

pub(super) fn forbidden(message: &str) -> Error {
    Error::new(Code::Forbidden, message)
}

/// Whose key or token the request carries.
pub(super) async fn authenticate(
    headers: &HeaderMap,
    tenants: &Tenants,
) -> Result<Principal, Error> {
    match key(headers) {
        Some(key) => tenants.authenticate(key).await,
        None => Err(Error::new(
            Code::Unauthorized,
            "this server needs a key: Authorization: Bearer KEY, or X-API-Key: KEY",
        )),
    }
}

/// The key of a request, from either header; none if both are there and differ.
fn key(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    let bearer = text(AUTHORIZATION.as_str()).map(|value| {
        let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") { key.trim() } else { "" }
    });
    match (bearer, text(API_KEY)) {
        (Some(bearer), Some(other)) => (bearer == other).then_some(bearer),
        (bearer, other) => bearer.or(other),
    }
}

/// A number too large to count shortens nothing, as any other that is above the limit.
fn whole_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn revision(value: Option<&str>) -> Result<Revision, Error> {
    value.and_then(read_revision).ok_or_else(|| {
        Error::invalid(
            "/headers/x-kenning-min-revision",
            "x-kenning-min-revision is a whole number, as x-kenning-revision of an answer is",
        )
    })
}

/// A revision, if the text is one.
pub(super) fn read_revision(text: &str) -> Option<Revision> {
    let number = whole_number(text.trim())?;
    (number <= i64::MAX as u64).then_some(Revision(number))
}

fn timeout(value: Option<&str>) -> Result<Duration, Error> {
    match value.and_then(|value| whole_number(value.trim())) {
        Some(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::invalid(
            "/headers/x-kenning-timeout-ms",
            "x-kenning-timeout-ms is a whole number of milliseconds, 1 or more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(pairs: &[(&'static str, &str)]) -> Option<String> {
        let headers = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        key(&headers.collect()).map(str::to_owned)
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        assert_eq!(key_of(&[("authorization", "Bearer abc")]).as_deref(), Some("abc"));
        assert_eq!(key_of(&[("authorization", "bearer  abc ")]).as_deref(), Some("abc"));
        assert_eq!(key_of(&[("x-api-key", "abc")]).as_deref(), Some("abc"));
        let both = [("authorization", "Bearer abc"), ("x-api-key", "abc")];
        assert_eq!(key_of(&both).as_deref(), Some("abc"));
    }

    #[test]
    fn no_key_another_scheme_or_two_different_keys_name_nobody() {
        assert_eq!(key_of(&[]), None);
        assert_eq!(key_of(&[("authorization", "Basic abc")]).as_deref(), Some(""));
        assert_eq!(key_of(&[("authorization", "Bearer a"), ("x-api-key", "b")]), None);
    }
}
