//! wasmtime's reasons for refusing a component, for its author.

/// What to do about a component that was built with asynchronous functions.
const SYNC: &str = "this host's contract is synchronous: build it without asynchronous functions, \
                    as `componentize-qjs --sync` does";

/// Words in wasmtime's messages about the features that asynchronous functions need.
const ASYNC: [&str; 5] = ["async", "concurrency", "stackful", "task.return", "error-context"];

/// The error with its causes, and what to do about it where that is known.
pub(crate) fn explain(error: &wasmtime::Error) -> String {
    let reason = format!("{error:#}");
    match ASYNC.iter().any(|word| reason.contains(word)) {
        true => format!("{reason}; {SYNC}"),
        false => reason,
    }
}
