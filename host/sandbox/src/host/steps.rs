//! `dacapo:workflow/steps`: units of work whose outcome is recorded once.

use std::time::Duration;

use dacapo_model::{Failure, Kind, Outcome, Payload, PayloadError, RetryPolicy};
use wasmtime::component::Resource;

use super::bindings::dacapo::workflow::steps::{Host, HostAttempt, HostOptions, Retry, State};
use super::bindings::dacapo::workflow::types;
use crate::attempt::{AfterFailure, OpenAttempt, Over};
use crate::ending::{BlockCode, BlockReason};
use crate::guest::{Asked, Guest, cancelled, hide_payload};
use crate::interrupt::Interrupt;
use crate::journal::SuspendReason;

/// The resource that a guest holds while a step's body runs. What it stands for is in [`Guest::attempt`], since there is only one.
#[derive(Debug)]
pub struct Attempt {
    number: u32,
}

/// How a guest wants a step to be run; what it does not set is as the configuration says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    retry: Option<RetryPolicy>,
    timeout_ms: Option<u64>,
}

impl Host for Guest {
    async fn step_run(
        &mut self,
        name: String,
        options: Option<Resource<Options>>,
    ) -> wasmtime::Result<Result<State, types::Failure>> {
        let slot = match self.ask(Kind::Step, &name)? {
            Asked::Recorded { outcome, .. } => return Ok(recorded(outcome)),
            Asked::Live(slot) => slot,
        };
        let options = match options {
            Some(options) => *self.table.get(&options)?,
            None => Options::default(),
        };
        let mut failed_attempts = 0;
        loop {
            if self.heed_signals().await? {
                let open = slot.open.as_ref();
                let started_at = open.map_or_else(|| self.journal.now(), |row| row.started_at);
                self.record_done(slot, started_at, Outcome::Cancelled, None, None);
                return Ok(Err(cancelled().into()));
            }
            let Some(row) = &slot.open else { break };
            failed_attempts = row.failed_attempts;
            match row.due {
                Some(due) if self.journal.now() < due => {
                    self.suspend(SuspendReason::Retry, &[], Some(due)).await?;
                }
                _ => break,
            }
        }
        let scripted = self.journal.scripted(&slot.key);
        if scripted.is_none() {
            // The body may have effects that can be seen, so everything before it must be durable.
            self.go.settle().await.map_err(Interrupt::from)?;
        }
        let mut open = OpenAttempt {
            slot,
            started_at: self.journal.now(),
            number: failed_attempts + 1,
            retry: options.retry.unwrap_or(self.go.retry),
            timeout_ms: options.timeout_ms,
            retry_after_ms: None,
            is_over: Over::default(),
            is_limited: false,
            scratch: None,
        };
        if let Some(outcome) = scripted {
            let outcome = self.end_attempt(open, outcome).await?;
            return Ok(Ok(State::Recorded(outcome)));
        }
        self.journal
            .attempt_begins(&open.slot.key, open.number, open.started_at);
        let handle = self.table.push(Attempt {
            number: open.number,
        })?;
        self.console.enter(Some(open.slot.key.clone()), false);
        open.scratch = self.open_scratch();
        self.attempt = Some(open);
        if let Some(ms) = options.timeout_ms {
            let max_ms = self.config.attempt_time_max_ms;
            self.alarm.set(Duration::from_millis(ms.min(max_ms)));
        }
        Ok(Ok(State::Execute(handle)))
    }

    async fn step_end(
        &mut self,
        attempt: Resource<Attempt>,
        outcome: Result<String, types::Failure>,
    ) -> wasmtime::Result<Result<String, types::Failure>> {
        self.meter.reset();
        self.alarm.stop();
        self.table.delete(attempt)?;
        let Some(open) = self.attempt.take() else {
            return Err(Interrupt::misuse("an attempt was ended that is not open").into());
        };
        let key = &open.slot.key;
        let limits = &self.config.payload;
        let outcome = match outcome {
            Ok(json) => Ok(Payload::new(json, limits)
                .map_err(|error| unrecordable(&format!("the outcome of step `{key}`"), &error))?),
            Err(failure) => {
                let types::Failure {
                    code,
                    message,
                    retryable,
                    details,
                } = failure;
                Err(
                    Failure::from_guest(code, message, retryable, details.as_deref(), limits)
                        .map_err(|error| {
                            unrecordable(&format!("the failure of step `{key}`"), &error)
                        })?,
                )
            }
        };
        // Lines printed by the body belong to the step, so they are written before its outcome.
        self.console.enter(None, self.is_silent());
        Ok(self.end_attempt(open, outcome).await?)
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

impl Guest {
    /// Records how an attempt has ended. Answers what the guest is handed, unless another attempt follows.
    async fn end_attempt(
        &mut self,
        open: OpenAttempt,
        outcome: Result<Payload, Failure>,
    ) -> Result<Result<String, types::Failure>, Interrupt> {
        let outcome = match (self.sql.take(), outcome) {
            (Some(transaction), Ok(payload)) => {
                let payload = hide_payload(payload, &self.go.terms.grants);
                let handed_over = payload.as_str().to_owned();
                match self.commit(transaction, &open, payload).await? {
                    Ok(()) => return Ok(Ok(handed_over)),
                    Err(failure) => Err(failure),
                }
            }
            (Some(transaction), Err(failure)) => {
                transaction.roll_back().await;
                Err(failure)
            }
            (None, outcome) => outcome,
        };
        // The guest gets what is recorded, so that a replay gives it the very same.
        match outcome {
            Ok(payload) => {
                let payload = hide_payload(payload, &self.go.terms.grants);
                let handed_over = payload.as_str().to_owned();
                let started_at = open.step_started_at();
                self.record_done(open.slot, started_at, Outcome::Ok(payload), None, None);
                Ok(Ok(handed_over))
            }
            Err(failure) => match self.fail_attempt(open, failure) {
                AfterFailure::Over(failure) => Ok(Err(failure.into())),
                AfterFailure::Retry(due) => Err(self.suspend_for_retry(due).await),
            },
        }
    }
}

impl HostOptions for Guest {
    fn new(&mut self) -> wasmtime::Result<Resource<Options>> {
        Ok(self.table.push(Options::default())?)
    }

    fn set_retry(&mut self, options: Resource<Options>, retry: Retry) -> wasmtime::Result<()> {
        let retry = RetryPolicy {
            max_attempts: retry.max_attempts,
            initial_ms: retry.initial_ms,
            factor: retry.factor,
            max_ms: retry.max_ms,
        };
        retry
            .check()
            .map_err(|error| Interrupt::misuse(error.to_string()))?;
        self.table.get_mut(&options)?.retry = Some(retry);
        Ok(())
    }

    fn set_timeout(&mut self, options: Resource<Options>, ms: u64) -> wasmtime::Result<()> {
        if ms == 0 {
            let message = "step time-out: expected at least 1 ms, got 0 ms";
            return Err(Interrupt::misuse(message).into());
        }
        self.table.get_mut(&options)?.timeout_ms = Some(ms);
        Ok(())
    }

    fn drop(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}

impl HostAttempt for Guest {
    fn retry_after(&mut self, attempt: Resource<Attempt>, ms: u64) -> wasmtime::Result<()> {
        self.table.get(&attempt)?;
        if let Some(open) = &mut self.attempt {
            open.retry_after_ms = Some(ms);
        }
        Ok(())
    }

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

pub(super) fn unrecordable(what: &str, error: &PayloadError) -> Interrupt {
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
