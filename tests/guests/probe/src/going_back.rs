//! Runs that somebody lets go back.

use dacapo_guest::tracing::info;
use dacapo_guest::{Failure, step};

use crate::Probe;
use crate::bindings::exports::test::probe::going_back::Guest;
use crate::durable::wait_for_text;

impl Guest for Probe {
    fn fails_and_waits(good: u32) -> Result<u32, String> {
        step("reserve").run(|| {
            info!("effect reserve");
            Ok(())
        })?;
        match charge(good) {
            Ok(attempt) => Ok(attempt),
            Err(_) => Err(wait_for_text("go")?),
        }
    }

    fn fails_and_traps(good: u32) -> Result<u32, String> {
        Ok(charge(good).expect("the probe does without a charge"))
    }

    fn fails_and_goes_on() -> Result<(), String> {
        let charged = charge(u32::MAX);
        step("note").run(|| {
            info!("effect note");
            Ok(())
        })?;
        panic!("the probe panics on purpose: {charged:?}");
    }

    fn fails_twice(good: u32) -> Result<u32, String> {
        let first = step("first").run::<(), _>(|| {
            info!("effect first");
            Err(Failure::fatal("sold-out", "there is no first").into())
        });
        charge(good).map_err(|failure| format!("{first:?}, {failure}"))
    }
}

fn charge(good: u32) -> Result<u32, Failure> {
    step("charge").run_with(|attempt| {
        info!("effect charge {attempt}");
        if attempt < good {
            return Err(Failure::fatal("card-declined", "the bank said no").into());
        }
        Ok(attempt)
    })
}
