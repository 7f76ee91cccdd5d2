//! Going back: starting runs again, letting failed ones go on, finishing what they wait for in its place. One by one, or all that a filter
//! finds. Each is kept with who did it and when.

use std::collections::HashSet;

use dacapo_model::{DeploymentId, Kind, Payload, RunId, Status, StepKey};
use dacapo_store::{
    OpenRow, Refusal, Rerun, RerunRefusal, RetryPlan, RetryRefusal, SkipRefusal, Skipped,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::options::check_text;
use crate::retry::retried;
use crate::run::RunSummary;
use crate::start::{bad_input, payload};
use crate::{Action, Client, ClientError, ListFilter, Payloads, RunFilter};

/// The longest name of whoever does it, in bytes.
const WHO_BYTES_MAX: usize = 200;

/// The longest key of a step that is asked for, in bytes: scopes make keys long.
const KEY_BYTES_MAX: usize = 10_000;

/// The longest note, in bytes.
const NOTE_BYTES_MAX: usize = 10_000;

/// Keys that an error shows.
const KEYS_SHOWN_MAX: usize = 20;

/// How often a start follows a workflow to a newer deployment.
const TRIES_MAX: u32 = 8;

/// Runs that are looked at together.
const PAGE: u32 = 100;

/// Runs that are looked up in one statement.
const LOOKED_UP_MAX: usize = 1_000;

/// Which deployment a run is started again on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeployment {
    /// The one of its workflow that is active.
    #[default]
    Active,
    /// The one that it ran on.
    Own,
    /// This one, whether or not it is active.
    Of(DeploymentId),
}

/// How to start a run again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RerunOptions {
    /// The key of the step that the new run begins with: everything that the old one reached before it is copied. None: the new run
    /// begins at the beginning. An empty key: all of it is copied, for code that goes on where the old code could not.
    pub from: Option<String>,
    /// On which deployment.
    pub deployment: OnDeployment,
}

/// What to finish in a run's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkipOptions {
    /// Its key; none: the only thing that the run waits for.
    pub step: Option<String>,
    /// The result of a step or the payload of an event, as JSON; for a wait for any of several events the event's name beside its payload,
    /// `["paid", {…}]`. None: `null`, and all that a sleep or a pause can have.
    pub value: Option<String>,
}

/// A step or a wait that was finished in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedStep {
    /// Its key.
    pub step: StepKey,
    /// What becomes of the run.
    pub skipped: Skipped,
}

/// What to do to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Start it again as a new run.
    Rerun(RerunOptions),
    /// Let it go on from its failed step.
    Retry,
    /// Finish what it waits for in its place.
    Skip(SkipOptions),
}

/// What became of many runs.
#[derive(Debug, Default)]
pub struct InBulk {
    /// Those that were changed.
    pub changed: Vec<Changed>,
    /// Those that do not allow it, and why.
    pub refused: Vec<(RunId, ClientError)>,
    /// What kept the rest from being looked at, if anything did.
    pub stopped: Option<ClientError>,
}

/// A run that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// The run.
    pub run: RunId,
    /// The run that it was started again as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_run: Option<RunId>,
}

impl Change {
    /// The word for what is asked.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Rerun(_) => Action::Rerun,
            Self::Retry => Action::Retry,
            Self::Skip(_) => Action::Skip,
        }
    }

    /// The statuses of the runs that allow it.
    #[must_use]
    pub fn statuses(&self) -> &'static [Status] {
        match self {
            Self::Rerun(_) => &[
                Status::Completed,
                Status::Failed,
                Status::Cancelled,
                Status::Blocked,
            ],
            Self::Retry => &[Status::Failed],
            Self::Skip(_) => &[
                Status::Suspended,
                Status::Paused,
                Status::Cancelling,
                Status::Blocked,
            ],
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        let (Self::Rerun(RerunOptions { from: step, .. }) | Self::Skip(SkipOptions { step, .. })) =
            self
        else {
            return Ok(());
        };
        step.as_ref()
            .map_or(Ok(()), |step| check_text("step", step, KEY_BYTES_MAX))
    }
}

impl Client {
    /// Starts a run again, as a new run with the same input and labels; its deadline, if it has one, is as far away as the old one's was.
    /// Answers with its id.
    ///
    /// From a step, the new run's journal begins with what the old one had reached before that step, with its attempts and the events
    /// that were taken; none of it happens again. Outside of steps the code is told the same times and random numbers as before.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`], [`ClientError::StepNotFound`]; [`ClientError::Conflict`] unless the run has ended or is blocked; on the
    /// active deployment those of [`Client::start_by_name`].
    pub async fn rerun(
        &self,
        run: RunId,
        options: &RerunOptions,
        who: &str,
    ) -> Result<RunId, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.rerun(run, options, who).await;
        }
        check_who(who)?;
        Change::Rerun(options.clone()).check()?;
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
        let there = self.clone().with_namespace(&row.namespace);
        there
            .start_again(run, RunId::new(), &row.workflow, &row.input, options, who)
            .await
    }

    /// Starts a failed run again on a deployment whose code is mended, behind all that it has recorded. The new run's id follows from the
    /// old one and the deployment ([`RunId::of_repair`]): done again, nothing more is started.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] unless the run has ended or is blocked;
    /// [`ClientError::DeploymentRefused`] if the deployment is retired.
    pub async fn repair(
        &self,
        run: RunId,
        deployment: DeploymentId,
        who: &str,
    ) -> Result<RunId, ClientError> {
        self.needs_no_server("to start a run again on mended code")?;
        check_who(who)?;
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
        let options = RerunOptions {
            from: Some(String::new()),
            deployment: OnDeployment::Of(deployment),
        };
        let new = RunId::of_repair(run, deployment);
        self.start_again(run, new, &row.workflow, &row.input, &options, who)
            .await
    }

    /// Which of these runs have been started again by [`Client::repair`] on a deployment.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn repaired(
        &self,
        runs: &[RunId],
        deployment: DeploymentId,
    ) -> Result<HashSet<RunId>, ClientError> {
        self.needs_no_server("to look which runs were started again on mended code")?;
        let store = self.store();
        let mut repaired = HashSet::new();
        for runs in runs.chunks(LOOKED_UP_MAX) {
            let news: Vec<RunId> = runs
                .iter()
                .map(|run| RunId::of_repair(*run, deployment))
                .collect();
            let there = retried(|| dacapo_store::existing_runs(store, &news)).await?;
            let pairs = runs.iter().zip(&news);
            repaired.extend(
                pairs
                    .filter(|(_, new)| there.contains(new))
                    .map(|(run, _)| *run),
            );
        }
        Ok(repaired)
    }

    /// Lets a failed run go on from its failed steps, once whatever made it fail is mended: the same run, with all that it has recorded
    /// before. Answers what it went back to.
    ///
    /// If the last row of its journal is a failed step, that is tried once more. If the code went on after its last failed step and returned
    /// an error, that step is tried once more, and what came after it is removed. If the run was ended for something else, such as a limit
    /// or its deadline, it goes on where it was. A deadline that has passed begins anew. If the failure came from branches of a fork, that
    /// holds for each branch that failed. Children that were cancelled on account of the run's end go on, too.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run has not failed; [`ClientError::NothingFailed`];
    /// [`ClientError::ChildrenEnding`] while children that were cancelled on account of its end have not ended.
    pub async fn retry(&self, run: RunId, who: &str) -> Result<RetryPlan, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.retry(run, false, Some(who)).await;
        }
        check_who(who)?;
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::retry(&mut connection, run, who).await?;
        answer.map_err(|refusal| not_retried(refusal, run))
    }

    /// What [`Client::retry`] would do, now.
    ///
    /// # Errors
    /// Those of [`Client::retry`].
    pub async fn plan_retry(&self, run: RunId) -> Result<RetryPlan, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.retry(run, true, None).await;
        }
        self.check_run(run).await?;
        let store = self.store();
        let answer = retried(|| dacapo_store::plan_retry(store, run)).await?;
        answer.map_err(|refusal| not_retried(refusal, run))
    }

    /// Finishes what a run waits for in its place: a wait, a sleep, a pause, or a step that waits for its next attempt. The run goes on as
    /// if it had been given that; one that somebody has paused goes on once it is resumed. In a run that is blocked because its code
    /// cannot use what was recorded for a step or a wait, that is recorded anew. For a wait for an event that its workflow declares, the value
    /// is of that event's type.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run is being played, in the queue, or over;
    /// [`ClientError::NotOpen`] if it does not wait for that, or waits for several things; [`ClientError::BadArgument`],
    /// [`ClientError::BadPayload`], [`ClientError::BadEvent`] and [`ClientError::TooLarge`] if the value cannot be one.
    pub async fn skip(
        &self,
        run: RunId,
        options: &SkipOptions,
        who: &str,
    ) -> Result<SkippedStep, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.skip(run, options, who).await;
        }
        check_who(who)?;
        Change::Skip(options.clone()).check()?;
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
        let run = RunSummary::from_row(row)?;
        let ids = [run.id];
        let open = retried(|| dacapo_store::open_rows(store, &ids)).await?;
        let open: Vec<&OpenRow> = open.iter().collect();
        self.finish(&run, &open, options, who).await
    }

    /// Leaves a note on a run, whatever it does, for those who look at it.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::BadArgument`] if the text is empty or longer than 10,000 bytes.
    pub async fn note(&self, run: RunId, text: &str, who: &str) -> Result<(), ClientError> {
        if let Some(remote) = self.remote() {
            return remote.note(run, text, who).await;
        }
        check_who(who)?;
        check_text("note", text, NOTE_BYTES_MAX)?;
        if text.trim().is_empty() {
            return Err(ClientError::BadArgument {
                what: "note",
                message: "it is empty".to_owned(),
            });
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        if dacapo_store::note(&mut connection, run, text, who).await? {
            Ok(())
        } else {
            Err(ClientError::RunNotFound(run))
        }
    }

    /// Does the same to all runs that a filter finds and that allow it by their status, the newest first. Each is a transaction of its
    /// own.
    ///
    /// # Errors
    /// Those of [`Client::list`]; [`ClientError::BadArgument`] if runs with the filter's status never allow it.
    pub async fn change_many(
        &self,
        filter: RunFilter,
        change: &Change,
        who: &str,
    ) -> Result<InBulk, ClientError> {
        self.change_many_telling(filter, change, who, |_| ()).await
    }

    /// The same, and tells after each run what has become of those so far.
    ///
    /// # Errors
    /// Those of [`Client::change_many`].
    pub async fn change_many_telling(
        &self,
        filter: RunFilter,
        change: &Change,
        who: &str,
        mut tell: impl FnMut(&InBulk) + Send,
    ) -> Result<InBulk, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.change_many(&filter, change, who).await;
        }
        check_who(who)?;
        let statuses = statuses(&filter, change)?;
        let mut done = InBulk::default();
        // A run may have another status when that one's turn comes, and one that is started again may have ended by then.
        let mut seen = HashSet::new();
        for status in statuses {
            let mut after = None;
            loop {
                let page = match self.page(&filter, status, after).await {
                    Ok(page) => page,
                    Err(error) if seen.is_empty() => return Err(error),
                    Err(error) => {
                        done.stopped = Some(error);
                        return Ok(done);
                    }
                };
                let runs: Vec<&RunSummary> = page
                    .items
                    .iter()
                    .filter(|run| seen.insert(run.id))
                    .collect();
                if let Err(error) = self
                    .change_page(&runs, change, who, &mut done, &mut tell)
                    .await
                {
                    done.stopped = Some(error);
                    return Ok(done);
                }
                seen.extend(done.changed.iter().filter_map(|changed| changed.new_run));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(done)
    }

    /// How many runs [`Client::change_many`] would change, now. Whether the active deployment still takes the input of a run that would be
    /// started again is not looked at, nor whether the value for a wait is of its event's type.
    ///
    /// # Errors
    /// Those of [`Client::change_many`].
    pub async fn count_changes(
        &self,
        filter: RunFilter,
        change: &Change,
    ) -> Result<u64, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.count_changes(&filter, change).await;
        }
        let store = self.store();
        let mut count = 0;
        for status in statuses(&filter, change)? {
            if matches!(change, Change::Rerun(RerunOptions { from: None, .. })) {
                let filter = RunFilter {
                    status: Some(status),
                    ..filter.clone()
                };
                count += self.count(filter).await?.values().sum::<u64>();
                continue;
            }
            let mut after = None;
            loop {
                let page = self.page(&filter, status, after).await?;
                let ids: Vec<RunId> = page.items.iter().map(|run| run.id).collect();
                count += match change {
                    Change::Rerun(options) => {
                        let step = options.from.as_deref().unwrap_or_default();
                        retried(|| dacapo_store::count_with_step(store, &ids, step)).await?
                    }
                    Change::Retry => retried(|| dacapo_store::count_retriable(store, &ids)).await?,
                    Change::Skip(options) => {
                        let open = retried(|| dacapo_store::open_rows(store, &ids)).await?;
                        page.items
                            .iter()
                            .filter(|run| {
                                let open: Vec<&OpenRow> =
                                    open.iter().filter(|row| row.run == run.id).collect();
                                self.chosen(run, &open, options).is_ok()
                            })
                            .count() as u64
                    }
                };
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(count)
    }

    async fn page(
        &self,
        filter: &RunFilter,
        status: Status,
        after: Option<crate::Cursor>,
    ) -> Result<crate::Page<RunSummary>, ClientError> {
        let runs = RunFilter {
            status: Some(status),
            ..filter.clone()
        };
        let filter = ListFilter {
            runs,
            limit: PAGE,
            after,
            before: None,
        };
        // A run is started again with its input as it is.
        self.clone().showing(Payloads::Whole).list(filter).await
    }

    /// Fails only if the rest need not be tried.
    async fn change_page(
        &self,
        runs: &[&RunSummary],
        change: &Change,
        who: &str,
        done: &mut InBulk,
        tell: &mut (impl FnMut(&InBulk) + Send),
    ) -> Result<(), ClientError> {
        let store = self.store();
        let open = match change {
            Change::Skip(_) => {
                let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
                retried(|| dacapo_store::open_rows(store, &ids)).await?
            }
            Change::Rerun(_) | Change::Retry => Vec::new(),
        };
        for run in runs {
            let result = match change {
                Change::Rerun(options) => self
                    .start_again(
                        run.id,
                        RunId::new(),
                        &run.workflow,
                        &run.input,
                        options,
                        who,
                    )
                    .await
                    .map(Some),
                Change::Retry => self.retry(run.id, who).await.map(|_| None),
                Change::Skip(options) => {
                    let open: Vec<&OpenRow> = open.iter().filter(|row| row.run == run.id).collect();
                    self.finish(run, &open, options, who).await.map(|_| None)
                }
            };
            match result {
                Ok(new_run) => done.changed.push(Changed {
                    run: run.id,
                    new_run,
                }),
                Err(error @ (ClientError::Unavailable(_) | ClientError::Store(_))) => {
                    return Err(error);
                }
                Err(error) => done.refused.push((run.id, error)),
            }
            tell(done);
        }
        Ok(())
    }

    /// Starts a run of the client's namespace again. One id for all tries: a statement whose answer was lost finds the run that it made.
    async fn start_again(
        &self,
        old: RunId,
        new: RunId,
        workflow: &str,
        input: &Payload,
        options: &RerunOptions,
        who: &str,
    ) -> Result<RunId, ClientError> {
        let store = self.store();
        for _ in 0..TRIES_MAX {
            let deployment = match options.deployment {
                OnDeployment::Own => retried(|| dacapo_store::deployment_of(store, old))
                    .await?
                    .ok_or(ClientError::RunNotFound(old))?,
                OnDeployment::Of(deployment) => deployment,
                OnDeployment::Active => {
                    let active = self.resolve(workflow).await?;
                    if let Err(error) = active.workflow.check_input(input.as_str(), &self.limits) {
                        match self.resolve_anew(workflow, &active).await? {
                            Some(_) => continue,
                            None => return Err(bad_input(&active.workflow, error)),
                        }
                    }
                    active.deployment
                }
            };
            let rerun = Rerun {
                new,
                old,
                deployment,
                any_deployment: options.deployment != OnDeployment::Active,
                from: options.from.as_deref(),
                who,
            };
            let answer = retried(|| async {
                let mut connection = store.pool().acquire().await?;
                dacapo_store::rerun(&mut connection, &rerun).await
            })
            .await?;
            return match answer {
                Ok(()) => Ok(new),
                Err(RerunRefusal::NotActive) => {
                    self.forget(workflow);
                    continue;
                }
                Err(RerunRefusal::Retired) => {
                    let (which, hint) = match options.deployment {
                        OnDeployment::Of(_) => (
                            format!("that run {old} was to go on with"),
                            "take that back with `dacapo deployments retire PACKAGE@N --undo`, or name another one",
                        ),
                        _ => (
                            format!("that run {old} was on"),
                            "start it again on the active one: without --same-deployment",
                        ),
                    };
                    Err(ClientError::DeploymentRefused {
                        code: "deployment-retired",
                        message: format!(
                            "the deployment {which} is retired: no new run can go there"
                        ),
                        hint: Some(hint.to_owned()),
                    })
                }
                Err(RerunRefusal::NoStep) => Err(ClientError::StepNotFound {
                    run: old,
                    step: options.from.clone().unwrap_or_default(),
                    there: self.first_keys(old).await?,
                }),
                Err(RerunRefusal::Run(refusal)) => {
                    Err(ClientError::refused(refusal, old, Action::Rerun))
                }
            };
        }
        Err(ClientError::Redeployed(workflow.to_owned()))
    }

    async fn first_keys(&self, run: RunId) -> Result<Vec<String>, ClientError> {
        let store = self.store();
        let steps = retried(|| dacapo_store::steps_of(store, run)).await?;
        let keys = steps.iter().map(|row| row.recorded.key.to_string());
        let mut shown: Vec<String> = keys.take(KEYS_SHOWN_MAX).collect();
        if steps.len() > KEYS_SHOWN_MAX {
            shown.push("…".to_owned());
        }
        Ok(shown)
    }

    async fn finish(
        &self,
        run: &RunSummary,
        open: &[&OpenRow],
        options: &SkipOptions,
        who: &str,
    ) -> Result<SkippedStep, ClientError> {
        let (step, value) = self.chosen(run, open, options)?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::skip(&mut connection, run.id, &step, &value, who).await?;
        match answer {
            Ok(skipped) => Ok(SkippedStep { step, skipped }),
            Err(SkipRefusal::Run(refusal)) => {
                Err(ClientError::refused(refusal, run.id, Action::Skip))
            }
            Err(SkipRefusal::NotOpen) => Err(not_open(run.id, Some(step.as_str()), open)),
            Err(SkipRefusal::BadEvent { name, problem }) => Err(ClientError::BadEvent {
                run: run.id,
                name,
                problem,
            }),
        }
    }

    /// The row to finish and its value, once nothing is wrong with them.
    fn chosen(
        &self,
        run: &RunSummary,
        open: &[&OpenRow],
        options: &SkipOptions,
    ) -> Result<(StepKey, Payload), ClientError> {
        let change = Change::Skip(options.clone());
        if !change.statuses().contains(&run.status) {
            let refusal = Refusal::Status(run.status);
            return Err(ClientError::refused(refusal, run.id, Action::Skip));
        }
        let chosen = match &options.step {
            Some(step) => open.iter().find(|row| row.key.as_str() == step),
            None if open.len() == 1 => open.first(),
            None => return Err(not_open(run.id, None, open)),
        };
        let text = options.value.as_deref().unwrap_or("null");
        let value = payload("value".to_owned(), text, &self.limits)?;
        let bad_value = |message| {
            Err(ClientError::BadArgument {
                what: "value",
                message,
            })
        };
        match chosen {
            Some(row)
                if matches!(row.kind, Kind::Sleep | Kind::Pause) && options.value.is_some() =>
            {
                return bad_value(format!(
                    "{} is a {}, which has no value: leave it out",
                    row.key, row.kind
                ));
            }
            Some(row) if row.kind == Kind::Wait => {
                let waits_for = run.waiting_for.as_ref();
                let events = waits_for.map_or(&[][..], |waits_for| waits_for.events.as_slice());
                // A wait for one event goes by the event's name, and one for a child takes any output.
                if !events.is_empty()
                    && !events.iter().any(|event| event.starts_with("child/"))
                    && !events.iter().any(|event| event == row.key.name())
                    && !is_event_of(value.as_str(), events)
                {
                    return bad_value(format!(
                        "{} waits for any of several events: expected [\"EVENT\", PAYLOAD] with EVENT one of {}, got {}",
                        row.key,
                        events.join(", "),
                        text.chars().take(80).collect::<String>()
                    ));
                }
            }
            _ => {}
        }
        let step = match (chosen, &options.step) {
            (Some(row), _) => row.key.clone(),
            // What a blocked run cannot use has an outcome; the database knows.
            (None, Some(step)) => StepKey::from_trusted(step.clone()),
            (None, None) => return Err(not_open(run.id, None, open)),
        };
        Ok((step, value))
    }
}

/// Whether this is the name of one of the events beside a payload, as a wait for any of them records it.
fn is_event_of(text: &str, events: &[String]) -> bool {
    serde_json::from_str::<(String, &RawValue)>(text).is_ok_and(|(name, _)| events.contains(&name))
}

fn not_open(run: RunId, step: Option<&str>, open: &[&OpenRow]) -> ClientError {
    let keys: Vec<&str> = open
        .iter()
        .take(KEYS_SHOWN_MAX)
        .map(|row| row.key.as_str())
        .collect();
    let waits_for = if keys.is_empty() {
        "it waits for nothing that can be finished in its place".to_owned()
    } else {
        format!("it waits for {}", keys.join(", "))
    };
    let problem = match step {
        Some(step) => format!("{step:?} is nothing that it waits for; {waits_for}"),
        None if keys.is_empty() => waits_for,
        None => format!("{waits_for}: name one of them"),
    };
    ClientError::NotOpen { run, problem }
}

fn not_retried(refusal: RetryRefusal, run: RunId) -> ClientError {
    match refusal {
        RetryRefusal::Run(refusal) => ClientError::refused(refusal, run, Action::Retry),
        RetryRefusal::NothingFailed => ClientError::NothingFailed(run),
        RetryRefusal::ChildrenEnding => ClientError::ChildrenEnding(run),
    }
}

pub(crate) fn check_who(who: &str) -> Result<(), ClientError> {
    check_text("name of who does this", who, WHO_BYTES_MAX)?;
    if who.trim().is_empty() {
        return Err(ClientError::BadArgument {
            what: "name of who does this",
            message: "it is empty".to_owned(),
        });
    }
    Ok(())
}

/// The statuses of the runs to look for.
fn statuses(filter: &RunFilter, change: &Change) -> Result<Vec<Status>, ClientError> {
    change.check()?;
    let allowed = change.statuses();
    match filter.status {
        None => Ok(allowed.to_vec()),
        Some(status) if allowed.contains(&status) => Ok(vec![status]),
        Some(status) => {
            let words: Vec<&str> = allowed.iter().map(|status| status.as_str()).collect();
            Err(ClientError::BadArgument {
                what: "status",
                message: format!(
                    "{status} runs do not allow this: expected {}",
                    words.join(", ")
                ),
            })
        }
    }
}
