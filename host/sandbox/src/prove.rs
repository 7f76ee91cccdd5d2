//! Whether a run could go on with a component: its journal played without any effect, until the code comes to something new.

use std::sync::Arc;

use async_trait::async_trait;
use dacapo_model::{Outcome, RecordedState, RunId, StepKey, Timestamp, Workflow};

use crate::ending::{BlockCode, BlockReason, Ending, RunSpec};
use crate::go::Go;
use crate::guest::ROOT;
use crate::history::BranchState;
use crate::journal::{
    ChildState, ChildWorkflow, Event, Journal, LogLine, Seen, Signal, Stop, Suspended, Suspension,
    Write,
};
use crate::run::{Call, Played};
use crate::sandbox::{Prepared, Sandbox};

/// What a journal comes to with a component.
#[derive(Debug, Clone, PartialEq)]
pub enum Proof {
    /// The code asks for all that is recorded, in each branch, and then for something that is not.
    GoesOn,
    /// The code comes to this call, which its author says was inserted, before it has asked for all that is recorded. What it does then
    /// depends on how the call comes out, and so whether it asks for the rest is not known.
    GoesOnTo(StepKey),
    /// The code asks for all that is recorded and then comes to this end, which is never [`Ending::Blocked`] and never
    /// [`Ending::Stopped`].
    Ends(Ending),
    /// The code cannot go on from what is recorded.
    Diverges(BlockReason),
}

/// Whoever looks on while a journal is played.
pub trait Observer: Send + Sync {
    /// The code makes a durable call.
    fn seen(&self, seen: Seen<'_>);

    /// The code writes a line of its log, which it did write, or would write, in earnest.
    fn logged(&self, line: LogLine);
}

impl Sandbox {
    /// Plays a run's journal over a component, without any effect and without writing anything, as far as it goes.
    ///
    /// Step bodies never run, events are not taken, and nobody is asked for anything: the code is stopped at the first call that is not
    /// answered by the journal. Branches of a fork that have begun and not ended are played one after the other.
    pub async fn prove(
        &self,
        prepared: &Prepared,
        workflow: &Workflow,
        spec: RunSpec,
        observer: Option<Arc<dyn Observer>>,
    ) -> Proof {
        let call = match Call::new(prepared, workflow, &spec, self) {
            Ok(call) => call,
            Err(message) => {
                return Proof::Diverges(BlockReason {
                    code: BlockCode::Input,
                    message,
                    details: None,
                });
            }
        };
        let journal = Arc::new(Still {
            now: latest(&spec),
            observer,
        });
        let (go, recorded) = Go::new(
            spec,
            workflow.event_names(),
            journal,
            // Nothing is let out.
            None,
            prepared.inner.forks,
        );
        let go = Arc::new(go);
        let mut first = Some(recorded);
        let mut scopes = vec![ROOT.to_owned()];
        while let Some(scope) = scopes.pop() {
            let recorded = match (&go.history, first.take()) {
                (Some(history), Some(recorded)) if !history.is_flat() => {
                    drop(recorded);
                    history.path(&scope)
                }
                (_, Some(recorded)) => recorded,
                (Some(history), None) => history.path(&scope),
                // Without forks there is one scope.
                (None, None) => break,
            };
            let played = self
                .play(prepared, workflow, &call, &go, recorded, &scope)
                .await;
            match played {
                Played::Forked(fork) => {
                    let Some(history) = &go.history else { break };
                    let plan = history.plan(&fork);
                    let branches = plan.map_or(0, |plan| plan.branches);
                    let states = (0..).zip(history.branches(&fork, branches));
                    let under_way = states.filter(|(_, state)| *state == BranchState::UnderWay);
                    scopes.extend(under_way.map(|(index, _)| format!("{fork}/{index}")));
                }
                // It comes to something new, or to the end of its branch.
                Played::Again | Played::Parked(_) | Played::BranchEnded => {}
                Played::Ended(Ending::Stopped(_) | Ending::Suspended) => {}
                Played::Ended(Ending::Blocked(reason)) => return Proof::Diverges(reason),
                Played::Ended(ending) => return Proof::Ends(ending),
            }
        }
        match go.inserted() {
            Some(key) => Proof::GoesOnTo(key),
            None => Proof::GoesOn,
        }
    }
}

/// The time of the last thing that is recorded.
fn latest(spec: &RunSpec) -> Timestamp {
    let times = spec.recorded.iter().map(|row| match &row.state {
        RecordedState::Done { finished_at, .. } => *finished_at,
        RecordedState::Open { .. } => row.started_at,
    });
    times.fold(spec.created_at, Timestamp::max)
}

/// A journal that takes nothing, and stops the code wherever it would wait for something.
struct Still {
    now: Timestamp,
    observer: Option<Arc<dyn Observer>>,
}

const HERE: Stop = Stop::Drained;

#[async_trait]
impl Journal for Still {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn append(&self, write: Write) {
        if let (Some(observer), Write::Log(line)) = (&self.observer, write) {
            observer.logged(line);
        }
    }

    fn nudge(&self) {}

    async fn settle(&self) -> Result<(), Stop> {
        Err(HERE)
    }

    fn boundary(&self) -> Option<Signal> {
        Some(Signal::Stop(HERE))
    }

    fn take_event(&self, _names: &[String], _received_by: Option<Timestamp>) -> Option<Event> {
        None
    }

    fn has_event(&self, _names: &[String]) -> bool {
        false
    }

    async fn look(&self) {}

    fn has_looked_since(&self, _at: Timestamp) -> bool {
        true
    }

    async fn find_workflow(
        &self,
        _name: &str,
        _child: RunId,
        _labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        Err(HERE)
    }

    async fn has_queue(&self, _name: &str) -> Result<bool, Stop> {
        Err(HERE)
    }

    async fn child_state(&self, _child: RunId) -> Result<ChildState, Stop> {
        Err(HERE)
    }

    async fn suspend(&self, _suspension: Suspension) -> Result<Suspended, Stop> {
        Err(HERE)
    }

    fn is_watched(&self) -> bool {
        self.observer.is_some()
    }

    fn observe(&self, seen: Seen<'_>) {
        if let Some(observer) = &self.observer {
            observer.seen(seen);
        }
    }
}

impl Seen<'_> {
    /// How it came out, as one word: that of the recorded outcome, or `open` or `new`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Recorded { outcome, .. } => Outcome::code(outcome),
            Self::Reached { was_open: true, .. } => "open",
            Self::Reached { .. } => "new",
        }
    }
}
