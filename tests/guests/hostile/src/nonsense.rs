//! Numbers and JSON that mean nothing.

use std::cell::RefCell;
use std::time::Duration;

use dacapo_guest::raw::steps::{self, Attempt, Options, Retry, State};
use dacapo_guest::raw::types::Failure as RawFailure;
use dacapo_guest::raw::waits;
use dacapo_guest::{Failure, step};
use wasip2::clocks::monotonic_clock;

use crate::Hostile;
use crate::bindings::exports::test::hostile::nonsense::Guest;

const SOUND: Retry = Retry {
    max_attempts: 3,
    initial_ms: 1,
    factor: 1.0,
    max_ms: 1,
};

fn with(retry: Retry) {
    let options = Options::new();
    options.set_retry(retry);
}

/// Records JSON as it is.
fn record(json: &str) {
    if let Some(attempt) = begin("s") {
        let _ = steps::step_end(attempt, Ok(json));
    }
}

fn begin(name: &str) -> Option<Attempt> {
    match steps::step_run(name, None) {
        Ok(State::Execute(attempt)) => Some(attempt),
        _ => None,
    }
}

impl Guest for Hostile {
    fn attempts() {
        with(Retry {
            max_attempts: u32::MAX,
            ..SOUND
        });
    }

    fn factor() {
        with(Retry {
            factor: f32::NAN,
            ..SOUND
        });
    }

    fn back_off() {
        with(Retry {
            initial_ms: u64::MAX,
            max_ms: u64::MAX,
            factor: f32::MAX,
            ..SOUND
        });
    }

    fn no_time_out() {
        Options::new().set_timeout(0);
    }

    fn long_time_out() -> Result<(), String> {
        let forever = Duration::from_millis(u64::MAX);
        Ok(step("s").timeout(forever).run(|| Ok(()))?)
    }

    fn long_sleep() {
        let _ = waits::sleep("nap", u64::MAX);
    }

    fn long_wait() {
        let _ = waits::wait_for("never", Some(u64::MAX));
    }

    fn long_retry_after() {
        if let Some(attempt) = begin("s") {
            attempt.retry_after(u64::MAX);
            let failure = RawFailure {
                code: "later".to_owned(),
                message: "much later".to_owned(),
                retryable: true,
                details: None,
            };
            let _ = steps::step_end(attempt, Err(&failure));
        }
    }

    fn nested_json() {
        record(&"[".repeat(200_000));
    }

    fn huge_number() {
        record("1e999999999999");
    }

    fn lone_surrogate() {
        record(r#""\ud800""#);
    }

    fn nul() {
        record(r#""\u0000""#);
    }

    fn sleeps_in_step() -> Result<(), String> {
        let slept: Result<(), Failure> = step("sleep").attempts(1).run(|| {
            monotonic_clock::subscribe_duration(u64::MAX).block();
            Ok(())
        });
        slept.map_err(|failure| format!("{}: {}", failure.code, failure.message))
    }

    fn smuggles_timer() -> Result<(), String> {
        let smuggled = RefCell::new(None);
        step("make").run(|| {
            let timer = monotonic_clock::subscribe_duration(3_600_000_000_000);
            *smuggled.borrow_mut() = Some(timer);
            Ok(())
        })?;
        if let Some(timer) = smuggled.into_inner() {
            timer.block();
        }
        Ok(())
    }
}
