//! Workflows that do nothing, to measure the engine by.

use bindings::exports::bench::noop::noop::Guest;
use dacapo_guest::{Failure, raw, step};

dacapo_guest::workflows!(Bench);

struct Bench;

impl Guest for Bench {
    fn noop_steps(n: u32) -> u32 {
        // A bench run is cancelled only by hand; what it then answers does not matter.
        steps(n).map_or(0, |()| n)
    }

    fn three_steps() {
        for name in ["one", "two", "three"] {
            if step(name).run(|| Ok(())).is_err() {
                return;
            }
        }
    }

    fn wait_event() -> Result<u32, String> {
        Ok(payload_bytes()?)
    }

    fn steps_then_wait(n: u32) -> Result<u32, String> {
        steps(n)?;
        Ok(payload_bytes()?)
    }
}

fn steps(n: u32) -> Result<(), Failure> {
    (0..n).try_for_each(|_| step("s").run(|| Ok(())))
}

fn payload_bytes() -> Result<u32, Failure> {
    let payload = raw::waits::wait_for("go", None)?.unwrap_or_default();
    Ok(u32::try_from(payload.len()).unwrap_or(u32::MAX))
}
