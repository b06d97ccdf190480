//! `budget`: what is left of the call's limits.
//!
//! Linked by hand, because only wasmtime's store knows the fuel, and generated traits do not have
//! access to it.

use std::time::Instant;

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use super::answer;
use crate::state::State;
use crate::wit::Allowance;

const INTERFACE: &str = "kenning:knowledge/budget@0.1.0";

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(INTERFACE)?.func_wrap("remaining", remaining)
}

fn remaining(mut store: StoreContextMut<'_, State>, (): ()) -> Result<(Allowance,)> {
    let fuel = store.get_fuel()?;
    let state = store.data_mut();
    let allowance: Result<Allowance> =
        answer!(state, "budget.remaining", () => state.allowance(fuel));
    Ok((allowance?,))
}

impl State {
    fn allowance(&self, fuel: u64) -> Allowance {
        let limits = &self.services.limits;
        let left = self.deadline.saturating_duration_since(Instant::now());
        Allowance {
            milliseconds: left.as_millis() as u64,
            fuel: self.fuel.left_of(fuel),
            host_calls: limits.host_calls.saturating_sub(self.host_calls),
            bytes: limits.host_call_bytes as u64,
        }
    }
}
