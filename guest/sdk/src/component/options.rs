//! Generated bindings of the export `schema` of `kenning:options`.

wit_bindgen::generate!({
    path: "wit/options",
    world: "options-described",
    pub_export_macro: true,
});
