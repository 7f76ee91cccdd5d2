//! `dacapo:workflow/steps`: units of work whose outcome is recorded once.

use dacapo_model::{Failure, Kind, Outcome, Payload, PayloadError};
use wasmtime::component::Resource;

use super::bindings::dacapo::workflow::steps::{Host, HostAttempt, State};
use super::bindings::dacapo::workflow::types;
use crate::ending::{BlockCode, BlockReason};
use crate::guest::{Asked, Guest, OpenAttempt, cancelled};
use crate::interrupt::Interrupt;

/// The resource that a guest holds while a step's body runs. What it stands for is in [`Guest::attempt`], since there is only one.
#[derive(Debug)]
pub struct Attempt {
    number: u32,
}

impl Host for Guest {
    async fn step_run(&mut self, name: String) -> wasmtime::Result<Result<State, types::Failure>> {
        let slot = match self.ask(Kind::Step, &name)? {
            Asked::Recorded(outcome) => return Ok(recorded(outcome)),
            Asked::Live(slot) => slot,
        };
        if self.heed_signals().await? {
            let started_at = self.journal.now();
            self.record_done(slot, started_at, Outcome::Cancelled, None);
            return Ok(Err(cancelled().into()));
        }
        if let Some(outcome) = self.journal.scripted(&slot.key) {
            let at = self.journal.now();
            self.record_done(slot, at, outcome.clone(), None);
            return Ok(recorded(outcome));
        }
        // The body may have effects that can be seen, so everything before it must be durable.
        self.journal.settle().await.map_err(Interrupt::from)?;
        let handle = self.table.push(Attempt { number: 1 })?;
        self.console.enter(Some(slot.key.clone()), false);
        self.attempt = Some(OpenAttempt {
            slot,
            started_at: self.journal.now(),
        });
        Ok(Ok(State::Execute(handle)))
    }

    fn step_end(
        &mut self,
        attempt: Resource<Attempt>,
        outcome: Result<String, types::Failure>,
    ) -> wasmtime::Result<Result<String, types::Failure>> {
        self.meter.reset();
        self.table.delete(attempt)?;
        let Some(OpenAttempt { slot, started_at }) = self.attempt.take() else {
            return Err(Interrupt::misuse("an attempt was ended that is not open").into());
        };
        let limits = &self.config.payload;
        let outcome = match outcome {
            Ok(json) => match Payload::new(json, limits) {
                Ok(payload) => Outcome::Ok(payload),
                Err(error) => {
                    return Err(unrecordable(
                        &format!("the outcome of step `{}`", slot.key),
                        &error,
                    )
                    .into());
                }
            },
            Err(failure) => {
                let types::Failure {
                    code,
                    message,
                    retryable,
                    details,
                } = failure;
                match Failure::from_guest(code, message, retryable, details.as_deref(), limits) {
                    Ok(failure) => Outcome::Failed(failure),
                    Err(error) => {
                        return Err(unrecordable(
                            &format!("the failure of step `{}`", slot.key),
                            &error,
                        )
                        .into());
                    }
                }
            }
        };
        // The guest gets what is recorded, so that a replay gives it the very same.
        let handed_over = match &outcome {
            Outcome::Ok(payload) => Ok(payload.as_str().to_owned()),
            Outcome::Failed(failure) => Err(failure.clone().into()),
            Outcome::TimedOut | Outcome::Cancelled => Err(cancelled().into()),
        };
        // Lines printed by the body belong to the step, so they are written before its outcome.
        self.console.enter(None, self.replay.is_replaying());
        self.record_done(slot, started_at, outcome, None);
        Ok(handed_over)
    }

    fn step_reject(&mut self, name: String, reason: String) -> wasmtime::Result<()> {
        let message =
            format!("the workflow cannot use what was recorded for step `{name}`: {reason}");
        Err(Interrupt::Blocked(BlockReason {
            code: BlockCode::Rejected,
            message,
            details: None,
        })
        .into())
    }
}

impl HostAttempt for Guest {
    fn number(&mut self, attempt: Resource<Attempt>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&attempt)?.number)
    }

    fn drop(&mut self, attempt: Resource<Attempt>) -> wasmtime::Result<()> {
        self.table.delete(attempt)?;
        match self.attempt.take() {
            None => Ok(()),
            Some(open) => Err(Interrupt::misuse(format!(
                "the attempt at step `{}` was dropped without an outcome: call `step-end` with it",
                open.slot.key
            ))
            .into()),
        }
    }
}

fn recorded(outcome: Outcome) -> Result<State, types::Failure> {
    match outcome {
        Outcome::Ok(payload) => Ok(State::Recorded(Ok(payload.into_string()))),
        Outcome::Failed(failure) => Ok(State::Recorded(Err(failure.into()))),
        Outcome::TimedOut => Ok(State::Recorded(Err(Failure::new(
            dacapo_model::TIMEOUT,
            "the step ran out of time",
        )
        .into()))),
        Outcome::Cancelled => Err(cancelled().into()),
    }
}

fn unrecordable(what: &str, error: &PayloadError) -> Interrupt {
    let message = format!("{what} cannot be recorded: {error}");
    Interrupt::Failed(Failure::new(crate::ending::payload_code(error), message))
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> types::Failure {
        types::Failure {
            code: failure.code,
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details.map(Payload::into_string),
        }
    }
}
