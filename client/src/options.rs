//! How a run is started, beside its workflow and its input.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{PRIORITY_MAX, Timestamp, check_name};
use dacapo_store::{Begins, OnConflict, Placing, PlacingDefaults, Special};

use crate::ClientError;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_000;

/// The longest deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The longest concurrency key, in bytes.
const CONCURRENCY_KEY_BYTES_MAX: usize = 200;

/// The longest delay of a beginning.
const DELAY_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The longest time that a debounce waits.
const DEBOUNCE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// It waits so many times as long as it must be quiet where nobody says otherwise.
const DEBOUNCE_FACTOR: u32 = 10;

/// How to start a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Makes the start idempotent: at most one run of the workflow has this key for as long as that run is kept
    /// ([`Client::retention`](crate::Client::retention)). 1 to 1,000 bytes.
    pub key: Option<String>,
    /// To find the run by. Names and values are at most 200 bytes long, and hold no NUL.
    pub labels: BTreeMap<String, String>,
    /// The run fails with the code `deadline` when it has not ended by itself this long after its start, whatever it does then; its code
    /// is not asked. 1 ms to 10 years.
    pub deadline: Option<Duration>,
    /// The queue that the run waits in, made before with [`Client::set_queue`](crate::Client::set_queue); `default` is the one without
    /// limits. None: as the deployment's manifest says, and else that one.
    pub queue: Option<String>,
    /// Runs with a higher one go first; a step of it is worth a minute of waiting. -100 to 100. None: as the deployment's manifest says,
    /// and else 0.
    pub priority: Option<i16>,
    /// What the limits per key of its queue go by, such as a customer's number; only in a named queue. 1 to 200 bytes.
    pub concurrency_key: Option<String>,
    /// When the run begins, at most 10 years from now. A time that is over means at once.
    pub begins: Begins,
    /// At most one active run of the workflow has a key.
    pub singleton: Option<Singleton>,
    /// Starts that come soon after each other are one run.
    pub debounce: Option<Debounce>,
}

/// At most one active run of a workflow has this key, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Singleton {
    /// 1 to 1,000 bytes.
    pub key: String,
    /// What happens to a start while there is one.
    pub on_conflict: OnConflict,
}

/// Starts of a workflow with this key that come soon after each other are one run, which has the newest input and labels. Everything else
/// is as the first of them says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debounce {
    /// 1 to 1,000 bytes.
    pub key: String,
    /// The run begins when no start has come for this long. 1 ms to 30 days.
    pub quiet: Duration,
    /// It begins this long after the first start at the latest. None: ten times as long as it must be quiet.
    pub at_most: Option<Duration>,
}

impl StartOptions {
    /// The options of an idempotent start.
    pub fn keyed(key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// The same options with one more label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The same options with a deadline.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The same options with a named queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// The same options with a key for the limits of the queue.
    #[must_use]
    pub fn concurrency_key(mut self, key: impl Into<String>) -> Self {
        self.concurrency_key = Some(key.into());
        self
    }

    /// The same options with a priority.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The same options for a run that begins this much later.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.begins = Begins::After(delay);
        self
    }

    /// The same options for a run that begins at this time.
    #[must_use]
    pub fn begin_at(mut self, at: Timestamp) -> Self {
        self.begins = Begins::At(at);
        self
    }

    /// Where the run is placed on a deployment with these defaults.
    pub(crate) fn placing<'a>(&'a self, defaults: &'a PlacingDefaults) -> Placing<'a> {
        let (queue, priority) = defaults.under(self.queue.as_deref(), self.priority);
        Placing {
            queue,
            priority,
            concurrency_key: self.concurrency_key.as_deref(),
            begins: self.begins,
        }
    }

    /// Checks what can be known only of a deployment: whether there is a queue whose limits the concurrency key is for.
    pub(crate) fn check_on(&self, defaults: &PlacingDefaults) -> Result<(), ClientError> {
        match &self.concurrency_key {
            Some(key) if self.placing(defaults).queue.is_none() => {
                let message = format!(
                    "{key:?} is given without a queue: limits per key are those of a named queue, so name one as well"
                );
                Err(ClientError::BadArgument {
                    what: "concurrency key",
                    message,
                })
            }
            _ => Ok(()),
        }
    }

    fn check_placing(&self) -> Result<(), ClientError> {
        let bad = |what, message| Err(ClientError::BadArgument { what, message });
        if let Some(queue) = &self.queue {
            check_queue_name(queue)?;
        }
        if let Some(priority) = self.priority
            && !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&priority)
        {
            let message = format!("expected -{PRIORITY_MAX} to {PRIORITY_MAX}, got {priority}");
            return bad("priority", message);
        }
        if let Some(key) = &self.concurrency_key {
            check_text("concurrency key", key, CONCURRENCY_KEY_BYTES_MAX)?;
            if key.is_empty() {
                return bad(
                    "concurrency key",
                    "it is empty: expected a customer's number, say".to_owned(),
                );
            }
        }
        match self.begins {
            Begins::Now => {}
            Begins::After(delay) => {
                if delay > DELAY_MAX {
                    return bad("delay", format!("expected at most 10 years, got {delay:?}"));
                }
                if self.deadline.is_some_and(|deadline| deadline <= delay) {
                    let message = format!(
                        "the run would fail by its deadline before it begins: expected less than the deadline, got {delay:?}"
                    );
                    return bad("delay", message);
                }
            }
            Begins::At(at) => {
                let last = 4_102_444_800_000_000;
                if at.as_micros() > last {
                    return bad("time", format!("expected a time before 2100, got {at}"));
                }
            }
        }
        Ok(())
    }

    /// The same options for the only active run with this key.
    #[must_use]
    pub fn singleton(mut self, key: impl Into<String>, on_conflict: OnConflict) -> Self {
        self.singleton = Some(Singleton {
            key: key.into(),
            on_conflict,
        });
        self
    }

    /// The same options for a run that starts with this key have in common until none has come for a while.
    #[must_use]
    pub fn debounce(mut self, key: impl Into<String>, quiet: Duration) -> Self {
        self.debounce = Some(Debounce {
            key: key.into(),
            quiet,
            at_most: None,
        });
        self
    }

    /// How the start goes together with others; none for most.
    pub(crate) fn special(&self) -> Option<Special<'_>> {
        match (&self.singleton, &self.debounce) {
            (Some(singleton), _) => Some(Special::Singleton {
                key: &singleton.key,
                on_conflict: singleton.on_conflict,
            }),
            (None, Some(debounce)) => Some(Special::Debounce {
                key: &debounce.key,
                quiet: debounce.quiet,
                at_most: debounce.at_most.unwrap_or(debounce.quiet * DEBOUNCE_FACTOR),
            }),
            (None, None) => None,
        }
    }

    fn check_special(&self) -> Result<(), ClientError> {
        let bad = |what, message: &str| {
            let message = message.to_owned();
            Err(ClientError::BadArgument { what, message })
        };
        if let Some(singleton) = &self.singleton {
            check_key("singleton", &singleton.key)?;
            if singleton.on_conflict == OnConflict::Queue && self.begins != Begins::Now {
                return bad(
                    "singleton",
                    "a run that waits for another one begins when that has ended: expected no delay and no time",
                );
            }
        }
        let Some(debounce) = &self.debounce else {
            return Ok(());
        };
        check_key("debounce", &debounce.key)?;
        if self.key.is_some() || self.singleton.is_some() || self.begins != Begins::Now {
            return bad(
                "debounce",
                "it goes together with no key, no singleton, no delay and no time",
            );
        }
        for duration in [Some(debounce.quiet), debounce.at_most]
            .into_iter()
            .flatten()
        {
            if !(Duration::from_millis(1)..=DEBOUNCE_MAX).contains(&duration) {
                return bad(
                    "debounce",
                    &format!("expected 1 ms to 30 days, got {duration:?}"),
                );
            }
        }
        match debounce.at_most {
            Some(at_most) if at_most < debounce.quiet => bad(
                "debounce",
                &format!(
                    "expected at most a time of at least the quiet one ({:?}), got {at_most:?}",
                    debounce.quiet
                ),
            ),
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ClientError> {
        self.check_placing()?;
        self.check_special()?;
        if let Some(deadline) = self.deadline
            && !(Duration::from_millis(1)..=DEADLINE_MAX).contains(&deadline)
        {
            return Err(ClientError::BadArgument {
                what: "deadline",
                message: format!("expected 1 ms to 10 years, got {deadline:?}"),
            });
        }
        if let Some(key) = &self.key {
            check_key("key", key)?;
        }
        check_labels(&self.labels)
    }
}

fn check_key(what: &'static str, key: &str) -> Result<(), ClientError> {
    check_text(what, key, KEY_BYTES_MAX)?;
    if key.is_empty() {
        let message =
            "it is empty: expected what the run is about, such as an order's number".to_owned();
        return Err(ClientError::BadArgument { what, message });
    }
    Ok(())
}

/// Whether this may be the name of a queue.
pub(crate) fn check_queue_name(name: &str) -> Result<(), ClientError> {
    check_name(name).map_err(|error| ClientError::BadArgument {
        what: "queue",
        message: error.to_string(),
    })
}

pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ClientError> {
    for (name, value) in labels {
        dacapo_model::check_label(name, value).map_err(|error| ClientError::BadArgument {
            what: "label",
            message: error.to_string(),
        })?;
    }
    Ok(())
}

/// Postgres keeps no NUL in a text, and what is indexed must not be long.
pub(crate) fn check_text(
    what: &'static str,
    text: &str,
    bytes_max: usize,
) -> Result<(), ClientError> {
    let message = if text.len() > bytes_max {
        let start: String = text.chars().take(40).collect();
        format!(
            "\"{start}…\" is {} bytes long, the limit is {bytes_max} bytes",
            text.len()
        )
    } else if text.contains('\0') {
        format!("{text:?} holds a NUL character, which Postgres cannot keep")
    } else {
        return Ok(());
    };
    Err(ClientError::BadArgument { what, message })
}
