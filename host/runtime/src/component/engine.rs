//! One wasmtime configuration for the process that compiles and the process that
//! runs.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use kenning_core::limits::Limits;

/// Core instances in one component: the guest itself, the WASI adapter's shims
/// and what a language's runtime adds.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = 32;
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 4;
pub(crate) const TABLES_PER_COMPONENT: u32 = 16;

/// Bookkeeping of one component or core instance; a component that needs more is
/// refused when it is compiled.
const INSTANCE_BYTES: usize = 1 << 20;

/// What a host function may use of a fiber's stack beyond the guest's own bound.
const HOST_STACK_BYTES: usize = 1 << 20;

/// An engine for guests under `limits`.
///
/// The pool is tried first. Where the address space is too small for it (some
/// containers limit it), instances are allocated on demand: slower, equally
/// bounded.
pub fn engine(limits: &Limits) -> wasmtime::Result<Engine> {
    let pooled = Engine::new(&config(limits, true));
    let engine = match pooled {
        Ok(engine) => engine,
        Err(error) => {
            tracing::warn!(%error, "no room for the instance pool; allocating on demand");
            Engine::new(&config(limits, false))?
        }
    };
    Ok(engine)
}

/// An engine that only compiles: the same settings, without the pool's address
/// space, which the compiler's limits would not allow.
pub(crate) fn compiling_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    Engine::new(&config(limits, false))
}

fn config(limits: &Limits, pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // WIT functions are synchronous here; with this on, every call costs
        // 2.6 to 4 times as much (docs/decisions/002).
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(limits.guest_stack_bytes)
        .async_stack_size(limits.guest_stack_bytes + HOST_STACK_BYTES)
        // The pool reserves what a memory may grow to, no more.
        .memory_reservation(limits.guest_memory_bytes as u64)
        .memory_init_cow(true)
        // What this host never gives a guest.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    }
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let guests = limits.guests as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(guests)
        .total_stacks(guests)
        .total_core_instances(guests * 8)
        .total_memories(guests)
        .total_tables(guests * 4)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_memory_size(limits.guest_memory_bytes)
        .table_elements(limits.guest_table_elements)
        .max_unused_warm_slots(guests)
        // Keeping pages bought nothing and cost 256 KiB a slot (measured), so a
        // slot gives all its memory back.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0);
    pool
}
