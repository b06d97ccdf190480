//! What a call did, for whoever looks into its failure: which guests ran, where its time and fuel
//! went, and where a guest failed. Never the text of a fact or query.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use serde_json::{Value, json};
use wasmtime::WasmBacktrace;

use crate::guest::Guest;
use crate::outcome::CallError;

/// How many guest calls of one call are kept, the last ones. A long listing makes hundreds.
const RUNS: usize = 32;

/// How many frames of a guest's stack are kept.
const FRAMES: usize = 16;

/// Most bytes of one frame.
const FRAME_BYTES: usize = 160;

/// The extensions of files in which guests are written.
const SOURCES: [&str; 10] = ["rs", "py", "js", "mjs", "cjs", "ts", "go", "c", "cpp", "zig"];

/// Collects what one call does. Shared, so that it can be read when the call never ends.
#[derive(Debug)]
pub struct CallTracer {
    tenant: TenantId,
    begun: Instant,
    deadline: Instant,
    so_far: Mutex<SoFar>,
}

#[derive(Debug, Default)]
struct SoFar {
    /// How long the call waited for admission; `None` until it was admitted.
    waited: Option<Duration>,
    running: Option<(Arc<Guest>, &'static str, Instant)>,
    guests: VecDeque<(Ran, Option<Failure>)>,
    /// Guest calls that are not kept.
    dropped: u64,
}

/// How a guest call failed, and where.
#[derive(Debug)]
struct Failure {
    error: CallError,
    stack: Vec<String>,
}

/// What a guest used in one call of an export.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) guest: Arc<Guest>,
    pub(crate) operation: &'static str,
    pub(crate) fuel_limit: u64,
    pub(crate) fuel_used: u64,
    pub(crate) in_guest: Duration,
    pub(crate) in_host: Duration,
    pub(crate) host_calls: u32,
    pub(crate) memory_bytes: usize,
}

/// What one call of a guest's export used.
#[derive(Clone, Debug)]
pub struct GuestCost {
    /// The guest.
    pub guest: Arc<Guest>,
    /// The export's name.
    pub operation: &'static str,
    /// The fuel that it used.
    pub fuel: u64,
    /// How long it took, without what the host did for it.
    pub took: Duration,
}

impl CallTracer {
    /// Of a call that begins now.
    pub fn new(tenant: TenantId, deadline: Instant) -> Self {
        Self { tenant, begun: Instant::now(), deadline, so_far: Mutex::default() }
    }

    pub(crate) fn admitted(&self) {
        self.lock().waited = Some(self.begun.elapsed());
    }

    pub(crate) fn begin(&self, guest: &Arc<Guest>, operation: &'static str) {
        self.lock().running = Some((guest.clone(), operation, Instant::now()));
    }

    pub(crate) fn end(&self, ran: Ran, error: Option<&CallError>, stack: Vec<String>) {
        let mut so_far = self.lock();
        so_far.running = None;
        if so_far.guests.len() == RUNS {
            so_far.guests.pop_front();
            so_far.dropped += 1;
        }
        let failure = error.map(|error| Failure { error: error.clone(), stack });
        so_far.guests.push_back((ran, failure));
    }

    /// What the guest calls that are kept used.
    pub(crate) fn costs(&self) -> Vec<GuestCost> {
        let cost = |(ran, _): &(Ran, Option<Failure>)| GuestCost {
            guest: ran.guest.clone(),
            operation: ran.operation,
            fuel: ran.fuel_used,
            took: ran.in_guest,
        };
        self.lock().guests.iter().map(cost).collect()
    }

    /// What is known so far, as a JSON object.
    pub fn to_json(&self) -> Value {
        let so_far = self.lock();
        let guests = so_far.guests.iter().map(|(ran, failure)| ran.to_json(failure.as_ref()));
        let allowed = self.deadline.saturating_duration_since(self.begun);
        let mut trace = json!({
            "tenant": self.tenant.as_str(),
            "allowed_ms": allowed.as_millis() as u64,
            "guests": guests.collect::<Vec<_>>(),
        });
        if let Some(waited) = so_far.waited {
            trace["admitted_after_ms"] = milliseconds(waited);
        }
        if so_far.dropped > 0 {
            trace["earlier_guests"] = so_far.dropped.into();
        }
        if let Some((guest, operation, since)) = &so_far.running {
            trace["running"] = json!({
                "component": guest.component.name(),
                "generation": guest.reference.number,
                "operation": operation,
                "for_ms": milliseconds(since.elapsed()),
            });
        }
        trace
    }

    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ran {
    fn to_json(&self, failure: Option<&Failure>) -> Value {
        let mut ran = json!({
            "component": self.guest.component.name(),
            "generation": self.guest.reference.number,
            "digest": &*self.guest.reference.digest,
            "operation": self.operation,
            "fuel_limit": self.fuel_limit,
            "fuel_used": self.fuel_used,
            "guest_ms": milliseconds(self.in_guest),
            "host_ms": milliseconds(self.in_host),
            "host_calls": self.host_calls,
            "memory_bytes": self.memory_bytes,
        });
        if let Some(Failure { error, stack }) = failure {
            ran["failed"] = error.to_string().into();
            ran["stack"] = json!(stack);
        }
        ran
    }
}

fn milliseconds(time: Duration) -> Value {
    ((time.as_secs_f64() * 1e6).round() / 1e3).into()
}

/// Where a guest failed, innermost first: the places in its sources that it wrote to stderr as it
/// failed, and then wasmtime's frames. Nothing else of what it wrote is taken.
pub(crate) fn stack(error: &wasmtime::Error, last_lines: &[String]) -> Vec<String> {
    let mut stack: Vec<String> = last_lines.iter().filter_map(|line| place(line)).collect();
    stack.truncate(FRAMES);
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let frames = backtrace.frames().iter().take(FRAMES - stack.len().min(FRAMES));
        stack.extend(frames.map(|frame| {
            let offset = frame.func_offset().unwrap_or_default();
            match frame.func_name() {
                Some(name) => format!("{}+{offset:#x}", cut(name)),
                None => format!("function {}+{offset:#x}", frame.func_index()),
            }
        }));
    }
    stack
}

/// The place in a source file that a line of a stack trace names, as `FILE:LINE` and, where they
/// are known, the column or the function.
fn place(line: &str) -> Option<String> {
    python_place(line).or_else(|| line.split(is_between_words).find_map(numbered_file))
}

/// `File "app.py", line 12, in on_read`.
fn python_place(line: &str) -> Option<String> {
    let (file, rest) = line.trim().strip_prefix("File \"")?.split_once("\", line ")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    if number.is_empty() || !is_path(file) {
        return None;
    }
    let function =
        rest.split_once(", in ").map(|(_, name)| name.trim()).filter(|name| is_path(name));
    let function = function.map(|name| format!(" in {name}")).unwrap_or_default();
    Some(cut(&format!("{file}:{number}{function}")).to_string())
}

fn is_between_words(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'' | '`' | ',')
}

/// `src/lib.rs:63:9`, perhaps with a colon after it.
fn numbered_file(word: &str) -> Option<String> {
    let word = word.trim_end_matches([':', '.']);
    let (file, numbers) = word.split_once(':')?;
    let (_, extension) = file.rsplit_once('.')?;
    let are_numbers = numbers.split(':').all(|part| {
        (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    });
    let is_place = SOURCES.contains(&extension) && are_numbers && is_path(file);
    is_place.then(|| cut(word).to_string())
}

fn is_path(text: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "._-/@+<>:".contains(c);
    !text.is_empty() && text.len() <= FRAME_BYTES && text.chars().all(is_usual)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(FRAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_the_stack_traces_of_every_language() {
        for (line, expected) in [
            ("thread '<unnamed>' panicked at src/lib.rs:63:9:", "src/lib.rs:63:9"),
            ("  File \"/0/app.py\", line 12, in on_read", "/0/app.py:12 in on_read"),
            ("  File \"app.py\", line 7", "app.py:7"),
            ("    at onRead (index.js:10:3)", "index.js:10:3"),
            ("    at src/rank.ts:4", "src/rank.ts:4"),
        ] {
            assert_eq!(place(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn the_words_of_a_guest_are_no_places() {
        for line in [
            "called `Result::unwrap()` on an `Err` value: the secret fact",
            "note: run with `RUST_BACKTRACE=1`",
            "ada@example.org:22",
            "File \"a secret, with spaces.py\", line 3",
            "http://example.org:80",
            "12:30:11",
        ] {
            assert_eq!(place(line), None, "{line}");
        }
    }

    #[test]
    fn a_trace_keeps_the_last_guests_of_a_long_call() {
        use kenning_core::provenance::GenerationRef;

        let tenant = TenantId::parse("acme").unwrap();
        let (tracer, digest) = (CallTracer::new(tenant, Instant::now()), "sha256:0".into());
        let guest = Guest::logic(GenerationRef { number: 7, digest });
        for host_calls in 0..RUNS as u32 + 2 {
            tracer.begin(&guest, "list");
            let (in_guest, in_host) = (Duration::from_millis(2), Duration::from_millis(3));
            let (operation, guest) = ("list", guest.clone());
            let (fuel_limit, fuel_used, memory_bytes) = (10, 4, 65_536);
            let ran = Ran {
                guest,
                operation,
                fuel_limit,
                fuel_used,
                in_guest,
                in_host,
                host_calls,
                memory_bytes,
            };
            tracer.end(ran, Some(&CallError::OutOfFuel { limit: 10 }), vec!["a".into()]);
        }
        tracer.begin(&guest, "get");
        let trace = tracer.to_json();
        assert_eq!(trace["earlier_guests"], 2);
        assert_eq!(trace["guests"][0]["host_calls"], 2);
        assert_eq!(trace["guests"][RUNS - 1]["failed"], "used up its fuel of 10");
        assert_eq!(trace["running"]["operation"], "get");
    }
}
