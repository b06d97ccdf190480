//! Who makes a call, what the call is for, and what it returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::provenance::ServedBy;
use kenning_runtime::{CallerIdentity, Priority, RequestContext, Verb};
use kenning_storage::{Revision, TenantId};
use kenning_tenants::{Credential, Permit, Tenants};
use kenning_trace::TraceContext;

/// Who calls, and when the response is due.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose facts and guests the call uses.
    pub tenant: TenantId,
    /// When the call ends, finished or not.
    pub deadline: Instant,
    /// Background priority yields to interactive calls under load.
    pub priority: Priority,
    /// Set for a request from outside, if the tenant was created.
    pub permit: Option<Arc<Permit>>,
    /// The revision that a read must have seen.
    pub min_revision: Option<Revision>,
    /// What the caller asked for, where that is more than the verb that is called.
    pub verb: Option<Verb>,
    /// The id of the request that the call is part of.
    pub request_id: Option<Arc<str>>,
    /// Where in the request's trace the call is.
    pub trace: Option<TraceContext>,
}

impl Caller {
    /// A caller that waits for `time`.
    pub fn within(tenant: TenantId, time: Duration) -> Self {
        let (deadline, priority) = (Instant::now() + time, Priority::Interactive);
        let (permit, min_revision, verb, request_id, trace) = Default::default();
        Self { tenant, deadline, priority, permit, min_revision, verb, request_id, trace }
    }

    /// The same for a call that is part of `verb`.
    #[must_use]
    pub fn asking_to(self, verb: Verb) -> Self {
        Self { verb: Some(verb), ..self }
    }

    /// What the guests of a call may know of it, if it is not part of another verb than `verb`.
    pub(super) fn request(&self, verb: Verb) -> RequestContext {
        let (verb, id) = (self.verb.unwrap_or(verb), self.request_id.clone());
        RequestContext { verb, id, ..RequestContext::default() }
    }

    /// Who the caller is by what is in force now.
    pub(super) fn identity(&self, tenants: &Tenants) -> CallerIdentity {
        let credential = self.permit.as_ref().and_then(|permit| permit.credential());
        let Some(Credential { key_id, subject, attributes, scopes, .. }) = credential else {
            return CallerIdentity::default();
        };
        let attributes = match key_id {
            Some(key) => tenants.attributes(&self.tenant, key),
            None => attributes.as_ref().map(|attributes| attributes.text().clone()),
        };
        let (key_id, subject) = (key_id.clone(), subject.clone());
        CallerIdentity { key_id, attributes, subject, scopes: scopes.names() }
    }

    /// The same with background priority.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self { priority: Priority::Background, ..self }
    }
}

/// What a call returns, and the guests that made it.
pub struct Response<T> {
    /// The result of the call.
    pub value: T,
    /// The generations that served the call.
    pub served_by: ServedBy,
    /// Facts that are left out because a guest spoilt them.
    pub withheld: u64,
    /// The tenant's revision, after a write.
    pub revision: Option<Revision>,
}

impl<T> Response<T> {
    /// A response from which nothing was withheld.
    pub fn whole(value: T, served_by: ServedBy) -> Self {
        Self { value, served_by, withheld: 0, revision: None }
    }
}

/// What a call is for: decides how messages name it, and whether it may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Search,
    Write,
}
