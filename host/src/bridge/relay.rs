//! Passes messages on, with their session, and repeats them where that is safe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::home::Home;
use super::message::Message;
use super::upstream::{Answer, Failure, Sent, Upstream};
use crate::mcp::as_result;
use kenning_core::error::{Code, Error};

/// How long a message is tried again before its client is told that it failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages under way at once; further ones are not read before.
const AT_ONCE: usize = 256;

/// JSON-RPC's errors of the text, and of whoever passes it on.
const PARSE_ERROR: i32 = -32_700;
const INTERNAL_ERROR: i32 = -32_603;

/// Messages between one client and the server.
pub(super) struct Relay {
    home: Home,
    upstream: Upstream,
    out: mpsc::Sender<Bytes>,
    session: tokio::sync::Mutex<Session>,
    under_way: Mutex<HashMap<String, AbortHandle>>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// The client's session.
#[derive(Default)]
struct Session {
    /// How the client opened it; none if it did not, or its version has no sessions.
    opened_by: Option<Message>,
    sent: Sent,
    /// How often it was opened.
    count: u64,
}

/// Why a request was not answered.
struct Unanswered {
    message: String,
    code: Code,
    outcome_unknown: bool,
}

impl Relay {
    pub(super) fn new(home: Home, upstream: Upstream, out: mpsc::Sender<Bytes>) -> Self {
        Self {
            home,
            upstream,
            out,
            session: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }

    /// Waits until there is a server.
    pub(super) async fn reach(&self) {
        if let Err(reason) = self.home.reach(Instant::now() + PATIENCE).await {
            tracing::error!("no server: {reason}");
        }
    }

    /// Waits for all messages under way.
    pub(super) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Closes the session, and the server in this process.
    pub(super) async fn close(&self) {
        lock(&self.under_way).drain().for_each(|(_, task)| task.abort());
        let sent = self.session.lock().await.sent.clone();
        self.upstream.close(&sent).await;
        self.home.close().await;
    }

    /// Answers a line that is too long to be read.
    pub(super) async fn refuse_line(&self) {
        self.write(error_message(&Value::Null, PARSE_ERROR, "the message is too long", None)).await;
    }

    /// Takes one message of the client.
    pub(super) async fn take(self: &Arc<Self>, text: Bytes) {
        let Some(message) = Message::read(&text) else {
            let why = "the line is no JSON object; batches are not supported";
            return self.write(error_message(&Value::Null, PARSE_ERROR, why, None)).await;
        };
        let Some(id) = message.request_id().map(Value::to_string) else {
            return self.notify(message).await;
        };
        if message.method() == Some("initialize") {
            // What comes behind it needs the session that it opens.
            return self.answer(message).await;
        }
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let relay = self.clone();
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let key = id.clone();
        let task = self.tasks.spawn(async move {
            // Not before it can be cancelled.
            let _ = begun.await;
            let _place = place;
            relay.answer(message.with_key()).await;
            lock(&relay.under_way).remove(&key);
        });
        lock(&self.under_way).insert(id, task.abort_handle());
        let _ = begin.send(());
    }

    /// Passes on what is not answered, before anything that follows it.
    async fn notify(&self, message: Message) {
        if let Some(id) = message.cancels()
            && let Some(task) = lock(&self.under_way).remove(&id.to_string())
        {
            // A cancelled request gets no answer, and its connection closes.
            task.abort();
        }
        if message.method().is_none() {
            // An answer: the server asks nothing.
            return;
        }
        let sent = self.session.lock().await.sent.clone();
        if let Err(failure) = self.upstream.send(&message, &sent).await {
            tracing::debug!(?failure, "a notification was not passed on");
        }
    }

    async fn answer(&self, message: Message) {
        let id = message.request_id().cloned().unwrap_or_default();
        let opens = message.method() == Some("initialize");
        match self.ask(message.clone()).await {
            Ok(Ok(answer)) => {
                if opens {
                    self.keep_session(message, &answer).await;
                }
                for message in answer.messages {
                    self.write(message).await;
                }
            }
            Ok(Err((status, said))) => {
                let refused = match for_the_model(status, &said).filter(|_| message.is_call()) {
                    Some(error) => failed_call(&id, &error),
                    None => refused(&id, status, said),
                };
                self.write(refused).await;
            }
            Err(unanswered) => self.write(unanswered.to_message(&id, message.is_call())).await,
        }
    }

    async fn keep_session(&self, opened_by: Message, answer: &Answer) {
        let version = answer.messages.iter().find_map(|message| {
            let value: Value = serde_json::from_slice(message).ok()?;
            Some(value["result"]["protocolVersion"].as_str()?.to_owned())
        });
        let mut session = self.session.lock().await;
        session.opened_by = version.is_some().then_some(opened_by);
        session.sent = Sent { session: answer.session.clone(), version };
        session.count += 1;
    }

    /// Sends a request until it is answered, as long as that is safe and worth it.
    async fn ask(
        &self,
        mut message: Message,
    ) -> Result<Result<Answer, (StatusCode, Value)>, Unanswered> {
        let until = Instant::now() + PATIENCE;
        let opens = message.method() == Some("initialize");
        loop {
            let (count, sent) = {
                let session = self.session.lock().await;
                (session.count, session.sent.clone())
            };
            let sent = if opens { Sent::default() } else { sent };
            let reason = match self.upstream.send(&message, &sent).await {
                Ok(answer) if answer.messages.is_empty() => {
                    "the answer ended before its message".to_owned()
                }
                Ok(answer) => return Ok(Ok(answer)),
                Err(Failure::Refused(status, said)) => return Ok(Err((status, said))),
                Err(Failure::SessionGone) => {
                    self.open_again(count).await?;
                    continue;
                }
                Err(Failure::NotSent(reason)) => reason,
                Err(Failure::Lost(reason)) if message.is_safe_twice() => {
                    message.mark_retry();
                    reason
                }
                Err(Failure::Lost(reason)) => {
                    return Err(Unanswered {
                        message: format!("the server went away during the call: {reason}"),
                        code: Code::Timeout,
                        outcome_unknown: true,
                    });
                }
            };
            tracing::debug!(reason, "a message is sent again");
            if Instant::now() >= until {
                return Err(Unanswered::unreachable(&reason));
            }
            sleep(self.home.pause()).await;
            let reached = self.home.reach(until).await;
            reached.map_err(|reason| Unanswered::unreachable(&reason))?;
        }
    }

    /// Opens the client's session again, unless that was done since it was opened `count` times.
    async fn open_again(&self, count: u64) -> Result<(), Unanswered> {
        let mut session = self.session.lock().await;
        if session.count != count {
            return Ok(());
        }
        let Some(opened_by) = session.opened_by.clone() else {
            return Err(Unanswered::unreachable("the server forgot a session it never opened"));
        };
        let answer = self.upstream.send(&opened_by, &Sent::default()).await;
        let answer = answer.map_err(|failure| Unanswered::unreachable(&format!("{failure:?}")))?;
        session.sent.session = answer.session;
        session.count += 1;
        let begun = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let begun = self.upstream.send(&Message { value: begun }, &session.sent).await;
        begun.map(drop).map_err(|failure| Unanswered::unreachable(&format!("{failure:?}")))
    }

    async fn write(&self, message: Bytes) {
        if self.out.send(message).await.is_err() {
            tracing::debug!("the client does not read any more");
        }
    }
}

impl Unanswered {
    fn unreachable(reason: &str) -> Self {
        let message = format!("the knowledge base cannot be reached: {reason}");
        Self { message, code: Code::StorageUnavailable, outcome_unknown: false }
    }

    /// A failed call of a tool as a result that a model can act on, all else as an error.
    fn to_message(&self, id: &Value, is_call: bool) -> Bytes {
        if !is_call {
            return error_message(id, INTERNAL_ERROR, &self.message, None);
        }
        let error = Error::new(self.code, &self.message);
        let error = if self.outcome_unknown { error.with_unknown_outcome() } else { error };
        failed_call(id, &error)
    }
}

fn failed_call(id: &Value, error: &Error) -> Bytes {
    let result = as_result(error);
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string().into()
}

/// What a model should hear of a refusal, because waiting helps.
fn for_the_model(status: StatusCode, said: &Value) -> Option<Error> {
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS => Code::QuotaExceeded,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Code::Overloaded,
        StatusCode::GATEWAY_TIMEOUT => Code::Timeout,
        _ => return None,
    };
    let message = said["message"].as_str().or(said.as_str()).unwrap_or("the server is busy");
    Some(Error::new(code, message))
}

/// What the server refused, as the client's protocol says it.
fn refused(id: &Value, status: StatusCode, said: Value) -> Bytes {
    if said.get("jsonrpc").is_some() {
        return said.to_string().into();
    }
    let why = said["message"].as_str().or(said.as_str()).unwrap_or_default();
    let hint = match status {
        StatusCode::UNAUTHORIZED => " (kenning mcp takes the key from KENNING_KEY)",
        _ => "",
    };
    let message = format!("the server answered {status}: {why}{hint}");
    error_message(id, INTERNAL_ERROR, &message, Some(said))
}

fn error_message(id: &Value, code: i32, message: &str, data: Option<Value>) -> Bytes {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &Bytes) -> Value {
        serde_json::from_slice(message).unwrap()
    }

    #[test]
    fn a_refusal_is_an_error_with_what_was_said() {
        let said = json!({ "message": "this server needs a key" });
        let error = read(&refused(&json!(7), StatusCode::UNAUTHORIZED, said));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(error["id"] == 7 && message.contains("401"), "{error}");
        assert!(message.contains("needs a key") && message.contains("KENNING_KEY"), "{message}");
        let own = json!({ "jsonrpc": "2.0", "id": 7, "error": { "code": -32601 } });
        assert_eq!(read(&refused(&json!(7), StatusCode::NOT_FOUND, own.clone())), own);
    }

    #[test]
    fn a_model_hears_of_what_will_pass() {
        let said = json!({ "message": "busy" });
        let error = for_the_model(StatusCode::SERVICE_UNAVAILABLE, &said).unwrap();
        let result = read(&failed_call(&json!("a"), &error));
        assert_eq!((&result["id"], &result["result"]["isError"]), (&json!("a"), &json!(true)));
        assert!(for_the_model(StatusCode::UNAUTHORIZED, &said).is_none());
    }
}
