//! Bodies of the routes that take JSON.
//!
//! - Any bytes are read or refused, and a refusal says where.
//! - What is read keeps what the logic may rely on: metadata is a JSON object, a search is within
//!   its limits.
//! - Spaces around a body make no difference.
//!
//! The first byte picks the route, the others are the body.

use kenning::fuzzing::{Read, Route, read_body};
use kenning_core::limits::Limits;
use kenning_runtime::wit::Draft;
use serde_json::{Map, Value};

use crate::Verdict;
use crate::pointer::assert_refusal;

const ROUTES: [Route; 4] = [Route::Store, Route::Batch, Route::Update, Route::Search];

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    let Some((route, body)) = bytes.split_first() else { return Verdict::Refused };
    let route = ROUTES[usize::from(*route) % ROUTES.len()];
    let limits = Limits { batch_facts: 4, query_bytes: 64, search_hits: 9, ..Limits::default() };
    let read = read_body(route, body, &limits);
    let spaced = read_body(route, &[b"\n ", body, b"\t\r\n"].concat(), &limits);
    assert_eq!(read.is_ok(), spaced.is_ok(), "spaces make a difference");
    match &read {
        Ok(read) => assert_read(read, &limits),
        Err(error) => assert_refusal(error, body),
    }
    Verdict::taken_if(read.is_ok())
}

fn assert_read(read: &Read, limits: &Limits) {
    match read {
        Read::Store(submission) => assert_draft(&submission.draft),
        Read::Batch(submissions) => {
            assert!((1..=limits.batch_facts).contains(&submissions.len()));
            for submission in submissions {
                match submission {
                    Ok(submission) => assert_draft(&submission.draft),
                    Err(error) => assert_refusal(error, b""),
                }
            }
        }
        Read::Update(patch) => {
            if let Some(metadata) = &patch.metadata {
                assert_object(metadata.as_str());
            }
        }
        Read::Search(search) => {
            let query = &search.query;
            assert!((1..=limits.search_hits).contains(&(query.top_k as usize)));
            assert!(query.text.len() <= limits.query_bytes);
            if let Some(filter) = &query.filter {
                assert!(serde_json::from_str::<&serde_json::value::RawValue>(filter).is_ok());
            }
        }
    }
}

/// Sees that a draft is as the contract has it.
pub fn assert_draft(draft: &Draft) {
    assert_object(&draft.metadata);
}

fn assert_object(text: &str) {
    assert!(serde_json::from_str::<Map<String, Value>>(text).is_ok(), "no object: {text}");
}
