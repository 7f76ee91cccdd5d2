//! A run in a test: its script, its clock, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{
    Failure, NameError, Payload, PayloadLimits, Recorded, RunId, SaidProgress, Timestamp,
    check_name,
};
use dacapo_sandbox::LogLine;
use serde::Serialize;
use serde_json::Value;

use crate::child::{Child, StartedChild};
use crate::clock;
use crate::component::Component;
use crate::crash::{self, Crashes};
use crate::error::Error;
use crate::journal::MemoryJournal;
use crate::outcome::{RunOutcome, Standing};
use crate::script::{Action, Item, check_target};
use crate::show;
use crate::stage::{Played, Stage};

/// One run of a workflow, made by [`Component::run`](crate::Component::run).
///
/// What happens to it is said first: with `script_step`, `send_event` and the like. A mistake in that is reported by the next call that
/// plays the run. Times are given as durations after the run's start, and are those of the virtual clock.
#[derive(Debug)]
pub struct Run {
    stage: Stage,
    script: Vec<Item>,
    /// The first mistake in what was said.
    mistake: Option<Error>,
    journal: Option<Arc<MemoryJournal>>,
    outcome: Option<RunOutcome>,
}

impl Run {
    pub(crate) fn new(stage: Stage) -> Run {
        Run {
            stage,
            script: Vec::new(),
            mistake: None,
            journal: None,
            outcome: None,
        }
    }

    /// The run has this label.
    pub fn label(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Run {
        if self.is_before_start("labels") {
            self.stage.labels.push((name.into(), value.into()));
        }
        self
    }

    /// The run has this id. Without it the id is the same for all runs of tests, since it may become part of an outcome.
    pub fn id(&mut self, id: RunId) -> &mut Run {
        if self.is_before_start("the id") {
            self.stage.run_id = id;
        }
        self
    }

    /// The run is started at this time. Without it that is 2030-01-01T00:00:00Z.
    pub fn start_at(&mut self, start: Timestamp) -> &mut Run {
        if self.is_before_start("the time of the start") {
            self.stage.start = start;
        }
        self
    }

    /// The step does not run its body: this is its outcome. The step is named by its key (`charge#2`) or by its name, which stands for all
    /// its uses that have no script of their own. A failure that is retryable is tried again like any other, and fails again.
    pub fn script_step(&mut self, step: &str, outcome: Result<Value, Failure>) -> &mut Run {
        let outcome = match outcome {
            Ok(value) => self
                .payload(&format!("the outcome of step `{step}`"), &value)
                .map(Ok),
            Err(failure) => Ok(Err(failure)),
        };
        let item = self
            .target("step", step)
            .and(outcome)
            .map(|outcome| Item::Step(step.to_owned(), outcome));
        self.say(item)
    }

    /// The run's children of this workflow, named in full or by an end of its name, end like this: no test plays another run. What their
    /// input and labels were is told by [`Run::children`].
    pub fn script_child(&mut self, workflow: &str, child: Child) -> &mut Run {
        let twice = self
            .script
            .iter()
            .any(|item| matches!(item, Item::Child(known, _) if known == workflow));
        let item = if twice {
            let what = format!("child `{workflow}`");
            Err(Error::ScriptedTwice(what))
        } else {
            Ok(Item::Child(workflow.to_owned(), child))
        };
        self.say(item)
    }

    /// The pause is over as soon as the workflow calls it: somebody resumes the run. It is named by its key or its name, like a step.
    pub fn resume_pause(&mut self, pause: &str) -> &mut Run {
        let item = self
            .target("pause", pause)
            .map(|()| Item::Pause(pause.to_owned()));
        self.say(item)
    }

    /// An event is sent to the run now: before it starts, if it was not played yet.
    pub fn send_event(&mut self, name: &str, payload: impl Serialize) -> &mut Run {
        self.send_event_at(self.elapsed(), name, payload)
    }

    /// An event is sent to the run this long after its start.
    pub fn send_event_at(
        &mut self,
        after: Duration,
        name: &str,
        payload: impl Serialize,
    ) -> &mut Run {
        let item = check_name(name)
            .map_err(|error| bad_name("event", error))
            .and_then(|()| self.payload(&format!("event `{name}`"), &payload))
            .and_then(|payload| self.stage.check_event(name, payload))
            .map(|payload| {
                let name = name.to_owned();
                Item::At(after, Action::Send { name, payload })
            });
        self.say(item)
    }

    /// Somebody pauses the run now; it holds at its next step or wait.
    pub fn pause(&mut self) -> &mut Run {
        self.pause_at(self.elapsed())
    }

    /// Somebody pauses the run this long after its start.
    pub fn pause_at(&mut self, after: Duration) -> &mut Run {
        self.say(Ok(Item::At(after, Action::Pause)))
    }

    /// Somebody resumes the run now, which must be paused, by the workflow itself or from outside.
    pub fn resume(&mut self) -> &mut Run {
        self.resume_at(self.elapsed())
    }

    /// Somebody resumes the run this long after its start; it must be paused then.
    pub fn resume_at(&mut self, after: Duration) -> &mut Run {
        self.say(Ok(Item::At(after, Action::Resume)))
    }

    /// Somebody cancels the run now: its next durable call says so, and it may compensate.
    pub fn cancel(&mut self) -> &mut Run {
        self.cancel_at(self.elapsed())
    }

    /// Somebody cancels the run this long after its start.
    pub fn cancel_at(&mut self, after: Duration) -> &mut Run {
        self.say(Ok(Item::At(after, Action::Cancel)))
    }

    /// Plays the run until it ends, and skips whatever time it waits.
    ///
    /// # Errors
    /// The run waits for something that the script does not have; the run never came to a step that was scripted; or a mistake in what
    /// was said.
    pub async fn run_to_completion(&mut self) -> Result<RunOutcome, Error> {
        match self.play(None).await? {
            Standing::Ended(outcome) => Ok(outcome),
            Standing::Waiting(waiting) => Err(Error::WaitsForEver {
                waiting: Box::new(waiting),
                untaken: self.untaken_events(),
            }),
        }
    }

    /// Plays the run, with this much time passing: whatever comes due meanwhile is done. Nothing at all plays it until it has to wait.
    ///
    /// # Errors
    /// A mistake in what was said; or, if the run ends, a script that it never came to.
    pub async fn advance(&mut self, by: Duration) -> Result<Standing, Error> {
        let until = clock::after(self.now(), by);
        self.play(Some(until)).await
    }

    async fn play(&mut self, until: Option<Timestamp>) -> Result<Standing, Error> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        if let Some(outcome) = &self.outcome {
            return Ok(Standing::Ended(outcome.clone()));
        }
        let journal = Arc::clone(
            self.journal
                .get_or_insert_with(|| Arc::new(self.stage.journal(&self.script, None))),
        );
        let played = self.stage.play(&journal, until).await?;
        if let Played::Ended(outcome) = &played {
            self.outcome = Some(outcome.clone());
        }
        if let Some(&at) = journal.idle_resumes().first() {
            let after = clock::between(self.stage.start, at);
            return Err(Error::NotPaused { after });
        }
        match played {
            Played::Waiting(waiting) => Ok(Standing::Waiting(waiting)),
            Played::Crashed(key) => Err(Error::Broken(format!(
                "a run that was not to crash did so at {key}"
            ))),
            Played::Ended(outcome) => {
                let scripts = journal.unused();
                if !scripts.is_empty() {
                    let keys = self.rows().iter().map(|row| row.key.to_string()).collect();
                    return Err(Error::Unused { scripts, keys });
                }
                Ok(Standing::Ended(outcome))
            }
        }
    }

    /// Plays the run anew again and again, from its start and by the same script, each time with a crash of its worker at another place:
    /// before and after each row of its journal is written. Another worker then takes it over. The outcome must be that of the run without
    /// a crash, which is played to its end first if it was not yet, and the journal must have the same rows, whatever they hold.
    ///
    /// It takes twice as many runs as the journal has rows, waits counted twice.
    ///
    /// # Errors
    /// What [`Run::run_to_completion`] says of a run without a crash; the run has different outcomes even without one; a crash changes
    /// the outcome, or which steps and waits there are; or a recorded step's body ran again, which would be a fault of the engine.
    pub async fn crash_everywhere(&mut self) -> Result<Crashes, Error> {
        let outcome = self.run_to_completion().await?;
        crash::everywhere(&self.stage, &self.script, outcome, &self.rows()).await
    }

    /// How the run has ended; none if it has not.
    pub fn outcome(&self) -> Option<&RunOutcome> {
        self.outcome.as_ref()
    }

    /// The workflow's full name.
    pub fn workflow(&self) -> &str {
        self.stage.workflow()
    }

    /// The component that it is a run of.
    pub fn component(&self) -> &Component {
        self.stage.component()
    }

    /// When the run is started, on the virtual clock.
    pub fn started_at(&self) -> Timestamp {
        self.stage.start
    }

    /// The time on the virtual clock.
    pub fn now(&self) -> Timestamp {
        self.journal
            .as_ref()
            .map_or(self.stage.start, |journal| journal.now())
    }

    /// The time since the run's start, on the virtual clock.
    pub fn elapsed(&self) -> Duration {
        clock::between(self.stage.start, self.now())
    }

    /// The journal as text, a line for each row: `charge#1 step ok "ch_1"`, `charge#1 step failed card-declined: …`,
    /// `settled#1 wait timed-out`, `settled#1 wait open`.
    pub fn journal(&self) -> String {
        show::journal(&self.rows())
    }

    /// The rows of the journal, in the order in which they were first written.
    pub fn rows(&self) -> Vec<Recorded> {
        let mut rows = self
            .journal
            .as_ref()
            .map_or_else(Vec::new, |journal| journal.rows());
        rows.sort_by_key(|row| row.position);
        rows
    }

    /// The lines of the run's log.
    pub fn logs(&self) -> Vec<LogLine> {
        self.journal
            .as_ref()
            .map_or_else(Vec::new, |journal| journal.logs())
    }

    /// The children that the run has started, in the order of their starts.
    pub fn children(&self) -> Vec<StartedChild> {
        self.journal
            .as_ref()
            .map_or_else(Vec::new, |journal| journal.children())
    }

    /// How far the run is, as its code said last; none: it has said nothing.
    pub fn progress(&self) -> Option<SaidProgress> {
        self.journal.as_ref()?.progress()
    }

    /// The names of events that no wait has taken, of all that were sent or are still to be sent.
    pub fn untaken_events(&self) -> Vec<String> {
        self.journal
            .as_ref()
            .map_or_else(Vec::new, |journal| journal.untaken())
    }

    /// What differs if the journal is not this, compared as by [`Run::assert_journal`]: lines that begin with `-` were expected, those with
    /// `+` are there.
    pub fn compare_journal(&self, expected: &str) -> Option<String> {
        show::unexpected(expected, &self.journal())
    }

    /// Panics with what differs unless the journal is this, in the form of [`Run::journal`]. `…` stands for anything within a line;
    /// white space around lines and empty lines do not count.
    ///
    /// # Panics
    /// The journal is another.
    #[track_caller]
    pub fn assert_journal(&self, expected: &str) {
        if let Some(diff) = self.compare_journal(expected) {
            panic!("the journal is not the expected one (- expected, + there):\n{diff}");
        }
    }

    fn is_before_start(&mut self, what: &'static str) -> bool {
        let before = self.journal.is_none();
        if !before {
            self.mistake.get_or_insert(Error::TooLate(what));
        }
        before
    }

    fn target(&self, what: &'static str, target: &str) -> Result<(), Error> {
        check_target(target).map_err(|error| bad_name(what, error))?;
        let twice = self.script.iter().any(|item| match item {
            Item::Step(known, _) => what == "step" && known == target,
            Item::Pause(known) => what == "pause" && known == target,
            Item::Child(..) | Item::At(..) => false,
        });
        if twice {
            return Err(Error::ScriptedTwice(format!("{what} `{target}`")));
        }
        Ok(())
    }

    fn payload(&self, what: &str, value: &impl Serialize) -> Result<Payload, Error> {
        let json = serde_json::to_string(value).map_err(|source| Error::Encode {
            what: what.to_owned(),
            source,
        })?;
        let limits: &PayloadLimits = &self.stage.component().inner.sandbox.config().payload;
        Payload::new(json, limits).map_err(|error| Error::BadPayload {
            what: what.to_owned(),
            error,
        })
    }

    fn say(&mut self, item: Result<Item, Error>) -> &mut Run {
        match item {
            Ok(item) => {
                if let Some(journal) = &self.journal {
                    journal.say(item.clone());
                }
                self.script.push(item);
            }
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }
}

fn bad_name(what: &'static str, error: NameError) -> Error {
    Error::BadName { what, error }
}
