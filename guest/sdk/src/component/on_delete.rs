//! Generated bindings of the hook `on-delete`. The types come from `world`.

wit_bindgen::generate!({
    path: ["wit", "wit/events"],
    inline: "
        package kenning:hooks;
        world on-delete-only {
          export kenning:events/on-delete@0.1.0;
        }
    ",
    world: "kenning:hooks/on-delete-only",
    with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
    pub_export_macro: true,
});
