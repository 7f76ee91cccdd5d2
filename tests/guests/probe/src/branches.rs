//! Forks as a workflow uses them.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dacapo_guest::raw::forks;
use dacapo_guest::tracing::info;
use dacapo_guest::{Failure, Fatal, Retry, join, map, now, pause, race, sleep, step, wait_for};

use crate::Probe;
use crate::bindings::exports::test::probe::branches::{Fan, Guest};

/// Works on each number below `n` in a branch.
fn fan<T>(fan: &Fan, work: impl Fn(u32) -> Result<T, Failure>) -> Result<Vec<T>, Failure>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let numbers: Vec<u32> = (0..fan.n).collect();
    let mut map = map("fan", &numbers);
    if let Some(max) = fan.max_parallel {
        map = map.max_parallel(max);
    }
    map.run(|number| work(*number))
}

impl Guest for Probe {
    fn many_fail() -> Result<u32, String> {
        let once = |name: &str| {
            step(name).run_with(|attempt| {
                info!("effect {name} {attempt}");
                if attempt == 1 {
                    return Err(Failure::fatal("shut", "the gate is shut").into());
                }
                Ok(1)
            })
        };
        let done = map("many", &[0, 1, 2, 3]).run(|number| match number {
            0 => {
                // What its code has got over is not gone back to.
                let asked: Result<u32, Failure> =
                    step("before").run(|| Err(Failure::fatal("no", "never").into()));
                Ok(once("first")? + u32::from(asked.is_ok()))
            }
            1 => {
                let charged: Result<u32, Failure> =
                    step("second").run(|| Err(Failure::fatal("no", "never").into()));
                Ok(u32::from(charged.is_err()))
            }
            2 => {
                let inner = map("inner", &[0, 1]).run(|_| once("third"))?;
                Ok(u32::from(inner.len() == 2))
            }
            _ => step("fourth").run(|| {
                info!("effect fourth");
                Ok(1)
            }),
        })?;
        step("after").run(|| Ok(()))?;
        Ok(done.iter().sum())
    }

    fn pauses_beside(ms: u64) -> Result<u32, String> {
        let done = map("beside", &[0, 1]).run(|number| {
            if *number == 0 {
                pause("hold")?;
            } else {
                sleep("nap", Duration::from_millis(ms))?;
                step("woke").run(|| Ok(()))?;
            }
            Ok(1)
        })?;
        Ok(done.iter().sum())
    }

    fn squares(plan: Fan) -> Result<u64, String> {
        let squares = fan(&plan, |number| {
            step("square").run(|| {
                info!("effect square {number}");
                if plan.ms > 0 {
                    std::thread::sleep(Duration::from_millis(plan.ms));
                }
                Ok(u64::from(number) * u64::from(number))
            })
        })?;
        Ok(squares.iter().sum())
    }

    fn sleepers(plan: Fan) -> Result<u32, String> {
        let slept = fan(&plan, |number| {
            sleep("nap", Duration::from_millis(plan.ms + u64::from(number)))?;
            Ok(1)
        })?;
        Ok(slept.iter().sum())
    }

    fn listeners(plan: Fan) -> Result<Vec<String>, String> {
        Ok(fan(&plan, |number| {
            let name = format!("go-{number}");
            if plan.ms == 0 {
                return wait_for(&name).recv();
            }
            let most = Duration::from_millis(plan.ms);
            let received: Option<String> = wait_for(&name).timeout(most).recv()?;
            Ok(received.unwrap_or_default())
        })?)
    }

    fn burners(plan: Fan) -> Result<u32, String> {
        let burnt = fan(&plan, |_| {
            step("burn").run(|| {
                let begin = Instant::now();
                let mut sum = 0u64;
                while begin.elapsed() < Duration::from_millis(plan.ms) {
                    for k in 0..10_000u64 {
                        sum = black_box(sum.wrapping_mul(31).wrapping_add(k));
                    }
                }
                Ok(1)
            })
        })?;
        Ok(burnt.iter().sum())
    }

    fn joins() -> Result<String, String> {
        let before: u32 = step("before").run(|| Ok(1))?;
        let (made, approved, ()): (u32, String, ()) = join!(
            "all",
            || step("make").run(|| Ok(before + 1)),
            || wait_for("approved").recv(),
            || sleep("nap", Duration::from_millis(20)),
        )?;
        let after: u32 = step("after").run(|| Ok(made + 1))?;
        Ok(format!("{before} {made} {after} {approved}"))
    }

    fn nested() -> Result<u32, String> {
        let outer = map("outer", &[1u32, 2]).run(|&a| {
            let inner = map("inner", &[10u32, 20]).run(|&b| {
                step("add").run(|| {
                    info!("effect add {a} {b}");
                    Ok(a + b)
                })
            })?;
            step("sum").run(|| Ok(inner.iter().sum::<u32>()))
        })?;
        Ok(outer.iter().sum())
    }

    fn races(ms: u64) -> Result<String, String> {
        let winner = race!(
            "first",
            || match wait_for::<String>("answered").recv() {
                Ok(answer) => Ok(answer),
                Err(failure) => {
                    step("undo").run(|| {
                        info!("effect undo");
                        Ok(())
                    })?;
                    Err(failure)
                }
            },
            || sleep("patience", Duration::from_millis(ms)).map(|()| "nobody".to_owned()),
        )?;
        step("told").run(|| Ok(()))?;
        Ok(winner)
    }

    fn loses() -> Result<(), String> {
        let failure = race!(
            "first",
            || step("a").run(|| Err::<(), _>(Failure::fatal("a-failed", "a").into())),
            || step("b").run(|| Err::<(), _>(Failure::fatal("b-failed", "b").into())),
        )
        .err();
        Err(failure.map_or_else(String::new, |failure| failure.code))
    }

    fn one_fails() -> Result<(), String> {
        let outcome = map("three", &[0u32, 1, 2]).run(|&number| {
            step("work").run(|| {
                if number == 1 {
                    return Err(Fatal("one cannot").into());
                }
                Ok(number)
            })
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.message),
        }
    }

    fn one_retries() -> Result<u32, String> {
        let numbers = map("three", &[0u32, 1, 2]).run(|&number| {
            step("work")
                .backoff(Duration::from_millis(50), 1.0, Duration::from_millis(50))
                .run_with(|attempt| {
                    info!("effect work {number}");
                    if number == 1 && attempt == 1 {
                        return Err(Retry("not yet").into());
                    }
                    Ok(number)
                })
        })?;
        Ok(numbers.iter().sum())
    }

    fn cancels() -> Result<(), String> {
        let outcome = map("two", &[0u32, 1]).run(|number| {
            let outcome = wait_for::<()>("never").recv();
            if outcome.is_err() {
                step("undo").run(|| {
                    info!("effect undo {number}");
                    Ok(())
                })?;
                // Who was told may wait again.
                sleep("cool-down", Duration::from_millis(30))?;
            }
            outcome
        });
        if let Err(failure) = outcome {
            step("release").run(|| Ok(()))?;
            return Err(failure.message);
        }
        Ok(())
    }

    fn only_computes() -> Result<u32, String> {
        let sums = map("pure", &[1u32, 2]).run(|number| Ok(number + 1))?;
        let sum: u32 = step("sum").run(|| Ok(sums.iter().sum()))?;
        wait_for::<()>("go").recv()?;
        Ok(sum)
    }

    fn makes_up() -> Result<(), String> {
        let Err(failure) = map("one", &[0u32]).run(|_| wait_for::<()>("never").recv()) else {
            return Ok(());
        };
        step("undo")
            .backoff(Duration::from_millis(20), 1.0, Duration::from_millis(20))
            .run_with(|attempt| {
                if attempt == 1 {
                    return Err(Retry("once more").into());
                }
                info!("effect undo");
                Ok(())
            })?;
        map("undo-more", &[0u32, 1]).run(|number| {
            step("undo").run(|| {
                info!("effect undo {number}");
                Ok(())
            })
        })?;
        Err(failure.message)
    }

    fn sees() -> Result<Vec<String>, String> {
        let look = |number: u32| {
            let millis = now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis();
            let map: HashMap<u32, ()> = (0..20).map(|key| (key, ())).collect();
            let order: Vec<u32> = map.into_keys().collect();
            let drawn = getrandom::u64().unwrap_or_default();
            format!("{number} {millis} {order:?} {drawn}")
        };
        let first = look(9);
        let mut seen = map("look", &[0u32, 1]).run(|&number| {
            let before = look(number);
            sleep("nap", Duration::from_millis(20))?;
            Ok(format!("{before} {}", look(number)))
        })?;
        seen.insert(0, first);
        step("check").run(|| Ok(()))?;
        seen.push(look(10));
        Ok(seen)
    }

    fn raw_fork(branches: u32) -> Result<(), String> {
        match forks::fork("many", branches, None) {
            Ok(forks::Side::Branch(_)) => forks::branch_end(Ok("null")),
            Ok(forks::Side::Joined(_)) => {}
            Err(failure) => return Err(failure.message),
        }
        Ok(())
    }

    fn fork_in_step() -> Result<(), String> {
        Ok(step("outer").run(|| {
            map("inner", &[1u32]).run(|_| Ok(()))?;
            Ok(())
        })?)
    }

    fn returns() -> Result<(), String> {
        let _ = forks::fork("two", 2, None);
        Ok(())
    }

    fn traps() -> Result<(), String> {
        map("two", &[0u32, 1]).run(|&number| {
            assert!(number == 0, "branch {number} gives up");
            Ok(())
        })?;
        Ok(())
    }

    fn ends_nothing() -> Result<(), String> {
        forks::branch_end(Ok("null"));
        Ok(())
    }
}
