//! Looking at a run again and again.

use std::collections::HashMap;

use dacapo_model::{RunId, StepKey};
use dacapo_store::{JournalSum, KnownSteps, RunRow};

use crate::retry::retried;
use crate::run::{Intervention, Run, Step, StepOutcome};
use crate::{Client, ClientError};

/// Positions without a row that are asked for one by one, at most.
const MISSING_MAX: u32 = 10_000;

/// What a failure is taken to be long, with what it says.
const FAILURE_BYTES: usize = 1_000;

/// A run as it was at the last look, to be looked at again: of its journal only what may have changed is read then.
#[derive(Debug, Clone)]
pub struct Watched {
    run: Run,
    /// Those of the run's steps, in the same order.
    positions: Vec<u32>,
}

impl Watched {
    /// The run.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// About as many bytes as its steps take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let steps = self.run.steps.iter();
        let texts = steps.map(|step| match &step.outcome {
            Some(StepOutcome::Ok(payload)) => payload.as_str().len(),
            Some(_) => FAILURE_BYTES,
            None => 0,
        } + step.failed_attempts.len() * FAILURE_BYTES);
        texts.sum::<usize>() + self.run.steps.len() * size_of::<Step>()
    }

    /// What the next look need not read. None: too much is missing to ask for it.
    fn known(&self) -> Option<KnownSteps> {
        let mut missing = Vec::new();
        let mut next = 1;
        for position in &self.positions {
            // Steps of branches come out in another order than that in which they were reached.
            let gap = next..*position;
            if gap.len() + missing.len() > MISSING_MAX as usize {
                return None;
            }
            missing.extend(gap);
            next = position.saturating_add(1);
        }
        let open = self.run.steps.iter().filter(|step| step.outcome.is_none());
        Some(KnownSteps {
            up_to: self.positions.last().copied().unwrap_or(0),
            missing,
            open: open.map(|step| step.key.to_string()).collect(),
        })
    }

    /// Puts what was read in the place of what was open, or where it belongs.
    fn take_up(&mut self, read: Vec<(u32, Step)>) {
        let open = self.run.steps.iter().enumerate();
        let open: HashMap<StepKey, usize> = open
            .filter(|(_, step)| step.outcome.is_none())
            .map(|(place, step)| (step.key.clone(), place))
            .collect();
        for (position, step) in read {
            match open.get(&step.key) {
                Some(place) => self.run.steps[*place] = step,
                None => {
                    self.positions.push(position);
                    self.run.steps.push(step);
                }
            }
        }
        if !self.positions.is_sorted() {
            let positions = std::mem::take(&mut self.positions).into_iter();
            let mut both: Vec<(u32, Step)> = positions.zip(self.run.steps.drain(..)).collect();
            both.sort_by_key(|(position, _)| *position);
            (self.positions, self.run.steps) = both.into_iter().unzip();
        }
    }

    fn sum(&self) -> JournalSum {
        let steps = &self.run.steps;
        let done = steps.iter().filter(|step| step.outcome.is_some());
        JournalSum {
            rows: steps.len() as u64,
            done: done.count() as u64,
            latest: steps.iter().filter_map(|step| step.finished_at).max(),
        }
    }
}

impl Client {
    /// A run as it stands, to be looked at again with [`Client::watch_again`].
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn watch(&self, run: RunId) -> Result<Watched, ClientError> {
        let row = self.row_to_watch(run).await?;
        self.watch_from(row).await
    }

    /// The same run as it stands now. What was recorded when it was looked at last is not read again, unless something was taken back.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]: it was deleted meanwhile.
    pub async fn watch_again(&self, mut watched: Watched) -> Result<Watched, ClientError> {
        let run = watched.run.id;
        let row = self.row_to_watch(run).await?;
        let Some(known) = watched.known() else {
            return self.watch_from(row).await;
        };
        let store = self.store();
        let interventions = retried(|| dacapo_store::interventions(store, run)).await?;
        // What takes back what was recorded, or moves the run to other code, is one of them.
        if interventions.len() != watched.run.interventions.len() {
            return self.watch_from(row).await;
        }
        let (steps, sum) = retried(|| dacapo_store::steps_since(store, run, &known)).await?;
        let interventions: Vec<Intervention> = interventions
            .into_iter()
            .map(Intervention::from_row)
            .collect();
        let secrets = self.secrets_shown(row.deployment, &row.workflow).await?;
        let positions: Vec<u32> = steps.iter().map(|row| row.recorded.position).collect();
        let mut steps = Step::from_rows(steps, &interventions);
        self.show_steps(&mut steps, &secrets);
        watched.take_up(positions.into_iter().zip(steps).collect());
        if watched.sum() != sum {
            return self.watch_from(row).await;
        }
        let steps = std::mem::take(&mut watched.run.steps);
        watched.run = self.run_with(row, steps, interventions, &secrets)?;
        Ok(watched)
    }

    async fn row_to_watch(&self, run: RunId) -> Result<RunRow, ClientError> {
        self.needs_no_server("to watch a run")?;
        let store = self.store();
        let row = retried(|| dacapo_store::get_run(store, run))
            .await?
            .ok_or(ClientError::RunNotFound(run))?;
        self.check_row(&row)?;
        Ok(row)
    }

    /// Reads all of it. The steps are read after the row: they may know more than the status does, never less.
    async fn watch_from(&self, row: RunRow) -> Result<Watched, ClientError> {
        let store = self.store();
        let run = row.id;
        let steps = retried(|| dacapo_store::steps_of(store, run)).await?;
        let interventions = retried(|| dacapo_store::interventions(store, run)).await?;
        let positions = steps.iter().map(|row| row.recorded.position).collect();
        let run = self.run(row, steps, interventions).await?;
        Ok(Watched { run, positions })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dacapo_model::{Kind, Payload, Status, Timestamp};

    use super::*;
    use crate::run::{Deployment, RunProgress, StepStatus};

    fn step(key: &str, done: Option<i64>) -> Step {
        let key = StepKey::from_trusted(key.to_owned());
        Step {
            name: key.name().to_owned(),
            key,
            kind: Kind::Wait,
            status: match done {
                Some(_) => StepStatus::Completed,
                None => StepStatus::Waiting,
            },
            attempts: 0,
            outcome: done.map(|_| StepOutcome::Ok(Payload::null())),
            started_at: Timestamp::from_millis(0),
            finished_at: done.map(Timestamp::from_millis),
            due: None,
            failed_attempts: Vec::new(),
        }
    }

    fn watched(steps: Vec<(u32, Step)>) -> Watched {
        let (positions, steps) = steps.into_iter().unzip();
        let run = Run {
            id: RunId::new(),
            workflow: "a:b/c.d".to_owned(),
            deployment: Deployment {
                package: "a:b".to_owned(),
                number: 1,
            },
            status: Status::Running,
            input: Payload::null(),
            output: None,
            failure: None,
            labels: BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            deadline: None,
            parent: None,
            queue: None,
            priority: 0,
            concurrency_key: None,
            started_at: None,
            finished_at: None,
            progress: RunProgress::new(0, None),
            waiting_for: None,
            blocked: None,
            steps,
            interventions: Vec::new(),
        };
        Watched { run, positions }
    }

    fn keys(watched: &Watched) -> Vec<&str> {
        let steps = watched.run.steps.iter();
        steps.map(|step| step.key.as_str()).collect()
    }

    #[test]
    fn what_a_look_asks_for_is_what_was_open_or_missing_or_lies_behind() {
        let known = watched(vec![
            (2, step("b#1", Some(1))),
            (3, step("go#1", None)),
            (6, step("c#1", Some(2))),
        ])
        .known()
        .unwrap();
        assert_eq!(known.up_to, 6);
        assert_eq!(known.missing, [1, 4, 5]);
        assert_eq!(known.open, ["go#1"]);
        let known = watched(Vec::new()).known().unwrap();
        assert_eq!((known.up_to, known.missing.len()), (0, 0));
        let wide = watched(vec![(MISSING_MAX + 2, step("a#1", Some(1)))]);
        assert!(wide.known().is_none());
    }

    #[test]
    fn what_was_read_stands_where_it_belongs() {
        let mut watched = watched(vec![
            (1, step("a#1", Some(1))),
            (2, step("go#1", None)),
            (4, step("c#1", Some(2))),
        ]);
        watched.take_up(vec![
            (2, step("go#1", Some(3))),
            (3, step("b#1", Some(4))),
            (5, step("d#1", None)),
        ]);
        assert_eq!(keys(&watched), ["a#1", "go#1", "b#1", "c#1", "d#1"]);
        assert_eq!(watched.positions, [1, 2, 3, 4, 5]);
        let expected = JournalSum {
            rows: 5,
            done: 4,
            latest: Some(Timestamp::from_millis(4)),
        };
        assert_eq!(watched.sum(), expected);
        watched.take_up(vec![(5, step("d#1", Some(9)))]);
        assert_eq!(watched.sum().done, 5);
        assert_eq!(watched.positions, [1, 2, 3, 4, 5]);
    }
}
