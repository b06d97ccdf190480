//! What stands after the `?` of an admin route: known names only, each once, so that
//! a typo in a bound is an error and not the default.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Admin;
use crate::http::App;
use crate::http::body::discard;
use crate::swap::{Bounds, Proposal};
use kenning_core::error::{Code, Error};

/// The digest that a component must have; also a parameter.
const DIGEST: &str = "x-kenning-digest";

/// Checked parameters.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// What every swap takes.
    pub(super) const OF_A_SWAP: &'static [&'static str] = &[
        "dry_run",
        "force",
        "digest",
        "max_errors_percent",
        "min_overlap_percent",
        "max_fuel_percent",
        "max_time_percent",
    ];

    pub(super) fn new(given: Vec<(String, String)>, known: &[&str]) -> Result<Self, Error> {
        for (at, (name, _)) in given.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let message = format!("there is no parameter {name:?}; there are {known:?}");
                return Err(Error::invalid(&format!("/{name}"), message));
            }
            if given[..at].iter().any(|(before, _)| before == name) {
                let message = format!("the parameter {name:?} is there twice");
                return Err(Error::invalid(&format!("/{name}"), message));
            }
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Error::invalid(&format!("/{name}"), format!("{name} is a whole number, not {text:?}"))
        })
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::invalid(
                &format!("/{name}"),
                format!("{name} is true or false, not {other:?}"),
            )),
        }
    }

    /// A swap with `bytes`, as the parameters say.
    pub(super) fn proposal(
        &self,
        bytes: Bytes,
        headers: &HeaderMap,
        admin: &Admin,
        app: &App,
    ) -> Result<Proposal, Error> {
        let mut bounds = Bounds::new(&app.limits);
        for (name, bound) in [
            ("max_errors_percent", &mut bounds.errors_percent),
            ("min_overlap_percent", &mut bounds.overlap_percent),
            ("max_fuel_percent", &mut bounds.fuel_percent),
            ("max_time_percent", &mut bounds.time_percent),
        ] {
            *bound = self.number(name)?.unwrap_or(*bound);
        }
        for (name, share) in [
            ("max_errors_percent", bounds.errors_percent),
            ("min_overlap_percent", bounds.overlap_percent),
        ] {
            if share > 100 {
                let message = format!("{name} is a share, at most 100, not {share}");
                return Err(Error::invalid(&format!("/{name}"), message));
            }
        }
        let in_header = headers.get(DIGEST).and_then(|digest| digest.to_str().ok());
        let digest = self.text("digest").or(in_header).map(str::to_string);
        let forced_by = self.flag("force")?.then(|| admin.name().to_string());
        Ok(Proposal { bytes, digest, bounds, dry_run: self.flag("dry_run")?, forced_by })
    }
}

/// Components in memory at once; the next waits for its turn.
static UPLOADS: Semaphore = Semaphore::const_new(2);

/// A component, which has its place until it is dropped.
pub(super) struct Upload {
    pub(super) bytes: Bytes,
    _place: SemaphorePermit<'static>,
}

/// A component's bytes, bounded in size and time.
pub(super) async fn component(mut body: Body, app: &App) -> Result<Upload, Error> {
    let (allowed, bound) = (app.limits.component_bytes, app.limits.component_upload);
    let upload = async {
        let place = UPLOADS.acquire().await.map_err(|_| "no uploads any more")?;
        let body = Limited::new(&mut body, allowed).collect().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((body.to_bytes(), place))
    };
    match timeout(bound, upload).await {
        Ok(Ok((bytes, place))) => Ok(Upload { bytes, _place: place }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let _ = timeout(bound, discard(body, allowed)).await;
            Err(Error::new(
                Code::TooLarge,
                format!("component_bytes is limited to {allowed}, and this component has more"),
            )
            .with_details(serde_json::json!({ "limit": "component_bytes", "allowed": allowed })))
        }
        Ok(Err(_)) => Err(Error::invalid("", "the component ended before it was whole")),
        Err(_) => {
            let seconds = bound.as_secs_f64();
            Err(Error::invalid("", format!("the component did not arrive within {seconds} s")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_typo_is_an_error_that_names_what_there_is() {
        let error = Parameters::new(given(&[("ordre", "1")]), &["order"]).err().unwrap();
        assert!(error.message.contains("ordre") && error.message.contains("order"));
    }

    #[test]
    fn what_is_no_number_and_no_flag_is_refused() {
        let parameters = given(&[("order", "first"), ("dry_run", "yes")]);
        let parameters = Parameters::new(parameters, &["order", "dry_run"]).ok().unwrap();
        assert!(parameters.number::<i32>("order").is_err());
        assert!(parameters.flag("dry_run").is_err());
        assert!(!parameters.flag("force").unwrap());
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        assert!(Parameters::new(given(&[("order", "1"), ("order", "2")]), &["order"]).is_err());
    }
}
