//! One loaded guest, whatever its world: who it is, how it fares, what it said.

use std::fmt;
use std::sync::Arc;

use kenning_storage::TenantId;

use crate::health::Health;
use crate::log_buffer::LogBuffer;
use kenning_core::limits::Limits;
use kenning_core::provenance::GenerationRef;

/// Which guest of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    Logic,
    Extension(Arc<str>),
}

impl Component {
    /// As errors and logs name it.
    pub fn name(&self) -> &str {
        match self {
            Self::Logic => "logic",
            Self::Extension(name) => name,
        }
    }

    /// As metrics name it, which tell of no tenant.
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

/// One generation of a guest, as it runs.
#[derive(Debug)]
pub struct Guest {
    pub component: Component,
    pub reference: GenerationRef,
    pub health: Health,
    /// An extension's lines, for whoever brought it.
    pub lines: Option<Arc<LogBuffer>>,
}

/// A guest that just went into quarantine.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// CallContext call it was.
    pub tenant: TenantId,
    pub guest: Arc<Guest>,
    /// Its rests without a good call in between.
    pub times: u32,
}

impl Guest {
    pub fn logic(reference: GenerationRef) -> Arc<Self> {
        let (component, health) = (Component::Logic, Health::default());
        Arc::new(Self { component, reference, health, lines: None })
    }

    pub fn extension(name: &str, reference: GenerationRef, lines: Arc<LogBuffer>) -> Arc<Self> {
        let (component, health) = (Component::Extension(name.into()), Health::default());
        Arc::new(Self { component, reference, health, lines: Some(lines) })
    }

    /// What its memories and tables may take together.
    pub(crate) fn memory_bytes(&self, limits: &Limits) -> usize {
        match self.component {
            Component::Logic => limits.guest_memory_bytes,
            // Its slot in the pool is as large as the logic's.
            Component::Extension(_) => limits.extension_memory_bytes.min(limits.guest_memory_bytes),
        }
    }
}
