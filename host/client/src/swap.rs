//! Sends a component to a server, which may take minutes with it, and shows what it is doing.

use bytes::Bytes;
use reqwest::header::{self, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::error::Error;
use crate::events::Events;
use crate::progress::Progress;
use crate::server::{JsonResponse, Server};

/// What the server answers with: the report, or events until the report is there.
const ACCEPTED: &str = "application/json, text/event-stream";

/// The data of an event: a step, or the answer.
#[derive(Deserialize)]
struct Told {
    step: Option<String>,
    #[serde(default)]
    waited_ms: u64,
    #[serde(default)]
    status: u16,
    body: Option<Box<RawValue>>,
}

impl Server {
    /// Sends a component with `request` and returns the report. Shows on the way what the server
    /// says it is doing.
    ///
    /// # Errors
    /// The same as [`Server::call`].
    pub(crate) async fn swap(
        &self,
        request: RequestBuilder,
        progress: &Progress,
    ) -> Result<JsonResponse, Error> {
        // An older server sends nothing before the report.
        let waited = self.timeouts().swap;
        let begun = timeout(waited, self.open(request.header(header::ACCEPT, ACCEPTED)));
        let response = begun.await.unwrap_or_else(|_| Err(self.idle_timeout(waited)))?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            return self.followed(response, progress).await;
        }
        let rest = timeout(self.timeouts().idle, self.complete(response));
        rest.await.unwrap_or_else(|_| Err(self.idle_timeout(self.timeouts().idle)))
    }

    /// Reads events up to the answer.
    async fn followed(
        &self,
        mut response: Response,
        progress: &Progress,
    ) -> Result<JsonResponse, Error> {
        let headers = response.headers().clone();
        let mut events = Events::default();
        while let Some(chunk) = self.chunk(&mut response).await? {
            let read =
                events.push(&chunk).map_err(|_| self.bad_response("an event is too long"))?;
            for event in read {
                let told = serde_json::from_str(&event.data);
                let told: Told = told.map_err(|error| self.bad_response(error.to_string()))?;
                if let Some(body) = told.body {
                    return self.answered(told.status, &headers, &body);
                }
                if let Some(step) = told.step {
                    progress.step(&step, told.waited_ms / 1_000);
                }
            }
        }
        Err(self.bad_response("it ended before the report"))
    }

    fn answered(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &RawValue,
    ) -> Result<JsonResponse, Error> {
        let body = Bytes::copy_from_slice(body.get().as_bytes());
        match StatusCode::from_u16(status) {
            Ok(status) if status.is_success() => Ok(self.json(status, body)),
            Ok(status) => Err(self.error_in(status, headers, body)),
            Err(error) => Err(self.bad_response(error.to_string())),
        }
    }
}
