//! The engine, set up for many small guests that must not tell workers apart.

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::config::SandboxConfig;
use crate::memory::TABLE_ELEMENTS_MAX;

/// Stack that host functions may use on a guest's fiber, beyond what the guest itself may use.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What one place in the pool holds. A guest that needs more takes several places.
pub(crate) const TABLES_PER_PLACE: u32 = 3;

/// Core instances are only counted by the pool, so there can be plenty: some interpreters bring 40.
const CORE_INSTANCES_PER_PLACE: u32 = 64;

/// Tables, memories and core instances that one component may have at most.
const PER_COMPONENT_MAX: u32 = 100;

pub(crate) fn engine(config: &SandboxConfig) -> wasmtime::Result<Engine> {
    let places = config.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places.saturating_mul(CORE_INSTANCES_PER_PLACE))
        .total_core_instances(places.saturating_mul(CORE_INSTANCES_PER_PLACE))
        .total_memories(places)
        .total_tables(places.saturating_mul(TABLES_PER_PLACE))
        .total_stacks(places)
        .max_core_instances_per_component(PER_COMPONENT_MAX)
        .max_memories_per_component(PER_COMPONENT_MAX.min(places))
        .max_tables_per_component(PER_COMPONENT_MAX.min(places.saturating_mul(TABLES_PER_PLACE)))
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(config.memory_max_bytes);

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
