//! Runs that say how far they are.

use std::time::{Duration, Instant};

use dacapo_guest::{progress, step};

use crate::Probe;
use crate::bindings::exports::test::probe::progress::{Guest, Saying};
use crate::durable::wait_for_text;

impl Guest for Probe {
    fn says(what: Saying) {
        progress(what.done, what.total, what.note.as_deref());
    }

    fn loops(times: u64) -> Result<(), String> {
        for done in 1..=times {
            progress(done, times, None);
        }
        wait_for_text("go")?;
        step("body").run(|| {
            progress(1, 2, "in the body");
            Ok(())
        })?;
        wait_for_text("more")?;
        Ok(())
    }

    fn computes(ms: u64) -> Result<(), String> {
        step("long").run(|| {
            progress(1, 3, None);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(ms) {
                std::hint::spin_loop();
            }
            Ok(())
        })?;
        Ok(())
    }
}
