//! Maps errors of Redis and its client to [`StorageError`].

use redis::{ErrorKind, RedisError, ServerError};

use crate::StorageError;

/// The error of a command that Redis refused.
pub(super) fn refused(error: &ServerError) -> StorageError {
    StorageError::Unavailable(explain(error.code(), error.details().unwrap_or_default()))
}

/// The error of a connection that could not be made or was lost.
pub(super) fn unreachable(error: &RedisError) -> StorageError {
    let message = match error.kind() {
        ErrorKind::AuthenticationFailed => "Redis refused the user or the password".to_owned(),
        ErrorKind::RESP3NotSupported => {
            "this Redis is older than version 6; add ?protocol=resp2 to its address".to_owned()
        }
        _ if error.is_connection_refusal() => "Redis refused the connection".to_owned(),
        ErrorKind::Io => format!("the connection to Redis failed: {error}"),
        _ => match error.code() {
            Some(code) => explain(code, error.detail().unwrap_or_default()),
            None => format!("Redis could not be reached: {error}"),
        },
    };
    StorageError::Unavailable(message)
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
        "WRONGTYPE" => "a key has an unexpected type",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => {
            "this Redis is part of a cluster, which is not supported"
        }
        _ => return format!("Redis replied {code} {detail}").trim_end().to_owned(),
    };
    if detail.is_empty() {
        format!("{meaning} ({code})")
    } else {
        format!("{meaning} ({code} {detail})")
    }
}
