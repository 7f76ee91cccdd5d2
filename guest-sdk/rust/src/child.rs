//! Child runs: runs of other workflows that this one starts and may wait for.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::raw::children::{self, Options};
use crate::raw::{steps, types};
use crate::wait::whole_ms;

/// Names a child run of this workflow: a deployed one, by its full name or an end of that which is unique.
///
/// ```no_run
/// use dacapo_guest::child;
///
/// # struct Order { id: u32 }
/// # let order = Order { id: 7 };
/// // Starts it and waits for its output.
/// let parcel: String = child("pack", "shop:depot/api.pack").run(&order.id)?;
/// // Starts it, and waits for it later.
/// let mail = child("mail", "send-mail").detached().start::<_, ()>(&parcel)?;
/// mail.output()?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// The child is started once, however often the workflow is played. It ends with this run at the latest, being cancelled, unless it is
/// [`detached`](Child::detached).
pub fn child<'a>(name: &'a str, workflow: &'a str) -> Child<'a> {
    Child {
        name,
        workflow,
        labels: None,
        deadline: None,
        detached: false,
        queue: None,
        concurrency_key: None,
        priority: None,
    }
}

/// A child run that has not been started yet, made by [`child`].
#[must_use = "no child is started until `start` or `run` is called"]
pub struct Child<'a> {
    name: &'a str,
    workflow: &'a str,
    labels: Option<Vec<(String, String)>>,
    deadline: Option<Duration>,
    detached: bool,
    queue: Option<&'a str>,
    concurrency_key: Option<&'a str>,
    priority: Option<i32>,
}

impl<'a> Child<'a> {
    /// The child's labels. Without it: this run's own.
    pub fn labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let labels = labels.into_iter();
        self.labels = Some(
            labels
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// How long after its start the child is ended, in whole milliseconds (rounded up), if it has not ended by then.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The child outlives this run, and is not cancelled with it.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// The named queue that the child waits in. Without it: the queue without limits, whatever this run is in. A queue that there is not
    /// blocks the run until it is made.
    pub fn queue(mut self, name: &'a str) -> Self {
        self.queue = Some(name);
        self
    }

    /// What the limits per key of its queue go by, such as a customer's number: 1 to 200 bytes. Only with [`queue`](Child::queue).
    pub fn concurrency_key(mut self, key: &'a str) -> Self {
        self.concurrency_key = Some(key);
        self
    }

    /// The child's priority: -100 to 100, higher goes first. Without it: this run's own.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Starts the child, and does not wait for it. The input is given in the JSON form of the workflow's own type.
    ///
    /// # Errors
    ///
    /// The code `input` when the workflow does not take this input, `child-depth` when runs have started each other 32 deep, `encode` when
    /// the input has no JSON form, `cancelled` while the run is being ended. A workflow that is not deployed blocks the run until it is.
    pub fn start<I: Serialize + ?Sized, O: DeserializeOwned>(
        self,
        input: &I,
    ) -> Result<Started<'a, O>, Failure> {
        let input = serde_json::to_string(input).map_err(|error| {
            let message = format!("the child's input cannot be written as JSON: {error}");
            Failure::fatal("encode", message)
        })?;
        let options = Options::new();
        if let Some(labels) = &self.labels {
            options.set_labels(labels);
        }
        if let Some(after) = self.deadline {
            options.set_deadline(whole_ms(after));
        }
        if self.detached {
            options.set_detached();
        }
        if self.queue.is_some() || self.concurrency_key.is_some() {
            // A key without a queue is the host's to refuse.
            options.set_queue(self.queue.unwrap_or("default"), self.concurrency_key);
        }
        if let Some(priority) = self.priority {
            options.set_priority(priority);
        }
        let id = children::start_child(self.name, self.workflow, &input, Some(&options))?;
        Ok(Started {
            name: self.name,
            id,
            output: PhantomData,
        })
    }

    /// Starts the child and waits for its output.
    ///
    /// # Errors
    ///
    /// Those of [`Child::start`] and [`Started::output`].
    pub fn run<I: Serialize + ?Sized, O: DeserializeOwned>(self, input: &I) -> Result<O, Failure> {
        self.start(input)?.output()
    }
}

/// A child run that was started.
#[derive(Debug, Clone)]
pub struct Started<'a, O> {
    name: &'a str,
    id: String,
    output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned> Started<'_, O> {
    /// The child's id, a UUID in its usual text form.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the child has ended, and answers its output.
    ///
    /// # Errors
    ///
    /// The child's failure; `child-cancelled` when it was cancelled; `cancelled` while this run is being ended.
    pub fn output(&self) -> Result<O, Failure> {
        match self.wait(None)? {
            Some(output) => Ok(output),
            // The contract rules this out, and a guest can only say so.
            None => Err(Failure::fatal(
                "timeout",
                "a wait without a time-out ran out of time",
            )),
        }
    }

    /// Like [`Started::output`], for at most this long, counted from when the run first reaches the wait, in whole milliseconds (rounded
    /// up); none when the child has not ended by then. It runs on, and may be waited for again.
    ///
    /// # Errors
    ///
    /// Those of [`Started::output`].
    pub fn output_within(&self, limit: Duration) -> Result<Option<O>, Failure> {
        self.wait(Some(whole_ms(limit)))
    }

    fn wait(&self, timeout_ms: Option<u64>) -> Result<Option<O>, Failure> {
        let name = format!("{}-end", self.name);
        let ended: Option<Result<String, types::Failure>> =
            children::await_child(&name, &self.id, timeout_ms)?;
        let Some(outcome) = ended else {
            return Ok(None);
        };
        let text = outcome?;
        crate::json::read(&text).map(Some).map_err(|error| {
            let reason = format!("the child's output does not fit the code's type: {error}");
            steps::step_reject(&name, &reason);
            // Not reached: the host ends the instance in `step-reject`.
            Failure::fatal("decode", reason)
        })
    }
}
