//! Workflows that do nothing, to measure the engine by.

use std::hint::black_box;
use std::time::Duration;

use bindings::exports::bench::noop::noop::Guest;
use dacapo_guest::{Failure, child, map, raw, sleep, step, wait_for};

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

    fn plain_steps(n: u32) -> Result<(), String> {
        begin()?;
        Ok(steps(n)?)
    }

    fn timers(n: u32) -> Result<(), String> {
        begin()?;
        Ok((0..n).try_for_each(|_| sleep("s", Duration::from_millis(1)))?)
    }

    fn events(n: u32) -> Result<(), String> {
        begin()?;
        Ok((0..n).try_for_each(|_| wait_for("go").recv())?)
    }

    fn children(n: u32) -> Result<(), String> {
        begin()?;
        Ok((0..n).try_for_each(|_| child("s", "bench:noop/noop.nothing").run(&()))?)
    }

    fn nothing() {}

    fn forks(n: u32) -> Result<(), String> {
        begin()?;
        for _ in 0..n {
            map("s", &[(); 10]).run(|()| step("s").run(|| Ok(())))?;
        }
        Ok(())
    }

    fn computes(n: u32) -> Result<(), String> {
        begin()?;
        (0..n).try_for_each(|_| step("s").run(|| Ok(compute())).map(|_| ()))?;
        Ok(())
    }

    fn computes_in_branches(n: u32) -> Result<(), String> {
        begin()?;
        let branches: Vec<u32> = (0..n).collect();
        map("s", &branches).run(|_| step("s").run(|| Ok(compute())))?;
        Ok(())
    }

    fn steps_then_wait(n: u32) -> Result<u32, String> {
        steps(n)?;
        Ok(payload_bytes()?)
    }
}

/// What is measured begins here: everything that the run needs is there.
fn begin() -> Result<(), Failure> {
    wait_for("begin").recv()
}

fn compute() -> u64 {
    let mut sum = 0u64;
    for k in 0..100_000_000u64 {
        sum = black_box(sum.rotate_left(5) ^ k);
    }
    sum
}

fn steps(n: u32) -> Result<(), Failure> {
    (0..n).try_for_each(|_| step("s").run(|| Ok(())))
}

fn payload_bytes() -> Result<u32, Failure> {
    let payload = raw::waits::wait_for("go", None)?.unwrap_or_default();
    Ok(u32::try_from(payload.len()).unwrap_or(u32::MAX))
}
