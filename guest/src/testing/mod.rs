//! Ports in memory, with faults to order: for tests and benchmarks.
//!
//! Storage keeps every promise of the contract, so what passes here may rely on them. The
//! vectors and scores are simple and deterministic, and mean little.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ports::{Allowance, Candidate, Hash, Level};
use crate::{Error, Result};

mod ports;

/// The numbers in a vector.
const DIMENSIONS: usize = 64;

/// A call that can fail, be meddled with, and is counted.
///
/// Each is the port's method of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    Page,
    Write,
    Delete,
    Embed,
    Nearest,
    Matching,
    Upsert,
    Remove,
}

type Meddling = Box<dyn FnOnce(&mut State) + Send>;

/// What lies behind [`Memory`].
pub struct State {
    facts: BTreeMap<String, (u64, Hash)>,
    index: BTreeMap<String, Indexed>,
    calls: Vec<(Call, usize)>,
    faults: Vec<Fault>,
    meddling: Vec<(Call, Meddling)>,
    found: Vec<(Call, Vec<Candidate>)>,
    lines: Vec<(Level, String)>,
    remaining: Allowance,
    cost: Allowance,
    read_bytes: usize,
    now: i64,
    ids: u64,
}

struct Fault {
    call: Call,
    /// How many calls pass first.
    after: usize,
    is_once: bool,
    error: Error,
}

struct Indexed {
    text: String,
    metadata: String,
    vector: Option<Vec<f32>>,
}

impl Default for State {
    fn default() -> Self {
        let remaining =
            Allowance { milliseconds: 10_000, fuel: 1 << 40, host_calls: 1_000, bytes: 4 << 20 };
        Self {
            facts: BTreeMap::new(),
            index: BTreeMap::new(),
            calls: Vec::new(),
            faults: Vec::new(),
            meddling: Vec::new(),
            found: Vec::new(),
            lines: Vec::new(),
            remaining,
            cost: Allowance { milliseconds: 0, fuel: 0, host_calls: 1, bytes: 0 },
            read_bytes: 4 << 20,
            now: 1_700_000_000_000_000,
            ids: 0,
        }
    }
}

impl State {
    /// Puts a hash where the fact `id` is, as another program would.
    pub fn put(&mut self, id: &str, order: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        self.facts.insert(id.into(), (order, Hash { fields }));
    }

    /// Takes a fact away, as another call would.
    pub fn take(&mut self, id: &str) {
        self.facts.remove(id);
    }

    /// The order of the newest fact, or 0.
    pub fn newest(&self) -> u64 {
        self.facts.values().map(|(order, _)| *order).max().unwrap_or(0)
    }

    fn order_of(&self, id: &str) -> Option<(u64, &str)> {
        self.facts.get_key_value(id).map(|(id, (order, _))| (*order, id.as_str()))
    }
}

/// Every port, for one tenant, in memory.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

impl Memory {
    /// What lies behind it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every `call` fail from now on.
    pub fn fail(&self, call: Call, error: Error) {
        self.fail_after(0, call, error);
    }

    /// Lets every `call` fail after so many more have passed.
    pub fn fail_after(&self, after: usize, call: Call, error: Error) {
        self.state().faults.push(Fault { call, after, is_once: false, error });
    }

    /// Lets the next `call` fail, and no other.
    pub fn fail_once(&self, call: Call, error: Error) {
        self.state().faults.push(Fault { call, after: 0, is_once: true, error });
    }

    /// Lets nothing fail any more.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Does something to the state just before the next `call`.
    pub fn before(&self, call: Call, meddling: impl FnOnce(&mut State) + Send + 'static) {
        self.state().meddling.push((call, Box::new(meddling)));
    }

    /// Lets an index call answer with these candidates.
    pub fn find(&self, call: Call, candidates: &[(&str, f32)]) {
        let candidate = |&(id, score): &(&str, f32)| Candidate { id: id.into(), score };
        let found = candidates.iter().map(candidate).collect();
        self.state().found.push((call, found));
    }

    /// Sets what is left, and what each call takes of it.
    pub fn allow(&self, remaining: Allowance, cost: Allowance) {
        let mut state = self.state();
        (state.remaining, state.cost) = (remaining, cost);
    }

    /// Cuts the answers of reads at so many bytes.
    pub fn cut_reads(&self, bytes: usize) {
        self.state().read_bytes = bytes;
    }

    /// How many elements each `call` was given, in the order of the calls.
    pub fn calls(&self, call: Call) -> Vec<usize> {
        let state = self.state();
        state.calls.iter().filter(|(made, _)| *made == call).map(|(_, size)| *size).collect()
    }

    /// The value of a fact's field.
    pub fn field(&self, id: &str, name: &str) -> Option<String> {
        self.state().facts.get(id)?.1.get(name).map(str::to_owned)
    }

    /// A fact's place in listings.
    pub fn order(&self, id: &str) -> Option<u64> {
        self.state().order_of(id).map(|(order, _)| order)
    }

    /// The text and metadata that the index has of a fact, and whether it has its vector.
    pub fn indexed(&self, id: &str) -> Option<(String, String, bool)> {
        let state = self.state();
        let entry = state.index.get(id)?;
        Some((entry.text.clone(), entry.metadata.clone(), entry.vector.is_some()))
    }

    /// The lines logged at `level`.
    pub fn lines(&self, level: Level) -> Vec<String> {
        let state = self.state();
        state.lines.iter().filter(|(at, _)| *at == level).map(|(_, line)| line.clone()).collect()
    }

    /// Counts a call, charges it, lets it be meddled with, and fails it if that was ordered.
    fn enter(&self, call: Call, size: usize) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.push((call, size));
        let cost = state.cost;
        let left = &mut state.remaining;
        left.milliseconds = left.milliseconds.saturating_sub(cost.milliseconds);
        left.fuel = left.fuel.saturating_sub(cost.fuel);
        left.host_calls = left.host_calls.saturating_sub(cost.host_calls);
        if let Some(at) = state.meddling.iter().position(|(of, _)| *of == call) {
            let (_, meddling) = state.meddling.remove(at);
            meddling(&mut state);
        }
        let Some(at) = state.faults.iter().position(|fault| fault.call == call) else {
            return Ok(state);
        };
        let fault = &mut state.faults[at];
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(state);
        }
        let error = fault.error.clone();
        if fault.is_once {
            state.faults.remove(at);
        }
        Err(error)
    }
}
