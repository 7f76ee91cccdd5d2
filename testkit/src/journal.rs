//! A run's journal in memory, with what its test says of the world outside.
//!
//! It takes the rows as they come, whatever their kinds: what a row means is known to the sandbox alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dacapo_model::{
    DeploymentId, Failure, Kind, Outcome, Payload, Recorded, RecordedState, RunId, SaidProgress,
    StepKey, Timestamp, Workflow, is_short_for,
};
use dacapo_sandbox::{
    BlockCode, ChildStart, ChildState, ChildWorkflow, Event, Journal, LogLine, RecordWrite, Signal,
    SqlRefusal, SqlStep, SqlTransaction, Stop, Suspended, Suspension, Write,
};

use crate::child::{Child, StartedChild};
use crate::clock::{self, Clock};
use crate::script::{self, Action, Item};

/// A run's journal.
#[derive(Debug)]
pub(crate) struct MemoryJournal {
    start: Timestamp,
    /// The workflows whose types are known: the component's own, and those that it calls.
    known: Vec<Workflow>,
    state: Mutex<State>,
}

/// Where the worker is to crash: before or after the journal's nth write of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The row is lost, and with it what a body returned.
    Before(u32),
    /// The row is the last thing that is durable.
    After(u32),
}

/// What there is to do for a run that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Something came up, now or by moving the clock: play the run.
    Play,
    /// Nothing until the time that the clock may move to.
    Later,
    /// Nothing, ever.
    Nothing,
}

/// Whether anything happened between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    now: Timestamp,
    written: u32,
    open: usize,
    pending: usize,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    rows: Vec<Recorded>,
    logs: Vec<LogLine>,
    progress: Option<SaidProgress>,
    inbox: Vec<Received>,
    /// What somebody will do, by its time and the order in which the test said so.
    pending: BTreeMap<(Timestamp, usize), Action>,
    said: usize,
    steps: BTreeMap<String, Script<Result<Payload, Failure>>>,
    pauses: BTreeMap<String, Script<()>>,
    child_scripts: BTreeMap<String, Script<Child>>,
    /// Those that were started, and how they end, as their parent is told.
    children: Vec<(StartedChild, Option<Payload>)>,
    paused: bool,
    cancelled: bool,
    waiting: Option<Suspension>,
    written: u32,
    cut: Option<Cut>,
    /// The worker has crashed: nothing that this instance does is durable any more.
    crashed: bool,
    /// Which write the worker has crashed at.
    crashed_at: Option<StepKey>,
    /// What a correct engine never does.
    broken: Vec<String>,
    /// Resumes that met a run which was not paused, by their times.
    idle_resumes: Vec<Timestamp>,
}

#[derive(Debug)]
struct Script<T> {
    answer: T,
    used: bool,
}

/// An event that was sent to the run.
#[derive(Debug)]
struct Received {
    event: Event,
    taken: Taken,
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    No,
    /// By a wait of this instance which is not recorded yet.
    Now,
    ForGood,
}

impl MemoryJournal {
    pub(crate) fn new(
        start: Timestamp,
        known: Vec<Workflow>,
        script: &[Item],
        cut: Option<Cut>,
    ) -> MemoryJournal {
        let journal = MemoryJournal {
            start,
            known,
            state: Mutex::new(State {
                clock: Clock::new(start),
                rows: Vec::new(),
                logs: Vec::new(),
                progress: None,
                inbox: Vec::new(),
                pending: BTreeMap::new(),
                said: 0,
                steps: BTreeMap::new(),
                pauses: BTreeMap::new(),
                child_scripts: BTreeMap::new(),
                children: Vec::new(),
                paused: false,
                cancelled: false,
                waiting: None,
                written: 0,
                cut,
                crashed: false,
                crashed_at: None,
                broken: Vec::new(),
                idle_resumes: Vec::new(),
            }),
        };
        for item in script {
            journal.say(item.clone());
        }
        journal
    }

    /// Takes one more thing that the test says.
    pub(crate) fn say(&self, item: Item) {
        let mut state = self.lock();
        let used = false;
        match item {
            Item::Step(target, answer) => {
                state.steps.insert(target, Script { answer, used });
            }
            Item::Pause(target) => {
                let answer = ();
                state.pauses.insert(target, Script { answer, used });
            }
            Item::Child(target, answer) => {
                let script = Script { answer, used };
                state.child_scripts.insert(target, script);
            }
            Item::At(after, action) => {
                let key = (clock::after(self.start, after), state.said);
                state.pending.insert(key, action);
                state.said += 1;
            }
        }
    }

    /// A worker takes the run over: whatever the last one did not record has not happened. Returns the rows.
    pub(crate) fn begin(&self) -> Vec<Recorded> {
        let mut state = self.lock();
        state.crashed = false;
        state.waiting = None;
        state.clock.restart();
        for received in &mut state.inbox {
            if received.taken == Taken::Now {
                received.taken = Taken::No;
            }
        }
        state.rows.clone()
    }

    pub(crate) fn rows(&self) -> Vec<Recorded> {
        self.lock().rows.clone()
    }

    pub(crate) fn logs(&self) -> Vec<LogLine> {
        self.lock().logs.clone()
    }

    pub(crate) fn children(&self) -> Vec<StartedChild> {
        let state = self.lock();
        state
            .children
            .iter()
            .map(|(child, _)| child.clone())
            .collect()
    }

    /// How far the run is, as its code said last.
    pub(crate) fn progress(&self) -> Option<SaidProgress> {
        self.lock().progress.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    /// What the run waits for, after it was given up.
    pub(crate) fn waiting(&self) -> Option<Suspension> {
        self.lock().waiting.clone()
    }

    /// How many rows were written, open and done ones counted apart.
    pub(crate) fn written(&self) -> u32 {
        self.lock().written
    }

    /// The row at which the worker has crashed, while nobody has taken the run over.
    pub(crate) fn crash(&self) -> Option<StepKey> {
        let state = self.lock();
        state.crashed.then(|| state.crashed_at.clone()).flatten()
    }

    /// What went wrong with the journal itself.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// The times of resumes that met a run which was not paused.
    pub(crate) fn idle_resumes(&self) -> Vec<Timestamp> {
        self.lock().idle_resumes.clone()
    }

    /// Scripts of steps, pauses and children that nothing has asked for.
    pub(crate) fn unused(&self) -> Vec<String> {
        let state = self.lock();
        let steps = state.steps.iter().filter(|(_, script)| !script.used);
        let pauses = state.pauses.iter().filter(|(_, script)| !script.used);
        let children = state
            .child_scripts
            .iter()
            .filter(|(_, script)| !script.used);
        steps
            .map(|(target, _)| format!("step `{target}`"))
            .chain(pauses.map(|(target, _)| format!("pause `{target}`")))
            .chain(children.map(|(target, _)| format!("child `{target}`")))
            .collect()
    }

    /// Events that no wait has taken, received or still to come, in the order of their times.
    pub(crate) fn untaken(&self) -> Vec<String> {
        let state = self.lock();
        let received = state
            .inbox
            .iter()
            .filter(|received| received.taken != Taken::ForGood)
            // Nobody has to wait for a child.
            .filter(|received| !received.event.name.starts_with("child/"))
            .map(|received| received.event.name.clone());
        let pending = state.pending.values().filter_map(|action| match action {
            Action::Send { name, .. } => Some(name.clone()),
            Action::Pause | Action::Resume | Action::Cancel | Action::EndChild { .. } => None,
        });
        received.chain(pending).collect()
    }

    pub(crate) fn mark(&self) -> Mark {
        let state = self.lock();
        Mark {
            now: state.clock.now(),
            written: state.written,
            open: state.rows.iter().filter(|row| is_open(row)).count(),
            pending: state.pending.len(),
        }
    }

    /// Moves the clock to when there is something to do for a run that waits, but not beyond `until`.
    pub(crate) fn skip_ahead(&self, until: Option<Timestamp>) -> Ahead {
        let mut state = self.lock();
        if state.resume_scripted_pauses() {
            return Ahead::Play;
        }
        let wake_at = state.waiting.as_ref().and_then(|waiting| waiting.wake_at);
        let action_at = state.pending.keys().next().map(|(at, _)| *at);
        let next = [wake_at, action_at].into_iter().flatten().min();
        match (next, until) {
            (Some(next), Some(until)) if next > until => {
                state.clock.jump(until);
                Ahead::Later
            }
            (Some(next), _) => {
                state.clock.jump(next);
                state.act();
                Ahead::Play
            }
            (None, Some(until)) => {
                state.clock.jump(until);
                Ahead::Later
            }
            (None, None) => Ahead::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does what somebody was to do by now.
    fn act(&mut self) {
        let now = self.clock.now();
        while let Some(entry) = self.pending.first_entry()
            && entry.key().0 <= now
        {
            let ((at, said), action) = entry.remove_entry();
            match action {
                Action::Send { name, payload } => self.inbox.push(Received {
                    event: Event {
                        seq: u32::try_from(said).unwrap_or(u32::MAX),
                        name,
                        payload,
                        received_at: at,
                    },
                    taken: Taken::No,
                }),
                Action::EndChild { id, outcome } => {
                    for (child, ended) in &mut self.children {
                        if child.id == id {
                            *ended = Some(outcome.clone());
                        }
                    }
                    self.inbox.push(Received {
                        event: Event {
                            seq: u32::try_from(said).unwrap_or(u32::MAX),
                            name: format!("child/{id}"),
                            payload: outcome,
                            received_at: at,
                        },
                        taken: Taken::No,
                    });
                }
                Action::Pause => self.paused = true,
                Action::Resume => {
                    let was_paused = std::mem::take(&mut self.paused);
                    let completed = self.complete_pauses(|_| true);
                    if !was_paused && !completed {
                        self.idle_resumes.push(at);
                    }
                }
                Action::Cancel => self.cancelled = true,
            }
        }
    }

    fn resume_scripted_pauses(&mut self) -> bool {
        let mut pauses = std::mem::take(&mut self.pauses);
        let completed = self.complete_pauses(|key| {
            let said = pauses
                .iter_mut()
                .map(|(target, script)| (target.as_str(), &mut script.used));
            script::find(said, key).is_some_and(|used| {
                *used = true;
                true
            })
        });
        self.pauses = pauses;
        completed
    }

    /// Somebody resumes the run at those of its own pauses that are wanted. False: there is none.
    fn complete_pauses(&mut self, mut wanted: impl FnMut(&StepKey) -> bool) -> bool {
        let finished_at = self.clock.now();
        let mut completed = false;
        for row in &mut self.rows {
            if row.kind == Kind::Pause && is_open(row) && wanted(&row.key) {
                let outcome = Outcome::Ok(Payload::null());
                row.state = RecordedState::Done {
                    outcome,
                    finished_at,
                };
                completed = true;
            }
        }
        completed
    }

    fn record(&mut self, write: RecordWrite) {
        self.written += 1;
        if self.cut == Some(Cut::Before(self.written)) {
            self.crash(&write.recorded.key);
            return;
        }
        if self.cut == Some(Cut::After(self.written)) {
            self.crash(&write.recorded.key);
        }
        self.clock.pin();
        if let Some(seq) = write.takes_event {
            for received in &mut self.inbox {
                if received.event.seq == seq {
                    received.taken = Taken::ForGood;
                }
            }
        }
        if let Some(child) = write.starts_child {
            self.start_child(*child);
        }
        let row = write.recorded;
        match self.rows.iter_mut().find(|known| known.key == row.key) {
            None => self.rows.push(row),
            Some(known) if is_open(known) => *known = row,
            Some(_) => self
                .broken
                .push(format!("`{}` was recorded and is recorded again", row.key)),
        }
    }

    fn start_child(&mut self, child: ChildStart) {
        if self.children.iter().any(|(known, _)| known.id == child.id) {
            let problem = format!("the child {} was started and is started again", child.id);
            self.broken.push(problem);
            return;
        }
        let started = StartedChild {
            id: child.id,
            workflow: child.workflow,
            input: child.input,
            labels: child.labels,
            deadline: child.deadline_ms.map(Duration::from_millis),
            detached: child.detached,
            queue: child.queue,
            concurrency_key: child.concurrency_key,
            priority: child.priority,
        };
        let script = self.child_script(&started.workflow);
        let ends =
            script.and_then(|script| script.answer.outcome(&started.input, started.deadline));
        if let Some((after, outcome)) = ends {
            let key = (clock::after(self.clock.now(), after), self.said);
            let id = started.id;
            self.pending.insert(key, Action::EndChild { id, outcome });
            self.said += 1;
        }
        self.children.push((started, None));
    }

    /// What was said of children of a workflow: by its very name, else by an end of it.
    fn child_script(&mut self, workflow: &str) -> Option<&mut Script<Child>> {
        let targets = self.child_scripts.keys();
        let found = targets
            .filter(|target| script::is_about(target, workflow))
            .max_by_key(|target| (target.as_str() == workflow, target.len()))?
            .clone();
        self.child_scripts.get_mut(&found)
    }

    fn crash(&mut self, at: &StepKey) {
        self.crashed = true;
        self.cut = None;
        self.crashed_at = Some(at.clone());
    }

    fn log(&mut self, line: LogLine) {
        if let Some(step) = &line.step
            && self
                .rows
                .iter()
                .any(|row| row.key == *step && !is_open(row))
        {
            self.broken
                .push(format!("the body of `{step}` was recorded and runs again"));
        }
        self.logs.push(line);
    }
}

fn is_open(row: &Recorded) -> bool {
    matches!(row.state, RecordedState::Open { .. })
}

#[async_trait]
impl Journal for MemoryJournal {
    fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    fn append(&self, write: Write) {
        let mut state = self.lock();
        if state.crashed {
            return;
        }
        match write {
            Write::Record(write) => state.record(write),
            Write::Log(line) => state.log(line),
            Write::Progress(said) => state.progress = Some(said),
        }
    }

    fn nudge(&self) {}

    async fn settle(&self) -> Result<(), Stop> {
        let mut state = self.lock();
        if state.crashed {
            return Err(Stop::Unavailable);
        }
        // What a body may take counts from here.
        state.clock.restart();
        Ok(())
    }

    fn boundary(&self) -> Option<Signal> {
        let mut state = self.lock();
        if state.crashed {
            return Some(Signal::Stop(Stop::Unavailable));
        }
        state.clock.restart();
        state.act();
        if state.cancelled {
            return Some(Signal::Cancel);
        }
        state.paused.then_some(Signal::Pause)
    }

    fn has_event(&self, names: &[String]) -> bool {
        let state = self.lock();
        let mut untaken = state
            .inbox
            .iter()
            .filter(|received| received.taken == Taken::No);
        untaken.any(|received| names.contains(&received.event.name))
    }

    async fn look(&self) {}

    fn has_looked_since(&self, _at: Timestamp) -> bool {
        true
    }

    async fn find_workflow(
        &self,
        name: &str,
        _child: RunId,
        _labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        let mut known = self
            .known
            .iter()
            .filter(|known| known.name == name || is_short_for(name, &known.name));
        let workflow = match (known.next(), known.next()) {
            (Some(known), None) => Some(known.clone()),
            _ => self.known.iter().find(|known| known.name == name).cloned(),
        };
        let is_typed = workflow.is_some();
        let workflow = workflow.unwrap_or_else(|| Workflow {
            name: name.to_owned(),
            interface: String::new(),
            function: String::new(),
            param: None,
            result: None,
            docs: None,
            events: Vec::new(),
        });
        let mut state = self.lock();
        let Some(script) = state.child_script(&workflow.name) else {
            return Ok(Err(format!(
                "a test plays one run, and a child of `{}` would be another: say how it ends with `script_child({:?}, …)`",
                workflow.name, workflow.name
            )));
        };
        script.used = true;
        Ok(Ok(ChildWorkflow {
            deployment: DeploymentId(0),
            workflow,
            is_typed,
            depth: 0,
            // Those of its deployment, and in a test there is none.
            queue: None,
            priority: None,
        }))
    }

    async fn has_queue(&self, _name: &str) -> Result<bool, Stop> {
        Ok(true)
    }

    async fn child_state(&self, child: RunId) -> Result<ChildState, Stop> {
        let state = self.lock();
        let known = state.children.iter().find(|(known, _)| known.id == child);
        Ok(match known {
            None => ChildState::Unknown,
            Some((_, None)) => ChildState::Active,
            Some((_, Some(outcome))) => ChildState::Ended(outcome.clone()),
        })
    }

    fn take_event(&self, names: &[String], received_by: Option<Timestamp>) -> Option<Event> {
        let mut state = self.lock();
        let received = state.inbox.iter_mut().find(|received| {
            received.taken == Taken::No
                && names.contains(&received.event.name)
                && received_by.is_none_or(|limit| received.event.received_at <= limit)
        })?;
        received.taken = Taken::Now;
        Some(received.event.clone())
    }

    fn scripted(&self, step: &StepKey) -> Option<Result<Payload, Failure>> {
        let mut state = self.lock();
        let said = state
            .steps
            .iter_mut()
            .map(|(target, script)| (target.as_str(), script));
        let script = script::find(said, step)?;
        script.used = true;
        Some(script.answer.clone())
    }

    async fn begin_sql(&self, step: SqlStep) -> Result<Box<dyn SqlTransaction>, SqlRefusal> {
        let name = step.key.name();
        Err(SqlRefusal::Blocked(
            BlockCode::SqlDatabase,
            format!(
                "step `{}` uses SQL, and a test has no database: say what it returns, with `run.script_step(\"{name}\", Ok(json!(…)))`",
                step.key
            ),
        ))
    }

    async fn suspend(&self, suspension: Suspension) -> Result<Suspended, Stop> {
        let mut state = self.lock();
        if state.crashed {
            return Err(Stop::Unavailable);
        }
        state.waiting = Some(suspension);
        Ok(Suspended::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, state: RecordedState) -> Write {
        Write::Record(RecordWrite {
            recorded: Recorded {
                key: StepKey::from_trusted(key.to_owned()),
                kind: Kind::Step,
                position: 1,
                started_at: Timestamp::EPOCH,
                state,
            },
            updates_open: false,
            takes_event: None,
            failed_attempt: None,
            starts_child: None,
        })
    }

    fn done() -> RecordedState {
        RecordedState::Done {
            outcome: Outcome::Ok(Payload::null()),
            finished_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn an_engine_that_records_a_step_twice_is_found_out() {
        let journal = MemoryJournal::new(Timestamp::EPOCH, Vec::new(), &[], None);
        journal.append(write(
            "a#1",
            RecordedState::Open {
                due: None,
                failed_attempts: 0,
                plan: None,
            },
        ));
        journal.append(write("a#1", done()));
        assert_eq!(journal.broken(), Vec::<String>::new());
        journal.append(write("a#1", done()));
        assert_eq!(
            journal.broken(),
            ["`a#1` was recorded and is recorded again"]
        );
    }

    #[test]
    fn a_crash_before_a_record_loses_it_and_one_after_it_does_not() {
        for (cut, rows) in [(Cut::Before(2), 1), (Cut::After(2), 2)] {
            let journal = MemoryJournal::new(Timestamp::EPOCH, Vec::new(), &[], Some(cut));
            for key in ["a#1", "b#1", "c#1"] {
                journal.append(write(key, done()));
            }
            assert_eq!(journal.rows().len(), rows);
            assert_eq!(journal.crash().unwrap().as_str(), "b#1");
            assert_eq!(journal.begin().len(), rows);
            journal.append(write("d#1", done()));
            assert_eq!(journal.rows().len(), rows + 1, "only one crash");
        }
    }
}
