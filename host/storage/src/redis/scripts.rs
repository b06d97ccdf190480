//! The scripts that make one write one step, and how they are run.
//!
//! A call is sent as its script's digest. A server that does not know it (restarted, flushed)
//! has done nothing, so the script is then sent whole and the same call repeated.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline, Script, ServerErrorKind, ToRedisArgs, Value};
use tokio::time::Instant;

use super::connection::{Connections, Effect, Size};
use crate::StorageError;

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Source = Source(LazyLock::new(|| {
            let text = include_str!(concat!("scripts/", $file));
            (text, Script::new(text))
        }));
    };
}

/// A script: its text and its digest.
pub(super) struct Source(LazyLock<(&'static str, Script)>);

script!(WRITE, "write.lua");
script!(DELETE, "delete.lua");
script!(READ, "read.lua");
script!(PAGE, "page.lua");
script!(PUT_VECTOR, "put_vector.lua");
script!(ADOPT, "adopt.lua");
script!(FORGET, "forget.lua");
script!(MARK, "mark.lua");
script!(DELETE_TENANT, "delete_tenant.lua");
script!(WRITE_DOCUMENT, "write_document.lua");
script!(DELETE_DOCUMENT, "delete_document.lua");
script!(LIST_DOCUMENTS, "list_documents.lua");

impl Source {
    /// A call with `keys`; its arguments are added to it.
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

/// Runs `calls` of `script` in one round trip, two where the server does not know it yet.
pub(super) async fn run(
    connections: &Connections,
    script: &Source,
    calls: Vec<Cmd>,
    (size, effect): (Size, Effect),
    end: Instant,
) -> Result<Vec<Value>, StorageError> {
    let mut answers = connections.run(&pipeline(&calls), size, effect, end).await?;
    let unknown: Vec<usize> = (0..answers.len()).filter(|&i| is_unknown(&answers[i])).collect();
    if unknown.is_empty() {
        return Ok(answers);
    }
    let again = unknown.iter().map(|&i| &calls[i]);
    let again = pipeline(std::iter::once(&script.load()).chain(again));
    let loaded = connections.run(&again, size, effect, end).await.map_err(|error| {
        // Where only some were unknown, the others have been done.
        let done = effect == Effect::Write && unknown.len() < calls.len();
        if done { StorageError::Timeout { wrote: true } } else { error }
    })?;
    for (i, answer) in unknown.into_iter().zip(loaded.into_iter().skip(1)) {
        answers[i] = answer;
    }
    Ok(answers)
}

fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript))
}

/// Commands for one round trip. A command that is refused is an answer among others, so that an
/// error of the whole is one of the connection.
pub(super) fn pipeline<'c>(commands: impl IntoIterator<Item = &'c Cmd>) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command.clone());
    }
    pipeline
}
