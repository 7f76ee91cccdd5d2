//! WASI 0.2 as guests see it: real inside an attempt, derived from the journal outside of one, and closed to the world.
//!
//! Most of it is wasmtime's own implementation over a context that has next to nothing: no arguments, the deployment's environment, no
//! files of the machine, and every address and name look-up refused. What a program could tell two replays apart by is replaced here:
//! clocks, randomness, output and files. Requests go through the same gate as those of `dacapo:workflow/http`.

mod clocks;
mod http;
mod output;
mod random;
mod scratch;

pub(crate) use http::Hooks;
pub(crate) use random::Randomness;
pub(crate) use scratch::{Room, Scratch};

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings;

use crate::console::Console;
use crate::guest::Guest;
use crate::journal::LogSource;

/// WASI interfaces that a component may import, all of version 0.2.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    bindings::clocks::wall_clock::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::clocks::monotonic_clock::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| {
        guest
    })?;
    bindings::random::random::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::random::insecure::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::random::insecure_seed::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    output::add_to_linker(linker)?;
    bindings::filesystem::types::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    bindings::filesystem::preopens::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    http::add_to_linker(linker)
}

/// The context of one instance.
pub(crate) fn context(console: &Console, environment: &[(String, String)]) -> WasiCtx {
    WasiCtx::builder()
        .envs(environment)
        .stdout(output::Output::new(console.clone(), LogSource::Stdout))
        .stderr(output::Output::new(console.clone(), LogSource::Stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}
