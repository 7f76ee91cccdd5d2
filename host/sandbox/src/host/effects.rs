//! `dacapo:test/effects`: something that a step does to the world outside, and that stays done whatever becomes of its worker.
//!
//! For tests alone: released binaries do not have the feature. The world is a file, to which each effect is a line, or whoever watches on
//! the thread that plays the guest.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;

use dacapo_model::{RunId, StepKey};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::guest::Guest;
use crate::interrupt::Interrupt;

/// The interface.
pub(crate) const INTERFACE: &str = "dacapo:test/effects";

/// Names the file.
const FILE: &str = "DACAPO_TEST_EFFECTS";

/// Sees an effect: whose, which step's, and what the body says.
pub type EffectWatcher = Box<dyn FnMut(RunId, &StepKey, &str)>;

thread_local! {
    static WATCHER: RefCell<Option<EffectWatcher>> = const { RefCell::new(None) };
}

/// From now on effects that guests have on this thread are shown to this watcher, and nobody else.
pub fn watch_effects(watcher: Option<EffectWatcher>) {
    WATCHER.set(watcher);
}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(&format!("{INTERFACE}@0.1.0"))?;
    instance.func_wrap("append", append)
}

/// Only a step's body can have effects.
fn append(store: StoreContextMut<'_, Guest>, (line,): (String,)) -> wasmtime::Result<()> {
    let guest = store.data();
    let Some(attempt) = &guest.attempt else {
        let message = "an effect outside of a step: move it into a step's body";
        return Err(Interrupt::misuse(message).into());
    };
    let is_watched = WATCHER.with_borrow_mut(|watcher| {
        let watch = watcher.as_mut()?;
        watch(guest.go.run_id, &attempt.slot.key, &line);
        Some(())
    });
    if is_watched.is_some() {
        return Ok(());
    }
    let Some(path) = std::env::var_os(FILE) else {
        return Err(Interrupt::misuse(format!("{FILE} names no file for effects")).into());
    };
    // One write, which no other process gets into.
    let line = format!("{} {} {line}\n", guest.go.run_id, attempt.slot.key);
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(line.as_bytes())?;
    Ok(())
}
