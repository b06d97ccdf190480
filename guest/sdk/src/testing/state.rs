//! What the fake host keeps for the extension. Its time stands still, so nothing expires.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::{Error, Exceeded, KeyPage, Problem, StateEntry};

const KEY_BYTES: usize = 512;
const VALUE_BYTES: usize = 64 * 1024;
const PAGE: usize = 1_000;

/// Keys and values, within their quotas.
#[derive(Clone, Debug)]
pub(crate) struct State {
    entries: BTreeMap<Vec<u8>, StateEntry>,
    last_version: u64,
    /// The most keys, and bytes of keys and values.
    pub(crate) quota: (usize, usize),
}

impl Default for State {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last_version: 0, quota: (10_000, 16 << 20) }
    }
}

impl State {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<StateEntry>, Error> {
        check_key(key)?;
        Ok(self.entries.get(key).cloned())
    }

    pub(crate) fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<u64, Error> {
        check_key(key)?;
        check("state_value_bytes", VALUE_BYTES, value.len())?;
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        let (keys, bytes) = others.fold((1, key.len() + value.len()), |(keys, bytes), other| {
            (keys + 1, bytes + other.0.len() + other.1.value.len())
        });
        check("state_keys", self.quota.0, keys)?;
        check("state_bytes", self.quota.1, bytes)?;
        self.last_version += 1;
        let (value, version) = (value.to_vec(), self.last_version);
        self.entries.insert(key.to_vec(), StateEntry { value, version, expires_in: ttl });
        Ok(version)
    }

    pub(crate) fn compare_and_set(
        &mut self,
        key: &[u8],
        expected: Option<u64>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<u64, Error> {
        let version = self.get(key)?.map(|entry| entry.version);
        if version != expected {
            let message = format!("the key has version {version:?}, and not {expected:?}");
            return Err(Error::Conflict(message));
        }
        self.set(key, value, ttl)
    }

    pub(crate) fn increment(
        &mut self,
        key: &[u8],
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, Error> {
        let no_number = || {
            let message = "the value is no number, or the sum does not fit".into();
            Error::Invalid(Problem { pointer: "/key".into(), message })
        };
        let old = self.get(key)?;
        let text = old.as_ref().map_or(Ok("0"), |old| std::str::from_utf8(&old.value));
        let number = text.ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number.and_then(|number| number.checked_add(by)).ok_or_else(no_number)?;
        let ttl = old.map_or(ttl, |old| old.expires_in);
        self.set(key, sum.to_string().as_bytes(), ttl)?;
        Ok(sum)
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        check_key(key)?;
        Ok(self.entries.remove(key).is_some())
    }

    /// The cursor is the last key of the page before.
    pub(crate) fn list(&self, prefix: &[u8], cursor: Option<&[u8]>, limit: u32) -> KeyPage {
        let first = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        let rest = self.entries.range::<[u8], _>((first, Bound::Unbounded));
        let mut keys = rest.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        let limit = (limit as usize).clamp(1, PAGE);
        let page: Vec<_> = keys.by_ref().take(limit).cloned().collect();
        let cursor = keys.next().and(page.last().cloned());
        KeyPage { keys: page, cursor }
    }
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        let message = "a key has at least one byte".into();
        return Err(Error::Invalid(Problem { pointer: "/key".into(), message }));
    }
    check("state_key_bytes", KEY_BYTES, key.len())
}

fn check(limit: &str, allowed: usize, used: usize) -> Result<(), Error> {
    if used <= allowed {
        return Ok(());
    }
    let (limit, allowed, used) = (limit.into(), allowed as u64, used as u64);
    Err(Error::TooLarge(Exceeded { limit, allowed, used }))
}

#[cfg(test)]
mod tests {
    use crate::testing::Host;
    use crate::{Error, state};

    #[test]
    fn state_outlives_a_call_and_is_bounded() {
        let host = Host::new().with_state("n", "41").with_state_quota(2, 10);
        host.run(|| assert_eq!(state::increment("n", 1, None), Ok(42)));
        host.run(|| {
            let entry = state::get("n").unwrap().unwrap();
            assert_eq!(entry.text(), Some("42"));
            assert!(state::compare_and_set("n", Some(entry.version), "x", None).is_ok());
            let lost = state::compare_and_set("n", Some(entry.version), "y", None);
            assert!(matches!(lost, Err(Error::Conflict(_))), "{lost:?}");
            assert!(matches!(state::increment("n", 1, None), Err(Error::Invalid(_))));
            assert!(state::set([0xff, 0], "", None).is_ok());
            let over = state::set("more", "", None);
            assert!(matches!(&over, Err(Error::TooLarge(over)) if over.limit == "state_keys"));
            let over = state::set("n", "123456789", None);
            assert!(matches!(&over, Err(Error::TooLarge(over)) if over.limit == "state_bytes"));
            let page = state::list("", None, 1).unwrap();
            assert_eq!(page.keys, [b"n"]);
            let page = state::list("", page.cursor.as_deref(), 1).unwrap();
            assert_eq!((page.keys, page.cursor), (vec![vec![0xff, 0]], None));
            assert_eq!((state::delete("n"), state::delete("n")), (Ok(true), Ok(false)));
        });
        assert_eq!(host.state("n"), None);
        assert!(state::get("n").is_err(), "outside of a host");
    }
}
