//! The branches of a run: which of them are played, which wait, and when the run goes on behind its forks.
//!
//! A run that forks has no instance of its own meanwhile: the branches are played in its place, each over the same journal, and the one
//! that forked is played again when all of them have ended. So nothing that waits holds a place in the pool.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{Failure, Kind, Recorded, RecordedState, StepKey, Timestamp, Workflow};
use tokio::task::JoinSet;

use crate::ending::Ending;
use crate::go::{Child, Go};
use crate::history::{BranchState, ForkPlan, History};
use crate::journal::{Signal, Stop, SuspendReason, Suspended, Suspension};
use crate::run::{Call, Played};
use crate::sandbox::{Prepared, Sandbox};

/// How often somebody looks whether there is something for branches that wait, while others are played.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The open forks of one go at a run.
pub(crate) struct Branches {
    player: Player,
    forks: BTreeMap<StepKey, OpenFork>,
    /// Branches to be played.
    ready: VecDeque<StepKey>,
    /// Branches that have to wait, and what for.
    parked: BTreeMap<StepKey, Suspension>,
    playing: JoinSet<(StepKey, Played)>,
    /// What the run comes to as soon as no branch is played any more.
    ending: Option<Ending>,
    /// A branch's time has come, and what came in by then could not be found out.
    has_looked_in_vain: bool,
}

/// All that it takes to play a branch.
#[derive(Clone)]
struct Player {
    sandbox: Sandbox,
    prepared: Prepared,
    workflow: Arc<Workflow>,
    call: Arc<Call>,
    go: Arc<Go>,
}

struct OpenFork {
    plan: ForkPlan,
    /// Branches that have not begun, by index: a fork may have thousands, and a run thousands of forks.
    to_begin: VecDeque<Range<u32>>,
    /// How many have begun and not ended.
    under_way: u32,
}

impl Branches {
    pub(crate) fn new(
        sandbox: &Sandbox,
        prepared: &Prepared,
        workflow: &Workflow,
        call: &Arc<Call>,
        go: &Arc<Go>,
    ) -> Branches {
        Branches {
            player: Player {
                sandbox: sandbox.clone(),
                prepared: prepared.clone(),
                workflow: Arc::new(workflow.clone()),
                call: Arc::clone(call),
                go: Arc::clone(go),
            },
            forks: BTreeMap::new(),
            ready: VecDeque::new(),
            parked: BTreeMap::new(),
            playing: JoinSet::new(),
            ending: None,
            has_looked_in_vain: false,
        }
    }

    /// Whether all branches of a fork have ended that are to end.
    pub(crate) fn is_over(&self, history: &History, fork: &StepKey) -> bool {
        let Some(plan) = history.plan(fork) else {
            return true;
        };
        history.has_joined(fork, &plan)
    }

    /// Plays the branches of this fork, and of those within, until they have ended. None: the run goes on behind it.
    pub(crate) async fn play(&mut self, history: &History, fork: StepKey) -> Option<Ending> {
        self.open(history, fork.clone());
        loop {
            self.begin_more();
            if self.playing.is_empty() {
                if self.ending.is_some() {
                    return self.ending.take();
                }
                if !self.forks.contains_key(&fork) {
                    return None;
                }
                if let Some(ending) = self.give_up(history).await {
                    return Some(ending);
                }
                continue;
            }
            let until_look = self.until_look();
            tokio::select! {
                biased;
                () = tokio::time::sleep(until_look) => self.look(history).await,
                ended = self.playing.join_next() => match ended {
                    Some(Ok((branch, played))) => {
                        if let Some(ending) = self.played(history, branch, played) {
                            self.playing.shutdown().await;
                            return Some(ending);
                        }
                    }
                    Some(Err(error)) => {
                        self.playing.shutdown().await;
                        let message = format!("a fault in the host ended the run: {error}");
                        return Some(Ending::Failed(Failure::new("internal", message)));
                    }
                    None => {}
                },
            }
        }
    }

    /// Takes up a fork where the journal says that it is.
    fn open(&mut self, history: &History, fork: StepKey) {
        let Some(plan) = history.plan(&fork) else {
            return;
        };
        let mut open = OpenFork {
            to_begin: VecDeque::new(),
            under_way: 0,
            plan,
        };
        let is_won = history.winner(&fork).is_some();
        let mut under_way = Vec::new();
        for (index, state) in (0..).zip(history.branches(&fork, open.plan.branches)) {
            match state {
                BranchState::New if !is_won => push(&mut open.to_begin, index),
                BranchState::UnderWay => under_way.push(StepKey::branch(&fork, index)),
                BranchState::New | BranchState::Ended => {}
            }
        }
        open.under_way = u32::try_from(under_way.len()).unwrap_or(u32::MAX);
        let is_over = open.under_way == 0 && open.to_begin.is_empty();
        self.forks.insert(fork.clone(), open);
        for branch in under_way {
            self.take_up(history, branch);
        }
        if is_over {
            self.close(&fork);
        }
    }

    /// Takes up a branch that was under way when the run was given up. One that waits is not played to find that out.
    fn take_up(&mut self, history: &History, branch: StepKey) {
        let go = &self.player.go;
        match history.open_row(branch.as_str()) {
            Some(row) if go.is_dropped(&row.key) => self.ready.push_back(branch),
            // As for the run itself: changed code may have something to do before its fork.
            Some(row) if row.kind == Kind::Fork && go.changes.is_some() => {
                self.ready.push_back(branch);
            }
            Some(row) if row.kind == Kind::Fork => self.open(history, row.key),
            Some(row) => match suspension(&row) {
                Some(suspension) if !self.is_awaited(history, &branch, &suspension) => {
                    self.parked.insert(branch, suspension);
                }
                _ => self.ready.push_back(branch),
            },
            None => self.ready.push_back(branch),
        }
    }

    /// Lets as many branches begin, and be played, as may.
    fn begin_more(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let room = self.player.go.config.branches_max as usize;
        for (fork, open) in &mut self.forks {
            let max = open.plan.max_parallel.unwrap_or(u32::MAX);
            // Those beyond what can be played at once begin later, so that a fork of thousands is not a queue of thousands.
            while open.under_way < max && self.ready.len() < room {
                let Some(index) = pop(&mut open.to_begin) else {
                    break;
                };
                open.under_way += 1;
                self.ready.push_back(StepKey::branch(fork, index));
            }
        }
        while self.playing.len() < room
            && let Some(branch) = self.ready.pop_front()
        {
            let player = self.player.clone();
            self.playing.spawn(async move {
                let played = player.play(&branch).await;
                (branch, played)
            });
        }
    }

    /// What follows from how a branch came back. Some: the run ends at once.
    fn played(&mut self, history: &History, branch: StepKey, played: Played) -> Option<Ending> {
        match played {
            Played::Again => self.ready.push_back(branch),
            // What it waits for may have come since it looked, and so may the end of its race.
            Played::Parked(suspension) if self.is_awaited(history, &branch, &suspension) => {
                self.ready.push_back(branch);
            }
            Played::Parked(suspension) => {
                self.parked.insert(branch, suspension);
            }
            Played::Forked(fork) => self.open(history, fork),
            Played::BranchEnded => self.branch_ended(history, &branch),
            Played::Ended(Ending::Stopped(Stop::LeaseLost)) => {
                return Some(Ending::Stopped(Stop::LeaseLost));
            }
            // Others may be in the middle of a step, whose effects are better recorded than had twice.
            Played::Ended(ending @ (Ending::Stopped(_) | Ending::Blocked(_))) => {
                if !matches!(self.ending, Some(Ending::Blocked(_))) {
                    self.ending = Some(ending);
                }
            }
            Played::Ended(Ending::Failed(mut failure)) => {
                failure.message = format!("in branch `{branch}`: {}", failure.message);
                return Some(Ending::Failed(failure));
            }
            Played::Ended(ending) => return Some(ending),
        }
        None
    }

    fn branch_ended(&mut self, history: &History, branch: &StepKey) {
        let fork = StepKey::from_trusted(branch.scope().to_owned());
        let Some(open) = self.forks.get_mut(&fork) else {
            return;
        };
        open.under_way = open.under_way.saturating_sub(1);
        if open.plan.race && history.winner(&fork).is_some() {
            open.to_begin.clear();
            // The losers are to hear of it.
            self.unpark_awaited(history);
        }
        let over = self
            .forks
            .get(&fork)
            .is_some_and(|open| open.under_way == 0 && open.to_begin.is_empty());
        if over {
            self.close(&fork);
        }
    }

    /// All branches of a fork have ended: whoever forked goes on.
    fn close(&mut self, fork: &StepKey) {
        self.forks.remove(fork);
        if !fork.scope().is_empty() {
            self.ready
                .push_back(StepKey::from_trusted(fork.scope().to_owned()));
        }
    }

    /// All branches wait: gives the run up. None: something came in.
    async fn give_up(&mut self, history: &History) -> Option<Ending> {
        if self.parked.is_empty() {
            let message = "a fault in the host ended the run: its branches neither run nor wait";
            return Some(Ending::Failed(Failure::new("internal", message)));
        }
        // Whatever came in since they began to wait.
        if self.waits_for_a_look() {
            self.player.go.journal.look().await;
        }
        let signal = self.player.go.journal.boundary();
        if let Some(Signal::Stop(stop)) = signal {
            return Some(Ending::Stopped(stop));
        }
        self.unpark_awaited(history);
        if !self.ready.is_empty() {
            return None;
        }
        let suspension = match signal {
            // They waited already when it came.
            Some(Signal::Pause) => held(),
            _ => all_of(self.parked.values()),
        };
        match self.player.go.journal.suspend(suspension).await {
            Ok(Suspended::Gone) => Some(Ending::Suspended),
            Err(stop) => Some(Ending::Stopped(stop)),
            Ok(Suspended::Woken) => {
                self.unpark_awaited(history);
                None
            }
        }
    }

    /// How long until somebody has to look whether branches that wait may go on.
    fn until_look(&self) -> Duration {
        let paused = matches!(self.player.go.journal.boundary(), Some(Signal::Pause));
        if self.parked.is_empty() || paused {
            return LOOK_EVERY;
        }
        let now = self.player.go.journal.now();
        let next_due = self
            .parked
            .values()
            .filter_map(|parked| parked.wake_at)
            // What is due already, and nobody could be asked for, is looked at anew now and then.
            .filter(|due| !self.has_looked_in_vain || *due > now)
            .min();
        let due = next_due.map_or(LOOK_EVERY, |due| {
            let micros = due.as_micros().saturating_sub(now.as_micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        });
        due.min(LOOK_EVERY)
    }

    async fn look(&mut self, history: &History) {
        let waits_for_events = |parked: &Suspension| !parked.events.is_empty();
        if self.parked.values().any(waits_for_events) {
            self.player.go.journal.look().await;
        }
        self.unpark_awaited(history);
        self.has_looked_in_vain = self.waits_for_a_look();
    }

    /// Whether a branch is due for which something may have come in time that nobody knows.
    fn waits_for_a_look(&self) -> bool {
        let go = &self.player.go;
        self.parked.values().any(|parked| {
            let is_due = |due: Timestamp| due <= go.journal.now();
            parked.wake_at.is_some_and(is_due) && !is_over(go, parked)
        })
    }

    fn unpark_awaited(&mut self, history: &History) {
        let go = Arc::clone(&self.player.go);
        self.unpark(|branch, parked| is_awaited(&go, history, branch, parked));
    }

    fn is_awaited(&self, history: &History, branch: &StepKey, parked: &Suspension) -> bool {
        is_awaited(&self.player.go, history, branch, parked)
    }

    fn unpark(&mut self, mut which: impl FnMut(&StepKey, &Suspension) -> bool) {
        let ready = &mut self.ready;
        self.parked.retain(|branch, parked| {
            let awaited = which(branch, parked);
            if awaited {
                ready.push_back(branch.clone());
            }
            !awaited
        });
    }
}

/// Adds an index behind all others.
fn push(ranges: &mut VecDeque<Range<u32>>, index: u32) {
    match ranges.back_mut() {
        Some(last) if last.end == index => last.end += 1,
        _ => ranges.push_back(index..index + 1),
    }
}

/// Takes the first index away.
fn pop(ranges: &mut VecDeque<Range<u32>>) -> Option<u32> {
    let first = ranges.front_mut()?;
    let index = first.next();
    if first.start >= first.end {
        ranges.pop_front();
    }
    index
}

impl Player {
    async fn play(&self, branch: &StepKey) -> Played {
        let recorded = match &self.go.history {
            Some(history) => history.path(branch.as_str()),
            None => Arc::default(),
        };
        self.sandbox
            .play(
                &self.prepared,
                &self.workflow,
                &self.call,
                &self.go,
                recorded,
                branch.as_str(),
            )
            .await
    }
}

/// Whether there is something to do for a branch that waits.
fn is_awaited(go: &Go, history: &History, branch: &StepKey, parked: &Suspension) -> bool {
    match go.journal.boundary() {
        // Who waits has stopped already.
        Some(Signal::Pause) => return false,
        Some(Signal::Stop(_)) => return true,
        Some(Signal::Cancel) if !history.was_told(branch.as_str()) => return true,
        Some(Signal::Cancel) | None => {}
    }
    if history.has_lost(branch.as_str()) && !history.was_told(branch.as_str()) {
        return true;
    }
    parked.reason == SuspendReason::Paused
        || is_over(go, parked)
        || go.journal.has_event(&parked.events)
        || parked.events.iter().any(|event| is_known_end(go, event))
}

/// Whether its time has come, and what came in by then is known if that matters.
fn is_over(go: &Go, parked: &Suspension) -> bool {
    parked.wake_at.is_some_and(|due| {
        due <= go.journal.now() && (parked.events.is_empty() || go.journal.has_looked_since(due))
    })
}

/// Whether the event is the end of a child that another branch has been told of.
fn is_known_end(go: &Go, event: &str) -> bool {
    let child = event.strip_prefix("child/").and_then(|id| id.parse().ok());
    child.is_some_and(|child| matches!(go.child(child), Some(Child::Ended(_))))
}

/// The run is held from outside.
fn held() -> Suspension {
    Suspension {
        reason: SuspendReason::Paused,
        events: Vec::new(),
        wake_at: None,
    }
}

/// What a branch waits for whose last row is this one.
fn suspension(row: &Recorded) -> Option<Suspension> {
    let RecordedState::Open { due, plan, .. } = &row.state else {
        return None;
    };
    let (reason, events) = match row.kind {
        Kind::Wait => {
            let events = match plan {
                // Not read: the run was moved to other code, which is to say what it waits for.
                Some(names) => serde_json::from_str(names.as_str()).ok()?,
                None => vec![row.key.name().to_owned()],
            };
            let is_child = events.iter().any(|event: &String| event.contains('/'));
            (
                if is_child {
                    SuspendReason::Child
                } else {
                    SuspendReason::Event
                },
                events,
            )
        }
        Kind::Sleep => (SuspendReason::Time, Vec::new()),
        Kind::Step => (SuspendReason::Retry, Vec::new()),
        Kind::Pause => (SuspendReason::Pause, Vec::new()),
        Kind::Fork | Kind::Branch | Kind::Child | Kind::Change => return None,
    };
    Some(Suspension {
        reason,
        events,
        wake_at: *due,
    })
}

/// What a run waits for whose branches wait for all this.
fn all_of<'a>(parked: impl Iterator<Item = &'a Suspension>) -> Suspension {
    let mut all = Suspension {
        reason: SuspendReason::Retry,
        events: Vec::new(),
        wake_at: None,
    };
    for one in parked {
        // A person's word before an event, and an event before a time.
        let rank = |reason| match reason {
            SuspendReason::Paused => 5,
            SuspendReason::Pause => 4,
            SuspendReason::Event => 3,
            SuspendReason::Child => 2,
            SuspendReason::Time => 1,
            SuspendReason::Retry => 0,
        };
        if rank(one.reason) > rank(all.reason) {
            all.reason = one.reason;
        }
        all.events.extend(one.events.iter().cloned());
        all.wake_at = match (all.wake_at, one.wake_at) {
            (Some(all), Some(one)) => Some(all.min(one)),
            (all, one) => all.or(one),
        };
    }
    if matches!(all.reason, SuspendReason::Paused | SuspendReason::Pause) {
        all.events.clear();
        all.wake_at = None;
    }
    all.events.sort();
    all.events.dedup();
    all
}
