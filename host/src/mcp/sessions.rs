//! Which sessions there are, and whose.
//!
//! A session belongs to the tenant that opened it: to others it does not exist. There is room for
//! so many of one tenant and so many of all; a new one closes the one that was not used for the
//! longest time, whose client is told by a 404 to begin anew. Only a session with a call under way
//! stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};

use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
use kenning_storage::TenantId;

type Id = Arc<str>;

/// The sessions of one server.
pub(crate) struct Sessions {
    manager: Arc<LocalSessionManager>,
    owned: Mutex<HashMap<Id, Owned>>,
    /// Held while a session is opened, so that two do not take the same room.
    opening: tokio::sync::Mutex<()>,
    most: usize,
    most_per_tenant: usize,
}

struct Owned {
    tenant: TenantId,
    used: Instant,
    calls: usize,
}

/// Where `rmcp` keeps the sessions.
pub(super) fn manager(limits: &Limits) -> LocalSessionManager {
    let mut config = SessionConfig::default();
    config.keep_alive = Some(limits.mcp_session_idle);
    // Each answer is one message, so there is nothing to resume.
    config.sse_retry = None;
    config.completed_cache_ttl = Duration::ZERO;
    let mut manager = LocalSessionManager::default();
    manager.session_config = config;
    manager
}

impl Sessions {
    pub(super) fn new(manager: Arc<LocalSessionManager>, limits: &Limits) -> Self {
        Self {
            manager,
            owned: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            most: limits.mcp_sessions,
            most_per_tenant: limits.mcp_sessions_per_tenant,
        }
    }

    /// Marks the tenant's session as in use until the result is dropped.
    ///
    /// # Errors
    /// `not_found` if the tenant has no such session, or no longer.
    pub(crate) async fn begin(&self, id: &str, tenant: &TenantId) -> Result<InUse<'_>, Error> {
        let id: Id = id.into();
        let in_use = self.take(&id, tenant).ok_or_else(unknown)?;
        match self.manager.has_session(&id).await {
            Ok(true) => Ok(in_use),
            _ => {
                lock(&self.owned).remove(&id);
                Err(unknown())
            }
        }
    }

    fn take(&self, id: &Id, tenant: &TenantId) -> Option<InUse<'_>> {
        let mut owned = lock(&self.owned);
        let session = owned.get_mut(id).filter(|session| session.tenant == *tenant)?;
        session.calls += 1;
        Some(InUse { sessions: self, id: id.clone() })
    }

    /// Makes room for one more session of the tenant; the room is kept until the result is dropped.
    ///
    /// # Errors
    /// `overloaded` if every session that could make room has a call under way.
    pub(crate) async fn make_room(&self, tenant: &TenantId) -> Result<Room<'_>, Error> {
        let opening = self.opening.lock().await;
        self.forget_closed().await;
        let own = (self.most_per_tenant, "mcp_sessions_per_tenant");
        let all = (self.most, "mcp_sessions");
        for ((most, limit), of) in [(own, Some(tenant)), (all, None)] {
            while self.count(of) >= most {
                let Some(idle) = self.longest_idle(of) else {
                    return Err(Error::overloaded(limit, most));
                };
                self.close(&idle).await;
            }
        }
        Ok(Room { sessions: self, tenant: tenant.clone(), _opening: opening })
    }

    fn count(&self, of: Option<&TenantId>) -> usize {
        let owned = lock(&self.owned);
        owned.values().filter(|session| of.is_none_or(|of| session.tenant == *of)).count()
    }

    /// The session without a call that was not used for the longest time; without a tenant, one of
    /// the tenant that has the most.
    fn longest_idle(&self, of: Option<&TenantId>) -> Option<Id> {
        let owned = lock(&self.owned);
        let mut counts: HashMap<&TenantId, usize> = HashMap::new();
        owned.values().for_each(|session| *counts.entry(&session.tenant).or_default() += 1);
        let idle = owned.iter().filter(|(_, session)| session.calls == 0);
        let may = idle.filter(|(_, session)| of.is_none_or(|of| session.tenant == *of));
        let first = may.min_by_key(|(_, session)| {
            let others = of.map_or_else(|| counts[&session.tenant], |_| 0);
            (std::cmp::Reverse(others), session.used)
        });
        first.map(|(id, _)| id.clone())
    }

    /// Forgets sessions that ended by themselves: their time was up, or their client closed them.
    async fn forget_closed(&self) {
        let known = self.manager.sessions.read().await;
        lock(&self.owned).retain(|id, _| known.contains_key(id));
    }

    async fn close(&self, id: &Id) {
        lock(&self.owned).remove(id);
        if let Err(error) = self.manager.close_session(id).await {
            tracing::debug!(%error, "a session was not closed");
        }
    }
}

fn unknown() -> Error {
    Error::new(
        Code::NotFound,
        "there is no such session: the server was restarted, the session was idle for too long, or \
         it was closed; send `initialize` without Mcp-Session-Id to begin a new one",
    )
}

/// A session with a call under way.
pub(crate) struct InUse<'a> {
    sessions: &'a Sessions,
    id: Id,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if let Some(session) = lock(&self.sessions.owned).get_mut(&self.id) {
            session.calls -= 1;
            session.used = Instant::now();
        }
    }
}

/// Room for one session.
pub(crate) struct Room<'a> {
    sessions: &'a Sessions,
    tenant: TenantId,
    _opening: tokio::sync::MutexGuard<'a, ()>,
}

impl Room<'_> {
    /// The session that took the room.
    pub(crate) fn opened(self, id: &str) {
        let session = Owned { tenant: self.tenant, used: Instant::now(), calls: 0 };
        lock(&self.sessions.owned).insert(id.into(), session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn sessions(most: usize, most_per_tenant: usize) -> Sessions {
        let limits = Limits {
            mcp_sessions: most,
            mcp_sessions_per_tenant: most_per_tenant,
            ..Limits::default()
        };
        Sessions::new(Arc::new(manager(&limits)), &limits)
    }

    async fn open(sessions: &Sessions, of: &str) -> Result<String, Error> {
        let room = sessions.make_room(&tenant(of)).await?;
        let (id, transport) = sessions.manager.create_session().await.unwrap();
        // The session lives as long as its transport.
        std::mem::forget(transport);
        room.opened(&id);
        Ok(id.to_string())
    }

    async fn is_known(sessions: &Sessions, id: &str, of: &str) -> bool {
        sessions.begin(id, &tenant(of)).await.is_ok()
    }

    #[tokio::test]
    async fn a_session_is_its_tenants_alone() {
        let sessions = sessions(10, 10);
        let id = open(&sessions, "ada").await.unwrap();
        assert!(is_known(&sessions, &id, "ada").await);
        assert!(!is_known(&sessions, &id, "mia").await);
        assert!(!is_known(&sessions, "another", "ada").await);
    }

    #[tokio::test]
    async fn a_new_session_closes_the_tenants_own_that_was_idle_the_longest() {
        let sessions = sessions(10, 2);
        let [first, second] = [open(&sessions, "ada").await, open(&sessions, "ada").await];
        let (first, second) = (first.unwrap(), second.unwrap());
        let other = open(&sessions, "mia").await.unwrap();
        assert!(is_known(&sessions, &first, "ada").await, "and now it was used last");
        let third = open(&sessions, "ada").await.unwrap();
        assert!(!is_known(&sessions, &second, "ada").await);
        for id in [&first, &third] {
            assert!(is_known(&sessions, id, "ada").await);
        }
        assert!(is_known(&sessions, &other, "mia").await);
    }

    #[tokio::test]
    async fn a_full_server_closes_a_session_of_the_tenant_with_the_most() {
        let sessions = sessions(3, 3);
        let mia = open(&sessions, "mia").await.unwrap();
        let ada = open(&sessions, "ada").await.unwrap();
        open(&sessions, "ada").await.unwrap();
        open(&sessions, "bob").await.unwrap();
        assert!(is_known(&sessions, &mia, "mia").await);
        assert!(!is_known(&sessions, &ada, "ada").await);
    }

    #[tokio::test]
    async fn a_session_with_a_call_under_way_stays() {
        let sessions = sessions(10, 1);
        let id = open(&sessions, "ada").await.unwrap();
        let call = sessions.begin(&id, &tenant("ada")).await.ok().unwrap();
        let error = open(&sessions, "ada").await.unwrap_err();
        assert_eq!(error.details.unwrap()["limit"], "mcp_sessions_per_tenant");
        drop(call);
        assert!(open(&sessions, "ada").await.is_ok());
        assert!(!is_known(&sessions, &id, "ada").await);
    }
}
