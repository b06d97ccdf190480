//! The id in a path.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Path};
use http::request::Parts;

use super::answer::Refusal;
use crate::http::App;
use kenning_core::error::Error;

/// The id in a path, which is the path's last segment where a route has a word for one; the logic
/// decides which ids are valid.
pub(super) struct Id(pub(super) String);

impl FromRequestParts<Arc<App>> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let route = parts.extensions.get::<MatchedPath>().map_or("{", MatchedPath::as_str);
        if let Some((_, word)) = route.rsplit_once('/').filter(|_| !route.contains('{')) {
            return Ok(Self(word.into()));
        }
        match Path::from_request_parts(parts, app).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(error) => Err(Error::invalid("/fact_id", error.body_text()).into()),
        }
    }
}
