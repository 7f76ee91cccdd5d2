//! What becomes of the ticks that have come: which are started, which wait, and which are passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{RunId, Ticks, Timestamp};

/// A tick that is started later than this after it was due was *missed*; the catch-up policy decides about it.
pub const MISSED_AFTER: Duration = Duration::from_secs(60);

/// Ticks that are made up for or wait for their predecessor, at most; the oldest beyond are passed over.
pub const BACKLOG_MAX: usize = 1_000;

/// Runs that one decision starts, at most; the rest is decided on at once after it.
pub const STARTS_MAX: usize = 100;

/// The longest jitter.
pub const JITTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How the labels begin that are not for users: every run of a schedule has those of the schedule and, if it has one, the tick.
pub const RESERVED_LABELS: &str = "dacapo.";

/// The label that names a run's schedule.
pub const SCHEDULE_LABEL: &str = "dacapo.schedule";

/// The label that holds a run's tick.
pub const TICK_LABEL: &str = "dacapo.tick";

/// What becomes of a tick that comes while the run of an earlier one is still active. A run is active until it is completed, failed
/// or cancelled: also while it sleeps, waits, is paused or is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The tick is passed over.
    Skip,
    /// The tick waits until that run has ended. Ticks are started strictly one after the other.
    Queue,
    /// That run is cancelled, and the tick waits until it has ended, having compensated. Of ticks that wait the newest is started.
    CancelPrevious,
    /// The tick is started: any number of runs may be active.
    Allow,
}

/// What becomes of ticks that were missed because no worker was there, or because they could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// They are passed over.
    None,
    /// The newest of them is started.
    One,
    /// All of them are started, at most [`BACKLOG_MAX`].
    All,
}

/// The text names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a policy: {text:?}: expected one of {expected}")]
pub struct PolicyError {
    text: String,
    expected: &'static str,
}

impl Overlap {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Skip, Self::Queue, Self::CancelPrevious, Self::Allow];

    /// The policy as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::CancelPrevious => "cancel-previous",
            Self::Allow => "allow",
        }
    }
}

impl CatchUp {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::None, Self::One, Self::All];

    /// The policy as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| PolicyError {
                text: text.chars().take(60).collect(),
                expected: "skip, queue, cancel-previous, allow",
            })
    }
}

impl FromStr for CatchUp {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| PolicyError {
                text: text.chars().take(60).collect(),
                expected: "none, one, all",
            })
    }
}

/// All of a schedule that decides about its ticks.
#[derive(Debug, Clone)]
pub struct SchedulePlan {
    /// Its tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Full name of the workflow that it starts.
    pub workflow: String,
    /// When it is due.
    pub ticks: Ticks,
    /// Each tick is started later by a share of this that is its own, but never later than the next tick.
    pub jitter: Duration,
    /// What becomes of a tick that comes while the run of an earlier one is active.
    pub overlap: Overlap,
    /// What becomes of ticks that were missed.
    pub catch_up: CatchUp,
}

/// How a schedule stands when a worker looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The first tick that nothing was decided about.
    pub next: Timestamp,
    /// The database's time.
    pub now: Timestamp,
    /// That tick has waited for a run to end: it is late, but it was not missed.
    pub waited: bool,
    /// The run that the schedule started last is active.
    pub previous_active: bool,
}

/// What to do about a schedule's ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Ticks to start, the oldest first.
    pub start: Vec<Timestamp>,
    /// The run that was started last is to be cancelled.
    pub cancel_previous: bool,
    /// What the next tick waits for, beside its time.
    pub wait: Wait,
    /// Ticks that are never started.
    pub passed_over: Option<PassedOver>,
    /// The first tick that nothing was decided about; none if there are no more.
    pub next: Option<Timestamp>,
}

/// What a tick waits for, beside its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// The end of the run that was started before this decision.
    Previous,
    /// The end of the run that this decision starts.
    Started,
}

/// Ticks that were passed over: those from one time on, and before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// The first of them.
    pub from: Timestamp,
    /// The first tick after them; none if there are no more.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: PassedOverReason,
}

/// Why ticks were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedOverReason {
    /// They were missed, and the catch-up policy does not make up for them.
    Missed,
    /// The run of an earlier tick, or a newer tick, was in their way.
    Overlap,
}

impl PassedOverReason {
    /// The reason as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overlap => "overlap",
        }
    }
}

impl SchedulePlan {
    /// The id of the one run of a tick.
    #[must_use]
    pub fn run_of(&self, tick: Timestamp) -> RunId {
        RunId::of_tick(&self.namespace, &self.workflow, &self.name, tick)
    }

    /// The labels of a tick's run: those that the schedule gives, and those that name schedule and tick.
    #[must_use]
    pub fn labels_of(
        &self,
        tick: Timestamp,
        given: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut labels = given.clone();
        labels.insert(SCHEDULE_LABEL.to_owned(), self.name.clone());
        labels.insert(TICK_LABEL.to_owned(), tick.to_string());
        labels
    }

    /// When a tick is to be started: later than its time by its share of the jitter, and before the next tick.
    #[must_use]
    pub fn due_at(&self, tick: Timestamp) -> Timestamp {
        let mut span = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        if span == 0 {
            return tick;
        }
        if let Some(next) = self.ticks.next_after(tick) {
            span = span.min(next.as_micros().abs_diff(tick.as_micros()) - 1);
        }
        // The run's id is a hash already, and the same for whoever computes it. Its lower bits are free of the marks of a UUID.
        let (_, low) = self.run_of(tick).0.as_u64_pair();
        let share = (low & (u64::MAX >> 2)) % (span + 1);
        let micros = i64::try_from(share).unwrap_or(0);
        Timestamp::from_micros(tick.as_micros().saturating_add(micros))
    }

    /// Decides about all ticks that have come.
    #[must_use]
    pub fn decide(&self, standing: &Standing) -> Decision {
        let Standing {
            next,
            now,
            waited,
            previous_active,
        } = *standing;
        let mut due = self.ticks.newest(next, now, BACKLOG_MAX);
        if due.last().is_some_and(|&last| self.due_at(last) > now) {
            due.pop();
        }
        let after = match due.last() {
            Some(&last) => self.ticks.next_after(last),
            None => self.ticks.next_from(next),
        };
        if !waited {
            let missed = due.partition_point(|&tick| self.is_missed(tick, now));
            due.drain(
                ..match self.catch_up {
                    CatchUp::None => missed,
                    CatchUp::One => missed.saturating_sub(1),
                    CatchUp::All => 0,
                },
            );
        }
        let first = due.first().copied().or(after);
        let mut decision = Decision {
            start: Vec::new(),
            cancel_previous: false,
            wait: Wait::Nothing,
            passed_over: (first != Some(next)).then_some(PassedOver {
                from: next,
                until: first,
                reason: PassedOverReason::Missed,
            }),
            next: after,
        };
        let Some((&oldest, &newest)) = due.first().zip(due.last()) else {
            return decision;
        };
        let overlapping = |from: Timestamp, until: Option<Timestamp>| PassedOver {
            from,
            until,
            reason: PassedOverReason::Overlap,
        };
        match self.overlap {
            Overlap::Allow => {
                decision.next = due.get(STARTS_MAX).copied().or(after);
                due.truncate(STARTS_MAX);
                decision.start = due;
            }
            Overlap::Skip => {
                let skipped = if previous_active { 0 } else { 1 };
                decision.start.extend(&due[..skipped]);
                if let Some(&from) = due.get(skipped) {
                    decision.passed_over = Some(overlapping(from, after));
                }
            }
            Overlap::Queue if previous_active => {
                decision.wait = Wait::Previous;
                decision.next = Some(oldest);
            }
            Overlap::Queue => {
                decision.start.push(oldest);
                if let Some(&second) = due.get(1) {
                    decision.wait = Wait::Started;
                    decision.next = Some(second);
                }
            }
            Overlap::CancelPrevious => {
                if oldest != newest {
                    decision.passed_over = Some(overlapping(oldest, Some(newest)));
                }
                if previous_active {
                    decision.cancel_previous = true;
                    decision.wait = Wait::Previous;
                    decision.next = Some(newest);
                } else {
                    decision.start.push(newest);
                }
            }
        }
        decision
    }

    fn is_missed(&self, tick: Timestamp, now: Timestamp) -> bool {
        let after = u64::try_from(MISSED_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.due_at(tick).add_millis(after) < now
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
