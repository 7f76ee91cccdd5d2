//! The host's side of everything that a guest may import: one file for each WIT interface.

pub(crate) mod bindings;
mod children;
mod context;
#[cfg(feature = "test-effects")]
pub(crate) mod effects;
mod forks;
mod http;
mod log;
mod secrets;
mod sql;
mod steps;
pub(crate) mod typed_children;
mod waits;
pub(crate) mod wasi;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::guest::Guest;

/// The interface has types only.
impl bindings::dacapo::workflow::types::Host for Guest {}

/// Everything that a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    #[cfg(feature = "test-effects")]
    effects::add_to_linker(&mut linker)?;
    bindings::Imports::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}
