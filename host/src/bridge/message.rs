//! What is read and changed in a message on its way.

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::mcp::{IDEMPOTENCY_KEY, IS_RETRY};

/// The version of the protocol that a request names itself, from 2026-07-28 on.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Tools that may be called twice without another effect than once: they read, they set something
/// to a value, or they carry a key.
const SAFE: [&str; 16] = [
    "store_fact",
    "get_fact",
    "search_facts",
    "list_facts",
    "update_fact",
    "delete_fact",
    "kb_stats",
    "create_entities",
    "create_relations",
    "add_observations",
    "delete_entities",
    "delete_observations",
    "delete_relations",
    "read_graph",
    "search_nodes",
    "open_nodes",
];

/// A message of the client.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) value: Value,
}

impl Message {
    /// Reads a message; `None` if it is no JSON object.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        value.is_object().then_some(Self { value })
    }

    pub(super) fn method(&self) -> Option<&str> {
        self.value["method"].as_str()
    }

    /// The id of a request, as JSON; `None` of a notification or an answer.
    pub(super) fn request_id(&self) -> Option<&Value> {
        self.method()?;
        self.value.get("id").filter(|id| !id.is_null())
    }

    /// The request that a notification cancels.
    pub(super) fn cancels(&self) -> Option<&Value> {
        (self.method()? == "notifications/cancelled").then(|| &self.value["params"]["requestId"])
    }

    /// The version of the protocol that the message names itself.
    pub(super) fn own_version(&self) -> Option<&str> {
        self.value["params"]["_meta"][VERSION].as_str()
    }

    /// What the header Mcp-Name says of the message.
    pub(super) fn name(&self) -> Option<&str> {
        let params = &self.value["params"];
        match self.method()? {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            _ => None,
        }
    }

    pub(super) fn is_call(&self) -> bool {
        self.method() == Some("tools/call")
    }

    /// Gives a store a key, by which the server knows it when it comes again.
    pub(super) fn with_key(mut self) -> Self {
        if self.is_call() && self.name() == Some("store_fact") {
            self.set_hint(IDEMPOTENCY_KEY, Uuid::new_v4().to_string().into());
        }
        self
    }

    /// Says that it may have arrived before.
    pub(super) fn mark_retry(&mut self) {
        if self.is_call() {
            self.set_hint(IS_RETRY, true.into());
        }
    }

    fn set_hint(&mut self, name: &str, hint: Value) {
        let params = &mut self.value["params"];
        if !params["_meta"].is_object() {
            params["_meta"] = json!({});
        }
        let hints = params["_meta"].as_object_mut();
        hints.map(|hints| hints.entry(name).or_insert(hint));
    }

    /// Whether the message may be sent again although it may have arrived.
    pub(super) fn is_safe_twice(&self) -> bool {
        !self.is_call() || self.name().is_some_and(|name| SAFE.contains(&name))
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        self.value.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Value) -> Message {
        Message::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_store_gets_a_key_once() {
        let call = json!({ "id": 1, "method": "tools/call", "params": { "name": "store_fact" } });
        let stored = message(call).with_key();
        let key = stored.value["params"]["_meta"][IDEMPOTENCY_KEY].clone();
        assert!(key.is_string());
        assert_eq!(stored.with_key().value["params"]["_meta"][IDEMPOTENCY_KEY], key);
        let other = json!({ "id": 1, "method": "tools/call", "params": { "name": "get_fact" } });
        assert!(message(other).with_key().value["params"].get("_meta").is_none());
    }

    #[test]
    fn requests_notifications_and_answers_are_told_apart() {
        let request = message(json!({ "id": "a", "method": "ping" }));
        assert_eq!(request.request_id(), Some(&json!("a")));
        assert_eq!(message(json!({ "method": "ping" })).request_id(), None);
        assert_eq!(message(json!({ "id": 1, "result": {} })).request_id(), None);
        let cancelled =
            json!({ "method": "notifications/cancelled", "params": { "requestId": 7 } });
        assert_eq!(message(cancelled).cancels(), Some(&json!(7)));
        assert!(Message::read(b"[]").is_none() && Message::read(b"{").is_none());
    }

    #[test]
    fn an_unknown_tool_is_not_called_twice() {
        let call = |name| message(json!({ "method": "tools/call", "params": { "name": name } }));
        assert!(call("update_fact").is_safe_twice());
        assert!(!call("launch").is_safe_twice());
        assert!(message(json!({ "method": "tools/list" })).is_safe_twice());
    }
}
