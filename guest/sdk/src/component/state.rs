//! Generated bindings of the interface `state`. The types come from `world`.

wit_bindgen::generate!({
    path: ["wit", "wit/state"],
    world: "kenning:state/stateful",
    with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
});
