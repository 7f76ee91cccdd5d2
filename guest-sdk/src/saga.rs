//! Compensations: what makes up for steps that were done when a later one fails.

use crate::{Failure, StepError, step};

/// Runs `body`; if it fails, what it registered with [`Saga::compensate`] is run, the newest first.
///
/// Each compensation is a step, so it runs once and is tried again like any other. A run that is cancelled while `body` is at a step or a
/// wait compensates, too; a cancel that comes only when a compensation is about to run, or waits for its next attempt, ends that one.
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
/// `compensation-failed` and names all of them; it is not retryable.
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
        if let Err(failure) = step(name).run(compensate) {
            failed.push(format!("`{name}`: {failure}"));
        }
    }
    if failed.is_empty() {
        return Err(failure);
    }
    Err(Failure::fatal(
        "compensation-failed",
        format!(
            "{failure}; and what should have made up for it failed: {}",
            failed.join("; ")
        ),
    ))
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
