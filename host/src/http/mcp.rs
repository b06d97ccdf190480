//! `/mcp`: the Model Context Protocol over streamable HTTP.
//!
//! The server never speaks first, so there is no stream to `GET`; each answer is one JSON message.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use kenning_storage::Revision;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::Span;

use super::answer::{DIGEST, EXTENSIONS, GENERATION, LEFT_OUT, REVISION, Refusal, name_guests};
use super::auth::Who;
use super::body;
use crate::http::App;
use crate::mcp::{Agent, Mcp, Options, Outcome, as_result};
use kenning_core::error::{Code, Error};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// What is looked at in a message before it is read as one of the protocol.
#[derive(Default, Deserialize)]
struct Envelope {
    #[serde(default)]
    method: String,
    id: Option<Box<RawValue>>,
}

/// Takes one message and answers it.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    Extension(agents): Extension<Arc<Mcp>>,
    request: Request,
) -> Response {
    let (mut head, body) = request.into_parts();
    let admitted = Who::from_request_parts(&mut head, &app).await;
    let who = match admitted {
        Ok(who) => Ok(who),
        // Whoever knows no key is not read to the end.
        Err(refusal) if !is_for_the_model(&refusal.0) => return refusal.into_response(),
        Err(refusal) => Err(refusal.0),
    };
    let (message, _held) = match body::read(body, &app).await {
        Ok(read) => read,
        Err(error) => return Refusal(error).into_response(),
    };
    let envelope: Envelope = serde_json::from_slice(&message).unwrap_or_default();
    match who {
        Ok(who) => match take(&agents, who, head, message, &envelope).await {
            Ok(response) => response,
            Err(error) => refuse(error, &envelope),
        },
        Err(error) => refuse(error, &envelope),
    }
}

/// Closes a session.
pub(super) async fn close(
    Extension(agents): Extension<Arc<Mcp>>,
    who: Who,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let _in_use = match head.headers.get(SESSION) {
        None => None,
        Some(id) => match agents.sessions().begin(&text(id), who.tenant()).await {
            Ok(in_use) => Some(in_use),
            Err(error) => return Refusal(error).into_response(),
        },
    };
    drop(who);
    one_message(agents.answer(Request::from_parts(head, Full::default())).await).await
}

/// Whether an agent should hear of it as the result of its call, because waiting helps.
fn is_for_the_model(error: &Error) -> bool {
    !matches!(error.code, Code::Unauthorized | Code::Forbidden | Code::InvalidRequest)
}

/// Answers a request that is not passed on: the call of a tool with a result that a model can act
/// on, anything else as `/v1` does.
fn refuse(error: Error, envelope: &Envelope) -> Response {
    let result = as_result(&error);
    let refused = Refusal(error).into_response();
    let Some(id) = &envelope.id else { return refused };
    let is_call = envelope.method == "tools/call";
    if !is_call || refused.status() == StatusCode::NOT_FOUND {
        return refused;
    }
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let mut response = axum::Json(answer).into_response();
    describe(&mut response, refused);
    response
}

async fn take(
    agents: &Mcp,
    who: Who,
    mut head: Parts,
    message: Bytes,
    envelope: &Envelope,
) -> Result<Response, Error> {
    let options = Query::<Options>::try_from_uri(&head.uri);
    let Query(options) = options.map_err(|error| Error::invalid("", error.body_text()))?;
    let tenant = who.tenant().clone();
    let session = head.headers.get(SESSION).map(text);
    let sessions = agents.sessions();
    let in_use = match &session {
        Some(id) => Some(sessions.begin(id, &tenant).await?),
        None => None,
    };
    let opens = session.is_none() && envelope.method == "initialize";
    let room = if opens { Some(sessions.make_room(&tenant).await?) } else { None };
    let agent = Agent { who, options, span: Span::current(), outcome: Arc::default() };
    head.extensions.insert(agent.clone());
    let answered = agents.answer(Request::from_parts(head, Full::new(message))).await;
    if let (Some(room), Some(id)) = (room, answered.headers().get(SESSION)) {
        room.opened(&text(id));
    }
    let mut response = one_message(answered).await;
    drop(in_use);
    match agent.take_outcome() {
        Outcome::NoCall => {}
        Outcome::Served(served_by, revision) => {
            name_guests(&mut response, &served_by);
            if let Some(Revision(revision)) = revision {
                response.headers_mut().insert(REVISION, revision.into());
            }
        }
        Outcome::Failed(error) => describe(&mut response, Refusal(error).into_response()),
    }
    Ok(response)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Says in the head of `response` what the head of `refused` says of the failure, and leaves its
/// record for whoever keeps them.
fn describe(response: &mut Response, mut refused: Response) {
    for name in [GENERATION, DIGEST, EXTENSIONS, LEFT_OUT, RETRY_AFTER] {
        if let Some(value) = refused.headers_mut().remove(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    response.extensions_mut().extend(std::mem::take(refused.extensions_mut()));
}

/// The whole answer: a stream of one event as its JSON, and a text as an error like those of `/v1`.
async fn one_message(answered: http::Response<BoxBody<Bytes, Infallible>>) -> Response {
    let (mut head, body) = answered.into_parts();
    let Ok(bytes) = body.collect().await.map(|body| body.to_bytes());
    let kind = |headers: &HeaderMap| headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
    let mut bytes = bytes;
    if kind(&head.headers).starts_with("text/event-stream")
        && let Some(message) = only_event(&bytes)
    {
        bytes = message;
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if head.status.is_client_error() && kind(&head.headers) != "application/json" {
        bytes = error_body(head.status, &bytes).to_string().into();
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(bytes))
}

/// The message of a stream that has one.
fn only_event(stream: &[u8]) -> Option<Bytes> {
    let lines = stream.split(|byte| *byte == b'\n');
    let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    let mut data = data.map(<[u8]>::trim_ascii).filter(|data| !data.is_empty());
    let only = data.next().filter(|_| data.next().is_none())?;
    Some(Bytes::copy_from_slice(only))
}

fn error_body(status: StatusCode, said: &[u8]) -> Value {
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        _ => Code::InvalidRequest,
    };
    Error::new(code, String::from_utf8_lossy(said).trim()).body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_one_event_is_its_message() {
        let only = |stream: &str| only_event(stream.as_bytes());
        assert_eq!(only("data: {\"a\":1}\n\n").unwrap(), "{\"a\":1}");
        assert_eq!(only("id: 0\nretry: 3\ndata:\n\nid: 1\ndata: {}\r\n\r\n").unwrap(), "{}");
        assert_eq!(only("data: {}\n\ndata: {}\n\n"), None);
        assert_eq!(only(""), None);
    }
}
