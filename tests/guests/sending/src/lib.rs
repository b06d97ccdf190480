//! An extension that sends the request which a query describes, and refuses the query with what
//! came of it.
//!
//! The query is an object with `url`, and maybe `method`, `body`, `times`, how often to send it,
//! and `trap`, to fail after that. What came of it is that of the last time.

#![cfg(target_family = "wasm")]

use kenning_extension::json::{self, Value, json};
use kenning_extension::{OnQuery, Query, Refusal, http};

struct Sending;

impl OnQuery for Sending {
    fn on_query(query: Query) -> Result<Query, Refusal> {
        let Ok(asked) = json::from_str::<Value>(&query.text) else { return Ok(query) };
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let method = asked["method"].as_str().unwrap_or("GET");
        let request = http::Request::new(method, text("url")).body(text("body"));
        for _ in 1..asked["times"].as_u64().unwrap_or(1) {
            let _ = request.send();
        }
        let said = match request.send() {
            Ok(answer) => json!({
                "status": answer.status,
                "body": answer.text(),
                "location": answer.header("location"),
            }),
            Err(error) => json!({ "error": format!("{error:?}") }),
        };
        assert!(asked["trap"] != true, "it was to fail");
        Err(Refusal::new(said.to_string()))
    }
}

kenning_extension::export!(Sending: OnQuery);
