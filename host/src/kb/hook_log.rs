//! Which extensions ran in a call, and which of their hooks failed and were left out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::registry::{Extension, Snapshot};
use kenning_core::provenance::ServedBy;
use kenning_runtime::Hook;

/// What the hooks of one call did. Clones belong to the same call, so that it is known also when
/// the call fails.
#[derive(Clone, Default)]
pub(super) struct HookLog(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// The names of the extensions that ran.
    ran: Vec<String>,
    left_out: Vec<LeftOut>,
}

struct LeftOut {
    extension: String,
    hook: Hook,
    message: String,
}

impl HookLog {
    /// A hook of `extension` ran.
    pub(super) fn ran(&self, extension: &Extension) {
        let mut entries = self.entries();
        if !entries.ran.iter().any(|name| name == extension.name()) {
            entries.ran.push(extension.name().into());
        }
    }

    /// A hook failed and was left out. Of the failures of one hook, the first counts.
    pub(super) fn left_out(&self, extension: &str, hook: Hook, message: &str) {
        let mut entries = self.entries();
        let is_known = |one: &LeftOut| one.extension == extension && one.hook == hook;
        if !entries.left_out.iter().any(is_known) {
            let (extension, message) = (extension.into(), message.into());
            entries.left_out.push(LeftOut { extension, hook, message });
        }
    }

    /// One sentence for each hook that was left out, for `degraded`.
    pub(super) fn degraded(&self) -> Vec<String> {
        let sentence = |one: &LeftOut| {
            let LeftOut { extension, hook, message } = one;
            format!("extension {extension}: {} was left out: {message}", hook.name())
        };
        self.entries().left_out.iter().map(sentence).collect()
    }

    /// The guests that served a call with the guests of `snapshot`.
    pub(super) fn served_by(&self, snapshot: &Snapshot) -> ServedBy {
        let entries = self.entries();
        let ran = |one: &&Arc<Extension>| entries.ran.iter().any(|name| name == one.name());
        let generation =
            |one: &Arc<Extension>| format!("{}={}", one.name(), one.guest.reference.number);
        let left_out = |one: &LeftOut| format!("{}={}", one.extension, one.hook.name());
        ServedBy {
            extensions: listed(snapshot.extensions.iter().filter(ran).map(generation)),
            left_out: listed(entries.left_out.iter().map(left_out)),
            ..snapshot.served_by()
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listed(names: impl Iterator<Item = String>) -> Option<Arc<str>> {
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join(",").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_is_left_out_again_and_again_is_named_once() {
        let log = HookLog::default();
        log.left_out("tags", Hook::OnRead, "it trapped");
        log.left_out("tags", Hook::OnRead, "it trapped again");
        log.left_out("tags", Hook::Rerank, "no fuel");
        assert_eq!(
            log.degraded(),
            [
                "extension tags: on-read was left out: it trapped",
                "extension tags: rerank was left out: no fuel"
            ]
        );
    }
}
