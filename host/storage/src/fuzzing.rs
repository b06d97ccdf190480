//! Entry points for the fuzz targets in `tests/fuzz` (cargo feature `fuzzing`): encoding and
//! decoding of cursors, keys, facts and vectors.

use redb::{Key, Value};

use crate::cursor::Position;
use crate::embedded::codec;
use crate::embedded::tables::{FactKey, OrderKey};
use crate::redis::keys::flat_id;
use crate::redis::keys::{Keys, TENANTS};
use crate::redis::timestamp;
use crate::{FactId, Hash, Layout, StorageError, TenantId, Vector, vector_bytes};

/// The largest order of a fact, 2^53 - 1.
pub const MAX_ORDER: u64 = crate::limits::MAX_EXACT;

/// Encodes the cursor after the fact `id` at `order`.
pub fn write_cursor(order: u64, id: &FactId) -> String {
    Position { order, id: id.clone() }.encode()
}

/// Decodes a cursor into the order and the id.
///
/// # Errors
/// `InvalidCursor` if it is malformed.
pub fn read_cursor(cursor: &str) -> Result<(u64, FactId), StorageError> {
    Position::decode(cursor).map(|Position { order, id }| (order, id))
}

/// Every Redis key that a write of a fact may touch: the fact's own two, its tenant's three and the
/// one shared by all tenants.
pub fn redis_keys(layout: Layout, tenant: &TenantId, id: &FactId) -> [String; 6] {
    let keys = Keys::new(layout, tenant);
    let own = (keys.fact(id), keys.vector(id));
    [own.0, own.1, keys.order(), keys.pending(), keys.revision(), TENANTS.to_owned()]
}

/// The id in a key of the flat layout; `None` if the key is not that of a fact.
pub fn read_flat_key(key: &[u8]) -> Option<FactId> {
    flat_id(key)
}

/// The key of a fact in `facts.redb`.
pub fn embedded_key(tenant: &TenantId, id: &FactId) -> Vec<u8> {
    FactKey::as_bytes(&(tenant.as_str(), id.as_str()))
}

/// The tenant and the id in a key of `facts.redb`.
pub fn read_embedded_key(key: &[u8]) -> (&str, &str) {
    FactKey::from_bytes(key)
}

/// Compares two positions as the listing in `facts.redb` does.
pub fn compare_positions(
    one: (&TenantId, u64, &FactId),
    other: (&TenantId, u64, &FactId),
) -> std::cmp::Ordering {
    let key = |(tenant, order, id): (&TenantId, u64, &FactId)| {
        OrderKey::as_bytes(&(tenant.as_str(), order, id.as_str()))
    };
    OrderKey::compare(&key(one), &key(other))
}

/// Encodes a fact as in `facts.redb`.
///
/// # Errors
/// `TooLarge` if a text has 4 GiB or more.
pub fn write_hash(hash: &Hash) -> Result<Vec<u8>, StorageError> {
    codec::encode(hash)
}

/// Decodes a fact as in `facts.redb`.
///
/// # Errors
/// `Corrupt` if the bytes are malformed.
pub fn read_hash(bytes: &[u8]) -> Result<Hash, StorageError> {
    codec::decode(bytes)
}

/// Encodes a vector's values as consecutive little-endian `f32`.
pub fn write_values(values: &[f32]) -> Vec<u8> {
    vector_bytes::to_bytes(values)
}

/// Decodes a vector from its stored parts: the profile, a digest of 32 bytes and the values.
///
/// # Errors
/// `Corrupt` if the digest or the values have a wrong length.
pub fn read_vector(profile: &str, digest: &[u8], values: &[u8]) -> Result<Vector, StorageError> {
    vector_bytes::vector(profile, digest, values)
}

/// The order of another program's fact, in microseconds since 1970, from its timestamp.
pub fn order_of_timestamp(timestamp: &str) -> Option<u64> {
    timestamp::order(timestamp)
}
