//! Workflows that are kept in the middle, with a database of each released schema: what they record must be understood for ever.

use std::time::Duration;

use dacapo_guest::{
    Failure, Fatal, Retry, child, join, map, pause, progress, reveal, sleep, step, wait_for,
};

dacapo_guest::workflows!(Kept);
use bindings::exports::test::kept::kept::Guest;

struct Kept;

fn number(name: &str, value: u32) -> Result<u32, Failure> {
    step(name).run(|| Ok(value))
}

impl Guest for Kept {
    fn work(n: u32) -> Result<String, String> {
        progress(1, 3, "began");
        let first = number("first", n)?;
        let (left, right): (u32, u32) =
            join!("both", || number("left", n + 1), || number("right", n + 2))?;
        let squares = map("squares", &[1, 2, 3])
            .max_parallel(2)
            .run(|k| number("square", k * k))?;
        let leaf: u32 = child("leaf", "test:kept/kept.leaf").run(&n)?;
        progress(3, 3, None);
        let last = number("last", n)?;
        Ok(format!("{first} {left} {right} {squares:?} {leaf} {last}"))
    }

    fn leaf(n: u32) -> Result<u32, String> {
        let halves = map("half", &[1, 2]).run(|k| number("part", n * k))?;
        Ok(halves.iter().sum())
    }

    fn waits(n: u32) -> Result<String, String> {
        let before = number("before", n)?;
        let went: u32 = wait_for("go").recv()?;
        let after = number("after", before + went)?;
        Ok(format!("{before} {went} {after}"))
    }

    fn sleeps(ms: u64) -> Result<String, String> {
        let before = number("before", 1)?;
        sleep("nap", Duration::from_millis(ms))?;
        let after = number("after", 2)?;
        Ok(format!("{before} {after}"))
    }

    fn pauses() -> Result<String, String> {
        let before = number("before", 1)?;
        pause("look")?;
        let after = number("after", 2)?;
        Ok(format!("{before} {after}"))
    }

    fn retries(ms: u64) -> Result<u32, String> {
        let wait = Duration::from_millis(ms);
        Ok(step("flaky").backoff(wait, 1.0, wait).run_with(|attempt| {
            if attempt == 1 {
                return Err(Retry("not yet").into());
            }
            Ok(attempt)
        })?)
    }

    fn fails() -> Result<(), String> {
        number("before", 1)?;
        step("ship").run(|| Err::<(), _>(Fatal("there is no ship").into()))?;
        Ok(())
    }

    fn needs() -> Result<u32, String> {
        let key: u32 = step("tell").run(|| Ok(u32::try_from(reveal("key")?.len())?))?;
        Ok(key)
    }

    fn forks(ms: u64) -> Result<String, String> {
        let (went, slept, child): (u32, u32, String) = join!(
            "three",
            || wait_for("go").recv(),
            || {
                sleep("nap", Duration::from_millis(ms))?;
                number("woke", 1)
            },
            || child("waits", "test:kept/kept.waits").run(&7),
        )?;
        Ok(format!("{went} {slept} ({child})"))
    }
}
