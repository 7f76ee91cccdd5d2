//! Limits that the manifest says.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dacapo_guest::step;

use crate::Gate;
use crate::bindings::exports::test::gate::limits::Guest;

impl Guest for Gate {
    fn burns_in_step(ms: u64) -> Result<(), String> {
        let burn = || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(ms) {}
            Ok(())
        };
        Ok(step("burn").attempts(1).run(burn)?)
    }

    fn burns(ms: u64) {
        // Outside of steps time stands still, so it is counted in work: a thousand rounds take some microseconds.
        for _ in 0..ms * 1_000 {
            for round in 0..1_000_u32 {
                black_box(round);
            }
        }
    }

    fn takes(mib: u32) -> u32 {
        let taken: Vec<Vec<u8>> = (0..mib).map(|_| vec![1; 1 << 20]).collect();
        u32::try_from(black_box(taken).len()).unwrap_or(u32::MAX)
    }

    fn records(bytes: u32) -> Result<(), String> {
        let text = || Ok("x".repeat(bytes as usize));
        step("record").attempts(1).run(text)?;
        Ok(())
    }

    fn steps(count: u32) -> Result<(), String> {
        for _ in 0..count {
            step("s").run(|| Ok(()))?;
        }
        Ok(())
    }
}
