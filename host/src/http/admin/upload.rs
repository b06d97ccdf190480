//! Receives a component: bounded in size, in time and in number, and no slower than it may be.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::time::timeout;

use crate::http::App;
use crate::http::body::discard;
use crate::http::gzip::Undecodable;
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;

/// Over how long the least rate is measured.
const WINDOW: Duration = Duration::from_secs(5);

/// Why a component did not arrive.
enum Missing {
    TooLarge,
    BrokenOff,
    Slow,
    Undecodable(Error),
}

/// The bytes of a component of `tenant`, or of the server-wide logic. They count as an upload until
/// they are dropped.
pub(super) async fn component(
    mut body: Body,
    tenant: Option<&str>,
    app: &App,
) -> Result<Bytes, Error> {
    let (limits, bound) = (&app.limits, app.limits.component_upload);
    let permit = match app.uploads.permit(tenant, bound).await {
        Ok(permit) => permit,
        Err(error) => {
            let _ = timeout(bound, discard(body, limits.component_bytes)).await;
            return Err(error);
        }
    };
    match timeout(bound, collect(&mut body, limits, WINDOW)).await {
        Ok(Ok(bytes)) => Ok(permit.attach(bytes)),
        Ok(Err(Missing::TooLarge)) => {
            let _ = timeout(bound, discard(body, limits.component_bytes)).await;
            Err(too_large(limits))
        }
        Ok(Err(Missing::BrokenOff)) => Err(Error::invalid("", "the component ended early")),
        Ok(Err(Missing::Slow)) => Err(too_slow(limits)),
        Ok(Err(Missing::Undecodable(error))) => Err(error),
        Err(_) => {
            let seconds = bound.as_secs_f64();
            Err(Error::invalid("", format!("the component did not arrive within {seconds} s")))
        }
    }
}

/// Reads the whole body, of which a part must arrive in every `window`.
async fn collect(body: &mut Body, limits: &Limits, window: Duration) -> Result<Bytes, Missing> {
    let mut body = Limited::new(body, limits.component_bytes);
    let part = limits.component_upload_bytes_per_second as f64 * window.as_secs_f64();
    let mut bytes = BytesMut::new();
    loop {
        let least = bytes.len() + part as usize;
        let ended = timeout(window, read_until(&mut body, &mut bytes, least)).await;
        if ended.map_err(|_| Missing::Slow)?? {
            return Ok(bytes.freeze());
        }
    }
}

/// Reads until there are `least` bytes, or until the end; returns whether it ended.
async fn read_until(
    body: &mut Limited<&mut Body>,
    bytes: &mut BytesMut,
    least: usize,
) -> Result<bool, Missing> {
    while bytes.len() <= least {
        let Some(frame) = body.frame().await else { return Ok(true) };
        let frame = frame.map_err(|error| match Undecodable::in_error(&*error) {
            Some(reason) => Missing::Undecodable(reason.to_error()),
            None if error.is::<LengthLimitError>() => Missing::TooLarge,
            None => Missing::BrokenOff,
        })?;
        // Trailers are ignored.
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(false)
}

fn too_large(limits: &Limits) -> Error {
    let allowed = limits.component_bytes;
    let message = format!("component_bytes is limited to {allowed}, and this component has more");
    Error::new(Code::TooLarge, message)
        .with_details(json!({ "limit": "component_bytes", "allowed": allowed }))
}

fn too_slow(limits: &Limits) -> Error {
    let allowed = limits.component_upload_bytes_per_second;
    let message = format!(
        "the component arrived too slowly: component_upload_bytes_per_second requires {allowed} \
         bytes a second, on average over {} s",
        WINDOW.as_secs()
    );
    Error::new(Code::InvalidRequest, message).with_details(json!({
        "pointer": "",
        "limit": "component_upload_bytes_per_second",
        "allowed": allowed,
    }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn limits() -> Limits {
        Limits { component_upload_bytes_per_second: 1_000, ..Limits::default() }
    }

    #[tokio::test]
    async fn a_component_that_dribbles_in_is_given_up() {
        let dribbled = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"a")) });
        let mut body = Body::from_stream(dribbled.chain(stream::pending()));
        assert!(matches!(collect(&mut body, &limits(), SHORT).await, Err(Missing::Slow)));
    }

    #[tokio::test]
    async fn a_component_that_comes_in_one_piece_or_in_many_is_whole() {
        let pieces = stream::iter([&b"abc"[..], b"", b"def"]).map(Ok::<_, Infallible>);
        let mut body = Body::from_stream(pieces);
        assert_eq!(collect(&mut body, &limits(), SHORT).await.ok().unwrap(), "abcdef");
        let mut large = Body::from(vec![7; 100_000]);
        assert_eq!(collect(&mut large, &limits(), SHORT).await.ok().unwrap().len(), 100_000);
        let small = Limits { component_bytes: 10, ..limits() };
        let mut large = Body::from(vec![7; 11]);
        assert!(matches!(collect(&mut large, &small, SHORT).await, Err(Missing::TooLarge)));
    }
}
