//! What comes of a request: an answer, or why there is none.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use wasmtime_wasi_http::{Error, WasiBody};

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// What comes of a request.
pub(crate) type Reply = Result<Answer, Failed>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Failed {
    /// The host did not send it; the text says why.
    Denied(String),
    /// The address is not for extensions; the text says what is there.
    Prohibited(String),
    /// The request is no request.
    Invalid(String),
    /// The guest did not finish the body.
    Unfinished,
    /// The body is larger than this many bytes.
    RequestTooLarge(u64),
    /// The answer is larger than this many bytes.
    AnswerTooLarge(u64),
    /// The call has sent this many already.
    TooMany(u32),
    /// There was no answer in the time that was left.
    Timeout,
    /// No connection came about; the text says why.
    Unreachable(String),
    /// The connection ended before the answer did.
    Lost(String),
    /// The call is a replay that counts for nothing, and nothing is sent.
    Proof,
    /// The call is replayed, and the recording does not have this answer.
    NotRecorded,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) | Self::Invalid(why) => f.write_str(why),
            Self::Prohibited(what) => write!(
                f,
                "its address is {what}, which extensions do not reach unless the operator names \
                 the host in `private_hosts`"
            ),
            Self::Unfinished => f.write_str("the extension did not finish the request's body"),
            Self::RequestTooLarge(allowed) => {
                write!(f, "its body is larger than http_request_bytes allows: {allowed} bytes")
            }
            Self::AnswerTooLarge(allowed) => {
                write!(f, "the answer is larger than http_answer_bytes allows: {allowed} bytes")
            }
            Self::TooMany(allowed) => {
                write!(f, "the call has sent all {allowed} requests that http_requests allows")
            }
            Self::Timeout => f.write_str(
                "there was no whole answer within http_ms and the rest of the call's time",
            ),
            Self::Unreachable(why) => write!(f, "the host cannot be reached: {why}"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
            Self::Proof => f.write_str(
                "a proof replays requests to compare two generations, and sends nothing",
            ),
            Self::NotRecorded => f.write_str("the recording has no answer to this request"),
        }
    }
}

impl Failed {
    /// As `wasi:http` says it. A sentence goes along where the code alone does not tell.
    pub(super) fn to_wasi(&self) -> Error {
        match self {
            Self::Denied(_) => Error::HttpRequestDenied,
            Self::Prohibited(_) => Error::DestinationIpProhibited,
            Self::Invalid(_) => Error::HttpRequestUriInvalid,
            Self::Unfinished => Error::HttpProtocolError,
            Self::RequestTooLarge(allowed) => Error::HttpRequestBodySize(Some(*allowed)),
            Self::AnswerTooLarge(allowed) => Error::HttpResponseBodySize(Some(*allowed)),
            Self::TooMany(_) => Error::ConnectionLimitReached,
            Self::Timeout => Error::HttpResponseTimeout,
            Self::Unreachable(_) => Error::DestinationUnavailable,
            Self::Lost(_) => Error::ConnectionTerminated,
            Self::Proof | Self::NotRecorded => Error::InternalError(Some(self.to_string())),
        }
    }
}

impl Answer {
    /// As `wasi:http` hands it to the guest.
    pub(super) fn into_wasi(self) -> Result<Response<WasiBody>, Error> {
        let body = Full::new(Bytes::from(self.body));
        let body = body.map_err(|never: Infallible| -> Error { match never {} });
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() =
            StatusCode::from_u16(self.status).map_err(|_| Error::HttpProtocolError)?;
        for (name, value) in self.headers {
            let name = HeaderName::try_from(name).map_err(|_| Error::HttpProtocolError)?;
            let value = HeaderValue::try_from(value).map_err(|_| Error::HttpProtocolError)?;
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }
}
