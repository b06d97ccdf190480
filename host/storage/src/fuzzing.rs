//! What the targets in `tests/fuzz` reach: how places, names and facts become texts and bytes, and
//! how those are read again.

use redb::{Key, Value};

use crate::cursor::Place;
use crate::embedded::codec;
use crate::embedded::tables::{FactKey, OrderKey};
use crate::redis::adopt::id_of;
use crate::redis::keys::{Keys, TENANTS};
use crate::redis::timestamp;
use crate::{FactId, Hash, Layout, StorageError, TenantId, Vector, vector_bytes};

/// The largest order, 2^53 - 1.
pub const MAX_ORDER: u64 = crate::limits::MAX_EXACT;

/// The cursor after the fact `id` at `order`.
pub fn write_cursor(order: u64, id: &FactId) -> String {
    Place { order, id: id.clone() }.encode()
}

/// The order and the id in a cursor.
///
/// # Errors
/// When no listing made it.
pub fn read_cursor(cursor: &str) -> Result<(u64, FactId), StorageError> {
    Place::decode(cursor).map(|Place { order, id }| (order, id))
}

/// Every key in Redis that a fact's write may touch: the fact's own two, its tenant's three and
/// the one that all tenants share.
pub fn redis_keys(layout: Layout, tenant: &TenantId, id: &FactId) -> [String; 6] {
    let keys = Keys::new(layout, tenant);
    let own = (keys.fact(id), keys.vector(id));
    [own.0, own.1, keys.order(), keys.pending(), keys.revision(), TENANTS.to_owned()]
}

/// The fact that a key of the flat layout names.
pub fn read_flat_key(key: &[u8]) -> Option<FactId> {
    id_of(key)
}

/// The key of a fact in `facts.redb`.
pub fn embedded_key(tenant: &TenantId, id: &FactId) -> Vec<u8> {
    FactKey::as_bytes(&(tenant.as_str(), id.as_str()))
}

/// The tenant and the id in a key of `facts.redb`.
pub fn read_embedded_key(key: &[u8]) -> (&str, &str) {
    FactKey::from_bytes(key)
}

/// How the listing in `facts.redb` orders two places.
pub fn compare_places(
    one: (&TenantId, u64, &FactId),
    other: (&TenantId, u64, &FactId),
) -> std::cmp::Ordering {
    let key = |(tenant, order, id): (&TenantId, u64, &FactId)| {
        OrderKey::as_bytes(&(tenant.as_str(), order, id.as_str()))
    };
    OrderKey::compare(&key(one), &key(other))
}

/// A fact as `facts.redb` holds it.
///
/// # Errors
/// When a text has 4 GiB or more.
pub fn write_hash(hash: &Hash) -> Result<Vec<u8>, StorageError> {
    codec::encode(hash)
}

/// A fact from what `facts.redb` holds.
///
/// # Errors
/// When that is no fact.
pub fn read_hash(bytes: &[u8]) -> Result<Hash, StorageError> {
    codec::decode(bytes)
}

/// A vector's numbers as every backend holds them.
pub fn write_values(values: &[f32]) -> Vec<u8> {
    vector_bytes::to_bytes(values)
}

/// A vector from what a backend holds of it.
///
/// # Errors
/// When that is no vector.
pub fn read_vector(profile: &str, digest: &[u8], values: &[u8]) -> Result<Vector, StorageError> {
    vector_bytes::vector(profile, digest, values)
}

/// The place of another program's fact, from the time it wrote.
pub fn order_of_timestamp(timestamp: &str) -> Option<u64> {
    timestamp::order(timestamp)
}
