//! Plays a run: goes at it one after the other, with the clock moved in between.

use std::sync::Arc;

use dacapo_model::{Manifest, Payload, RecordedState, RunId, StepKey, Timestamp, Workflow};
use dacapo_sandbox::{Ending, RunSpec, Stop};

use crate::clock;
use crate::component::Component;
use crate::error::Error;
use crate::journal::{Ahead, Cut, MemoryJournal};
use crate::outcome::{RunOutcome, Waiting};
use crate::script::Item;

/// Everything about a run but what happens to it.
#[derive(Debug)]
pub(crate) struct Stage {
    component: Component,
    workflow: Workflow,
    input: Payload,
    pub(crate) run_id: RunId,
    pub(crate) start: Timestamp,
    pub(crate) labels: Vec<(String, String)>,
}

/// How far a run was played.
#[derive(Debug)]
pub(crate) enum Played {
    /// It has ended.
    Ended(RunOutcome),
    /// It waits, and nothing comes of itself; or not until the time that it was to be played until.
    Waiting(Waiting),
    /// The worker has crashed when this row was about to be written, or just after.
    Crashed(StepKey),
}

/// 2030-01-01T00:00:00Z: a time that no real run has.
const START_MS: i64 = 1_893_456_000_000;

/// The same in each test, since it may become part of an outcome.
const RUN_ID: &str = "01b8dac5-b400-7000-8000-000000000001";

impl Stage {
    pub(crate) fn new(component: Component, workflow: Workflow, input: Payload) -> Stage {
        Stage {
            component,
            workflow,
            input,
            run_id: RUN_ID.parse().unwrap_or_else(|_| RunId::new()),
            start: Timestamp::from_millis(START_MS),
            labels: Vec::new(),
        }
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    /// The payload again, if the event is one that the workflow takes.
    pub(crate) fn check_event(&self, name: &str, payload: Payload) -> Result<Payload, Error> {
        let limits = &self.component.inner.sandbox.config().payload;
        match self.workflow.check_event(name, payload.as_str(), limits) {
            Ok(()) => Ok(payload),
            Err(error) => Err(Error::BadEvent {
                name: name.to_owned(),
                workflow: self.workflow.name.clone(),
                error: Box::new(error),
            }),
        }
    }

    pub(crate) fn workflow(&self) -> &str {
        &self.workflow.name
    }

    /// An empty journal for the run.
    pub(crate) fn journal(&self, script: &[Item], cut: Option<Cut>) -> MemoryJournal {
        let descriptor = self.component.descriptor();
        let known = descriptor.workflows.iter().chain(&descriptor.children);
        MemoryJournal::new(self.start, known.cloned().collect(), script, cut)
    }

    /// Plays the run until it ends, waits for ever, or the clock has come to `until`.
    pub(crate) async fn play(
        &self,
        journal: &Arc<MemoryJournal>,
        until: Option<Timestamp>,
    ) -> Result<Played, Error> {
        let mut last = None;
        loop {
            if let Some(played) = self.go(journal).await? {
                return Ok(played);
            }
            let mark = journal.mark();
            // A run that is played again and again at the same time, and does nothing, would be played for ever.
            let stands_still = last.replace(mark) == Some(mark);
            match journal.skip_ahead(until) {
                Ahead::Play if !stands_still => {}
                Ahead::Play | Ahead::Later | Ahead::Nothing => {
                    return Ok(Played::Waiting(self.waiting(journal)));
                }
            }
        }
    }

    /// One go at the run, or several without a wait in between. None: it was given up, since it has to wait.
    async fn go(&self, journal: &Arc<MemoryJournal>) -> Result<Option<Played>, Error> {
        let ending = loop {
            let ending = self.go_once(journal).await;
            // A trap in a step's last attempt is recorded, and the code is to see it.
            if ending != Ending::Stopped(Stop::Again) || journal.crash().is_some() {
                break ending;
            }
        };
        // A worker that has crashed tells nobody how the run ended.
        if let Some(key) = journal.crash() {
            return Ok(Some(Played::Crashed(key)));
        }
        if let Some(broken) = journal.broken().into_iter().next() {
            return Err(Error::Broken(broken));
        }
        let outcome = match ending {
            Ending::Completed(output) => RunOutcome::Completed(output),
            Ending::Failed(failure) => RunOutcome::Failed(failure),
            Ending::Cancelled(failure) => RunOutcome::Cancelled(failure),
            Ending::Blocked(reason) => RunOutcome::Blocked(reason),
            Ending::Suspended => return Ok(None),
            Ending::Stopped(stop) => {
                return Err(Error::Broken(format!(
                    "the sandbox stopped the run: {stop}"
                )));
            }
        };
        Ok(Some(Played::Ended(outcome)))
    }

    async fn go_once(&self, journal: &Arc<MemoryJournal>) -> Ending {
        let spec = RunSpec {
            run_id: self.run_id,
            workflow: self.workflow.name.clone(),
            input: self.input.clone(),
            seed: self.run_id,
            retries: 0,
            retry: None,
            terms: self.component.inner.sandbox.terms(&Manifest::default()),
            created_at: self.start,
            labels: self.labels.clone(),
            changes: None,
            recorded: journal.begin(),
        };
        let component = &self.component.inner;
        let journal_of_run: Arc<MemoryJournal> = Arc::clone(journal);
        component
            .sandbox
            .run(&component.prepared, &self.workflow, spec, journal_of_run)
            .await
    }

    fn waiting(&self, journal: &MemoryJournal) -> Waiting {
        let suspension = journal.waiting();
        let open = journal
            .rows()
            .into_iter()
            .filter(|row| matches!(row.state, RecordedState::Open { .. }));
        Waiting {
            reason: suspension
                .as_ref()
                .map_or(dacapo_sandbox::SuspendReason::Time, |one| one.reason),
            until: suspension
                .as_ref()
                .and_then(|one| one.wake_at)
                .map(|at| clock::between(self.start, at)),
            events: suspension.map(|one| one.events).unwrap_or_default(),
            open: open.map(|row| row.key).collect(),
        }
    }
}
