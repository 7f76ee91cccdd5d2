//! The house: a crate exists to be forbidden something.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may use of ours, and of the heavy ones.
const ALLOWED: &[(&str, &[&str])] = &[
    ("dacapo-model", &[]),
    ("dacapo-replay", &["dacapo-model"]),
    (
        "dacapo-outbound",
        &["dacapo-model", "hyper-rustls", "hyper-util", "rustls"],
    ),
    ("dacapo-postgres", &[]),
    ("dacapo-store", &["dacapo-model", "sqlx"]),
    ("dacapo-client-codegen", &["wit-parser"]),
    ("dacapo-client-macros", &["dacapo-client-codegen"]),
    (
        "dacapo-client",
        &[
            "dacapo-client-macros",
            "dacapo-model",
            "dacapo-store",
            "sqlx",
        ],
    ),
    (
        "dacapo-sandbox",
        &[
            "dacapo-model",
            "dacapo-outbound",
            "dacapo-replay",
            "wasmtime",
            "wasmtime-wasi",
            "wasmtime-wasi-http",
            "wit-component",
            "wit-parser",
        ],
    ),
    (
        "dacapo-worker",
        &[
            "dacapo-model",
            "dacapo-outbound",
            "dacapo-sandbox",
            "dacapo-store",
        ],
    ),
    (
        "dacapo-refs",
        &[
            "dacapo-client-codegen",
            "dacapo-model",
            "prettyplease",
            "wit-parser",
        ],
    ),
    (
        "dacapo-kits",
        &[
            "minijinja",
            "wit-bindgen-c",
            "wit-bindgen-core",
            "wit-bindgen-go",
            "wit-component",
            "wit-parser",
        ],
    ),
    ("dacapo-testkit", &["dacapo-model", "dacapo-sandbox"]),
    (
        "dacapo-server",
        &[
            "dacapo-client",
            "dacapo-model",
            "dacapo-store",
            "axum",
            "hyper-rustls",
            "hyper-util",
            "minijinja",
            "openidconnect",
            "rmcp",
            "rustls",
            "utoipa",
            "utoipa-axum",
        ],
    ),
    (
        "dacapo-cli",
        &[
            "dacapo-client",
            "dacapo-kits",
            "dacapo-model",
            "dacapo-postgres",
            "dacapo-refs",
            "dacapo-sandbox",
            "dacapo-server",
            "dacapo-store",
            "dacapo-testkit",
            "dacapo-worker",
            "anyhow",
            "clap",
            "hyper-rustls",
            "hyper-util",
            "opentelemetry",
            "opentelemetry-http",
            "opentelemetry-otlp",
            "opentelemetry_sdk",
            "rustls",
            "sqlx",
        ],
    ),
    ("dacapo-bench-client", &["dacapo-client"]),
    ("dacapo-guest", &["wit-bindgen"]),
];

/// Crates that only those named above may use.
const HEAVY: &[&str] = &[
    "sqlx",
    "wasmtime",
    "wasmtime-wasi",
    "wasmtime-wasi-http",
    "hyper-rustls",
    "hyper-util",
    "rustls",
    "wit-component",
    "wit-parser",
    "wit-bindgen",
    "wit-bindgen-c",
    "wit-bindgen-core",
    "wit-bindgen-go",
    "prettyplease",
    "axum",
    "minijinja",
    "openidconnect",
    "rmcp",
    "utoipa",
    "utoipa-axum",
    "clap",
    "anyhow",
    "opentelemetry",
    "opentelemetry-http",
    "opentelemetry-otlp",
    "opentelemetry_sdk",
];

fn metadata() -> serde_json::Value {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_crate_uses_what_it_may_and_nothing_else() {
    let metadata = metadata();
    let packages: BTreeMap<&str, &serde_json::Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), package))
        .collect();
    for (name, allowed) in ALLOWED {
        let dependencies = packages[name]["dependencies"].as_array().unwrap();
        // What its tests use is no edge of the house.
        let used: BTreeSet<&str> = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|one| one["name"].as_str().unwrap())
            .filter(|used| used.starts_with("dacapo-") || HEAVY.contains(used))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        // What it may use and does not is struck off, or nobody would notice when it does.
        assert_eq!(used, allowed, "{name}");
    }
}

/// Where `unsafe` may stand on the host, and why is said there: machine code out of the cache, what wasmtime generates, and what a server
/// that is started is told between fork and exec.
const UNSAFE: &[&str] = &[
    "host/sandbox/src/cache.rs",
    "host/sandbox/src/host/bindings.rs",
    "host/postgres/src/supervisor.rs",
];

#[test]
fn unsafe_stands_in_three_documented_places_of_the_host_and_every_other_crate_forbids_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap();
    let metadata = metadata();
    let members = metadata["workspace_default_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = packages
        .iter()
        // The simulation is no default member, and stops and wakes processes.
        .filter(|package| members.contains(&package["id"]) || package["name"] == "dacapo-sim");
    let mut crates = 0;
    for package in ours {
        let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
        let source = manifest.parent().unwrap().join("src");
        let mut allowing = Vec::new();
        let mut directories = vec![source.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|one| one == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let named = path.strip_prefix(root).unwrap().to_str().unwrap();
                    let lifts = |line: &str| {
                        line.contains("unsafe_code") && !line.contains("forbid(unsafe_code)")
                    };
                    if text.lines().any(lifts) {
                        allowing.push(named.to_owned());
                    }
                }
            }
        }
        for named in &allowing {
            assert!(UNSAFE.contains(&named.as_str()), "{named} allows unsafe");
        }
        let root_file = ["lib.rs", "main.rs"]
            .iter()
            .find_map(|file| std::fs::read_to_string(source.join(file)).ok())
            .unwrap();
        assert_eq!(
            root_file.contains("#![forbid(unsafe_code)]"),
            allowing.is_empty(),
            "{}: {allowing:?}",
            package["name"]
        );
        crates += 1;
    }
    assert!(crates > 15, "{crates}");
}

#[test]
fn no_big_crate_is_built_in_two_versions() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        versions
            .entry(package["name"].as_str().unwrap())
            .or_default()
            .insert(package["version"].as_str().unwrap());
    }
    for name in [
        "wasmtime",
        "cranelift-codegen",
        "wasmparser",
        "wasm-encoder",
        "wit-parser",
        "wit-component",
        "wit-bindgen-core",
        "sqlx",
        "tokio",
        "axum",
        "rustls",
        "hyper",
    ] {
        assert_eq!(
            versions.get(name).map_or(0, BTreeSet::len),
            1,
            "{name}: {:?}",
            versions.get(name)
        );
    }
}
