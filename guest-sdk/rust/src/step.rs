//! Steps: named units of work whose outcome is recorded once and handed back ever after.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw::steps::{self, Attempt, State};
use crate::wait::whole_ms;
use crate::{Failure, StepError};

/// Names a step; [`Step::run`] runs its body, or hands back what was recorded when it ran before.
///
/// Names are 1 to 200 bytes, without `/`, `#` and control characters. The same name may be used again, in a loop say: each use,
/// in the order of the code, is a step of its own.
///
/// ```no_run
/// use dacapo_guest::{Fatal, step};
///
/// # fn charge(amount: &str) -> u64 { 0 }
/// let amount = "1200";
/// let receipt: u64 = step("charge").run(|| {
///     let cents: u64 = amount.parse()?;
///     if cents == 0 {
///         return Err(Fatal("there is nothing to charge").into());
///     }
///     Ok(charge(amount))
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn step(name: &str) -> Step<'_> {
    Step {
        name,
        retry: None,
        timeout: None,
    }
}

/// A named step that has not been run yet, made by [`step`].
#[must_use = "a step does nothing until `run` is called"]
pub struct Step<'a> {
    name: &'a str,
    retry: Option<steps::Retry>,
    timeout: Option<Duration>,
}

/// What a step that sets a part of its policy takes for the rest: as the operator's defaults are where nobody changed them.
const RETRY: steps::Retry = steps::Retry {
    max_attempts: 3,
    initial_ms: 1_000,
    factor: 2.0,
    max_ms: 60_000,
};

impl Step<'_> {
    /// Tries in all, the first one included: 1 to 1,000. Without it, as the operator's configuration says: 3 where nobody said otherwise.
    ///
    /// Only failures that are retryable are tried again: [`Retry`](crate::Retry), any error by `?`, traps, limits and time-outs, but not
    /// [`Fatal`](crate::Fatal).
    pub fn attempts(mut self, max: u32) -> Self {
        self.retry.get_or_insert(RETRY).max_attempts = max;
        self
    }

    /// How long to wait between tries: `initial` after the first, then `factor` times as long each time (1 to 1,000), up to `max`
    /// (30 days at most). Up to as much again is added at random. Without it: 1 s, doubled, up to a minute.
    pub fn backoff(mut self, initial: Duration, factor: f32, max: Duration) -> Self {
        let retry = self.retry.get_or_insert(RETRY);
        (retry.initial_ms, retry.factor, retry.max_ms) = (whole_ms(initial), factor, whole_ms(max));
        self
    }

    /// How long one try may take, in whole milliseconds (rounded up) of real time. One that takes longer is ended, whatever it is doing,
    /// and has failed with the code `timeout`.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Runs the body unless the step has a recorded outcome, and returns the outcome.
    ///
    /// The value is recorded as JSON, and what is returned has been through it even the first time, so that a replay never
    /// sees something else. Inside the body the clock and randomness are real; nothing in it may start another step or a wait.
    ///
    /// # Errors
    ///
    /// What the body's last try returned, as it was recorded, or the code `trap`, `memory-limit`, `stack-overflow`,
    /// `timeout` or `payload-limit` when it ended in one; the code `encode` when the value cannot be written as JSON and read again;
    /// the code `cancelled` when the run is being ended, in which case the body did not run, and steps that are run from here on
    /// (to compensate) work as usual.
    pub fn run<T, F>(self, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T, StepError>,
    {
        self.run_with(|_| body())
    }

    /// Like [`Step::run`], for a body that wants to know which try it is.
    ///
    /// ```no_run
    /// # use dacapo_guest::step;
    /// # fn ask(server: &str) -> u32 { 0 }
    /// // The first try asks the first server, every other one the second.
    /// let answer: u32 = step("ask").run_with(|attempt| Ok(ask(if attempt == 1 { "a" } else { "b" })))?;
    /// # Ok::<(), dacapo_guest::Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Step::run`].
    pub fn run_with<T, F>(self, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(u32) -> Result<T, StepError>,
    {
        let begun = self.begin()?;
        self.finish(begun, body)
    }

    /// Like [`Step::run`], for a body that is to run even if the run's cancel is delivered by this very step: that use of the name is
    /// recorded as cancelled, and the next one runs the body.
    pub(crate) fn run_through_cancel<T, F>(self, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T, StepError>,
    {
        // A cancel is delivered once.
        let begun = self.begin().or_else(|_cancelled| self.begin())?;
        self.finish(begun, |_| body())
    }

    fn finish<T, F>(self, begun: Begun, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(u32) -> Result<T, StepError>,
    {
        let attempt = match begun {
            Begun::Recorded(outcome) => return decode(self.name, &outcome?),
            Begun::Execute(attempt) => attempt,
        };
        let result = body(attempt.number()).map_err(|error| {
            if let Some(wait) = error.retry_after() {
                attempt.retry_after(whole_ms(wait));
            }
            Failure::from(error)
        });
        let (value, text) = match result.and_then(|value| through_json(&value)) {
            Ok((value, text)) => (Some(value), Ok(text)),
            Err(failure) => (None, Err(failure)),
        };
        let recorded = end(attempt, &text)?;
        match value {
            Some(value) if text.as_ref() == Ok(&recorded) => Ok(value),
            // The host's word counts, should it ever differ from what it was told.
            _ => decode(self.name, &recorded),
        }
    }

    /// Fails only if the run's cancel is delivered.
    // What does not depend on the type of the outcome is kept apart, so that it is compiled once and not for every step.
    #[inline(never)]
    fn begin(&self) -> Result<Begun, Failure> {
        let options = (self.retry.is_some() || self.timeout.is_some()).then(|| {
            let options = steps::Options::new();
            if let Some(retry) = self.retry {
                options.set_retry(retry);
            }
            if let Some(timeout) = self.timeout {
                options.set_timeout(whole_ms(timeout));
            }
            options
        });
        match steps::step_run(self.name, options.as_ref())? {
            State::Recorded(outcome) => Ok(Begun::Recorded(outcome.map_err(Failure::from))),
            State::Execute(attempt) => Ok(Begun::Execute(attempt)),
        }
    }
}

/// What is known about a step when the code comes to it.
enum Begun {
    /// It came out before; a value is JSON.
    Recorded(Result<String, Failure>),
    Execute(Attempt),
}

#[inline(never)]
fn end(attempt: Attempt, outcome: &Result<String, Failure>) -> Result<String, Failure> {
    let recorded = match outcome {
        Ok(text) => steps::step_end(attempt, Ok(text)),
        Err(failure) => steps::step_end(attempt, Err(&failure.clone().into())),
    };
    Ok(recorded?)
}

/// Reads a recorded value. One that is not a `T` blocks the run, since guessing would be worse than waiting.
fn decode<T: DeserializeOwned>(name: &str, recorded: &str) -> Result<T, Failure> {
    serde_json::from_str(recorded).map_err(|error| reject(name, &error))
}

#[cold]
fn reject(name: &str, error: &serde_json::Error) -> Failure {
    let reason = format!("the recorded outcome does not fit the code's type: {error}");
    steps::step_reject(name, &reason);
    // Not reached: the host ends the instance in `step-reject`.
    Failure::fatal("decode", reason)
}

/// The value as a replay will see it, and its JSON. A value that JSON cannot carry (a NaN, a map with keys that are not text)
/// must fail its step now rather than block the run at the next replay.
fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> Result<(T, String), Failure> {
    let text = serde_json::to_string(value).map_err(|error| not_json(&error))?;
    let value = serde_json::from_str(&text).map_err(|error| not_json(&error))?;
    Ok((value, text))
}

#[cold]
fn not_json(error: &serde_json::Error) -> Failure {
    Failure::fatal(
        "encode",
        format!("the step's value cannot be recorded as JSON and read again: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_value_comes_back_as_a_replay_would_see_it() {
        let (value, text) = through_json(&(7, "seven".to_owned())).expect("plain data");
        assert_eq!(value, (7, "seven".to_owned()));
        assert_eq!(text, r#"[7,"seven"]"#);
    }

    #[test]
    fn a_value_that_json_cannot_carry_fails_its_step() {
        assert_eq!(
            through_json(&f64::NAN).expect_err("null is no number").code,
            "encode"
        );
        let keys = BTreeMap::from([((1, 2), 3)]);
        assert_eq!(
            through_json(&keys).expect_err("keys must be text").code,
            "encode"
        );
    }
}
