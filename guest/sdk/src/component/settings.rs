//! Generated bindings of the interface `settings`.

wit_bindgen::generate!({ path: "wit/settings", world: "configured" });
