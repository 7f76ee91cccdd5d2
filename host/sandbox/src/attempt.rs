//! Attempts at a step: what happens when one fails.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use dacapo_model::{FailedAttempt, Failure, Outcome, RetryPolicy, RunId, StepKey, Timestamp};
use dacapo_outbound::StepOver;

use crate::guest::{Guest, OpenRow, Slot, hide_failure};
use crate::host::wasi::Scratch;
use crate::interrupt::Interrupt;
use crate::journal::{Stop, SuspendReason};

/// A step whose body is running now.
#[derive(Debug)]
pub(crate) struct OpenAttempt {
    pub(crate) slot: Slot,
    /// When this attempt began.
    pub(crate) started_at: Timestamp,
    /// 1 for the first.
    pub(crate) number: u32,
    pub(crate) retry: RetryPolicy,
    /// How long it may take, in milliseconds.
    pub(crate) timeout_ms: Option<u64>,
    /// The guest's wish for when the next attempt begins, in milliseconds from the end of this one.
    pub(crate) retry_after_ms: Option<u64>,
    /// Known to the requests that it sends.
    pub(crate) is_over: Over,
    /// It has waited for the host, and will not do so for ever.
    pub(crate) is_limited: bool,
    /// There for as long as the attempt, if its deployment grants one.
    pub(crate) scratch: Option<Scratch>,
}

/// Says that an attempt is over, which it is when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Over(StepOver);

impl Over {
    /// Set once the attempt is over.
    pub(crate) fn flag(&self) -> StepOver {
        self.0.clone()
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl OpenAttempt {
    /// When the step was first reached, whichever attempt this is.
    pub(crate) fn step_started_at(&self) -> Timestamp {
        let open = self.slot.open.as_ref();
        open.map_or(self.started_at, |row| row.started_at)
    }
}

/// What follows a failed attempt.
pub(crate) enum AfterFailure {
    /// Another attempt, at this time; it is recorded, and the instance has to go.
    Retry(Timestamp),
    /// Nothing: the failure is the step's outcome, and recorded.
    Over(Failure),
}

impl Guest {
    /// The guest is to wait for the host: an attempt without a time-out of its own gets one. It is not set when attempts begin, which is
    /// dear, since nearly none waits; those that compute have another limit.
    pub(crate) fn limit_attempt(&mut self) {
        let max_ms = self.config.attempt_time_max_ms;
        if let Some(attempt) = &mut self.attempt
            && attempt.timeout_ms.is_none()
            && !attempt.is_limited
        {
            attempt.is_limited = true;
            let now = self.journal.now();
            let micros = now.as_micros() - attempt.started_at.as_micros();
            let spent_ms = u64::try_from(micros).unwrap_or(0) / 1_000;
            self.alarm
                .set(Duration::from_millis(max_ms.saturating_sub(spent_ms)));
        }
    }

    /// Records that an attempt has failed, and what follows from that.
    pub(crate) fn fail_attempt(&mut self, attempt: OpenAttempt, failure: Failure) -> AfterFailure {
        // What is recorded is what the guest is told.
        let failure = hide_failure(failure, &self.go.terms.grants);
        let finished_at = self.journal.now().max(attempt.started_at);
        let step_started_at = attempt.step_started_at();
        let failed = FailedAttempt {
            number: attempt.number,
            started_at: attempt.started_at,
            finished_at,
            failure: failure.clone(),
        };
        let mut slot = attempt.slot;
        if !failure.retryable || attempt.number >= attempt.retry.max_attempts {
            let outcome = Outcome::Failed(failure.clone());
            self.record_done(slot, step_started_at, outcome, None, Some(failed));
            return AfterFailure::Over(failure);
        }
        let spread = spread(&self.go.run_id, &slot.key, attempt.number);
        let wait_ms = wait_ms(&attempt.retry, attempt.number, spread).max(
            attempt
                .retry_after_ms
                .unwrap_or(0)
                .min(RetryPolicy::WAIT_MAX_MS),
        );
        let due = finished_at.add_millis(wait_ms);
        let row = OpenRow {
            started_at: step_started_at,
            due: Some(due),
            failed_attempts: attempt.number,
            plan: None,
        };
        self.record_open(&mut slot, row, Some(failed));
        AfterFailure::Retry(due)
    }

    /// Gives the run up until its next attempt. It never comes back: what the guest has in its memory is of the failed attempt.
    pub(crate) async fn suspend_for_retry(&mut self, due: Timestamp) -> Interrupt {
        match self.suspend(SuspendReason::Retry, &[], Some(due)).await {
            Ok(()) => Interrupt::Stopped(Stop::Again),
            Err(interrupt) => interrupt,
        }
    }
}

/// What spreads the attempts of different steps and runs, and is the same whoever works it out.
fn spread(run: &RunId, key: &StepKey, number: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (run, key, number).hash(&mut hasher);
    hasher.finish()
}

/// How long to wait after the attempt with this number.
fn wait_ms(retry: &RetryPolicy, number: u32, spread: u64) -> u64 {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(retry.initial_ms))
        .with_factor(retry.factor)
        .with_max_delay(Duration::from_millis(retry.max_ms))
        .with_max_times(number as usize)
        .with_jitter()
        .with_jitter_seed(spread)
        .build();
    let delay = delays.last().unwrap_or_default();
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit_and_are_spread() {
        let retry = RetryPolicy {
            max_attempts: 10,
            initial_ms: 100,
            factor: 3.0,
            max_ms: 1_000,
        };
        for (number, least) in [(1, 100), (2, 300), (3, 900), (4, 1_000), (9, 1_000)] {
            let waits: Vec<u64> = (0..50).map(|seed| wait_ms(&retry, number, seed)).collect();
            assert!(
                waits.iter().all(|wait| (least..=2 * least).contains(wait)),
                "{number}: {waits:?}"
            );
            assert!(
                waits.iter().any(|wait| *wait != waits[0]),
                "{number}: {waits:?}"
            );
        }
    }
}
