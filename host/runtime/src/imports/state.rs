//! `state`: what the extension that runs keeps from one call to the next.

use std::time::Duration;

use kenning_bindings::state::{Entry, Host, KeyPage};
use kenning_storage::{
    Expected, SpaceName, StateChange, StateChanged, StateEntry, StatePage, StateQuota, StateSpace,
};
use wasmtime::Result;

use super::{answer, too_large};
use crate::outcome::Waiting;
use crate::state::State;
use crate::wit::{Error, Problem};

const NO_NUMBER: &str = "the value under this key is no number in decimal digits, or the sum does \
                         not fit 64 bits; set the key to a number first";

impl Host for State {
    async fn get(&mut self, key: Vec<u8>) -> Result<Result<Option<Entry>, Error>> {
        answer!(self, "state.get", (key) => {
            self.read_state(&key).await.map(|found| found.map(to_entry))
        })
    }

    async fn set(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Result<Result<u64, Error>> {
        answer!(self, "state.set", (key, value, ttl) => {
            self.set_state(key, value, ttl, Expected::Any).await
        })
    }

    async fn compare_and_set(
        &mut self,
        key: Vec<u8>,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Result<Result<u64, Error>> {
        answer!(self, "state.compare-and-set", (key, expected, value, ttl) => {
            let expected = expected.map_or(Expected::Absent, Expected::Version);
            self.set_state(key, value, ttl, expected).await
        })
    }

    async fn increment(
        &mut self,
        key: Vec<u8>,
        by: i64,
        ttl: Option<u64>,
    ) -> Result<Result<i64, Error>> {
        answer!(self, "state.increment", (key, by, ttl) => {
            let change = StateChange::Increment { by, ttl: ttl.map(Duration::from_millis) };
            self.change_state(key, change).await.and_then(|changed| match changed {
                StateChanged::Number(sum) => Ok(sum),
                _ => Err(invalid("/key", NO_NUMBER)),
            })
        })
    }

    async fn delete(&mut self, key: Vec<u8>) -> Result<Result<bool, Error>> {
        answer!(self, "state.delete", (key) => {
            let deleted = self.change_state(key, StateChange::Delete).await;
            deleted.map(|deleted| deleted == StateChanged::Deleted(true))
        })
    }

    async fn list(
        &mut self,
        prefix: Vec<u8>,
        cursor: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Result<KeyPage, Error>> {
        answer!(self, "state.list", (prefix, cursor, limit) => {
            let page = self.list_state(&prefix, cursor.as_deref(), limit).await;
            page.map(|StatePage { keys, after }| KeyPage { keys, cursor: after })
        })
    }
}

impl State {
    /// The space of the extension that runs. Only extensions are linked to this.
    fn space(&mut self) -> Result<StateSpace, Error> {
        match SpaceName::parse(self.extension.as_deref().unwrap_or_default()) {
            Ok(name) => {
                let (tenant, registry) = (self.tenant.clone(), self.registry);
                Ok(StateSpace { tenant, name, registry })
            }
            Err(error) => Err(self.host_fault(error)),
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        let allowed = self.services.limits.state_key_bytes;
        match key.len() {
            0 => Err(invalid("/key", "a key has at least one byte")),
            used if used > allowed => {
                Err(too_large("state_key_bytes", allowed as u64, used as u64))
            }
            _ => Ok(()),
        }
    }

    async fn read_state(&mut self, key: &[u8]) -> Result<Option<StateEntry>, Error> {
        let stored = self.stored_state(key).await?;
        Ok(match &self.captured {
            Some(captured) => captured.entry(key, stored),
            None => stored,
        })
    }

    /// What storage has, whatever a dry run changed.
    async fn stored_state(&mut self, key: &[u8]) -> Result<Option<StateEntry>, Error> {
        self.check_key(key)?;
        let (services, space) = (self.services.clone(), self.space()?);
        let until = self.until(services.limits.storage_operation);
        let read = services.storage.read_state(&space, key, until);
        let read = self.wait(Waiting::Storage, read).await;
        self.answered(read)
    }

    async fn set_state(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: Option<u64>,
        expected: Expected,
    ) -> Result<u64, Error> {
        let (allowed, used) = (self.services.limits.state_value_bytes, value.len());
        if used > allowed {
            return Err(too_large("state_value_bytes", allowed as u64, used as u64));
        }
        let ttl = ttl.map(Duration::from_millis);
        match self.change_state(key, StateChange::Set { value, ttl, expected }).await? {
            StateChanged::Set(version) => Ok(version),
            StateChanged::Lost(version) => Err(Error::Conflict(lost(expected, version))),
            other => Err(self.host_fault(format!("{other:?} of a key that was set"))),
        }
    }

    async fn change_state(
        &mut self,
        key: Vec<u8>,
        change: StateChange,
    ) -> Result<StateChanged, Error> {
        self.check_key(&key)?;
        if self.captured.is_some() {
            let stored = self.stored_state(&key).await?;
            if let Some(captured) = &mut self.captured {
                return Ok(captured.change(key, stored, change));
            }
        }
        let (services, space) = (self.services.clone(), self.space()?);
        let until = self.until(services.limits.storage_operation);
        let limits = &services.limits;
        let quota = StateQuota { keys: limits.state_keys, bytes: limits.state_bytes };
        let changed = services.storage.change_state(&space, &key, change, quota, until);
        // Facts were not written, so the outcome of the caller's own write does not depend on it.
        let unknown = self.outcome_unknown;
        let changed = self.wait(Waiting::Storage, changed).await;
        let changed = self.answered(changed);
        self.outcome_unknown = unknown;
        changed
    }

    async fn list_state(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<StatePage, Error> {
        let (services, space) = (self.services.clone(), self.space()?);
        let until = self.until(services.limits.storage_operation);
        let page = services.storage.list_state(&space, prefix, after, limit as usize, until);
        let page = self.wait(Waiting::Storage, page).await;
        let page = self.answered(page)?;
        Ok(match &self.captured {
            Some(captured) => captured.page(prefix, after, page),
            None => page,
        })
    }
}

fn to_entry(StateEntry { value, version, expires_in }: StateEntry) -> Entry {
    Entry { value, version, expires_in: expires_in.map(|left| left.as_millis() as u64) }
}

fn invalid(pointer: &str, message: &str) -> Error {
    Error::Invalid(Problem { pointer: pointer.into(), message: message.into() })
}

/// Why a compare-and-set lost.
fn lost(expected: Expected, version: Option<u64>) -> String {
    let is = match version {
        Some(version) => format!("the key has version {version}"),
        None => "there is no such key".into(),
    };
    let was = match expected {
        Expected::Version(expected) => format!("version {expected} was expected"),
        Expected::Absent | Expected::Any => "none was expected".into(),
    };
    format!("{is}, and {was}: it was changed meanwhile; read it again")
}
