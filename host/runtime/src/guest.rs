//! One generation of a guest: its identity, its health and its log lines.

use std::fmt;
use std::sync::Arc;

use kenning_core::limits::Limits;
use kenning_core::provenance::GenerationRef;
use kenning_storage::TenantId;

use crate::health::{Begun, Health};
use crate::hook_stats::HookStats;
use crate::log_buffer::LogBuffer;

/// Which guest of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// The logic.
    Logic,
    /// The extension with this name.
    Extension(Arc<str>),
}

impl Component {
    /// The name in errors and logs.
    pub fn name(&self) -> &str {
        match self {
            Self::Logic => "logic",
            Self::Extension(name) => name,
        }
    }

    /// The extension's name, if it is one.
    pub(crate) fn extension(&self) -> Option<Arc<str>> {
        match self {
            Self::Logic => None,
            Self::Extension(name) => Some(name.clone()),
        }
    }

    /// The kind, for metrics, which must not name extensions.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Logic => "logic",
            Self::Extension(_) => "extension",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logic => f.write_str("the logic"),
            Self::Extension(name) => write!(f, "the extension {name}"),
        }
    }
}

/// One generation of a guest.
#[derive(Debug)]
pub struct Guest {
    /// Which guest it is.
    pub component: Component,
    /// Which generation of it.
    pub reference: GenerationRef,
    /// How its calls went.
    pub health: Health,
    /// An extension's log lines, for its author.
    pub lines: Option<Arc<LogBuffer>>,
    /// What an extension's hooks cost.
    pub stats: Option<Arc<HookStats>>,
    /// What the operator set for this generation of an extension, as a JSON object; `None` for
    /// nothing.
    pub settings: Option<Arc<str>>,
    /// Whether its calls are recorded, and kept if they fail.
    pub is_recorded: bool,
}

/// Announces that a guest fails on call after call.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The tenant whose calls fail.
    pub tenant: TenantId,
    /// The guest.
    pub guest: Arc<Guest>,
    /// What the last failure began.
    pub begun: Begun,
}

impl Guest {
    /// A generation of the logic.
    pub fn logic(reference: GenerationRef) -> Arc<Self> {
        Arc::new(Self::new(Component::Logic, reference))
    }

    /// The logic that this host brings, whose calls are not recorded: nobody would look into them.
    pub fn built_in(reference: GenerationRef) -> Arc<Self> {
        Arc::new(Self { is_recorded: false, ..Self::new(Component::Logic, reference) })
    }

    pub(crate) fn new(component: Component, reference: GenerationRef) -> Self {
        let (health, lines, stats, settings) = Default::default();
        Self { component, reference, health, lines, stats, settings, is_recorded: true }
    }

    /// A generation of the extension `name`, which goes on with the log and the statistics of the
    /// one `before` it.
    pub fn extension(
        name: &str,
        reference: GenerationRef,
        before: Option<&Self>,
        settings: Option<Arc<str>>,
    ) -> Arc<Self> {
        let guest = Self::new(Component::Extension(name.into()), reference);
        let lines = before.and_then(|before| before.lines.clone()).unwrap_or_default();
        let stats = before.and_then(|before| before.stats.clone()).unwrap_or_default();
        Arc::new(Self { lines: Some(lines), stats: Some(stats), settings, ..guest })
    }

    /// The limit on its memories and tables together, in bytes.
    pub(crate) fn memory_bytes(&self, limits: &Limits) -> usize {
        match self.component {
            Component::Logic => limits.guest_memory_bytes,
            // A slot of the instance pool holds no more than the logic may use.
            Component::Extension(_) => limits.extension_memory_bytes.min(limits.guest_memory_bytes),
        }
    }
}
