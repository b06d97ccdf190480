//! Offers the imports to guests: all of them to the logic, the granted ones to an extension.

use std::sync::{Arc, OnceLock};

use kenning_bindings::kenning::knowledge as interfaces;
use kenning_bindings::{context, retrieval, settings, state, system};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Result};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};

use crate::component::grants::Grant;
use crate::imports::budget;
use crate::state::State;

/// One linker for the logic and one for each set of grants, made when it is first needed. So the
/// extensions of a thousand tenants share the functions that they are linked to.
pub(crate) struct Linkers {
    engine: Engine,
    logic: OnceLock<Linker<State>>,
    /// Indexed by the grants as bits.
    extensions: [OnceLock<Linker<State>>; 1 << Grant::ALL.len()],
    /// For the engine that the runtime falls back to.
    fallback: OnceLock<Arc<Self>>,
}

impl Linkers {
    pub(crate) fn new(engine: Engine) -> Self {
        let (logic, fallback) = (OnceLock::new(), OnceLock::new());
        Self { engine, logic, extensions: Default::default(), fallback }
    }

    /// Whether `engine` is theirs.
    pub(crate) fn are_for(&self, engine: &Engine) -> bool {
        Engine::same(&self.engine, engine)
    }

    /// The same for the engine that the runtime falls back to.
    pub(crate) fn for_fallback(&self, engine: &Engine) -> &Arc<Self> {
        self.fallback.get_or_init(|| Arc::new(Self::new(engine.clone())))
    }

    /// Everything that the logic may import.
    pub(crate) fn logic(&self) -> Result<&Linker<State>> {
        made_once(&self.logic, || logic(&self.engine))
    }

    /// What every guest may import, and what `grants` adds.
    pub(crate) fn extension(&self, grants: &[Grant]) -> Result<&Linker<State>> {
        let granted = |grant: &Grant| grants.contains(grant);
        let bits = Grant::ALL.iter().enumerate().filter(|(_, grant)| granted(grant));
        let index = bits.map(|(bit, _)| 1 << bit).sum::<usize>();
        let grants: Vec<Grant> = Grant::ALL.into_iter().filter(granted).collect();
        made_once(&self.extensions[index], || extension(&self.engine, &grants))
    }
}

pub(crate) fn made_once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(made) => Ok(made),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}

fn logic(engine: &Engine) -> Result<Linker<State>> {
    // A logic has no name to keep state under, and nobody who grants it hosts.
    let offered = |grant: &Grant| !matches!(grant, Grant::Http | Grant::State);
    let grants: Vec<Grant> = Grant::ALL.into_iter().filter(offered).collect();
    let mut linker = extension(engine, &grants)?;
    interfaces::storage_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::index_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    retrieval::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn extension(engine: &Engine, grants: &[Grant]) -> Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    monotonic_clock::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    linker.allow_shadowing(false);
    interfaces::types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    budget::add_to_linker(&mut linker)?;
    context::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    settings::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    system::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    for grant in grants {
        add(&mut linker, *grant)?;
    }
    Ok(linker)
}

fn add(linker: &mut Linker<State>, grant: Grant) -> Result<()> {
    match grant {
        Grant::Storage => {
            interfaces::storage::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
        }
        Grant::Embedding => {
            interfaces::embedding::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
        }
        Grant::Http => wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker),
        Grant::State => state::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Grant::Index => {
            interfaces::index::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
        }
    }
}
