//! Guests, compiled once for all tests, and their runs.

use std::path::PathBuf;
use std::sync::OnceLock;

use dacapo_testkit::{Component, Run, Value};

pub fn guest_path(name: &str) -> PathBuf {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target
        .join("wasm32-wasip2/guest")
        .join(format!("{name}.wasm"))
}

pub fn guest(name: &str) -> Component {
    Component::load(guest_path(name)).unwrap_or_else(|error| panic!("run ./x guests: {error:?}"))
}

/// A run of one of the probe's workflows.
pub fn probe(workflow: &str, input: Value) -> Run {
    static PROBE: OnceLock<Component> = OnceLock::new();
    PROBE
        .get_or_init(|| guest("probe"))
        .run(workflow, input)
        .unwrap()
}

pub fn messages(run: &Run) -> Vec<String> {
    run.logs().into_iter().map(|line| line.message).collect()
}
