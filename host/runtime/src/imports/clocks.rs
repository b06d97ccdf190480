//! WASI's clocks. What they say is recorded, and told again in a replay, in which nobody sleeps.

use wasmtime::Result;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Duration, Instant};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::{self, Datetime};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::state::State;

const SECOND_NS: u64 = 1_000_000_000;

impl wall_clock::Host for State {
    fn now(&mut self) -> Result<Datetime> {
        let Datetime { seconds, nanoseconds } = wall_clock::Host::now(&mut self.clocks())?;
        let now = seconds.saturating_mul(SECOND_NS).saturating_add(nanoseconds.into());
        let told = self.witness.wall_clock(now);
        Ok(Datetime { seconds: told / SECOND_NS, nanoseconds: (told % SECOND_NS) as u32 })
    }

    fn resolution(&mut self) -> Result<Datetime> {
        wall_clock::Host::resolution(&mut self.clocks())
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> Result<Instant> {
        let now = monotonic_clock::Host::now(&mut self.clocks())?;
        Ok(self.witness.monotonic_clock(now))
    }

    fn resolution(&mut self) -> Result<Instant> {
        monotonic_clock::Host::resolution(&mut self.clocks())
    }

    fn subscribe_instant(&mut self, when: Instant) -> Result<Resource<DynPollable>> {
        match self.witness.is_player() {
            true => at_once(self.clocks().table),
            false => monotonic_clock::Host::subscribe_instant(&mut self.clocks(), when),
        }
    }

    fn subscribe_duration(&mut self, duration: Duration) -> Result<Resource<DynPollable>> {
        match self.witness.is_player() {
            true => at_once(self.clocks().table),
            false => monotonic_clock::Host::subscribe_duration(&mut self.clocks(), duration),
        }
    }
}

/// A timer that has run out; it takes as many handles as another.
struct AtOnce;

#[wasmtime_wasi::async_trait]
impl Pollable for AtOnce {
    async fn ready(&mut self) {}
}

fn at_once(table: &mut ResourceTable) -> Result<Resource<DynPollable>> {
    let timer = table.push(AtOnce)?;
    subscribe(table, timer)
}
