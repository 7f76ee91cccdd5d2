//! Children of a run in a test: what becomes of them, as the test says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{Failure, Payload, RunId};
use serde::Serialize;
use serde_json::Value;

type Answer = dyn Fn(&Value) -> Result<Value, Failure> + Send + Sync;

/// What becomes of the children of one workflow: a test plays one run, and says of others how they end. Given to
/// [`Run::script_child`](crate::Run::script_child).
#[derive(Clone)]
pub struct Child {
    /// None: it never ends.
    answer: Option<Arc<Answer>>,
    after: Duration,
}

impl Child {
    /// Each child ends with this output or failure.
    pub fn ends(outcome: Result<Value, Failure>) -> Child {
        Child::answers(move |_| outcome.clone())
    }

    /// Each child ends with what is made of its input.
    pub fn answers(
        answer: impl Fn(&Value) -> Result<Value, Failure> + Send + Sync + 'static,
    ) -> Child {
        Child {
            answer: Some(Arc::new(answer)),
            after: Duration::ZERO,
        }
    }

    /// Each child fails with this error of its workflow's own, which arrives as the error of an imported function.
    pub fn returns_error(error: impl Serialize) -> Child {
        let error = serde_json::to_value(error);
        Child::answers(move |_| {
            Err(match &error {
                Ok(error) => {
                    let mut failure = Failure::new("error", error.to_string());
                    failure.details = Some(Payload::from_trusted(error.to_string()));
                    failure
                }
                Err(problem) => {
                    Failure::new("encode", format!("the error has no JSON form: {problem}"))
                }
            })
        })
    }

    /// No child ever ends by itself.
    pub fn never_ends() -> Child {
        Child {
            answer: None,
            after: Duration::ZERO,
        }
    }

    /// They end this long after their start, on the virtual clock. Without it: at once.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Child {
        self.after = after;
        self
    }

    /// How a child with this input ends, and how long after its start; none: never.
    pub(crate) fn outcome(
        &self,
        input: &Payload,
        deadline: Option<Duration>,
    ) -> Option<(Duration, Payload)> {
        let own = self.answer.as_ref().map(|answer| (self.after, answer));
        let (after, outcome) = match (own, deadline) {
            (Some((after, answer)), deadline)
                if deadline.is_none_or(|deadline| after < deadline) =>
            {
                let input = serde_json::from_str(input.as_str()).unwrap_or(Value::Null);
                (after, answer(&input))
            }
            (_, Some(deadline)) => {
                let message = "the run did not end before its deadline";
                let failure = Failure::new(dacapo_model::DEADLINE, message);
                (deadline, Err(failure))
            }
            (_, None) => return None,
        };
        let told = match outcome {
            Ok(output) => format!("{{\"ok\":{output}}}"),
            Err(failure) => format!("{{\"failed\":{}}}", failure.to_json()),
        };
        Some((after, Payload::from_trusted(told)))
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("ends", &self.answer.is_some())
            .field("after", &self.after)
            .finish()
    }
}

/// A child that a run in a test has started.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StartedChild {
    /// Its id, the same in each test.
    pub id: RunId,
    /// Its workflow: the full name if the component under test knows it, else the name by which the run asked for it.
    pub workflow: String,
    /// Its input.
    pub input: Payload,
    /// Its labels; none: those of the run.
    pub labels: Option<Vec<(String, String)>>,
    /// How long after its start it is ended.
    pub deadline: Option<Duration>,
    /// Whether it outlives the run.
    pub detached: bool,
    /// The named queue that it waits in.
    pub queue: Option<String>,
    /// What the queue's limits per key go by.
    pub concurrency_key: Option<String>,
    /// Its priority; none: that of the run.
    pub priority: Option<i16>,
}
