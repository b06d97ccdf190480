//! Decodes Redis's replies.

use redis::{FromRedisValue, Value};

use super::error;
use crate::cursor::Position;
use crate::{
    DocumentName, FactId, FactQuota, Hash, Revision, StorageError, Usage, Vector, vector_bytes,
};

/// Decodes one reply as a `T`. Fails if Redis refused the command.
pub(super) fn parse<T: FromRedisValue>(value: Value) -> Result<T, StorageError> {
    if let Value::ServerError(error) = value {
        return Err(error::refused(&error));
    }
    T::from_redis_value(value).map_err(|error| StorageError::Corrupt(error.to_string()))
}

/// Decodes the only reply.
pub(super) fn one<T: FromRedisValue>(values: Vec<Value>) -> Result<T, StorageError> {
    let value = values.into_iter().next();
    parse(value.ok_or_else(|| StorageError::Corrupt("a reply without a value".into()))?)
}

/// The revisions of writes. If some happened and another was refused, the outcome of the call is
/// unknown.
pub(super) fn revisions(
    values: Vec<Value>,
    quota: FactQuota,
) -> Result<Vec<Option<Revision>>, StorageError> {
    let parsed = values.into_iter().map(|value| revision(value, quota));
    let parsed: Vec<Result<Option<Revision>, StorageError>> = parsed.collect();
    let happened = parsed.iter().any(|reply| matches!(reply, Ok(Some(_))));
    parsed.into_iter().collect::<Result<_, _>>().map_err(|error| {
        if !happened {
            return error;
        }
        tracing::warn!(%error, "Redis refused one of several writes");
        StorageError::Uncertain(Box::new(error))
    })
}

/// The reply of a write: its revision, nothing, or the exceeded quota with what is used of it.
fn revision(value: Value, quota: FactQuota) -> Result<Option<Revision>, StorageError> {
    if !matches!(value, Value::Array(_)) {
        return Ok(parse::<Option<u64>>(value)?.map(Revision));
    }
    let (exceeded, used): (String, u64) = parse(value)?;
    let (quota, allowed) = match exceeded.as_str() {
        "facts" => ("facts", quota.facts),
        _ => ("bytes", quota.bytes),
    };
    Err(StorageError::QuotaExceeded { quota, allowed: allowed.unwrap_or_default(), used })
}

/// The replies to the number of facts and the number of bytes.
pub(super) fn usage(values: Vec<Value>) -> Result<Usage, StorageError> {
    let mut values = values.into_iter();
    let (Some(facts), Some(bytes)) = (values.next(), values.next()) else {
        return Err(StorageError::Corrupt("a reply without a value".into()));
    };
    Ok(Usage { facts: parse(facts)?, bytes: parse::<Option<u64>>(bytes)?.unwrap_or_default() })
}

/// The hashes returned by `read.lua`.
pub(super) fn hashes(value: Value, max_bytes: usize) -> Result<Vec<Option<Hash>>, StorageError> {
    match value {
        Value::Int(used) => Err(StorageError::TooLarge {
            limit: "read-bytes",
            allowed: max_bytes as u64,
            used: u64::try_from(used).unwrap_or_default(),
        }),
        value => {
            let hashes: Vec<Vec<(Vec<u8>, Vec<u8>)>> = parse(value)?;
            Ok(hashes.into_iter().map(hash).collect())
        }
    }
}

/// Redis represents a missing hash as one without fields. Other programs may have written bytes
/// that are not UTF-8; these are replaced, so that one such fact does not fail a whole listing.
pub(super) fn hash(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Hash> {
    let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let hash: Hash = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    (!hash.is_empty()).then_some(hash)
}

/// Rows of a sorted set of ids.
pub(super) struct Rows {
    /// The valid ids. Another program may have added others, which must not hide these.
    pub(super) positions: Vec<Position>,
    /// The score and the id of the last row; `None` if there are no rows.
    pub(super) last: Option<(f64, Vec<u8>)>,
    /// The number of rows.
    pub(super) count: usize,
}

/// The first `limit` rows of a reply with ids and scores.
pub(super) fn rows(value: Value, limit: usize) -> Result<Rows, StorageError> {
    let rows: Vec<(Vec<u8>, f64)> = parse(value)?;
    let count = rows.len();
    let taken = || rows.iter().take(limit);
    let positions = taken().filter_map(|(id, score)| position(id, *score)).collect();
    let last = taken().next_back().map(|(id, score)| (*score, id.clone()));
    Ok(Rows { positions, last, count })
}

fn position(id: &[u8], score: f64) -> Option<Position> {
    let id = FactId::parse(std::str::from_utf8(id).ok()?).ok()?;
    // Kenning writes integers below 2^53; the conversion of anything else saturates.
    Some(Position { order: score as u64, id })
}

/// The reply to `HMGET profile digest values`. What cannot be read as a vector is made again, like
/// one that is missing.
pub(super) fn vector(value: Value) -> Result<Option<Vector>, StorageError> {
    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
    if matches!(&value, Value::ServerError(error) if error.code() == "WRONGTYPE") {
        return Ok(None);
    }
    let (Some(profile), Some(digest), Some(values)) = parse::<Parts>(value)? else {
        return Ok(None);
    };
    let profile = String::from_utf8_lossy(&profile);
    Ok(vector_bytes::vector(&profile, &digest, &values).ok())
}

/// A document, or where to find its bytes.
pub(super) struct DocumentHead {
    pub(super) version: u64,
    pub(super) length: u64,
    /// The number of pieces; 0 if `bytes` is the whole content.
    pub(super) pieces: u64,
    /// The token in the keys of the pieces.
    pub(super) token: String,
    pub(super) bytes: Vec<u8>,
}

/// The reply to `HMGET version length pieces token bytes`.
pub(super) fn document_head(value: Value) -> Result<Option<DocumentHead>, StorageError> {
    type Parts = (Option<u64>, Option<u64>, Option<u64>, Option<String>, Option<Vec<u8>>);
    match parse::<Parts>(value)? {
        (Some(version), Some(length), Some(pieces), Some(token), Some(bytes)) => {
            Ok(Some(DocumentHead { version, length, pieces, token, bytes }))
        }
        (None, None, None, None, None) => Ok(None),
        _ => Err(StorageError::Corrupt("an incomplete document".into())),
    }
}

/// The names and versions of documents, from alternating elements.
pub(super) fn documents(value: Value) -> Result<Vec<(DocumentName, u64)>, StorageError> {
    // What is no name of a document was added by another program, and must not hide the others.
    let rows: Vec<(Vec<u8>, Option<u64>)> = parse(value)?;
    let row = |(name, version): (Vec<u8>, Option<u64>)| {
        let name = DocumentName::parse(std::str::from_utf8(&name).ok()?).ok()?;
        Some((name, version?))
    };
    Ok(rows.into_iter().filter_map(row).collect())
}
