//! Generated bindings of the hook `on-query`. The types come from `world`.

wit_bindgen::generate!({
    path: "wit",
    inline: "
        package kenning:hooks;
        world on-query-only {
          export kenning:knowledge/on-query@0.1.0;
        }
    ",
    with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
    pub_export_macro: true,
});
