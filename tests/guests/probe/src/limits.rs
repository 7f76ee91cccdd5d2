//! What a guest must not get away with.

use std::hint::black_box;

use dacapo_guest::step;

use crate::Probe;
use crate::bindings::exports::test::probe::limits::Guest;

impl Guest for Probe {
    fn spin() {
        spin();
    }

    fn spin_in_step() -> Result<(), String> {
        in_step(spin)
    }

    fn hog() {
        hog();
    }

    fn hog_in_step() -> Result<(), String> {
        in_step(hog)
    }

    fn overflow() {
        overflow();
    }

    fn overflow_in_step() -> Result<(), String> {
        in_step(overflow)
    }

    fn trap() {
        panic_on_purpose();
    }

    fn trap_in_step() -> Result<(), String> {
        in_step(panic_on_purpose)
    }

    fn abort() {
        // On WebAssembly this is the instruction `unreachable`.
        std::process::abort();
    }
}

fn in_step(body: fn()) -> Result<(), String> {
    let failed = step("s").attempts(1).run(|| {
        body();
        Ok(())
    });
    failed.map_err(|failure| failure.code)
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hog() {
    let mut held = Vec::new();
    loop {
        // Touched, so that a host that hands out pages lazily feels it too.
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn overflow() {
    black_box(descend(black_box(1)));
}

/// Never reaches its end; what is done with the result keeps the optimiser from making it a loop.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    descend(depth.wrapping_add(2))
        .rotate_left(5)
        .wrapping_mul(depth)
        ^ depth
}

fn panic_on_purpose() {
    panic!("the probe panics on purpose");
}
