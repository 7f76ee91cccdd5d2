//! Guests that do not keep to the protocol.

use dacapo_guest::raw::steps::{self, Attempt, State};
use dacapo_guest::raw::waits;
use dacapo_guest::{Failure, context, step};

use crate::Probe;
use crate::bindings::exports::test::probe::protocol::Guest;
use crate::durable::wait_for_text;

impl Guest for Probe {
    fn nested_steps() {
        let _outer = begin("outer");
        let _inner = begin("inner");
    }

    fn wait_in_step() {
        let _outer = begin("outer");
        let _ = waits::wait_for("go", None);
    }

    fn sleep_in_step() {
        let _outer = begin("outer");
        let _ = waits::sleep("nap", 1);
    }

    fn dropped_attempt() {
        drop(begin("dropped"));
        let _ = step("next").run(|| Ok(()));
    }

    fn dropped_attempt_at_end() {
        drop(begin("dropped"));
    }

    fn return_in_step() {
        // Leaked, so that the attempt is still open when the workflow returns.
        std::mem::forget(begin("open"));
    }

    fn step_named(name: String) -> Result<(), String> {
        Ok(step(&name).run(|| Ok(()))?)
    }

    fn wait_named(name: String) -> Result<(), String> {
        wait_for_text(&name)?;
        Ok(())
    }

    fn waits_undeclared() -> Result<(), String> {
        wait_for_text("known")?;
        wait_for_text("knwon")?;
        Ok(())
    }

    fn fail_run(in_step: bool) {
        let _: u32 = step("s").run(|| Ok(1)).expect("a step");
        if in_step {
            let _open = begin("open");
            context::fail(Failure::fatal("own", "the code has had enough"));
        }
        context::fail(Failure::fatal("own", "the code has had enough"))
    }

    fn record_text(text: String) -> Result<String, String> {
        let recorded = match steps::step_run("s", None).map_err(Failure::from)? {
            State::Recorded(outcome) => outcome,
            State::Execute(attempt) => steps::step_end(attempt, Ok(&text)),
        };
        Ok(recorded.map_err(Failure::from)?)
    }

    fn reject() -> Result<(), String> {
        step("s").run(|| Ok(()))?;
        wait_for_text("go")?;
        steps::step_reject("s", "the probe rejects it on purpose");
        Err("step-reject returned".to_owned())
    }

    fn attempt_number() -> u32 {
        begin("s").map_or(0, |attempt| {
            let number = attempt.number();
            let _ = steps::step_end(attempt, Ok("null"));
            number
        })
    }
}

/// Opens an attempt, unless the step has been recorded.
fn begin(name: &str) -> Option<Attempt> {
    match steps::step_run(name, None) {
        Ok(State::Execute(attempt)) => Some(attempt),
        _ => None,
    }
}
