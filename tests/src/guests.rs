//! The guests that `./x guests` has built.

use std::path::PathBuf;

/// Where a guest is, by its crate's name with underscores.
pub fn guest_path(name: &str) -> PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the workspace");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target
        .join("wasm32-wasip2/guest")
        .join(format!("{name}.wasm"))
}

/// The bytes of a guest.
pub fn guest(name: &str) -> Vec<u8> {
    let path = guest_path(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `./x guests` first", path.display()))
}
