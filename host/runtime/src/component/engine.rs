//! wasmtime's configuration, shared by the process that compiles and the process that runs guests.

use kenning_core::limits::Limits;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Memory for wasmtime's bookkeeping of one instance. A component that needs more is refused when
/// it is compiled.
const INSTANCE_BYTES: usize = 1 << 20;

/// What host functions may use of a fiber's stack, in addition to the guest's limit.
const HOST_STACK_BYTES: usize = 1 << 20;

/// An engine that runs guests under `limits`.
///
/// Instances come from a pool. If the address space is too small for the pool, as in containers
/// that limit it, they are allocated on demand, which is slower and equally bounded.
///
/// # Errors
/// If wasmtime refuses the configuration.
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

/// An engine that only compiles. It has the same settings, but no pool, whose address space the
/// compiler's limits would not allow.
pub(crate) fn compiling_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    Engine::new(&config(limits, false))
}

fn config(limits: &Limits, pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // The contract's functions are synchronous. With this on, every call costs 2.6 to 4
        // times as much (docs/decisions/002).
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(limits.guest_stack_bytes)
        .async_stack_size(limits.guest_stack_bytes + HOST_STACK_BYTES)
        // The pool reserves no more than what a memory may grow to.
        .memory_reservation(limits.guest_memory_bytes as u64)
        .memory_init_cow(true)
        // Not offered to guests.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    }
    config
}

/// Holds what every guest that runs at once may have, so that a permit to run is all that a call
/// has to wait for: no tenant can empty the pool with components of many parts.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let guests = limits.guests as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(guests)
        .total_stacks(guests)
        .total_core_instances(guests.saturating_mul(limits.guest_core_instances))
        .total_memories(guests.saturating_mul(limits.guest_memories))
        .total_tables(guests.saturating_mul(limits.guest_tables))
        .max_core_instances_per_component(limits.guest_core_instances)
        .max_memories_per_component(limits.guest_memories)
        .max_tables_per_component(limits.guest_tables)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_memory_size(limits.guest_memory_bytes)
        .table_elements(limits.guest_table_elements)
        .max_unused_warm_slots(guests)
        // A slot returns all its memory. Keeping pages resident was measured to bring nothing, and
        // cost 256 KiB for each slot.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0);
    pool
}
