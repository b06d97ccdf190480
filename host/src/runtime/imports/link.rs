//! Which imports a guest meets: all for the logic, for an extension those it was
//! granted.

use kenning_bindings::kenning::knowledge as interfaces;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Result};

use super::budget;
use crate::runtime::inspect::Grant;
use crate::runtime::state::State;

/// All that the logic may import.
pub(in crate::runtime) fn logic(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = extension(engine, &Grant::ALL)?;
    interfaces::storage_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::index_write::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// What every guest has, and what `grants` adds.
pub(in crate::runtime) fn extension(engine: &Engine, grants: &[Grant]) -> Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    interfaces::types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    interfaces::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    budget::add_to_linker(&mut linker)?;
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
        Grant::Index => {
            interfaces::index::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
        }
    }
}
