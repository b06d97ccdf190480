//! Maps errors of Redis and its client to [`StorageError`].

use redis::{ErrorKind, RedisError, ServerError};

use crate::StorageError;

/// The error of a command that Redis refused.
pub(super) fn refused(error: &ServerError) -> StorageError {
    refusal(error.code(), error.details().unwrap_or_default())
}

/// The error of a reply that lacks what was asked for.
pub(super) fn no_value() -> StorageError {
    StorageError::Corrupt("a reply without a value".into())
}

/// The error of a connection that could not be made or was lost.
pub(super) fn unreachable(error: &RedisError) -> StorageError {
    let message = match error.kind() {
        ErrorKind::AuthenticationFailed => {
            return StorageError::Refused("Redis refused the user or the password".to_owned());
        }
        ErrorKind::RESP3NotSupported => {
            let message = "this Redis is older than version 6; add ?protocol=resp2 to its address";
            return StorageError::Refused(message.to_owned());
        }
        _ if error.is_connection_refusal() => "Redis refused the connection".to_owned(),
        ErrorKind::Io => format!("the connection to Redis failed: {error}"),
        _ => match error.code() {
            Some(code) => return refusal(code, error.detail().unwrap_or_default()),
            None => format!("Redis could not be reached: {error}"),
        },
    };
    StorageError::Unavailable(message)
}

/// The error of a connection that was lost after a write was sent.
pub(super) fn reply_lost(error: &RedisError) -> StorageError {
    StorageError::ReplyLost(format!("the connection to Redis was lost before its reply: {error}"))
}

/// The error for a reply of Redis. Some last until somebody acts.
fn refusal(code: &str, detail: &str) -> StorageError {
    if code == "STALE" {
        return StorageError::StaleRegistry;
    }
    // A script that met a key of a slot that is being moved stopped there; it may have done a part.
    if detail.contains("non local key in a cluster node") {
        return StorageError::ReplyLost("the cluster was moving the slot".into());
    }
    let message = explain(code, detail);
    match code {
        "WRONGPASS" | "NOAUTH" | "NOPERM" | "MOVED" | "ASK" | "CROSSSLOT" | "WRONGTYPE"
        | "MISTYPED" => StorageError::Refused(message),
        _ => StorageError::Unavailable(message),
    }
}

fn explain(code: &str, detail: &str) -> String {
    let meaning = match code {
        "WRONGPASS" => "Redis refused the user or the password",
        "NOAUTH" => "Redis asks for a password and none was given",
        "NOPERM" => "the Redis user may not do this",
        "LOADING" => "Redis is still loading its data",
        "OOM" => "Redis is out of memory (maxmemory)",
        "READONLY" => "this Redis is a read-only replica",
        "MISCONF" => "Redis cannot save to disk and refuses writes",
        "MASTERDOWN" => "this Redis replica has lost its master",
        "BUSY" => "Redis is busy with another program's script",
        "WRONGTYPE" => {
            "one of Kenning's keys has a type that it never gives it; `kenning verify` names it"
        }
        "MISTYPED" => return mistyped(detail),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            "this Redis is part of a cluster; use redis+cluster:// for it"
        }
        "CLUSTERDOWN" => "this Redis is part of a cluster, which is down",
        "TRYAGAIN" => "the cluster is moving these keys to another node",
        "ERR" if detail.starts_with("unknown command") => {
            "this server lacks a command of Redis; if it is a Sentinel, use redis+sentinel://"
        }
        _ => return format!("Redis replied {code} {detail}").trim_end().to_owned(),
    };
    if detail.is_empty() {
        format!("{meaning} ({code})")
    } else {
        format!("{meaning} ({code} {detail})")
    }
}

/// The sentence for the error of `types.lua`, whose detail is `FOUND EXPECTED KEY`.
fn mistyped(detail: &str) -> String {
    let mut parts = detail.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let (found, expected, key) = (part(), part(), part());
    wrong_type(key, found, expected)
}

/// What is wrong with a key of Kenning's own that another program replaced, and what to do.
pub(super) fn wrong_type(key: &str, found: &str, expected: &str) -> String {
    let found = match found {
        "string" if expected == "number" => "a string that is no number".to_owned(),
        other => described(other),
    };
    let expected = described(expected);
    format!(
        "the key {key} is {found} where Kenning keeps {expected}, so another program wrote it; \
         rename it, restore it from a backup, and run `kenning verify`"
    )
}

/// A type of Redis's, with its article.
fn described(kind: &str) -> String {
    match kind {
        "zset" => "a sorted set".to_owned(),
        other => format!("a {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_type_is_named_with_what_to_do() {
        let error = refusal("MISTYPED", "string zset kenning:{acme}:order");
        let StorageError::Refused(message) = error else { panic!("{error:?}") };
        let said = "the key kenning:{acme}:order is a string where Kenning keeps a sorted set";
        assert!(message.starts_with(said), "{message}");
        let message = wrong_type("kenning:{acme}:bytes", "string", "number");
        assert!(message.contains("is a string that is no number"), "{message}");
    }
}
