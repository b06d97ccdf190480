//! A tenant's quotas that several hosts count together: this host's allowances, and the task that
//! draws new ones.
//!
//! A call takes from this host's allowance, in memory. The task reports what was used and draws
//! again when half of an allowance is used, or after half a second, and ends when nothing is used
//! any more. Only a call that finds no allowance waits for the task, and all that do wait for the
//! same draw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_storage::{Draw, Draws, Rate, Storage, StorageError, TenantId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::allowance::{Allowance, IDLE, LASTS};

const RATES: usize = Rate::ALL.len();

/// How long until storage is asked again after it did not answer.
const AWAY: Duration = Duration::from_secs(1);

/// What was used longer ago need not be reported any more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A value for each rate, in the order of [`Rate::ALL`].
pub(super) type OfRates<T> = [T; RATES];

/// What this host uses of one tenant's quotas, among others.
pub(super) struct SharedUse {
    storage: Arc<dyn Storage>,
    tenant: TenantId,
    /// Where the task runs.
    io: Handle,
    /// How long a draw may take.
    operation: Duration,
    begun: Instant,
    state: Mutex<State>,
    /// Wakes the task.
    wake: Notify,
    /// The number of draws that ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    quotas: OfRates<Option<u64>>,
    allowances: OfRates<Allowance>,
    /// What calls wait for that no draw has asked for yet.
    needed: OfRates<u64>,
    /// The number of draws that began.
    begun: u64,
    /// Whether the task runs.
    is_drawing: bool,
    /// How many hosts use the quotas, as far as is known.
    hosts: u64,
    /// Whether the last draw failed. Storage is not waited for then.
    is_away: bool,
    used_at: Duration,
}

/// Whether something may be used.
pub(super) enum Taken {
    /// It may, and is counted.
    Granted,
    /// It may not.
    Refused {
        /// What all hosts use.
        used: u64,
        /// How long until some is free.
        after: Duration,
    },
    /// Storage does not say: each host counts for itself.
    Alone,
    /// A draw is under way that will tell.
    Wait(Waiting),
}

/// A call that waits for a draw.
pub(super) struct Waiting {
    shared: Arc<SharedUse>,
    draw: u64,
    needs: Option<Rate>,
}

impl State {
    fn is_counted(&self) -> bool {
        self.quotas.iter().any(Option::is_some)
    }

    /// Goes by `quotas` from now on. What was used lately while there were none counts too.
    fn go_by(
        &mut self,
        now: Duration,
        quotas: OfRates<Option<u64>>,
        recent: impl FnOnce() -> OfRates<u64>,
    ) {
        let was_counted = self.is_counted();
        self.quotas = quotas;
        if !was_counted && self.is_counted() {
            for (allowance, recent) in self.allowances.iter_mut().zip(recent()) {
                allowance.begin(now, recent);
            }
        }
    }
}

impl SharedUse {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        tenant: TenantId,
        operation: Duration,
        io: Handle,
    ) -> Arc<Self> {
        let (begun, state) = (Instant::now(), Mutex::new(State { hosts: 1, ..State::default() }));
        let (wake, ended) = (Notify::new(), watch::Sender::new(0));
        Arc::new(Self { storage, tenant, io, operation, begun, state, wake, ended })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Asks for one request, or whether a call may begin that uses fuel or tokens, which are
    /// counted when they are used. `recent` is what this host used lately; `has_waited` says
    /// whether the call has waited for a draw.
    pub(super) fn take(
        self: &Arc<Self>,
        rate: Rate,
        quotas: OfRates<Option<u64>>,
        recent: impl FnOnce() -> OfRates<u64>,
        has_waited: bool,
    ) -> Taken {
        let amount = u64::from(rate == Rate::Requests);
        let (now, mut state) = (self.now(), self.state());
        state.go_by(now, quotas, recent);
        let is_away = state.is_away;
        let allowance = &mut state.allowances[rate as usize];
        let Some(allowed) = quotas[rate as usize] else {
            allowance.count(now, amount);
            self.draw_soon(state, now, false);
            return Taken::Granted;
        };
        let has_some = allowance.left(now, Some(allowed)) > 0;
        if has_some || allowance.gives_credit(now, allowed) {
            allowance.count(now, amount);
            let is_low = allowance.runs_low() || !has_some;
            self.draw_soon(state, now, is_low);
            return Taken::Granted;
        }
        if is_away {
            self.draw_soon(state, now, false);
            return Taken::Alone;
        }
        if let Some((used, after)) = allowance.refusal(now, allowed, has_waited) {
            return Taken::Refused { used, after };
        }
        Taken::Wait(self.wait(state, Some(rate)))
    }

    /// How many hosts use the quotas, as far as is known.
    pub(super) fn hosts(&self) -> u64 {
        self.state().hosts.max(1)
    }

    /// Counts what was used, whether or not there was an allowance for it.
    pub(super) fn charge(self: &Arc<Self>, rate: Rate, amount: u64) {
        let (now, mut state) = (self.now(), self.state());
        if !state.is_counted() || amount == 0 {
            return;
        }
        let allowance = &mut state.allowances[rate as usize];
        allowance.count(now, amount);
        let is_low = allowance.runs_low();
        self.draw_soon(state, now, is_low);
    }

    /// What all hosts have used, once storage was asked; `None` if there is no quota, or no answer.
    pub(super) async fn used(
        self: &Arc<Self>,
        quotas: OfRates<Option<u64>>,
        recent: impl FnOnce() -> OfRates<u64>,
        until: Instant,
    ) -> Option<OfRates<u64>> {
        let waiting = {
            let (now, mut state) = (self.now(), self.state());
            state.go_by(now, quotas, recent);
            if !state.is_counted() || state.is_away {
                return None;
            }
            self.wait(state, None)
        };
        if !waiting.wait(until).await {
            return None;
        }
        let state = self.state();
        (!state.is_away).then(|| state.allowances.each_ref().map(Allowance::by_all))
    }

    /// Reports what was used, and gives all allowances back: this host ends.
    pub(super) async fn end(&self) {
        let draws = {
            let (now, mut state) = (self.now(), self.state());
            let state = &mut *state;
            if !state.is_drawing {
                return;
            }
            std::array::from_fn(|rate| {
                let planned = state.allowances[rate].plan(now, state.quotas[rate], 0);
                Draw { kept: 0, wanted: 0, ..planned }
            })
        };
        let until = Instant::now() + self.operation;
        // What is not given back ends by itself.
        let _ = self.storage.draw(&self.tenant, &draws, LASTS, until).await;
    }

    /// Waits for a draw that has not begun.
    fn wait(self: &Arc<Self>, mut state: MutexGuard<'_, State>, needs: Option<Rate>) -> Waiting {
        if let Some(rate) = needs {
            state.needed[rate as usize] += 1;
        }
        let waiting = Waiting { shared: self.clone(), draw: state.begun + 1, needs };
        let now = self.now();
        self.draw_soon(state, now, true);
        waiting
    }

    /// Makes sure that what was used is reported: within half a second, or `at_once`.
    fn draw_soon(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Duration, at_once: bool) {
        state.used_at = now;
        if !std::mem::replace(&mut state.is_drawing, true) {
            drop(state);
            self.io.spawn(draw_while_used(Drawing(self.clone())));
        } else if at_once {
            drop(state);
            self.wake.notify_one();
        }
    }

    fn plan(&self) -> (Duration, OfRates<Draw>) {
        let (now, mut state) = (self.now(), self.state());
        let state = &mut *state;
        state.begun += 1;
        let needed = std::mem::take(&mut state.needed);
        let draws = std::array::from_fn(|rate| {
            // A call needs some, however much it uses then.
            let is_known = rate == Rate::Requests as usize;
            let needed = if is_known { needed[rate] } else { needed[rate].min(1) };
            state.allowances[rate].plan(now, state.quotas[rate], needed)
        });
        (now, draws)
    }

    /// Takes what storage said. Returns whether there is more to do.
    fn receive(
        &self,
        planned: Duration,
        draws: &OfRates<Draw>,
        drawn: Result<Draws, StorageError>,
    ) -> bool {
        let (now, mut guard) = (self.now(), self.state());
        let state = &mut *guard;
        let mut is_over = now.saturating_sub(state.used_at) >= FORGOTTEN;
        match drawn {
            Ok(drawn) => {
                (state.hosts, state.is_away) = (drawn.hosts, false);
                let each = state.allowances.iter_mut().zip(draws).zip(&drawn.rates);
                each.for_each(|((allowance, draw), drawn)| allowance.receive(planned, draw, drawn));
                is_over = state.allowances.iter().all(Allowance::is_settled);
            }
            Err(error) => {
                tracing::debug!(tenant = %self.tenant, %error, "quotas are counted by this host");
                state.is_away = true;
                if is_over {
                    state.allowances.iter_mut().for_each(Allowance::forget);
                }
            }
        }
        is_over &= state.needed.iter().all(|needed| *needed == 0);
        state.is_drawing = !is_over;
        let begun = state.begun;
        drop(guard);
        self.ended.send_replace(begun);
        !is_over
    }
}

/// The task, as long as it runs.
struct Drawing(Arc<SharedUse>);

impl Drop for Drawing {
    /// Another task may run where this one was stopped halfway.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().is_drawing = false;
        }
    }
}

/// Reports what is used and draws allowances until nothing is used any more.
async fn draw_while_used(drawing: Drawing) {
    let shared = &drawing.0;
    loop {
        let (planned, draws) = shared.plan();
        let until = Instant::now() + shared.operation;
        let drawn = shared.storage.draw(&shared.tenant, &draws, LASTS, until).await;
        let is_away = drawn.is_err();
        if !shared.receive(planned, &draws, drawn) {
            return;
        }
        if is_away {
            sleep(AWAY).await;
        } else {
            let _ = timeout(IDLE, shared.wake.notified()).await;
        }
    }
}

impl Waiting {
    /// Waits until the draw ended, whatever it brought, at most `until` then. Returns whether it
    /// did.
    pub(super) async fn wait(self, until: Instant) -> bool {
        let mut ended = self.shared.ended.subscribe();
        let waited = timeout_at(until.into(), ended.wait_for(|ended| *ended >= self.draw)).await;
        waited.is_ok_and(|ended| ended.is_ok())
    }
}

impl Drop for Waiting {
    /// What nobody waits for any more is not asked for.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(rate) = self.needs
            && state.begun < self.draw
        {
            let needed = &mut state.needed[rate as usize];
            *needed = needed.saturating_sub(1);
        }
    }
}
