//! From Redis's answers to ours.

use redis::{FromRedisValue, Value};

use super::fault;
use crate::cursor::Place;
use crate::{
    DocumentName, FactId, Hash, IdPage, Revision, Room, StorageError, Usage, Vector, vector_bytes,
};

/// One answer as a `T`; a refusal is its error.
pub(super) fn parse<T: FromRedisValue>(value: Value) -> Result<T, StorageError> {
    if let Value::ServerError(error) = value {
        return Err(fault::refused(&error));
    }
    T::from_redis_value(value).map_err(|error| StorageError::Corrupt(error.to_string()))
}

/// The only answer.
pub(super) fn one<T: FromRedisValue>(values: Vec<Value>) -> Result<T, StorageError> {
    let value = values.into_iter().next();
    parse(value.ok_or_else(|| StorageError::Corrupt("an answer without a value".into()))?)
}

/// Revisions of writes. Where some happened and one was refused, the whole is in doubt.
pub(super) fn revisions(
    values: Vec<Value>,
    room: Room,
) -> Result<Vec<Option<Revision>>, StorageError> {
    let parsed = values.into_iter().map(|value| revision(value, room));
    let parsed: Vec<Result<Option<Revision>, StorageError>> = parsed.collect();
    let happened = parsed.iter().any(|answer| matches!(answer, Ok(Some(_))));
    parsed.into_iter().collect::<Result<_, _>>().map_err(|error| {
        if !happened {
            return error;
        }
        tracing::warn!(%error, "Redis refused one of several writes");
        StorageError::Timeout { wrote: true }
    })
}

/// A write's answer: its revision, nothing, or which quota left no room and what is used of it.
fn revision(value: Value, room: Room) -> Result<Option<Revision>, StorageError> {
    if !matches!(value, Value::Array(_)) {
        return Ok(parse::<Option<u64>>(value)?.map(Revision));
    }
    let (quota, used): (String, u64) = parse(value)?;
    let (quota, allowed) = match quota.as_str() {
        "facts" => ("facts", room.facts),
        _ => ("bytes", room.bytes),
    };
    Err(StorageError::Full { quota, allowed: allowed.unwrap_or_default(), used })
}

/// The answers to how many facts there are and how many bytes were counted.
pub(super) fn usage(values: Vec<Value>) -> Result<Usage, StorageError> {
    let mut values = values.into_iter();
    let (Some(facts), Some(bytes)) = (values.next(), values.next()) else {
        return Err(StorageError::Corrupt("an answer without a value".into()));
    };
    Ok(Usage { facts: parse(facts)?, bytes: parse::<Option<u64>>(bytes)?.unwrap_or_default() })
}

/// Hashes as the read script gives them.
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

/// In Redis a hash without fields is no hash. Other programs' bytes may not be UTF-8: what is not
/// is replaced, so that one such fact does not stop a listing.
fn hash(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Hash> {
    let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let hash: Hash = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    (!hash.is_empty()).then_some(hash)
}

/// A page of at most `limit`, from an answer that has one more where there is more.
pub(super) fn page(value: Value, limit: usize) -> Result<IdPage, StorageError> {
    let rows: Vec<(String, f64)> = parse(value)?;
    let more = rows.len() > limit;
    let places = rows.into_iter().take(limit).map(|(id, order)| place(&id, order));
    let places = places.collect::<Result<Vec<_>, _>>()?;
    let cursor = places.last().filter(|_| more).map(Place::encode);
    Ok(IdPage { ids: places.into_iter().map(|place| place.id).collect(), cursor })
}

pub(super) fn pending(value: Value) -> Result<Vec<(FactId, Revision)>, StorageError> {
    let rows: Vec<(String, f64)> = parse(value)?;
    let mark = |(id, score): (String, f64)| {
        let place = place(&id, score)?;
        Ok((place.id, Revision(place.order)))
    };
    rows.into_iter().map(mark).collect()
}

fn place(id: &str, score: f64) -> Result<Place, StorageError> {
    let id = FactId::parse(id).map_err(|error| StorageError::Corrupt(error.to_string()))?;
    // What we write is a whole number below 2^53; a conversion from anything else saturates.
    Ok(Place { order: score as u64, id })
}

/// The answer to `HMGET profile digest values`.
pub(super) fn vector(value: Value) -> Result<Option<Vector>, StorageError> {
    type Parts = (Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    match parse::<Parts>(value)? {
        (Some(profile), Some(digest), Some(values)) => {
            vector_bytes::vector(&profile, &digest, &values).map(Some)
        }
        (None, None, None) => Ok(None),
        _ => Err(StorageError::Corrupt("a vector without all of its parts".into())),
    }
}

/// A document, or where its bytes are.
pub(super) struct DocumentHead {
    pub(super) version: u64,
    pub(super) length: u64,
    /// None where `bytes` are all.
    pub(super) pieces: u64,
    pub(super) token: String,
    pub(super) bytes: Vec<u8>,
}

/// The answer to `HMGET version length pieces token bytes`.
pub(super) fn document_head(value: Value) -> Result<Option<DocumentHead>, StorageError> {
    type Parts = (Option<u64>, Option<u64>, Option<u64>, Option<String>, Option<Vec<u8>>);
    match parse::<Parts>(value)? {
        (Some(version), Some(length), Some(pieces), Some(token), Some(bytes)) => {
            Ok(Some(DocumentHead { version, length, pieces, token, bytes }))
        }
        (None, None, None, None, None) => Ok(None),
        _ => Err(StorageError::Corrupt("a document without all of its parts".into())),
    }
}

/// Names and versions in turn.
pub(super) fn documents(value: Value) -> Result<Vec<(DocumentName, u64)>, StorageError> {
    let rows: Vec<(String, u64)> = parse(value)?;
    let row = |(name, version): (String, u64)| {
        let name = DocumentName::parse(&name);
        Ok((name.map_err(|error| StorageError::Corrupt(error.to_string()))?, version))
    };
    rows.into_iter().map(row).collect()
}
