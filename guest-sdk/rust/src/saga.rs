//! Compensations: what makes up for steps that were done when a later one fails.

use serde::Serialize;

use crate::{Failure, StepError, step};

/// Runs `body`; if it fails, what it registered with [`Saga::compensate`] is run, the newest first.
///
/// Each compensation is a step, so it runs once and is tried again like any other. A run that is cancelled compensates, too, and a cancel
/// that comes while it compensates leaves no compensation out: one that was about to run, or waited for its next attempt, is recorded as
/// cancelled and begins anew under the next number of its name.
///
/// ```no_run
/// use dacapo_guest::{saga, step};
///
/// # fn reserve() {} fn release() {} fn charge() -> Result<u64, std::io::Error> { Ok(1) }
/// let receipt: u64 = saga(|saga| {
///     step("reserve").run(|| Ok(reserve()))?;
///     saga.compensate("release", || Ok(release()));
///     step("charge").run(|| Ok(charge()?))
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// # Errors
///
/// The failure with which `body` ended. If a compensation keeps failing the others are run all the same, and the failure has the code
/// `compensation-failed`, names all of them, and holds the code of the first failure in its details; it is not retryable.
pub fn saga<'a, T>(body: impl FnOnce(&mut Saga<'a>) -> Result<T, Failure>) -> Result<T, Failure> {
    let mut saga = Saga {
        compensations: Vec::new(),
    };
    let failure = match body(&mut saga) {
        Ok(value) => return Ok(value),
        Err(failure) => failure,
    };
    let mut failed = Vec::new();
    while let Some((name, compensate)) = saga.compensations.pop() {
        if let Err(failure) = step(name).run_through_cancel(compensate) {
            failed.push(format!("`{name}`: {failure}"));
        }
    }
    if failed.is_empty() {
        return Err(failure);
    }
    let message = format!(
        "{failure}; and what should have made up for it failed: {}",
        failed.join("; ")
    );
    let details = Details {
        code: &failure.code,
        details: failure.details().unwrap_or_default(),
    };
    let failure = Failure::fatal("compensation-failed", message);
    Err(failure.clone().with_details(&details).unwrap_or(failure))
}

/// What the failure of a saga that could not make up for all of it says of the failure with which it began.
#[derive(Serialize)]
struct Details<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
}

/// What has to be made up for if the rest fails; see [`saga`].
pub struct Saga<'a> {
    compensations: Vec<(&'a str, Compensation<'a>)>,
}

type Compensation<'a> = Box<dyn FnOnce() -> Result<(), StepError> + 'a>;

impl<'a> Saga<'a> {
    /// Registers the step with this name, to be run if the rest fails.
    ///
    /// Register it behind the step that it makes up for, or before that one if a failed attempt may have had its effect all the same; then
    /// it must do no harm when there is nothing to make up for.
    pub fn compensate(&mut self, name: &'a str, body: impl FnOnce() -> Result<(), StepError> + 'a) {
        self.compensations.push((name, Box::new(body)));
    }
}
