//! `system`: a clock and random numbers for guests without WASI. They are recorded as WASI's are.

use std::time::{SystemTime, UNIX_EPOCH};

use kenning_bindings::system::Host;
use rand::Rng;
use wasmtime::Result;

use crate::state::State;

const MICROSECOND_NS: u64 = 1_000;

impl Host for State {
    fn now(&mut self) -> Result<i64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let told = self.witness.wall_clock(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        Ok((told / MICROSECOND_NS) as i64)
    }

    fn random(&mut self) -> Result<u64> {
        Ok(match self.random() {
            Some(generator) => generator.next_u64(),
            None => rand::rng().next_u64(),
        })
    }
}
