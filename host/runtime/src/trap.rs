//! What a guest's trap is called.

use wasmtime::{FrameInfo, Trap, WasmBacktrace};

/// How often one function must be among the innermost frames for its recursion to have no end.
/// wasmtime keeps 20 of them, so even two functions that call each other in turn are seen.
const FRAMES: usize = 6;

/// How much of a function's name is told; it is the guest's, and may be of any length.
const NAME_BYTES: usize = 80;

/// The text for the caller: wasmtime's, except that a call stack which a language keeps in linear
/// memory, as Rust and C do, ends in an access out of bounds and not in wasmtime's own overflow.
pub(crate) fn describe(error: &wasmtime::Error) -> String {
    let trap = error.downcast_ref::<Trap>();
    let text = trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string);
    if trap != Some(&Trap::MemoryOutOfBounds) {
        return text;
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let functions: Vec<u32> = frames.iter().map(|frame| frame.func_index()).collect();
    match recursive(&functions) {
        Some(function) => {
            let named = frames.iter().find(|frame| frame.func_index() == function);
            let name = named.and_then(|frame| frame.func_name()).unwrap_or("a function");
            let name = &name[..name.floor_char_boundary(NAME_BYTES)];
            format!("call stack exhausted: {name} calls itself again and again ({text})")
        }
        None => text,
    }
}

/// A frame of a guest's stack, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function, as the component names it.
    pub function: Option<String>,
    /// Its number in its module.
    pub number: u32,
    /// Where it stood, in bytes from the beginning of the module.
    pub offset: Option<usize>,
}

/// Where a guest stood when it failed.
pub(crate) fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let frame = |frame: &FrameInfo| Frame {
        function: frame.func_name().map(str::to_owned),
        number: frame.func_index(),
        offset: frame.module_offset(),
    };
    frames.iter().map(frame).collect()
}

/// The function that the innermost frames repeat.
fn recursive(functions: &[u32]) -> Option<u32> {
    let times = |function| functions.iter().filter(|other| **other == function).count();
    functions.iter().copied().find(|function| times(*function) >= FRAMES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Config, Engine, Instance, Module, Store};

    /// How a module of this text ends, whose `run` is called.
    fn trap(text: &str) -> String {
        let mut config = Config::new();
        // As for guests: accesses are checked by comparison, and not by guard pages.
        config.memory_reservation(1 << 20).memory_guard_size(0).consume_fuel(true);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        describe(&run.call(&mut store, ()).unwrap_err())
    }

    /// Each call takes 8 KiB of a stack of 64 KiB in memory, as compilers keep one.
    const RECURSIVE: &str = "(module (memory 1) (global $sp (mut i32) (i32.const 65536))
        (func $deeper (global.set $sp (i32.sub (global.get $sp) (i32.const 8192)))
            (i32.store (global.get $sp) (i32.const 1)) (call $deeper))
        (func (export \"run\") (call $deeper)))";

    #[test]
    fn a_stack_in_memory_that_overflows_is_an_exhausted_stack() {
        let said = trap(RECURSIVE);
        assert!(said.starts_with("call stack exhausted: deeper calls itself"), "{said}");
    }

    #[test]
    fn another_access_out_of_bounds_is_one() {
        let said = trap(
            "(module (memory 1) (func (export \"run\") (i32.store (i32.const -1) (i32.const 1))))",
        );
        assert!(said.contains("out of bounds memory access"), "{said}");
        assert!(!said.contains("stack"), "{said}");
    }
}
