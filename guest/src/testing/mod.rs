//! In-memory ports with fault injection, for tests and benchmarks.
//!
//! Storage honours the whole contract, so tests may rely on it. Vectors and scores are
//! simple and deterministic, and say nothing about search quality.
//!
//! ```
//! use kenning_logic::error::{Backend, Error, Failure};
//! use kenning_logic::testing::{Call, Memory};
//! use kenning_logic::{Logic, fact::Draft};
//! let logic = Logic::new(Memory::default());
//! let timeout = Failure { backend: Backend::Embedding, message: "too slow".into() };
//! logic.ports().fail_once(Call::Embed, Error::Timeout(timeout));
//! let stored = logic.store(vec![Draft::new("Redis is a database")])?;
//! assert!(stored[0].as_ref().is_ok_and(|stored| !stored.indexed), "durable, not embedded");
//! # Ok::<(), Error>(())
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ports::{Allowance, Candidate, Hash, Level};
use crate::{Error, Result};

mod ports;

/// Components of a vector.
const DIMENSIONS: usize = 64;

/// A method of a port. Its calls are counted, and a test can make them fail or change the
/// state just before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Storage::read`](crate::ports::Storage::read)
    Read,
    /// [`Storage::page`](crate::ports::Storage::page)
    Page,
    /// [`Storage::write`](crate::ports::Storage::write)
    Write,
    /// [`Storage::delete`](crate::ports::Storage::delete)
    Delete,
    /// [`Embedder::embed`](crate::ports::Embedder::embed)
    Embed,
    /// [`Index::nearest`](crate::ports::Index::nearest)
    Nearest,
    /// [`Index::matching`](crate::ports::Index::matching)
    Matching,
    /// [`Index::examine`](crate::ports::Index::examine)
    Examine,
    /// [`Index::retrieve`](crate::ports::Index::retrieve)
    Retrieve,
    /// [`Index::upsert`](crate::ports::Index::upsert)
    Upsert,
    /// [`Index::remove`](crate::ports::Index::remove)
    Remove,
}

/// Changes the state just before a call.
type Interference = Box<dyn FnOnce(&mut State) + Send>;

/// The state behind [`Memory`].
pub struct State {
    facts: BTreeMap<String, (u64, Hash)>,
    index: BTreeMap<String, Indexed>,
    calls: Vec<(Call, usize)>,
    faults: Vec<Fault>,
    interferences: Vec<(Call, Interference)>,
    /// Results to return from index calls instead of searching.
    candidates: Vec<(Call, Vec<Candidate>)>,
    known_share: Option<f32>,
    lines: Vec<(Level, String)>,
    remaining: Allowance,
    cost: Allowance,
    read_bytes: usize,
    now: i64,
    ids: u64,
}

struct Fault {
    call: Call,
    /// How many calls succeed first.
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
            interferences: Vec::new(),
            candidates: Vec::new(),
            known_share: None,
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
    /// Sets the hash of the fact `id`, like a write of another program.
    pub fn put(&mut self, id: &str, order: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        self.facts.insert(id.into(), (order, Hash { fields }));
    }

    /// Deletes a fact from storage but not from the index, like a concurrent call.
    pub fn remove_fact(&mut self, id: &str) {
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
    /// Locks and returns the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every `call` fail from now on.
    pub fn fail(&self, call: Call, error: Error) {
        self.fail_after(0, call, error);
    }

    /// Makes every `call` fail after `after` more have succeeded.
    pub fn fail_after(&self, after: usize, call: Call, error: Error) {
        self.state().faults.push(Fault { call, after, is_once: false, error });
    }

    /// Makes only the next `call` fail.
    pub fn fail_once(&self, call: Call, error: Error) {
        self.state().faults.push(Fault { call, after: 0, is_once: true, error });
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Changes the state just before the next `call`, like a concurrent call.
    pub fn before(&self, call: Call, interference: impl FnOnce(&mut State) + Send + 'static) {
        self.state().interferences.push((call, Box::new(interference)));
    }

    /// Sets what the model knows of every query.
    pub fn set_known_share(&self, share: Option<f32>) {
        self.state().known_share = share;
    }

    /// Makes an index call return these candidates. [`Call::Retrieve`] takes its scores from
    /// those of [`Call::Nearest`] and [`Call::Matching`].
    pub fn set_candidates(&self, call: Call, candidates: &[(&str, f32)]) {
        let candidate = |&(id, score): &(&str, f32)| Candidate { id: id.into(), score };
        let candidates = candidates.iter().map(candidate).collect();
        self.state().candidates.push((call, candidates));
    }

    /// Sets the remaining budget and the cost of each call.
    pub fn allow(&self, remaining: Allowance, cost: Allowance) {
        let mut state = self.state();
        (state.remaining, state.cost) = (remaining, cost);
    }

    /// Truncates the results of reads to `bytes`.
    pub fn truncate_reads(&self, bytes: usize) {
        self.state().read_bytes = bytes;
    }

    /// The number of elements passed to each `call`, in the order of the calls.
    pub fn calls(&self, call: Call) -> Vec<usize> {
        let state = self.state();
        state.calls.iter().filter(|(made, _)| *made == call).map(|(_, size)| *size).collect()
    }

    /// The value of a fact's field.
    pub fn field(&self, id: &str, name: &str) -> Option<String> {
        self.state().facts.get(id)?.1.get(name).map(str::to_owned)
    }

    /// A fact's position in listings.
    pub fn order(&self, id: &str) -> Option<u64> {
        self.state().order_of(id).map(|(order, _)| order)
    }

    /// The text and metadata that the index holds for a fact, without the fact's own time, and
    /// whether it has a vector.
    pub fn indexed(&self, id: &str) -> Option<(String, String, bool)> {
        let state = self.state();
        let entry = state.index.get(id)?;
        let mut metadata: serde_json::Map<_, _> = serde_json::from_str(&entry.metadata).ok()?;
        metadata.remove(crate::metadata::OWN_TIME);
        let metadata = serde_json::Value::Object(metadata).to_string();
        Some((entry.text.clone(), metadata, entry.vector.is_some()))
    }

    /// The lines logged at `level`.
    pub fn lines(&self, level: Level) -> Vec<String> {
        let state = self.state();
        state.lines.iter().filter(|(at, _)| *at == level).map(|(_, line)| line.clone()).collect()
    }

    /// Counts a call, charges its cost, runs an interference, and injects a fault.
    fn enter(&self, call: Call, size: usize) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.push((call, size));
        let cost = state.cost;
        let left = &mut state.remaining;
        left.milliseconds = left.milliseconds.saturating_sub(cost.milliseconds);
        left.fuel = left.fuel.saturating_sub(cost.fuel);
        left.host_calls = left.host_calls.saturating_sub(cost.host_calls);
        if let Some(at) = state.interferences.iter().position(|(of, _)| *of == call) {
            let (_, interference) = state.interferences.remove(at);
            interference(&mut state);
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
