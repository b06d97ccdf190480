//! Generated bindings of the hook `on-change`. The types come from `world`.

wit_bindgen::generate!({
    path: ["wit", "wit/events"],
    inline: "
        package kenning:hooks;
        world on-change-only {
          export kenning:events/on-change@0.1.0;
        }
    ",
    world: "kenning:hooks/on-change-only",
    with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
    pub_export_macro: true,
});
