//! Names of tenants and facts, and the keys made of them.
//!
//! - A name prints as what it was read from, and its key gives it back.
//! - What two facts may touch in Redis meets only where it is meant to: in what all tenants
//!   share, in what one tenant's facts share, or because they are one fact.
//! - Keys of the embedded storage meet only if they are of one fact, and sort a listing by tenant,
//!   order and id.
//!
//! The bytes are up to four lines: a tenant, an id, another tenant, another id.

use std::collections::BTreeSet;

use kenning_storage::fuzzing::{
    compare_positions, embedded_key, read_embedded_key, read_flat_key, redis_keys,
};
use kenning_storage::{FactId, Layout, TenantId};

use crate::Verdict;

/// How many of a fact's keys in Redis belong to it alone, to its tenant, and to all.
const KEYS: (usize, usize, usize) = (2, 3, 1);

type Name = (TenantId, FactId);

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    for key in [bytes, &[b"fact:", bytes].concat()] {
        if let Some(id) = read_flat_key(key) {
            assert_eq!(key, [b"fact:", id.as_str().as_bytes()].concat());
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let mut lines = text.split('\n');
    let names: Vec<Name> = std::iter::from_fn(|| name(&mut lines)).take(2).collect();
    for name in &names {
        assert_round_trip(name);
    }
    let [one, other] = names.as_slice() else { return Verdict::Refused };
    assert_apart_in_redis(Layout::Tenant, one, other);
    assert_apart_in_redis(Layout::Flat, one, other);
    assert_apart_in_file(one, other);
    Verdict::Taken
}

fn name<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Name> {
    let (tenant, id) = (lines.next()?, lines.next()?);
    let name = (TenantId::parse(tenant).ok()?, FactId::parse(id).ok()?);
    assert_eq!((name.0.as_str(), name.1.as_str()), (tenant, id));
    Some(name)
}

fn assert_round_trip((tenant, id): &Name) {
    let key = embedded_key(tenant, id);
    assert_eq!(read_embedded_key(&key), (tenant.as_str(), id.as_str()));
    let flat = redis_keys(Layout::Flat, tenant, id);
    let read = read_flat_key(flat[0].as_bytes());
    assert_eq!(read, (tenant.as_str() == "default").then(|| id.clone()));
}

fn assert_apart_in_redis(layout: Layout, one: &Name, other: &Name) {
    let keys = |(tenant, id): &Name| BTreeSet::from(redis_keys(layout, tenant, id));
    let (ours, theirs) = (keys(one), keys(other));
    let (own, tenants, shared) = KEYS;
    assert_eq!(ours.len(), own + tenants + shared, "a fact's keys meet: {ours:?}");
    let meet = match (one.0 == other.0, one.1 == other.1) {
        (true, true) => own + tenants + shared,
        (true, false) => tenants + shared,
        (false, _) => shared,
    };
    assert_eq!(ours.intersection(&theirs).count(), meet, "{layout:?}: {ours:?} {theirs:?}");
}

fn assert_apart_in_file(one: &Name, other: &Name) {
    let key = |(tenant, id): &Name| embedded_key(tenant, id);
    assert_eq!(key(one) == key(other), one == other);
    let place = |order| move |(tenant, id): &'_ Name| (tenant.clone(), order, id.clone());
    for (first, second) in [(7, 7), (7, 256)] {
        let (ours, theirs) = (place(first)(one), place(second)(other));
        let sorted =
            compare_positions((&ours.0, ours.1, &ours.2), (&theirs.0, theirs.1, &theirs.2));
        assert_eq!(sorted, ours.cmp(&theirs));
    }
}
