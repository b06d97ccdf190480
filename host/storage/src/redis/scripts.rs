//! The Lua scripts that make each write atomic, and how they are run.
//!
//! A call names its script by digest (`EVALSHA`). A server that does not know the script, because
//! it was restarted or its scripts were flushed, has done nothing; the script is then loaded and
//! the call repeated.

use std::sync::LazyLock;

use redis::{Cmd, Script, ServerErrorKind, ToRedisArgs, Value};
use tokio::time::Instant;

use super::pool::{Effect, Size};
use super::servers::Servers;
use crate::StorageError;

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: Source = Source(LazyLock::new(|| {
            let text = concat!($(include_str!(concat!("scripts/", $file))),+);
            (text, Script::new(text))
        }));
    };
}

/// A script with its text and its digest.
pub(super) struct Source(LazyLock<(&'static str, Script)>);

script!(WRITE, "types.lua", "current.lua", "append.lua", "fingerprint.lua", "write.lua");
script!(DELETE, "types.lua", "current.lua", "append.lua", "delete.lua");
script!(READ, "current.lua", "read.lua");
script!(PAGE, "current.lua", "page.lua");
script!(PUT_VECTOR, "types.lua", "append.lua", "put_vector.lua");
script!(ADOPT, "types.lua", "append.lua", "fingerprint.lua", "adopt.lua");
script!(EXAMINE, "types.lua", "append.lua", "fingerprint.lua", "examine.lua");
script!(REMOVE_DELETED, "types.lua", "append.lua", "remove_deleted.lua");
script!(MARK_PENDING, "types.lua", "append.lua", "mark_pending.lua");
script!(DELETE_TENANT, "types.lua", "delete_tenant.lua");
script!(CHANGES, "changes.lua");
script!(CLAIM, "claim.lua");
script!(RAISE, "types.lua", "raise.lua");
script!(DROP_REGISTRY, "drop_registry.lua");
script!(LEASE, "types.lua", "lease.lua");
script!(HOSTS, "hosts.lua");
script!(DRAW, "types.lua", "draw.lua");
script!(READ_STATE, "current.lua", "read_state.lua");
script!(CHANGE_STATE, "types.lua", "current.lua", "change_state.lua");
script!(LIST_STATE, "current.lua", "list_state.lua");
script!(DELETE_STATE, "delete_state.lua");
script!(WRITE_DOCUMENT, "types.lua", "write_document.lua");
script!(DELETE_DOCUMENT, "types.lua", "delete_document.lua");
script!(LIST_DOCUMENTS, "list_documents.lua");
script!(COPY, "copy.lua");
script!(RAISE_REVISION, "types.lua", "raise_revision.lua");

impl Source {
    /// A call with `keys`; the caller adds the arguments.
    pub(super) fn call<K: ToRedisArgs>(&self, keys: &[K]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.0.1.get_hash()).arg(keys.len()).arg(keys);
        call
    }

    fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.0.0);
        load
    }
}

/// Runs `calls` of `script` in one round trip, or two if a server does not know the script yet.
pub(super) async fn run(
    servers: &Servers,
    script: &Source,
    calls: Vec<Cmd>,
    kind: (Size, Effect),
    end: Instant,
) -> Result<Vec<Value>, StorageError> {
    let mut replies = servers.run(&calls, kind, end).await?;
    let unknown: Vec<usize> = (0..replies.len()).filter(|&i| is_unknown(&replies[i])).collect();
    if unknown.is_empty() {
        return Ok(replies);
    }
    let again: Vec<&Cmd> = unknown.iter().map(|&i| &calls[i]).collect();
    let loaded = servers.run_after(&script.load(), &again, kind, end).await.map_err(|error| {
        // If the script was unknown to only some calls, the others have been performed.
        let done = kind.1 == Effect::Write && unknown.len() < calls.len();
        if done { StorageError::Uncertain(Box::new(error)) } else { error }
    })?;
    for (i, reply) in unknown.into_iter().zip(loaded) {
        replies[i] = reply;
    }
    Ok(replies)
}

fn is_unknown(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript))
}
