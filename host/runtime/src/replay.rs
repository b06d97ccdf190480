//! Runs a recorded call again: the same function with the same arguments, in the same engine, with
//! every import answered from the recording.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kenning_core::provenance::GenerationRef;
use kenning_storage::TenantId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Replay, Seen};
use crate::component::grants::{Grant, Granted};
use crate::component::linked::{LinkedExtension, Loaded};
use crate::generation::Generation;
use crate::guest::{Component, Guest};
use crate::log_buffer::{LogBuffer, LogLine};
use crate::outcome::{CallEffects, CallError, GuestError};
use crate::recording::{CallEnd, Recording, Stopped};
use crate::session::{Runtime, Session};
use crate::trap::Frame;
use crate::wit;

/// How long a replay may take. Fuel bounds it; a guest that sleeps does not sleep in a replay.
const LONGEST: Duration = Duration::from_secs(600);

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is of another version of Kenning.
    #[error(
        "the call was recorded by Kenning {0}, and this is {version}: replay it with that version",
        version = Recording::VERSION
    )]
    OtherVersion(String),
    /// The component does not fit; the text says why.
    #[error("the component does not fit: {0}")]
    Component(String),
    /// What was recorded cannot be read.
    #[error("the recording cannot be read: {0}")]
    Unreadable(String),
    /// The replay could not be run.
    #[error("the replay could not be run: {0}")]
    Host(String),
}

/// How a replay ended.
#[derive(Debug)]
pub struct Replayed {
    /// What the guest returned, as JSON, or why it failed.
    pub result: Result<String, String>,
    /// Whether it ended as the recorded call did, with the same fuel.
    pub is_same: bool,
    /// Why the recording had no more answers, if that is why it ended.
    pub stopped: Option<String>,
    /// The fuel that the guest used itself.
    pub guest_fuel: u64,
    /// Each call of an import: its arguments and its answer.
    pub trace: Vec<String>,
    /// Where it stood when it failed, innermost first.
    pub frames: Vec<Frame>,
    /// What it wrote to its log, standard output and standard error.
    pub said: Vec<LogLine>,
}

/// Replays `recording` with the guest in `loaded`, which need not have the recorded bytes.
///
/// # Errors
/// If the recording cannot be replayed with it.
pub async fn replay(
    runtime: &Runtime,
    loaded: &Arc<Loaded>,
    recording: Arc<Recording>,
) -> Result<Replayed, ReplayError> {
    if recording.version != Recording::VERSION {
        return Err(ReplayError::OtherVersion(recording.version.clone()));
    }
    let tenant = TenantId::parse(&recording.tenant)
        .map_err(|error| ReplayError::Unreadable(error.to_string()))?;
    let guest = Callee::new(loaded, &recording)?;
    let is_same = *loaded.digest == *recording.digest;
    let replay = Replay { recording, is_same, seen: Mutex::default() };
    let (replay, lines) = (Arc::new(replay), guest.lines.clone());
    let (replaying, deadline) = (replay.clone(), Instant::now() + LONGEST);
    let called = runtime.dry_run(tenant, deadline, move |session| async move {
        let mut session = session.replaying(replaying.clone());
        guest.call(&mut session, &replaying.recording).await
    });
    let result = called.await.map_err(|error| ReplayError::Host(format!("{error:?}")))??;
    let Seen { guest_fuel, trace, stopped, frames } = std::mem::take(&mut *replay.seen());
    let result = result.map_err(|error| cause(&error));
    let is_same = ends_as_recorded(&replay.recording, &result, stopped.as_ref())
        && guest_fuel == replay.recording.guest_fuel;
    let stopped = stopped.map(|stopped| stopped.to_string());
    let said = lines.after(0, true);
    Ok(Replayed { result, is_same, stopped, guest_fuel, trace, frames, said })
}

/// What a caller is told of a guest that failed.
fn cause(error: &GuestError) -> String {
    match &error.cause {
        CallError::Host(reason) => reason.clone(),
        cause => cause.to_string(),
    }
}

fn ends_as_recorded(
    recording: &Recording,
    result: &Result<String, String>,
    stopped: Option<&Stopped>,
) -> bool {
    let in_same_import = matches!(stopped, Some(Stopped::InImport(_)));
    match (&recording.ended, result) {
        (CallEnd::Failed { error }, Err(again)) => error == again || in_same_import,
        // It stops where the deadline met it: by its fuel, or in the import that it waited for.
        (CallEnd::Deadline { .. }, Err(_)) => in_same_import || stopped.is_none(),
        (CallEnd::Refused { .. } | CallEnd::Succeeded, Ok(_)) => true,
        _ => false,
    }
}

/// The result of one call as JSON, or why the guest failed.
type Called = Result<String, GuestError>;

/// The guest that is called.
struct Callee {
    guest: Arc<Guest>,
    lines: Arc<LogBuffer>,
    linked: Linked,
}

enum Linked {
    Logic(Box<Generation>),
    Extension(Box<LinkedExtension>),
}

impl Callee {
    fn new(loaded: &Arc<Loaded>, recording: &Recording) -> Result<Self, ReplayError> {
        let component = match recording.is_logic {
            true => Component::Logic,
            false => Component::Extension(recording.component.as_str().into()),
        };
        let lines = Arc::<LogBuffer>::default();
        let digest = loaded.digest.clone();
        let reference = GenerationRef { number: recording.generation, digest };
        let guest = Guest::new(component, reference);
        let guest = Arc::new(Guest { lines: Some(lines.clone()), ..guest });
        let linked = match recording.is_logic {
            true => {
                let generation = |logic| Generation::new(guest.clone(), logic);
                loaded.logic().map(|logic| Linked::Logic(generation(logic).into()))
            }
            // What it was not granted, it did not call.
            false => loaded
                .extension(&Grant::ALL.map(Granted::from))
                .map(|linked| Linked::Extension(linked.into())),
        };
        Ok(Self { guest, lines, linked: linked.map_err(ReplayError::Component)? })
    }

    async fn call(
        &self,
        session: &mut Session,
        recording: &Recording,
    ) -> Result<Called, ReplayError> {
        let (operation, input) = (recording.operation.as_str(), &recording.input.0);
        match &self.linked {
            Linked::Logic(logic) => call_logic(session, logic, operation, input).await,
            Linked::Extension(linked) => {
                call_hook(session, (&self.guest, linked), operation, input).await
            }
        }
    }
}

async fn call_logic(
    session: &mut Session,
    logic: &Generation,
    operation: &str,
    input: &[u8],
) -> Result<Called, ReplayError> {
    Ok(match operation {
        "store" => returned(session.store(logic, read(input)?).await),
        "get" => returned(session.get(logic, read(input)?).await),
        "list" => {
            let (containing, limit, cursor) = read(input)?;
            returned(session.list(logic, containing, limit, cursor).await)
        }
        "update" => {
            let (id, change) = read::<(String, wit::Change)>(input)?;
            returned(session.update(logic, id, change).await)
        }
        "delete" => returned(session.delete(logic, read(input)?).await),
        "entries" => returned(session.entries(logic, read(input)?).await),
        "search" => returned(session.search(logic, read(input)?).await),
        other => return Err(unknown(other)),
    })
}

macro_rules! call_hooks {
    ($($module:ident: $hook:ident $package:literal, $name:literal, $world:literal,
       $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        async fn call_hook(
            session: &mut Session,
            extension: (&Arc<Guest>, &LinkedExtension),
            operation: &str,
            input: &[u8],
        ) -> Result<Called, ReplayError> {
            use crate::wit::{Draft, Fact, Hit, Query};
            use kenning_bindings::FactChange;

            match operation {
                $($name => {
                    let ($($argument,)+): ($($type,)+) = read(input)?;
                    let called = session.$module(extension, $($argument),+).await;
                    match called.transpose() {
                        Some(called) => Ok(called.map(|value| shown(&value))),
                        None => {
                            let missing = format!("it does not export {}", $name);
                            Err(ReplayError::Component(missing))
                        }
                    }
                })+
                other => Err(unknown(other)),
            }
        }
    };
}

kenning_bindings::for_each_hook!(call_hooks);

fn read<T: DeserializeOwned>(input: &[u8]) -> Result<T, ReplayError> {
    postcard::from_bytes(input).map_err(|error| ReplayError::Unreadable(error.to_string()))
}

fn unknown(operation: &str) -> ReplayError {
    ReplayError::Unreadable(format!("it is of a call of {operation:?}, which there is not"))
}

fn returned<T: Serialize + Debug>(result: Result<(T, CallEffects), GuestError>) -> Called {
    result.map(|(value, _)| shown(&value))
}

fn shown<T: Serialize + Debug>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| format!("{value:?}"))
}
