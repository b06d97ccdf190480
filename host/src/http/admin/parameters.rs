//! Query parameters of the admin routes. Only known names are accepted, each once, so that a typo
//! in a bound is an error and not the default.

use std::sync::Arc;

use axum::extract::{self, FromRequestParts};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Admin;
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::Digest;
use crate::swap::{Bounds, Proposal, Rollback, Steps};
use kenning_core::error::Error;

/// The digest that a component must have; also a parameter.
const DIGEST: &str = "x-kenning-digest";

/// What every swap takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
pub(super) struct SwapParameters {
    /// Only check, prove and report.
    #[param(nullable = false)]
    dry_run: Option<bool>,
    /// Promote it whatever the proof says; the record names who did.
    #[param(nullable = false)]
    force: Option<bool>,
    /// Why, for the record of the act.
    #[param(nullable = false, max_length = 512)]
    reason: Option<String>,
    /// `sha256:…` that the bytes must have; also as the header `x-kenning-digest`.
    #[param(nullable = false, value_type = Option<Digest>)]
    digest: Option<String>,
    /// How many replayed requests may fail with it and not without.
    #[param(nullable = false, minimum = 0, maximum = 100)]
    max_errors_percent: Option<u32>,
    /// How much of the order of hits must stay.
    #[param(nullable = false, minimum = 0, maximum = 100)]
    min_overlap_percent: Option<u32>,
    /// The most fuel it may use, in percent of the live generation's.
    #[param(nullable = false, minimum = 0)]
    max_fuel_percent: Option<u32>,
    /// The most time it may take, in percent of the live generation's.
    #[param(nullable = false, minimum = 0)]
    max_time_percent: Option<u32>,
}

/// What a path names. In place of axum's own, which answers in plain text where it fails.
pub(in crate::http) struct Path<T>(pub(in crate::http) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        match extract::Path::from_request_parts(parts, app).await {
            Ok(extract::Path(named)) => Ok(Self(named)),
            Err(error) => Err(Error::invalid("/path", error.body_text()).into()),
        }
    }
}

/// The JSON pointer to a parameter.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Query parameters whose names are known.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn new(given: Vec<(String, String)>, known: &[String]) -> Result<Self, Error> {
        for (at, (name, _)) in given.iter().enumerate() {
            if !known.contains(name) {
                let message = format!("there is no parameter {name:?}; there are {known:?}");
                return Err(Error::invalid(&pointer(name), message));
            }
            if given[..at].iter().any(|(before, _)| before == name) {
                let message = format!("the parameter {name:?} is there twice");
                return Err(Error::invalid(&pointer(name), message));
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
            Error::invalid(&pointer(name), format!("{name} is a whole number, not {text:?}"))
        })
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::invalid(
                &pointer(name),
                format!("{name} is true or false, not {other:?}"),
            )),
        }
    }

    /// A rollback to the generation that is named, or to the one to choose.
    pub(super) fn rollback(&self, admin: &Admin) -> Result<Rollback, Error> {
        Ok(Rollback::requested(self.number("generation")?, admin.name()))
    }

    /// A swap with `bytes`, as the parameters say.
    pub(super) fn proposal(
        &self,
        bytes: Bytes,
        headers: &HeaderMap,
        admin: &Admin,
        app: &App,
        steps: Steps,
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
                return Err(Error::invalid(&pointer(name), message));
            }
        }
        let in_header = headers.get(DIGEST).and_then(|digest| digest.to_str().ok());
        let digest = self.text("digest").or(in_header).map(str::to_string);
        let forced_by = self.flag("force")?.then(|| admin.name().to_string());
        let (dry_run, sent_by) = (self.flag("dry_run")?, admin.name().to_string());
        Ok(Proposal { bytes, digest, bounds, dry_run, sent_by, forced_by, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn known(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_the_known_ones_are_named() {
        let known = known(&["order"]);
        let error = Parameters::new(given(&[("ordre", "1")]), &known).err().unwrap();
        assert!(error.message.contains("ordre") && error.message.contains("order"));
    }

    #[test]
    fn a_parameter_of_the_wrong_type_is_refused() {
        let parameters = given(&[("order", "first"), ("dry_run", "yes")]);
        let parameters = Parameters::new(parameters, &known(&["order", "dry_run"])).ok().unwrap();
        assert!(parameters.number::<i32>("order").is_err());
        assert!(parameters.flag("dry_run").is_err());
        assert!(!parameters.flag("force").unwrap());
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        assert!(
            Parameters::new(given(&[("order", "1"), ("order", "2")]), &known(&["order"])).is_err()
        );
    }
}
