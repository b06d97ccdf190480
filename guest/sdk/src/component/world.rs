//! The types, and what an extension may import.

wit_bindgen::generate!({ path: "wit", world: "extension", generate_unused_types: true });
