//! One loaded version of a guest.

use std::sync::Arc;

use kenning_bindings::LogicPre;
use kenning_bindings::kenning::knowledge as interfaces;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::imports::budget;
use super::state::State;

/// Which version of the logic answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRef {
    pub number: u64,
    /// `sha256:` and the digest of the component's bytes, in hexadecimal.
    pub digest: Arc<str>,
}

/// A component, compiled and linked: a call needs only to instantiate it.
pub struct Generation {
    pub reference: GenerationRef,
    pub(super) logic: LogicPre<State>,
}

impl Generation {
    /// Links `component` against all that the logic may import.
    pub fn link(
        engine: &Engine,
        component: &Component,
        reference: GenerationRef,
    ) -> wasmtime::Result<Self> {
        let logic = LogicPre::new(logic_linker(engine)?.instantiate_pre(component)?)?;
        Ok(Self { reference, logic })
    }
}

fn logic_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    interfaces::types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::storage::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::storage_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::embedding::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::index::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::index_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    budget::add_to_linker(&mut linker)?;
    Ok(linker)
}
