//! An error as a result that a model can act on.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;

use kenning_core::error::{Code, Error};

/// The failed call as a result: its text is a JSON object with the code, the message and what to
/// do. It has no structured content, which would have to be what the tool returns otherwise.
pub(crate) fn as_result(error: &Error) -> CallToolResult {
    let mut body = json!({
        "code": error.code.as_str(),
        "message": error.message,
        "what_to_do": what_to_do(error),
        "retryable": error.retryable || error.retry_after.is_some(),
    });
    if let Some(after) = error.retry_after {
        body["retry_after_seconds"] = after.as_secs_f64().ceil().max(1.0).into();
    }
    if let Some(details) = &error.details {
        body["details"] = (**details).clone();
    }
    CallToolResult::error(vec![ContentBlock::text(body.to_string())])
}

/// Advice for a model, by what went wrong.
fn what_to_do(error: &Error) -> &'static str {
    let unknown = error.details.as_ref().is_some_and(|details| details["outcome"] == "unknown");
    if unknown {
        return "It may have taken effect all the same: read the fact or search for it before you \
                try again.";
    }
    match error.code {
        Code::InvalidRequest | Code::MethodNotAllowed | Code::UnsupportedMediaType => {
            "Correct the arguments and call the tool again; details.pointer says which one is \
             wrong."
        }
        Code::InvalidFilter => {
            "Correct the filter and call the tool again, such as {\"topic\":\"network\"} or \
             {\"year\":{\"gte\":2025}}."
        }
        Code::Unauthorized | Code::Forbidden => {
            "Tell the user that the key, or the way this server was started, does not permit this; \
             calling again does not help."
        }
        Code::NotFound => "Search for it, or list what there is; it may have been deleted.",
        Code::Conflict => {
            "A fact with this id says something else: read it with get_fact, then change it with \
             update_fact, or store the new one without an id."
        }
        Code::TooLarge => "Split it into smaller parts, or ask for less.",
        Code::QuotaExceeded => {
            "Wait for retry_after_seconds and call again; if a quota of facts is used up, delete \
             facts that are not needed or tell the user."
        }
        Code::Rejected => {
            "One of the tenant's extensions refuses this, for the reason in the message: change \
             what you store, or tell the user."
        }
        Code::Overloaded => "Wait a second and call again.",
        Code::StorageUnavailable | Code::EmbeddingUnavailable | Code::Timeout => {
            "Call again after some seconds; if it fails again, tell the user."
        }
        Code::StorageFull => "Tell the user that the server's disk is full.",
        Code::GuestTrapped
        | Code::GuestOutOfFuel
        | Code::GuestOutOfMemory
        | Code::GuestLimit
        | Code::GuestInvalid
        | Code::IncompatibleComponent
        | Code::DimensionMismatch
        | Code::Internal => {
            "This is a fault of the server or of an extension: tell the user, with the code and \
             the message."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(error: &Error) -> serde_json::Value {
        let result = as_result(error);
        assert_eq!((result.is_error, &result.structured_content), (Some(true), &None));
        serde_json::from_str(&result.content[0].as_text().unwrap().text).unwrap()
    }

    #[test]
    fn a_model_is_told_what_went_wrong_and_what_to_do() {
        let found = body(&Error::invalid("/content", "content is required"));
        assert_eq!(
            (&found["code"], &found["retryable"]),
            (&json!("invalid_request"), &json!(false))
        );
        assert_eq!(found["details"]["pointer"], "/content");
        let quota = Error::quota("requests", 1, 1, std::time::Duration::from_millis(1_200));
        assert_eq!(body(&quota)["retry_after_seconds"], 2.0);
    }

    #[test]
    fn a_model_is_told_when_a_write_may_have_happened() {
        let lost = Error::new(Code::Timeout, "late").with_unknown_outcome();
        assert!(body(&lost)["what_to_do"].as_str().unwrap().contains("may have taken effect"));
    }
}
