//! Sends requests by `wasi:http`.

use std::io::{Read, Write};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme,
};

use crate::http::{Error, Request, Response};

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    let Request { method, url, headers, body } = request;
    let outgoing = outgoing(method, url, headers)?;
    let to = outgoing.body().map_err(|()| broken("the request's body was taken"))?;
    let answering = outgoing_handler::handle(outgoing, None).map_err(failed)?;
    let mut stream = to.write().map_err(|()| broken("the body's stream was taken"))?;
    // If the host does not take all of it, it says why instead of an answer.
    let written = stream.write_all(body).and_then(|()| Write::flush(&mut stream));
    drop(stream);
    let finished = OutgoingBody::finish(to, None);
    answering.subscribe().block();
    let answer = match answering.get() {
        Some(Ok(answer)) => answer.map_err(failed)?,
        _ => return Err(broken("the host gave no answer")),
    };
    written.map_err(|error| broken(&error.to_string()))?;
    finished.map_err(failed)?;
    let status = answer.status();
    let text = |(name, value): (String, Vec<u8>)| {
        (name.to_ascii_lowercase(), String::from_utf8_lossy(&value).into_owned())
    };
    let headers = answer.headers().entries().into_iter().map(text).collect();
    let incoming = answer.consume().map_err(|()| broken("the answer was taken"))?;
    let mut stream = incoming.stream().map_err(|()| broken("the answer's stream was taken"))?;
    let mut body = Vec::new();
    stream.read_to_end(&mut body).map_err(|error| Error::Unavailable(error.to_string()))?;
    drop(stream);
    drop(IncomingBody::finish(incoming));
    Ok(Response { status, headers, body })
}

fn outgoing(
    method: &str,
    url: &str,
    headers: &[(String, String)],
) -> Result<OutgoingRequest, Error> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        _ => return Err(refused("its address begins with https:// or http://")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let fields = Fields::new();
    for (name, value) in headers {
        let value = value.as_bytes();
        fields.append(name, value).map_err(|error| refused(&format!("{name}: {error:?}")))?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(&named(method)).map_err(|()| refused("its method is none"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("its scheme is none"))?;
    request.set_authority(Some(authority)).map_err(|()| refused("its host is none"))?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    request.set_path_with_query(Some(&path)).map_err(|()| refused("its path is none"))?;
    Ok(request)
}

fn named(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn failed(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => refused(
            "the extension may not send it: the host was not granted (`--grant http:HOST`), or the \
             method is none that extensions send",
        ),
        ErrorCode::DestinationIpProhibited => {
            refused("its address is private, and the operator did not name the host")
        }
        ErrorCode::HttpRequestUriInvalid => refused("its address is no URL"),
        ErrorCode::HttpRequestBodySize(most) => too_large("the request's body", most),
        ErrorCode::HttpResponseBodySize(most) => too_large("the answer", most),
        ErrorCode::ConnectionLimitReached => {
            Error::TooLarge("the call has sent as many requests as it may".into())
        }
        ErrorCode::HttpResponseTimeout => Error::Timeout("there was no answer in time".into()),
        ErrorCode::DestinationUnavailable => {
            Error::Unavailable("the other side cannot be reached".into())
        }
        ErrorCode::ConnectionTerminated => Error::Unavailable("the connection was lost".into()),
        ErrorCode::InternalError(Some(why)) => Error::Other(why),
        other => Error::Other(format!("{other:?}")),
    }
}

fn too_large(what: &str, most: Option<u64>) -> Error {
    let most = most.map_or_else(|| "the limit".to_owned(), |most| format!("{most} bytes"));
    Error::TooLarge(format!("{what} is larger than {most}"))
}

fn refused(why: &str) -> Error {
    Error::Refused(format!("the request was not sent: {why}"))
}

fn broken(why: &str) -> Error {
    Error::Other(why.to_owned())
}
