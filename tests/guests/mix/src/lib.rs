//! Workflows that use all primitives together. Each step's body leaves an effect with a number that nobody else draws, and records that
//! number beside its value: so a test can tell which of the executions of a body was recorded.

use std::time::Duration;

use dacapo_guest::{Failure, Fatal, Retry, child, join, map, race, saga, sleep, step, wait_for};

dacapo_guest::workflows!(Mix);
use bindings::dacapo::test::effects;
use bindings::exports::test::mix::mix::{Guest, Plan};

struct Mix;

/// Runs a step that has an effect.
fn effect(name: &str, value: u32) -> Result<u32, Failure> {
    let (value, _): (u32, u64) = step(name).run(|| Ok((value, leave()?)))?;
    Ok(value)
}

/// Leaves an effect, and answers its number.
fn leave() -> Result<u64, Fatal<&'static str>> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Fatal("no randomness"))?;
    // Numbers of JSON are exact up to 2^53.
    let number = u64::from_le_bytes(bytes) >> 11;
    effects::append(&number.to_string());
    Ok(number)
}

impl Guest for Mix {
    fn all(plan: Plan) -> Result<String, String> {
        let n = plan.number;
        let first = effect("first", n)?;
        // Fails at its first attempt, whichever worker plays it.
        let (second, _): (u32, u64) = step("second")
            .backoff(Duration::from_millis(100), 1.0, Duration::from_millis(100))
            .run_with(|attempt| {
                let number = leave()?;
                if attempt == 1 {
                    return Err(Retry("once more").into());
                }
                Ok((n + 1, number))
            })?;
        sleep("nap", Duration::from_millis(50 + u64::from(n % 7) * 50))?;
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(wait_for::<u32>("go").recv()?);
            effect("took", 0)?;
        }
        let numbers: Vec<u32> = (0..4).collect();
        let squares = map("fan", &numbers).max_parallel(2).run(|&k| {
            if k == 2 {
                sleep("nap", Duration::from_millis(30))?;
            }
            effect("square", k * k)
        })?;
        let raced: u32 = race!("race", || effect("quick", 1), || sleep(
            "slow",
            Duration::from_secs(3600)
        )
        .map(|()| 2),)?;
        let (leaf, side): (u32, u32) = join!(
            "both",
            || child("leaf", "test:mix/mix.leaf").run(&n),
            || effect("side", n),
        )?;
        let last = effect("last", n)?;
        Ok(format!(
            "{first} {second} {taken:?} {squares:?} {raced} {leaf} {side} {last}"
        ))
    }

    fn leaf(number: u32) -> Result<u32, String> {
        let halves = map("half", &[1u32, 2]).run(|k| effect("part", number * k))?;
        Ok(halves.iter().sum())
    }

    fn fails(number: u32) -> Result<(), String> {
        saga(|saga| {
            effect("reserve", number)?;
            saga.compensate("release", || {
                leave()?;
                Ok(())
            });
            sleep("nap", Duration::from_millis(100))?;
            effect("charge", number)?;
            saga.compensate("refund", || {
                leave()?;
                Ok(())
            });
            step("ship").run(|| Err::<(), _>(Fatal("there is no ship").into()))
        })
        .map_err(|failure| failure.message)
    }

    fn tick() {
        let _ = effect("tick", 0);
    }
}
