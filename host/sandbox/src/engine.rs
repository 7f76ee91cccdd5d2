//! The engine, set up for many small guests that must not tell workers apart.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::config::SandboxConfig;
use crate::memory::TABLE_ELEMENTS_MAX;

/// Stack that host functions may use on a guest's fiber, beyond what the guest itself may use.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What one place in the pool holds. A guest that needs more takes several places.
pub(crate) const TABLES_PER_PLACE: u32 = 3;

/// Core instances that one component may have at most. An interpreter brings 40, and one more for each library that is not written in its
/// own language. The pool only counts them, so there are as many for each place, and whoever has its places does not lack them.
const CORE_INSTANCES_MAX: u32 = 1_000;

/// Tables and memories that one component may have at most.
const PER_COMPONENT_MAX: u32 = 100;

/// What the pool's own bookkeeping for one instance may take, in bytes: about 40 for each function that a component can call by pointer.
const INSTANCE_MAX_BYTES: usize = 8 << 20;

/// Memory that a place keeps from one guest to the next, in bytes, after it has put back what was there before the first. To give it back to
/// the kernel and to ask for it again, page by page, takes longer than a run of a few steps; more than a small guest writes is not kept.
const MEMORY_RESIDENT_BYTES: usize = 256 << 10;

/// The same for each table of a place.
const TABLE_RESIDENT_BYTES: usize = 32 << 10;

pub(crate) fn engine(config: &SandboxConfig) -> wasmtime::Result<Engine> {
    let places = config.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places.saturating_mul(CORE_INSTANCES_MAX))
        .total_core_instances(places.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(places)
        .total_tables(places.saturating_mul(TABLES_PER_PLACE))
        .total_stacks(places)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(PER_COMPONENT_MAX.min(places))
        .max_tables_per_component(PER_COMPONENT_MAX.min(places.saturating_mul(TABLES_PER_PLACE)))
        .max_component_instance_size(INSTANCE_MAX_BYTES)
        .max_core_instance_size(INSTANCE_MAX_BYTES)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(config.memory_max_bytes)
        .linear_memory_keep_resident(MEMORY_RESIDENT_BYTES)
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        // Only the pages that were written are put back; kernels that cannot tell which those are put back as much as may be kept.
        .pagemap_scan(Enabled::Auto);

    let mut wasm = Config::new();
    wasm.allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_max_bytes)
        .async_stack_size(config.stack_max_bytes.saturating_add(HOST_STACK_BYTES))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_component_model(true)
        .wasm_component_model_fixed_length_lists(true)
        // Floats must not differ between workers of different make.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    // Threads inside a guest could not be replayed; the crate is built without them.
    Engine::new(&wasm)
}
