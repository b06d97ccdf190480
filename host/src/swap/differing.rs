//! Replayed requests whose answers differ with a candidate, as examples in its report.

use serde::Serialize;
use utoipa::ToSchema;

use super::overlap::{common, rank_biased_overlap};
use crate::kb::{Observed, Request};

/// Most ids of one answer in an example.
const IDS: usize = 10;

/// Most characters of a request's text in an example.
const CHARACTERS: usize = 200;

/// A replayed request whose answers differ.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DifferingRequest)]
pub(super) struct Differing {
    /// `store`, `get`, `list` or `search`.
    kind: &'static str,
    /// What was asked for, shortened. Only on a server without keys: what a tenant asks is not for
    /// the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request: Option<String>,
    /// How much of the answer stays, from 0 to 1; left out where one of them is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0, maximum = 1)]
    overlap: Option<f64>,
    live: Side,
    candidate: Side,
}

/// One of the two answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DifferingAnswer)]
struct Side {
    /// The first facts, in their order; `new 1` and so on for those that a store would make.
    #[schema(max_items = 10)]
    ids: Vec<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

impl Differing {
    /// The example, if the answers differ. A request that fails with both is none.
    pub(super) fn between(
        request: &Request,
        live: &Observed,
        candidate: &Observed,
        shows_text: bool,
    ) -> Option<Self> {
        let overlap = match (&live.error, &candidate.error) {
            (Some(_), Some(_)) => return None,
            (None, None) => match overlap(request, live, candidate) {
                1.0 => return None,
                overlap => Some(overlap),
            },
            _ => None,
        };
        let request_text = shows_text.then(|| text(request).chars().take(CHARACTERS).collect());
        let (live, candidate) = (Side::new(request, live), Side::new(request, candidate));
        Some(Self { kind: kind(request), request: request_text, overlap, live, candidate })
    }
}

/// How much of what the caller sees stays.
pub(super) fn overlap(request: &Request, live: &Observed, candidate: &Observed) -> f64 {
    match request {
        Request::Search(_) => rank_biased_overlap(&live.ids, &candidate.ids),
        _ => common(&live.ids, &candidate.ids),
    }
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Store(_) => "store",
        Request::Get(_) => "get",
        Request::List { .. } => "list",
        Request::Search(_) => "search",
    }
}

fn text(request: &Request) -> &str {
    match request {
        Request::Store(submission) => &submission.draft.text,
        Request::Get(id) => id,
        Request::List { containing, .. } => containing.as_deref().unwrap_or("all facts"),
        Request::Search(search) => &search.query.text,
    }
}

impl Side {
    fn new(request: &Request, observed: &Observed) -> Self {
        let ids = observed.ids.iter().take(IDS);
        let ids = match request {
            Request::Store(_) => ids.enumerate().map(|(at, _)| format!("new {}", at + 1)).collect(),
            _ => ids.cloned().collect(),
        };
        Self { ids, error: observed.error.as_ref().map(ToString::to_string) }
    }
}

#[cfg(test)]
mod tests {
    use kenning_core::error::{Code, Error};
    use serde_json::json;

    use super::*;

    fn observed(ids: &str, error: Option<Error>) -> Observed {
        let ids = ids.chars().map(String::from).collect();
        let (took, computed, costs) = Default::default();
        Observed { error, ids, degraded: false, fuel: 1, took, computed, costs }
    }

    fn example(live: &Observed, candidate: &Observed, shows_text: bool) -> serde_json::Value {
        let request = Request::List { containing: Some("tea".into()), limit: 3 };
        json!(Differing::between(&request, live, candidate, shows_text))
    }

    #[test]
    fn equal_answers_and_common_failures_are_no_examples() {
        let failed = || observed("", Some(Error::new(Code::Rejected, "no")));
        assert!(example(&observed("ab", None), &observed("ab", None), true).is_null());
        assert!(example(&failed(), &failed(), true).is_null());
    }

    #[test]
    fn an_example_names_what_was_asked_only_where_that_is_no_secret() {
        let (live, candidate) = (observed("ab", None), observed("b", None));
        let shown = example(&live, &candidate, true);
        assert_eq!(shown["request"], "tea");
        assert_eq!(shown["overlap"], 0.5);
        assert_eq!(shown["candidate"]["ids"], json!(["b"]));
        assert!(example(&live, &candidate, false).get("request").is_none());
    }

    #[test]
    fn an_error_of_one_side_is_an_example() {
        let failed = observed("", Some(Error::new(Code::Rejected, "no tea")));
        let shown = example(&observed("ab", None), &failed, true);
        assert!(shown["candidate"]["error"].as_str().unwrap().contains("no tea"), "{shown}");
        assert!(shown.get("overlap").is_none());
    }
}
