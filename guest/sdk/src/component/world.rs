//! Generated bindings of the types and of the imports of an extension.

wit_bindgen::generate!({ path: "wit", world: "extension", generate_unused_types: true });
