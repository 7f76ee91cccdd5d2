//! Steps and waits as a workflow uses them.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dacapo_guest::tracing::info;
use dacapo_guest::{
    Failure, Fatal, Retry, pause, poll, raw, saga, sleep, sleep_until, step, wait_for, wait_for_any,
};

use crate::Probe;
use crate::bindings::exports::test::probe::durable::{Guest, How, Naps, Plan};

impl Guest for Probe {
    fn counted_steps(n: u32) -> Result<u64, String> {
        let mut sum = 0;
        for k in 1..=n {
            sum += u64::from(step("s").run(|| Ok(k))?);
        }
        Ok(sum)
    }

    fn effects(n: u32) -> Result<(), String> {
        for k in 1..=n {
            step("s").run(|| {
                info!("effect s#{k}");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn big_step(n: u32) -> Result<u32, String> {
        let text: String = step("big").run(|| Ok("x".repeat(n as usize)))?;
        Ok(u32::try_from(text.len()).unwrap_or(u32::MAX))
    }

    fn busy_step(ms: u64) -> Result<(), String> {
        Ok(step("busy").run(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(ms) {
                black_box(());
            }
            Ok(())
        })?)
    }

    fn slow_step(ms: u64) -> Result<(), String> {
        step("slow").run(|| {
            info!("slow begins");
            std::thread::sleep(Duration::from_millis(ms));
            info!("slow ends");
            Ok(())
        })?;
        Ok(step("next").run(|| Ok(()))?)
    }

    fn step_fails() -> Result<(String, String), String> {
        let Err(failure) = step("charge")
            .run::<(), _>(|| Err(Failure::fatal("card-declined", "the bank said no").into()))
        else {
            return Err("the step did not fail".to_owned());
        };
        step("release").run(|| Ok(()))?;
        Ok((failure.code, failure.message))
    }

    fn step_fails_retryable() -> Result<String, String> {
        let failed =
            step("flaky").run::<(), _>(|| Err(Failure::retry("busy", "the bank is busy"))?);
        match failed {
            Ok(()) => Err("the step did not fail".to_owned()),
            Err(failure) => Ok(failure.code),
        }
    }

    fn events(names: Vec<String>) -> Result<Vec<String>, String> {
        names.iter().map(|name| Ok(wait_for_text(name)?)).collect()
    }

    fn typed_event() -> Result<u32, String> {
        Ok(wait_for("n").recv()?)
    }

    fn wait_timeout(ms: u64) -> Result<Option<String>, String> {
        Ok(raw::waits::wait_for("go", Some(ms)).map_err(Failure::from)?)
    }

    fn sleeps(naps: Naps) -> Result<(), String> {
        for _ in 0..naps.times {
            sleep("nap", Duration::from_millis(naps.ms))?;
        }
        Ok(())
    }

    fn sleeps_until(unix_ms: u64) -> Result<(), String> {
        Ok(sleep_until(
            "until",
            UNIX_EPOCH + Duration::from_millis(unix_ms),
        )?)
    }

    fn pauses() -> Result<(), String> {
        pause("first")?;
        step("between").run(|| Ok(()))?;
        Ok(pause("second")?)
    }

    fn polls(ms: u64) -> Result<Option<u32>, String> {
        let begun: Duration = step("begin").run(|| Ok(UNIX_EPOCH.elapsed()?))?;
        let ripe = begun + Duration::from_millis(ms);
        Ok(poll("look", Duration::ZERO)
            .timeout(Duration::from_secs(1))
            .until(|| Ok((UNIX_EPOCH.elapsed()? >= ripe).then_some(7)))?)
    }

    fn polls_for_nothing() -> Result<bool, String> {
        let found = poll("look", Duration::from_secs(60)).until(|| Ok(Some(())))?;
        Ok(found.is_some())
    }

    fn saga() -> Result<String, String> {
        let (fails, busy_until) = (Cell::new(false), Cell::new(Duration::ZERO));
        let outcome = saga(|saga| {
            step("reserve").run(|| Ok(()))?;
            saga.compensate("release", || Ok(()));
            step("charge").run(|| Ok(()))?;
            saga.compensate("refund", || {
                if fails.get() {
                    return Err(Fatal("the account is closed").into());
                }
                if UNIX_EPOCH.elapsed()? < busy_until.get() {
                    return Err(Retry("the bank is busy").into());
                }
                Ok(())
            });
            match wait_for::<String>("settled").recv()?.as_str() {
                "fails" => step("ship").run(|| Err(Fatal("there is no ship").into())),
                "refund-fails" => {
                    fails.set(true);
                    step("ship").run(|| Err(Fatal("there is no ship").into()))
                }
                "refund-waits" => {
                    busy_until.set(
                        step("busy")
                            .run(|| Ok(UNIX_EPOCH.elapsed()? + Duration::from_millis(300)))?,
                    );
                    step("ship").run(|| Err(Fatal("there is no ship").into()))
                }
                other => Ok(other.to_owned()),
            }
        });
        outcome.map_err(|failure| format!("{}: {failure}", failure.code))
    }

    fn cancel_compensates() -> Result<(), String> {
        step("reserve").run(|| Ok(()))?;
        let Err(failure) = wait_for_text("never") else {
            return Ok(());
        };
        step("release").run(|| {
            info!("effect release");
            Ok(())
        })?;
        Err(failure.code)
    }

    fn flaky(plan: Plan) -> Result<u32, String> {
        let backoff = Duration::from_millis(plan.backoff_ms);
        let mut charge = step("flaky")
            .attempts(plan.attempts)
            .backoff(backoff, 1.0, backoff);
        if matches!(plan.how, How::Spin | How::Sleep) {
            charge = charge.timeout(Duration::from_millis(100));
        }
        let outcome = charge.run_with(|attempt| {
            info!("effect attempt {attempt}");
            if attempt <= plan.bad {
                go_wrong(plan.how)?;
            }
            Ok(attempt)
        });
        match outcome {
            Ok(attempt) => Ok(attempt),
            Err(failure) => {
                step("undo").run(|| Ok(()))?;
                Err(failure.code)
            }
        }
    }

    fn any_event(names: Vec<String>) -> Result<(String, String), String> {
        let received = raw::waits::wait_for_any("any", &names, None).map_err(Failure::from)?;
        received.ok_or_else(|| "a wait without a time-out timed out".to_owned())
    }

    fn any_event_twice(names: Vec<String>) -> Result<Vec<(String, String)>, String> {
        Ok(vec![
            Self::any_event(names.clone())?,
            Self::any_event(names)?,
        ])
    }

    fn any_event_timeout(ms: u64) -> Result<Option<(String, String)>, String> {
        let received = wait_for_any::<u32>("any", &["paid", "refused"])
            .timeout(Duration::from_millis(ms))
            .recv()?;
        Ok(received.map(|(event, payload)| (event, payload.to_string())))
    }

    fn step_wait_step() -> Result<String, String> {
        let a: String = step("a").run(|| {
            info!("effect a");
            Ok("a".to_owned())
        })?;
        let go = wait_for_text("go")?;
        let b: String = step("b").run(|| {
            info!("effect b");
            Ok("b".to_owned())
        })?;
        Ok(format!("{a} {go} {b}"))
    }
}

fn go_wrong(how: How) -> dacapo_guest::Result<()> {
    match how {
        How::Fail => Err(Failure::retry("busy", "the bank is busy"))?,
        How::FailAndWait => Err(Retry("the bank is busy").after(Duration::from_millis(300)))?,
        How::Fatal => Err(Failure::fatal("card-declined", "the bank said no"))?,
        How::Panic => panic!("the probe panics on purpose"),
        How::Spin => loop {
            black_box(());
        },
        How::Sleep => std::thread::sleep(Duration::from_secs(3_600)),
    }
    Ok(())
}

/// Waits for the event and returns its payload as it is.
pub(crate) fn wait_for_text(event: &str) -> Result<String, Failure> {
    let payload = raw::waits::wait_for(event, None)?;
    payload.ok_or_else(|| Failure::fatal("timeout", "a wait without a time-out timed out"))
}
