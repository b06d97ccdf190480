//! Generated bindings of the interface `context`. The types come from `world`.

wit_bindgen::generate!({
    path: ["wit", "wit/context"],
    world: "kenning:context/asked",
    with: { "kenning:knowledge/types@0.1.0": crate::component::world::kenning::knowledge::types },
});
