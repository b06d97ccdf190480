//! wasmtime's configuration, shared by the process that compiles and the process that runs guests.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use kenning_core::limits::Limits;
use wasmtime::{
    CacheStore, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig,
};

use crate::component::swap_space;

/// Memory for wasmtime's bookkeeping of one instance. A component that needs more is refused when
/// it is compiled.
const INSTANCE_BYTES: usize = 1 << 20;

/// What host functions may use of a fiber's stack, in addition to the guest's limit.
const HOST_STACK_BYTES: usize = 1 << 20;

/// Bytes that an instance's slot keeps for the next one, of its memory and of a table, if the slot
/// can be reset without giving all of it back. What an instance wrote beyond that is given back.
const KEPT_MEMORY_BYTES: usize = 1 << 20;
const KEPT_TABLE_BYTES: usize = 64 << 10;

/// How often it is looked whether there is swap space by now.
const LOOK: Duration = Duration::from_secs(1);

/// How a pool resets the slot of an instance that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    /// The kernel lists the pages that were written (`PAGEMAP_SCAN`, Linux 6.7), and only these get
    /// their first contents again. The next instance has no page faults. But the kernel does not
    /// list pages in swap space: the next instance would see what the one before wrote there.
    Scan,
    /// All memory is given back to the kernel.
    GiveBack,
}

/// The engines that run guests: one that resets instances in the fastest way that is safe, and,
/// if that is no longer safe, another.
pub struct Engines {
    first: Engine,
    /// Absent if `first` stays safe.
    fallback: Option<Fallback>,
}

struct Fallback {
    limits: Limits,
    /// Made when it is needed.
    engine: OnceLock<Engine>,
}

impl Engines {
    /// Engines for guests under `limits`.
    ///
    /// Instances come from a pool. If the address space is too small for the pool, as in containers
    /// that limit it, they are allocated on demand, which is slower and equally bounded.
    ///
    /// # Errors
    /// If wasmtime refuses the configuration.
    pub fn new(limits: &Limits) -> wasmtime::Result<Arc<Self>> {
        let why_not = if PoolingAllocationConfig::is_pagemap_scan_available() {
            swap_space::possible()
        } else {
            Some("the kernel has no PAGEMAP_SCAN, which came with Linux 6.7".into())
        };
        let engines = match why_not {
            Some(why) => {
                tracing::info!(why, "instances give all memory back, so calls have page faults");
                Self { first: engine(limits, Reset::GiveBack)?, fallback: None }
            }
            None => {
                tracing::info!("instances are reset by PAGEMAP_SCAN: nothing can be swapped out");
                Self::scanning(limits)?
            }
        };
        Ok(Arc::new(engines))
    }

    fn scanning(limits: &Limits) -> wasmtime::Result<Self> {
        let fallback = Fallback { limits: limits.clone(), engine: OnceLock::new() };
        Ok(Self { first: engine(limits, Reset::Scan)?, fallback: Some(fallback) })
    }

    /// The engine for which components are loaded.
    pub fn first(&self) -> &Engine {
        &self.first
    }

    /// The engine for the next instance.
    pub(crate) fn current(&self) -> &Engine {
        self.needed_fallback().unwrap_or(&self.first)
    }

    fn needed_fallback(&self) -> Option<&Engine> {
        self.fallback.as_ref()?.engine.get()
    }

    /// Uses the other engine from now on, for good: what is in swap space now may come back after
    /// it was to be reset.
    fn fall_back(&self) -> wasmtime::Result<()> {
        let Some(fallback) = &self.fallback else { return Ok(()) };
        let made = engine(&fallback.limits, Reset::GiveBack)?;
        fallback.engine.get_or_init(|| made);
        Ok(())
    }

    /// Makes guests yield, on every engine.
    pub(crate) fn increment_epoch(&self) {
        self.first.increment_epoch();
        if let Some(fallback) = self.needed_fallback() {
            fallback.increment_epoch();
        }
    }

    /// Looks for swap space from time to time, on a thread that ends with the engines, or once
    /// there is some.
    pub(crate) fn watch_swap_space(self: &Arc<Self>) -> std::io::Result<()> {
        if self.fallback.is_none() {
            return Ok(());
        }
        let engines = Arc::downgrade(self);
        let look = move || {
            while let Some(engines) = engines.upgrade() {
                if let Some(why) = swap_space::possible() {
                    tracing::warn!(why, "instances give all memory back from now on");
                    match engines.fall_back() {
                        Ok(()) => return,
                        Err(error) => tracing::error!(%error, "not yet: no other engine"),
                    }
                }
                drop(engines);
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("swap-space".into()).spawn(look).map(drop)
    }
}

/// An engine with a pool, or without if there is no room for it.
fn engine(limits: &Limits, reset: Reset) -> wasmtime::Result<Engine> {
    match Engine::new(&config(limits, Some(reset))) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(%error, "no room for the instance pool; allocating on demand");
            Engine::new(&config(limits, None))
        }
    }
}

/// An engine that only compiles. It has the same settings, but no pool, whose address space the
/// compiler's limits would not allow.
pub(crate) fn compiling_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    Engine::new(&config(limits, None))
}

/// The same, which takes functions that it knows from `known`.
pub(crate) fn reusing_engine(
    limits: &Limits,
    known: Arc<dyn CacheStore>,
) -> wasmtime::Result<Engine> {
    let mut config = config(limits, None);
    config.enable_incremental_compilation(known)?;
    Engine::new(&config)
}

fn config(limits: &Limits, pool: Option<Reset>) -> Config {
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
    if let Some(reset) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(limits, reset)));
    }
    config
}

/// Holds what every guest that runs at once may have, so that a permit to run is all that a call
/// has to wait for: no tenant can empty the pool with components of many parts.
fn pooling(limits: &Limits, reset: Reset) -> PoolingAllocationConfig {
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
        .async_stack_keep_resident(0);
    match reset {
        Reset::Scan => pool
            .pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEPT_MEMORY_BYTES)
            .table_keep_resident(KEPT_TABLE_BYTES),
        // Keeping pages without knowing which were written was measured to bring nothing, and cost
        // 256 KiB for each slot.
        Reset::GiveBack => pool.linear_memory_keep_resident(0).table_keep_resident(0),
    };
    pool
}

#[cfg(test)]
mod tests {
    use wasmtime::Store;
    use wasmtime::component::{Component, InstancePre, Linker};

    use super::*;

    /// Writes everywhere that it can, and counts what is not as it was at first.
    const FORGETFUL: &str = r#"
        (component
          (core module $m
            (memory 4 64)
            (data (i32.const 8) "at first")
            (table $table 8 64 funcref)
            (global $number (mut i64) (i64.const 7))
            (func $first)
            (elem (i32.const 0) $first)
            (func $grow
              (drop (memory.grow (i32.sub (i32.const 64) (memory.size))))
              (drop (table.grow $table (ref.null func)
                (i32.sub (i32.const 64) (table.size $table)))))
            (func (export "fill") (param $step i32) (local $at i32)
              (call $grow)
              (loop $next
                (i64.store (local.get $at) (i64.const -1))
                (local.set $at (i32.add (local.get $at) (local.get $step)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 0x400000))))
              (table.fill $table (i32.const 0) (ref.func $first) (i32.const 64))
              (global.set $number (i64.const -1)))
            (func (export "changed") (result i32) (local $at i32) (local $changed i32)
              (local.set $changed
                (i32.add
                  (i64.ne (global.get $number) (i64.const 7))
                  (i32.ne (i32.add (memory.size) (table.size $table)) (i32.const 12))))
              (call $grow)
              (loop $next
                (local.set $changed (i32.add (local.get $changed)
                  (i64.ne (i64.load (local.get $at))
                    (select (i64.const 0x7473726966207461) (i64.const 0)
                      (i32.eq (local.get $at) (i32.const 8))))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 0x400000))))
              (local.set $at (i32.const 1))
              (loop $next
                (local.set $changed (i32.add (local.get $changed)
                  (i32.eqz (ref.is_null (table.get $table (local.get $at))))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 64))))
              (i32.add (local.get $changed) (ref.is_null (table.get $table (i32.const 0))))))
          (core instance $i (instantiate $m))
          (func (export "fill") (param "step" u32) (canon lift (core func $i "fill")))
          (func (export "changed") (result u32) (canon lift (core func $i "changed"))))"#;

    /// A fresh instance, which counts what is not as it was at first and then writes a word in
    /// every `step` bytes.
    async fn fill(pre: &InstancePre<()>, step: u32) -> (u32, Store<()>) {
        let mut store = Store::new(pre.engine(), ());
        store.set_fuel(u64::MAX).unwrap();
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        let changed = instance.get_typed_func::<(), (u32,)>(&mut store, "changed").unwrap();
        let (found,) = changed.call_async(&mut store, ()).await.unwrap();
        let fill = instance.get_typed_func::<(u32,), ()>(&mut store, "fill").unwrap();
        fill.call_async(&mut store, (step,)).await.unwrap();
        let (after,) = changed.call_async(&mut store, ()).await.unwrap();
        assert!(after > 64, "the instance sees what it wrote itself");
        (found, store)
    }

    #[tokio::test]
    async fn an_instance_sees_nothing_of_those_before_it_however_they_are_reset() {
        let limits = Limits { guests: 2, ..Limits::default() };
        let code = compiling_engine(&limits).unwrap();
        let code = code.precompile_component(&wat::parse_str(FORGETFUL).unwrap()).unwrap();
        for reset in [Reset::Scan, Reset::GiveBack] {
            if reset == Reset::Scan && !PoolingAllocationConfig::is_pagemap_scan_available() {
                continue;
            }
            let engine = engine(&limits, reset).unwrap();
            // SAFETY: wasmtime made it.
            #[expect(unsafe_code, reason = "as in the compiler")]
            let component = unsafe { Component::deserialize(&engine, &code) }.unwrap();
            let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
            // All of 4 MiB, of which 1 MiB is kept; more runs of pages than one scan lists; little.
            for step in [8, 8192, 8192 * 32, 0x40_0000, 8] {
                for _ in 0..3 {
                    // Both slots of the pool.
                    let (first, second) = (fill(&pre, step).await, fill(&pre, step).await);
                    assert_eq!((first.0, second.0), (0, 0), "{reset:?} with {step}");
                }
            }
        }
    }

    #[test]
    fn after_the_first_sign_of_swap_space_the_other_engine_is_used_for_good() {
        let limits = Limits::default();
        let engines = Engines::scanning(&limits).unwrap();
        assert!(Engine::same(engines.current(), engines.first()));
        engines.fall_back().unwrap();
        let fallback = engines.current().clone();
        assert!(!Engine::same(&fallback, engines.first()));
        engines.fall_back().unwrap();
        assert!(Engine::same(engines.current(), &fallback));
        // It runs what was compiled for the first one.
        let component = wat::parse_str("(component)").unwrap();
        let code = engines.first().precompile_component(&component).unwrap();
        // SAFETY: wasmtime made it.
        #[expect(unsafe_code, reason = "as in the compiler")]
        unsafe { Component::deserialize(&fallback, code) }.unwrap();
    }
}
