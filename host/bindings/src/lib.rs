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

mod hooks;

/// A module for each hook: a world that exports it, on the logic's types.
macro_rules! hook_modules {
    ($($module:ident: $hook:ident $name:literal, $world:literal, $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        $(pub mod $module {
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
        })+
    };
}

for_each_hook!(hook_modules);

/// A component's own test.
pub mod self_test {
    wasmtime::component::bindgen!({
        path: "../../wit/proof",
        world: "self-tested",
        exports: { default: async },
    });
}
