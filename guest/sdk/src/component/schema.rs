//! Generated bindings of the export `schema`.

wit_bindgen::generate!({ path: "wit/settings", world: "described", pub_export_macro: true });
