//! What can go wrong in a workflow, as values.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw;

/// What a step's body returns. Any [`Error`] becomes a [`StepError`] by `?`.
///
/// ```
/// fn cents(text: &str) -> dacapo_guest::Result<u64> {
///     Ok(text.parse()?)
/// }
/// ```
pub type Result<T, E = StepError> = std::result::Result<T, E>;

/// Something went wrong that is part of the workflow's story: recorded, shown to people, and a plain value here.
///
/// ```
/// use dacapo_guest::Failure;
///
/// let failure = Failure::fatal("card-declined", "the bank said no");
/// assert_eq!(String::from(failure), "the bank said no");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Failure {
    /// A short, stable word for programs: `card-declined`, `trap`, `cancelled`. Errors that have no word of their own get
    /// `error`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// Whether trying the same thing again could help.
    pub retryable: bool,
    /// JSON text with whatever else a program might want to know; see [`Failure::details`].
    pub details: Option<String>,
}

impl Failure {
    /// A failure that trying again will not mend.
    pub fn fatal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            details: None,
        }
    }

    /// A failure that may be gone at the next try.
    pub fn retry(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::fatal(code, message)
        }
    }

    /// Adds details, replacing any that were there.
    ///
    /// ```
    /// # use dacapo_guest::Failure;
    /// let failure = Failure::fatal("out-of-stock", "two items are missing").with_details(&["sku-1", "sku-2"])?;
    /// assert_eq!(failure.details::<Vec<String>>()?.unwrap().len(), 2);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The details cannot be written as JSON.
    pub fn with_details(mut self, details: &impl Serialize) -> serde_json::Result<Self> {
        self.details = Some(serde_json::to_string(details)?);
        Ok(self)
    }

    /// The details, if there are any.
    ///
    /// # Errors
    ///
    /// The details are not a `T`.
    pub fn details<T: DeserializeOwned>(&self) -> serde_json::Result<Option<T>> {
        self.details
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
    }

    /// Whether the failure says that the run is being cancelled. The workflow may still run steps, to compensate for what it
    /// did, and then returns.
    ///
    /// ```no_run
    /// use dacapo_guest::{step, wait_for};
    ///
    /// if let Err(failure) = wait_for::<()>("shipped").recv() {
    ///     if failure.is_cancelled() {
    ///         step("release-stock").run(|| Ok(()))?;
    ///     }
    ///     return Err(failure);
    /// }
    /// # Ok(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.code == "cancelled"
    }
}

/// A workflow that reports its errors as text gets the message.
impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.message
    }
}

impl From<raw::types::Failure> for Failure {
    fn from(failure: raw::types::Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details,
        }
    }
}

impl From<Failure> for raw::types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details,
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        error.failure
    }
}

/// An error with which a step's body ends, on its way to becoming a [`Failure`].
///
/// It is made by `?` or `into()` from any [`Error`], which then counts as retryable and keeps its causes in the message; from
/// [`Retry`] and [`Fatal`]; and from a [`Failure`], which stays as it is. Like other types that any error turns into, it is no
/// `Error` itself.
///
/// ```
/// use dacapo_guest::{Failure, Fatal, StepError};
///
/// let error: StepError = "twelve".parse::<u32>().unwrap_err().into();
/// assert!(Failure::from(error).retryable);
/// let error: StepError = Fatal("no such account").into();
/// assert!(!Failure::from(error).retryable);
/// ```
#[derive(Debug)]
pub struct StepError {
    failure: Failure,
    retry_after: Option<Duration>,
}

impl StepError {
    fn new(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }

    /// The next try is to begin no sooner than after this long. [`Retry::after`] is shorter where there is only a message.
    ///
    /// ```
    /// # use dacapo_guest::{Failure, StepError};
    /// # use std::time::Duration;
    /// let closed = StepError::from(Failure::retry("closed", "nobody is at home"));
    /// let later = closed.after(Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// How long the next try has to wait at least.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl<E: Error + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        // A failure that an inner function has already described must not lose its code and its retryability.
        if let Some(failure) = (&error as &dyn Any).downcast_ref::<Failure>() {
            return Self::new(failure.clone());
        }
        Self::new(Failure::retry("error", with_causes(&error)))
    }
}

/// An error that may be gone at the next try, from a message.
///
/// ```
/// # use dacapo_guest::Retry;
/// fn poll(status: u16) -> dacapo_guest::Result<()> {
///     match status {
///         503 => Err(Retry("the bank is busy"))?,
///         _ => Ok(()),
///     }
/// }
/// ```
// Deliberately no `Error`: that is what lets it have a conversion of its own beside the one for every `Error`.
#[derive(Clone, Copy, Debug)]
pub struct Retry<M>(
    /// One sentence for people.
    pub M,
);

impl<M> Retry<M> {
    /// The next try is to begin no sooner than after this long: what a service asks for that is busy, say.
    ///
    /// ```
    /// # use dacapo_guest::Retry;
    /// use std::time::Duration;
    ///
    /// fn ask(retry_after: u64) -> dacapo_guest::Result<()> {
    ///     Err(Retry("the bank is busy").after(Duration::from_secs(retry_after)))?
    /// }
    /// ```
    pub fn after(self, wait: Duration) -> RetryAfter<M> {
        RetryAfter(self, wait)
    }
}

/// A [`Retry`] with a time to wait, made by [`Retry::after`].
#[derive(Clone, Copy, Debug)]
pub struct RetryAfter<M>(Retry<M>, Duration);

impl<M: Display> From<RetryAfter<M>> for StepError {
    fn from(RetryAfter(error, wait): RetryAfter<M>) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::from(error)
        }
    }
}

impl<M: Display> From<Retry<M>> for StepError {
    fn from(error: Retry<M>) -> Self {
        Self::new(Failure::retry("error", error.0.to_string()))
    }
}

/// An error that trying again will not mend, from a message.
///
/// ```
/// # use dacapo_guest::Fatal;
/// fn find(account: Option<u32>) -> dacapo_guest::Result<u32> {
///     Ok(account.ok_or(Fatal("no such account"))?)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fatal<M>(
    /// One sentence for people.
    pub M,
);

impl<M: Display> From<Fatal<M>> for StepError {
    fn from(error: Fatal<M>) -> Self {
        Self::new(Failure::fatal("error", error.0.to_string()))
    }
}

impl Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

/// The error and its causes on one line; a cause whose text the error already repeats is left out.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum ShopError {
        #[error("the order cannot be read")]
        Unreadable(#[from] std::num::ParseIntError),
        #[error(transparent)]
        Step(#[from] Failure),
    }

    fn body(text: &str) -> Result<u32> {
        let n: u32 = text.parse().map_err(ShopError::from)?;
        if n == 0 {
            Err(Fatal("zero"))?;
        }
        if n == 1 {
            Err(Retry(format_args!("one of {n}")))?;
        }
        if n == 2 {
            Err(Failure::fatal("two", "two"))?;
        }
        Ok(n)
    }

    fn failure(text: &str) -> Failure {
        body(text).expect_err("the body fails").into()
    }

    #[test]
    fn any_error_is_retryable_and_keeps_its_causes() {
        let failure = failure("x");
        assert_eq!(
            failure.message,
            "the order cannot be read: invalid digit found in string"
        );
        assert_eq!((failure.code.as_str(), failure.retryable), ("error", true));
    }

    #[test]
    fn ready_made_errors_say_whether_to_retry() {
        assert_eq!(failure("0"), Failure::fatal("error", "zero"));
        assert_eq!(failure("1"), Failure::retry("error", "one of 1"));
    }

    #[test]
    fn a_failure_passes_through_a_body_unchanged() {
        assert_eq!(failure("2"), Failure::fatal("two", "two"));
    }

    #[test]
    fn a_failure_leaves_a_workflow_by_question_mark() {
        fn as_text() -> Result<(), String> {
            Ok(Err(Failure::fatal("no", "not today"))?)
        }
        fn as_own_error() -> Result<(), ShopError> {
            Ok(Err(Failure::fatal("no", "not today"))?)
        }
        assert_eq!(as_text(), Err("not today".to_owned()));
        assert!(matches!(as_own_error(), Err(ShopError::Step(f)) if f.code == "no"));
    }
}
