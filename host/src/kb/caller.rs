//! Who makes a call, what the call is for, and what it returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::provenance::ServedBy;
use kenning_runtime::Priority;
use kenning_storage::{Revision, TenantId};
use kenning_tenants::Permit;

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
}

impl Caller {
    /// A caller that waits for `time`.
    pub fn within(tenant: TenantId, time: Duration) -> Self {
        let (deadline, priority) = (Instant::now() + time, Priority::Interactive);
        Self { tenant, deadline, priority, permit: None, min_revision: None }
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
