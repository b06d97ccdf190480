//! What a swap is doing, for whoever waits for it.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

/// A part of a swap that may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SwapStep)]
pub enum Step {
    /// The live generation is loaded.
    Loading,
    /// The candidate waits for its turn, and is compiled.
    Compiling,
    /// It is started once, tests itself, and answers recent requests beside the live generation.
    Proving,
    /// It is stored, and becomes the live generation.
    Promoting,
    /// Other hosts are waited for.
    Following,
}

/// The step of one swap.
#[derive(Clone, Debug)]
pub struct Steps(Arc<watch::Sender<Option<Step>>>);

impl Default for Steps {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Steps {
    /// The swap goes on with `step`.
    pub fn begin(&self, step: Step) {
        self.0.send_replace(Some(step));
    }

    /// The step, once there is one.
    pub fn watch(&self) -> watch::Receiver<Option<Step>> {
        self.0.subscribe()
    }
}
