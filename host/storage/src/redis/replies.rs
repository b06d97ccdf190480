//! Decodes Redis's replies.

use redis::{FromRedisValue, Value};

use super::error;
use crate::cursor::Position;
use crate::{
    DocumentName, FactId, FactQuota, Hash, IdPage, Revision, StorageError, Usage, Vector,
    vector_bytes,
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
        StorageError::Timeout { outcome_unknown: true }
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
fn hash(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Hash> {
    let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let hash: Hash = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    (!hash.is_empty()).then_some(hash)
}

/// A page of at most `limit` ids, from a reply with one more if there is a next page.
pub(super) fn page(value: Value, limit: usize) -> Result<IdPage, StorageError> {
    let rows: Vec<(String, f64)> = parse(value)?;
    let more = rows.len() > limit;
    let positions = rows.into_iter().take(limit).map(|(id, order)| position(&id, order));
    let positions = positions.collect::<Result<Vec<_>, _>>()?;
    let cursor = positions.last().filter(|_| more).map(Position::encode);
    Ok(IdPage { ids: positions.into_iter().map(|position| position.id).collect(), cursor })
}

/// The pending facts, from ids and revisions.
pub(super) fn pending(value: Value) -> Result<Vec<(FactId, Revision)>, StorageError> {
    let rows: Vec<(String, f64)> = parse(value)?;
    let mark = |(id, score): (String, f64)| {
        let position = position(&id, score)?;
        Ok((position.id, Revision(position.order)))
    };
    rows.into_iter().map(mark).collect()
}

fn position(id: &str, score: f64) -> Result<Position, StorageError> {
    let id = FactId::parse(id).map_err(|error| StorageError::Corrupt(error.to_string()))?;
    // Kenning writes integers below 2^53; the conversion of anything else saturates.
    Ok(Position { order: score as u64, id })
}

/// The reply to `HMGET profile digest values`.
pub(super) fn vector(value: Value) -> Result<Option<Vector>, StorageError> {
    type Parts = (Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    match parse::<Parts>(value)? {
        (Some(profile), Some(digest), Some(values)) => {
            vector_bytes::vector(&profile, &digest, &values).map(Some)
        }
        (None, None, None) => Ok(None),
        _ => Err(StorageError::Corrupt("an incomplete vector".into())),
    }
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
    let rows: Vec<(String, u64)> = parse(value)?;
    let row = |(name, version): (String, u64)| {
        let name = DocumentName::parse(&name);
        Ok((name.map_err(|error| StorageError::Corrupt(error.to_string()))?, version))
    };
    rows.into_iter().map(row).collect()
}
