//! The Rust side of `wit/`, in a crate of its own: generating it is slow, and it
//! changes only when the contract does.
//!
//! The logic's world stands at the root. Each hook of an extension has a module of
//! its own, and all of them share the root's types.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "logic",
    imports: { default: async | trappable },
    exports: { default: async },
});

/// One hook: a world that exports it, on the logic's types.
macro_rules! hook {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wasmtime::component::bindgen!({
                path: "../../wit",
                world: $world,
                imports: { default: async | trappable },
                exports: { default: async },
                with: {
                    "kenning:knowledge/types": crate::kenning::knowledge::types,
                    "kenning:knowledge/storage": crate::kenning::knowledge::storage,
                    "kenning:knowledge/embedding": crate::kenning::knowledge::embedding,
                    "kenning:knowledge/index": crate::kenning::knowledge::index,
                    "kenning:knowledge/log": crate::kenning::knowledge::log,
                    "kenning:knowledge/budget": crate::kenning::knowledge::budget,
                },
            });
        }
    };
}

hook!(on_store, "on-store-extension");
hook!(on_query, "on-query-extension");
hook!(on_read, "on-read-extension");
hook!(rerank, "rerank-extension");

/// A component's own test.
pub mod self_test {
    wasmtime::component::bindgen!({
        path: "../../wit/proof",
        world: "self-tested",
        exports: { default: async },
    });
}
