//! The Rust side of `wit/`, in a crate of its own: generating it is slow, and it
//! changes only when the contract does.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "logic",
    imports: { default: async | trappable },
    exports: { default: async },
});
